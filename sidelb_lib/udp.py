"""UDP: a table of sessions, one for each client address, with an upstream socket and a reply greenlet each.

gevent's DatagramServer as it comes reads 8,192 bytes at most and spawns a greenlet for each datagram, which
loses their order. Here the listener is read until it is empty, 64 datagrams at a time, and each goes to its
session's connected socket at once: nothing on that way can wait, so no client waits for another.

A wildcard listener must answer from the address that the client sent to. It reads with IP_PKTINFO and opens,
for each local address that somebody uses, a second socket bound to that address, which the kernel prefers
from then on: the costly call is needed for the first datagram to an address, not for each. """
from __future__ import absolute_import, division, print_function

import collections
import errno
import heapq
import os
import socket
import traceback

import gevent
from gevent import get_hub, getcurrent
from gevent.event import Event
from gevent.hub import RawGreenlet
from gevent.server import DatagramServer

from .compat import (SocketError, WOULD_BLOCK, ask_for_destination, bare_socket, new_socket,
                     receive_with_destination)
from .connect import LOCAL_FAULTS, READ, wait_for
from .endpoints import endpoint_text
from .errors import NobodyReachable
from . import reuse_port as sharing

MOST_BYTES = 65536                 # no datagram is larger: 65,507 bytes in IPv4, 65,527 in IPv6
BATCH = 64                         # datagrams read before others get their turn
RECEIVE_BUFFER_BYTES = 8 << 20

MOST_KEPT_BYTES = 4096             # an unanswered datagram up to this size is sent again after a refusal
MOST_EARLY = 256                   # datagrams that wait for the first answer of DNS...
EARLY_SECONDS = 3.0                # ...and for how long
MOST_ATTEMPTS = 16                 # servers that are tried for one datagram: it happens in the hub, where nobody else runs
MOST_LOCAL_ADDRESSES = 256         # sockets that a wildcard listener opens for its addresses

MOST_IDLE_WORKERS = 128

MOST_QUEUED = 65536                # datagrams, more than a receive buffer holds

SLOWEST_SWEEP = 10.0               # seconds
SETTLING_SECONDS = 0.05            # what another core is handing to a socket has arrived then

SO_RCVBUFFORCE = 33                # socket(7)
WILDCARDS = ('0.0.0.0', '::')


class Session(object):
    """One client's flow. `front` is the socket that the client's datagrams came to, `upstream` the one
    connected to `address`."""

    __slots__ = ('key', 'client', 'front', 'upstream', 'lease', 'greenlet', 'last_used', 'stale', 'ended', 'unanswered',
                 'sent_again', 'datagrams_sent', 'datagrams_received', 'bytes_sent', 'bytes_received')

    def __init__(self, key, client, front, now):
        self.key = key                  # its place in the table
        self.client = client
        self.front = front
        self.upstream = None
        self.lease = None
        self.greenlet = None
        self.last_used = now
        self.stale = False              # its server went down or left: look for another at the next datagram
        self.ended = False
        self.unanswered = None          # the last datagram sent, while nothing has come back
        self.sent_again = False
        self.datagrams_sent = 0
        self.datagrams_received = 0
        self.bytes_sent = 0
        self.bytes_received = 0

    @property
    def address(self):
        return self.lease.address


class UdpServer(DatagramServer):
    """Carries each client's datagrams to a member of `pool`, and the replies back.

    `listener` is a bound gevent socket (see `listen`); this object owns it. A session ends after `session_timeout`
    seconds without a datagram in either direction, or, with `responses`, when so many replies have come for each
    datagram. At `max_sessions` the session that has been idle longest makes room for a new client. """

    def __init__(self, listener, pool, log, clock, max_sessions, session_timeout=60.0, responses=0,
                 on_down='keep', on_removed='keep', log_sessions=False):
        DatagramServer.__init__(self, listener, handle=self._unused)
        self.members = pool
        self.sessions = {}                 # client address, or, beside a wildcard, client and local address -> Session
        self.max_sessions = max_sessions
        self.accepted = 0                  # sessions in all
        self.retries = 0                   # moves of a session to another server
        self.drops = collections.Counter()     # reason -> datagrams
        self.datagrams = [0, 0]            # sent to servers and received from them, by sessions that have ended
        self._log = log
        self._clock = clock
        self._session_timeout = session_timeout
        self._responses = responses
        self._on_down = on_down
        self._on_removed = on_removed
        self._log_sessions = log_sessions
        self._draining = False
        self._idle_workers = []
        self._review_is_due = False
        self._early = collections.deque(maxlen=MOST_EARLY)
        self._longest_idle = []            # candidates to make room, the best last: (last_used, client)
        self._front_opened = False
        self._local_fronts = {}            # local IP -> (socket, watcher), of a wildcard listener
        self._all_ended = Event()
        pool.observers.append(self._pool_changed)

    # --- from clients -----------------------------------------------------------------------------------------------

    def init_socket(self):
        DatagramServer.init_socket(self)
        self.socket = bare_socket(self.socket)
        self._wildcard = self.address[0] in WILDCARDS

    def _do_read(self):
        """gevent's hook: the listener is readable. Runs in the hub; nothing here waits."""
        if self._wildcard:
            self._read_wildcard()
        else:
            self._read_front(self.socket)

    def _read_front(self, front, local=()):
        receive, sessions = front.recvfrom, self.sessions
        now = self._clock()
        for _ in range(BATCH):
            try:
                data, client = receive(MOST_BYTES)
            except SocketError as error:
                self._check_front_error(error)
                return
            key = client + local if local else client
            session = sessions.get(key)
            if session is None:
                session = self._open_contained(key, client, front, data)
                if session is None:
                    continue
            session.last_used = now
            self._forward(session, data)

    def _read_wildcard(self):
        """When a socket for a local address is opened, what had been queued here before is read to the end, before that
        one is looked at: else a client's datagrams would change their order."""
        self._front_opened = False
        for count in range(MOST_QUEUED):
            if count >= BATCH and not self._front_opened:
                return
            try:
                data, client, local = receive_with_destination(self.socket, MOST_BYTES)
            except SocketError as error:
                self._check_front_error(error)
                return
            self._forward_to_session(client + (local,), client, self._front_for(local), data)

    def _forward_to_session(self, key, client, front, data):
        session = self.sessions.get(key) or self._open_contained(key, client, front, data)
        if session is not None:
            session.last_used = self._clock()
            self._forward(session, data)

    def _check_front_error(self, error):
        if error.errno not in WOULD_BLOCK:
            self._drop('listener_error', 'reading from clients failed: {error}', error=error.strerror)

    def _front_for(self, local):
        """The socket bound to the local address `local`; the wildcard one where there can be none."""
        if local not in self._local_fronts and len(self._local_fronts) < MOST_LOCAL_ADDRESSES:
            self._open_front(local)
        front, _ = self._local_fronts.get(local, (self.socket, None))
        return front

    def _open_front(self, local):
        front = None
        try:
            shared = sharing.is_shared(self.socket)
            front = bare_socket(listen(local, self.address[1], self.family, shared, beside_wildcard=True))
            if shared:
                # The kernel would prefer it to the wildcards of the other instances: they would get nothing.
                sharing.stop_receiving(front)
        except EnvironmentError as error:
            self._log.warning('no_local_socket', 'replies from {local} may have another address of this host: {error}',
                              local=local, error=error.strerror or str(error))
            self._local_fronts[local] = self.socket, None
            return
        watcher = self.loop.io(front.fileno(), READ)
        watcher.start(self._read_front, front, (local,))
        self._local_fronts[local] = front, watcher
        self._front_opened = True

    def _forward(self, session, data):
        """`_send`, and what goes wrong in it ends this session alone: an exception would stop gevent's watcher of the
        listener, for good."""
        try:
            self._send(session, data)
        except Exception:
            self._drop('session_failed', 'unexpected error in the session of {client}, which ends: {trace}',
                       client=endpoint_text(*session.client[:2]), trace=traceback.format_exc())
            self.end(session)

    def _send(self, session, data):
        """Send a client's datagram to the session's server; when that is gone, to another."""
        if session.stale:
            self._move(session)
        try:
            session.upstream.send(data)
        except SocketError as error:
            if not self._sent_after_error(session, data, error):
                return
        session.datagrams_sent += 1
        session.bytes_sent += len(data)
        session.unanswered = data if len(data) <= MOST_KEPT_BYTES else None
        session.sent_again = False

    def _sent_after_error(self, session, data, error):
        """Deal with a failed send. A refusal is that of an earlier datagram, and the kernel has not sent this
        one: send it now."""
        if error.errno in WOULD_BLOCK or error.errno in LOCAL_FAULTS:
            self._drop('upstream_full', 'the send buffer towards {address} is full', address=str(session.address))
        elif error.errno == errno.EMSGSIZE:
            self._drop('too_long', 'a datagram of {size} bytes is too long for {address}', size=len(data),
                       address=str(session.address))
        else:
            self._refused(session, error)
            try:
                session.upstream.send(data)
                return True
            except SocketError as again:
                self._drop('send_failed', 'sending to {address} failed: {error}', address=str(session.address),
                           error=again.strerror)
        return False

    # --- sessions ---------------------------------------------------------------------------------------------------

    def _open_contained(self, key, client, front, data):
        """A new session, or None: then the datagram is dropped, and counted."""
        try:
            return self._open(key, client, front, data)
        except Exception:
            self._drop('session_failed', 'unexpected error with a new session: {trace}', trace=traceback.format_exc())

    def _open(self, key, client, front, data):
        if self._draining:
            self.drops['draining'] += 1
            return None
        if not self.members.members:
            self._early.append((self._clock(), key, client, front, data))      # until DNS has answered
            return None
        if len(self.sessions) >= self.max_sessions:
            self._make_room()
        session = Session(key, client, front, self._clock())
        try:
            self._attach(session, ())
        except NobodyReachable as error:
            self._drop('no_server', 'a datagram of a new client was dropped: {error}', error=error)
            return None
        self.sessions[key] = session
        self.accepted += 1
        session.greenlet = self._idle_workers.pop() if self._idle_workers else RawGreenlet(self._work, get_hub())
        session.greenlet.switch(session)
        return session

    def _work(self, session):
        """A greenlet serves one session after another: a new one costs more than all else of a short session."""
        while True:
            self._carry_replies(session)
            if len(self._idle_workers) >= MOST_IDLE_WORKERS:
                return
            self._idle_workers.append(getcurrent())
            session = get_hub().switch()

    def _attach(self, session, tried):
        """Give the session a server and a socket connected to it. Raises NobodyReachable and leaves it as it
        was."""
        tried = list(tried)
        while True:
            lease = self.members.take(tried)
            upstream = None
            try:
                upstream = self._connect(lease.address)
            finally:
                if upstream is None:
                    lease.end()
            if upstream is not None:
                break
            tried.append(lease.address)
            if len(tried) > MOST_ATTEMPTS:
                raise NobodyReachable('%d servers have been tried' % MOST_ATTEMPTS)
        former, session.lease = session.lease, lease
        session.upstream, former_upstream = upstream, session.upstream
        session.stale = False
        lease.address.total += 1
        if former is not None:
            former_upstream.close()
            former.end()

    def _connect(self, address):
        """A connected UDP socket, or None. Raises NobodyReachable when this host has no more descriptors."""
        try:
            upstream = new_socket(address.family, socket.SOCK_DGRAM)
        except SocketError as error:
            if error.errno in LOCAL_FAULTS:
                raise NobodyReachable('this host is short of resources: %s' % error.strerror)
            code = error.errno                # EAFNOSUPPORT: a host without IPv6
        else:
            code = upstream.connect_ex(address.sockaddr)
            if not code:
                raise_receive_buffer(upstream)
                return upstream
            upstream.close()
        if code not in LOCAL_FAULTS:
            self.members.report_failure(address, os.strerror(code))
        return None

    def _make_room(self):
        """End the session that has been idle longest. Candidates are found a sixteenth of the table at a
        time, so that a flood of
        unknown sources costs the same for each datagram however large the table is."""
        while True:
            if not self._longest_idle:
                count = len(self.sessions) // 16 + 1
                entries = ((session.last_used, key) for key, session in self.sessions.items())
                self._longest_idle = heapq.nsmallest(count, entries)[::-1]
            last_used, key = self._longest_idle.pop()
            session = self.sessions.get(key)
            if session is not None and session.last_used == last_used:
                break
        self.end(session)
        self._drop('session_evicted', 'max_sessions={most} reached: the session idle longest made room',
                   most=self.max_sessions)

    def _refused(self, session, error):
        """The server refused a datagram (ICMP) or can't be reached: passive health, and on to another
        server."""
        self.members.report_failure(session.address, error.strerror)
        if not session.ended:             # as the report does, with on_down=close
            self._move(session)

    def _move(self, session):
        """To another server; if there is none the session stays where it is, for that server may come
        back."""
        try:
            self._attach(session, [session.address])
        except NobodyReachable:
            session.stale = False             # until `_pool_changed` hears of somebody better
            return
        self.retries += 1
        self._rouse(session)               # to watch the new socket

    def end(self, session):
        """End a session, from any greenlet or the hub."""
        if self.sessions.get(session.key) is not session:
            return
        del self.sessions[session.key]
        session.ended = True
        self._account(session)
        session.lease.end()
        self._rouse(session)
        if not self.sessions:
            self._all_ended.set()

    def _rouse(self, session):
        """Have the session's greenlet look at what has become of its session, if it is not the one that runs."""
        if session.greenlet is not None and session.greenlet is not getcurrent():
            self.loop.run_callback(self._wake, session)

    def _wake(self, session):
        if session.greenlet is not None:
            session.greenlet.switch()

    def _account(self, session):
        session.address.sent += session.bytes_sent
        session.address.received += session.bytes_received
        self.datagrams[0] += session.datagrams_sent
        self.datagrams[1] += session.datagrams_received
        if self._log_sessions:
            self._log.debug('session', '{client} to {address} ended, {bytes_out} bytes out, {bytes_in} in',
                            client=endpoint_text(*session.client[:2]), address=str(session.address),
                            member=session.address.member.name, bytes_out=session.bytes_sent,
                            bytes_in=session.bytes_received)

    # --- from servers -----------------------------------------------------------------------------------------------

    def _carry_replies(self, session):
        """The greenlet of one session: carries replies until the session is ended. Closes the upstream
        socket."""
        try:
            while not session.ended:
                self._watch_upstream(session, session.upstream)
        except Exception:
            self._log.error('session_failed', 'unexpected error in the session of {client}, which ends: {trace}',
                            client=endpoint_text(*session.client[:2]), trace=traceback.format_exc())
        finally:
            session.greenlet = None
            self.end(session)
            session.upstream.close()

    def _watch_upstream(self, session, upstream):
        """Carry the replies that come to `upstream`, until the session moves to another socket or ends."""
        hub = get_hub()
        wait = hub.switch
        readable = hub.loop.io(upstream.fileno(), READ)
        readable.start(getcurrent().switch)
        try:
            while True:
                wait()
                if session.upstream is not upstream or session.ended or not self._carry_reply(session, upstream):
                    return
        finally:
            readable.stop()

    def _carry_reply(self, session, upstream):
        """Carry one datagram back. Returns whether `upstream` is still to be watched."""
        try:
            data = upstream.recv(MOST_BYTES)
        except SocketError as error:
            if error.errno not in WOULD_BLOCK:
                self._upstream_failed(session, error)
            return session.upstream is upstream
        address = session.lease.address
        if address.streak or not address.up:
            self.members.report_success(address)
        session.unanswered = None
        session.last_used = self._clock()
        session.datagrams_received += 1
        session.bytes_received += len(data)
        try:
            session.front.sendto(data, session.client)
        except SocketError as error:
            self._drop('client_full' if error.errno in WOULD_BLOCK else 'reply_failed',
                       'a reply could not be sent: {error}', error=error.strerror)
        if self._responses and session.datagrams_received >= self._responses * session.datagrams_sent:
            self.end(session)
            return False
        return True

    def _upstream_failed(self, session, error):
        """A refusal has come back. The datagram that it concerns goes to another server, once, if nothing has
        answered it."""
        data, again = session.unanswered, session.sent_again
        self._refused(session, error)
        if data is None or again or session.ended:
            return
        session.sent_again = True
        try:
            session.upstream.send(data)
        except SocketError as failure:
            self._drop('send_failed', 'sending to {address} failed: {error}', address=str(session.address),
                       error=failure.strerror)

    # --- ends -------------------------------------------------------------------------------------------------------

    def _pool_changed(self, event, subject):
        """The pool's observer."""
        if event == 'filled':
            self.loop.run_callback(self._replay_early)
        elif event in ('up', 'added') and not self._review_is_due:
            self._review_is_due = True
            self.loop.run_callback(self._review_sessions)
        elif event in ('down', 'removed'):
            close = (self._on_down if event == 'down' else self._on_removed) == 'close'
            for session in [session for session in self.sessions.values() if session.address is subject]:
                session.stale = True
                if close:
                    self.end(session)

    def _review_sessions(self):
        """There is somebody new or up again: sessions that had nowhere to go but to a server that is down may leave it."""
        self._review_is_due = False
        for session in self.sessions.values():
            session.stale = not session.address.up or session.address.member.departing

    def _replay_early(self):
        """Datagrams that came before there was a server, and are not too old for their clients to wait for a reply."""
        early = list(self._early)
        self._early.clear()
        for came, key, client, front, data in early:
            if self._clock() - came < EARLY_SECONDS:
                self._forward_to_session(key, client, front, data)
            else:
                self.drops['too_early'] += 1

    def watch_silence(self):
        """Runs in a greenlet of its own: ends sessions that nobody has used for `session_timeout`, up to an
        eighth too late."""
        while True:
            gevent.sleep(min(self._session_timeout / 8, SLOWEST_SWEEP))
            for position, session in enumerate(list(self.sessions.values())):
                if position % 256 == 255:
                    gevent.sleep(0)       # let traffic pass
                if self._clock() - session.last_used >= self._session_timeout:
                    self.end(session)

    def drain(self, seconds):
        """Take no new clients; existing sessions go on for `seconds` at most. Returns how many were cut.

        Other instances that share our address get all further datagrams, also those of our sessions, which then only
        wait for replies.
        """
        deadline = self._clock() + seconds
        if sharing.in_company(self.socket):
            sharing.stop_receiving(self.socket)
            while self._clock() < deadline and wait_for(self.socket, READ, SETTLING_SECONDS):
                gevent.sleep(0)            # what has come before is carried
        self._draining = True
        self._all_ended.clear()
        if self.sessions:
            self._all_ended.wait(max(0, deadline - self._clock()))
        return self.cut_all('drain_timeout has passed')

    def cut_all(self, reason):
        """End every session. Returns how many it were."""
        left = list(self.sessions.values())
        for session in left:
            self.end(session)
        return len(left)

    def close(self):
        """Close the sockets of the listener. Idempotent."""
        for front, watcher in self._local_fronts.values():
            if watcher is not None:
                watcher.stop()
                front.close()
        self._local_fronts.clear()
        DatagramServer.close(self)

    # --- what is counted and said -----------------------------------------------------------------------------------

    def _drop(self, kind, template, **fields):
        self.drops[kind] += 1
        self._log.warning(kind, template, **fields)

    def bytes_in_flight(self):
        """What living sessions have carried so far: address -> (sent, received), in bytes."""
        totals = {}
        for session in self.sessions.values():
            sent, received = totals.get(session.address, (0, 0))
            totals[session.address] = sent + session.bytes_sent, received + session.bytes_received
        return totals

    def counts(self):
        """What the status shows of sessions and datagrams; a plain dict."""
        sent, received = self.datagram_totals()
        return {'active': len(self.sessions), 'most': self.max_sessions, 'total': self.accepted,
                'retries': self.retries, 'datagrams_sent': sent, 'datagrams_received': received, 'drops': dict(self.drops)}

    def datagram_totals(self):
        """(sent to servers, received from servers), in datagrams, since the start."""
        living = list(self.sessions.values())
        return (self.datagrams[0] + sum(session.datagrams_sent for session in living),
                self.datagrams[1] + sum(session.datagrams_received for session in living))

    def _unused(self, data, address):
        """gevent asks for a handler; `_do_read` does its work."""


def raise_receive_buffer(sock):
    """As far as the system allows: past net.core.rmem_max only with CAP_NET_ADMIN, socket(7)."""
    try:
        sock.setsockopt(socket.SOL_SOCKET, SO_RCVBUFFORCE, RECEIVE_BUFFER_BYTES)
    except SocketError:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, RECEIVE_BUFFER_BYTES)


def listen(host, port, family, reuse_port=False, beside_wildcard=False):
    """A bound gevent UDP socket. The caller owns it. Raises SocketError.

    Two sockets share a port only when both have SO_REUSEADDR. A wildcard gets it after its bind: so it
    refuses a second instance of this program, and lets its own further sockets (`beside_wildcard`) in. With
    `reuse_port` other sockets of the same user that have it, too, may be bound beside it.
    """
    listener = gevent.socket.socket(family, socket.SOCK_DGRAM)
    try:
        if family == socket.AF_INET6:
            listener.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        if host in WILDCARDS:
            ask_for_destination(listener)
        if beside_wildcard:
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if reuse_port:
            sharing.share(listener)
        raise_receive_buffer(listener)
        listener.bind((host, port))
        if host in WILDCARDS:
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    except BaseException:
        listener.close()
        raise
    return listener
