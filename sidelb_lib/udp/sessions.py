"""UDP sessions: one for each client address, with an upstream socket of its own and a greenlet for the replies."""
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

from ..compat import READ, SocketError, WOULD_BLOCK, new_socket, switch_of
from ..net.blame import HOST, blame
from ..net.endpoints import endpoint_text
from ..net.socket_options import raise_receive_buffer
from ..errors import NobodyReachable

MOST_BYTES = 65536                 # no datagram is larger: 65,507 bytes in IPv4, 65,527 in IPv6
MOST_KEPT_BYTES = 4096             # an unanswered datagram up to this size is sent again after a refusal
MOST_EARLY = 256                   # datagrams that wait for the first answer of DNS...
EARLY_SECONDS = 3.0                # ...and for how long
MOST_ATTEMPTS = 16                 # servers that are tried for one datagram: it happens in the hub, where nobody else runs
MOST_IDLE_WORKERS = 128
SLOWEST_SWEEP = 10.0               # seconds


class Session(object):
    """One client's flow. `front` is the socket that the client's datagrams came to, `upstream` the one connected to
    `address`, which `watcher` watches."""

    __slots__ = ('key', 'client', 'front', 'upstream', 'watcher', 'lease', 'greenlet', 'last_used', 'stale', 'ended',
                 'unanswered', 'sent_again', 'datagrams_sent', 'datagrams_received', 'bytes_sent', 'bytes_received')

    def __init__(self, key, client, front, now):
        self.key = key                  # its place in the table
        self.client = client
        self.front = front
        self.upstream = None
        self.watcher = None
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

    def sent(self, data):
        """Account for a datagram that went to the server."""
        self.datagrams_sent += 1
        self.bytes_sent += len(data)
        self.unanswered = data if len(data) <= MOST_KEPT_BYTES else None
        self.sent_again = False


class SessionTable(object):
    """All sessions, and what becomes of them.

    It owns the upstream sockets, and none of the fronts. `most` sessions at once: then the one idle for longest makes
    room for a new client. With `responses`, a session ends when so many replies have come for each datagram; else, and
    at the latest, after `timeout` seconds without a datagram either way, when `watch_silence` runs. `replies_vouch`:
    any reply shows that its server is well, which is not so where probes want a certain one.
    """

    def __init__(self, pool, log, clock, most, timeout, responses, replies_vouch, on_down, on_removed,
                 log_sessions):
        self.by_key = {}                   # client address, or, beside a wildcard, client and local address -> Session
        self.members = pool
        self.most = most
        self.opened = 0                    # in all
        self.retries = 0                   # moves of a session to another server
        self.drops = collections.Counter()     # reason -> datagrams
        self.closed_to_new_clients = False
        self._ended_datagrams = [0, 0]     # sent to servers and received from them, by sessions that have ended
        self._log = log
        self._clock = clock
        self._timeout = timeout
        self._responses = responses
        self._replies_vouch = replies_vouch
        self._on_down = on_down
        self._on_removed = on_removed
        self._log_sessions = log_sessions
        self._loop = get_hub().loop
        self._idle_workers = []
        self._review_is_due = False
        self._early = collections.deque(maxlen=MOST_EARLY)
        self._longest_idle = []            # candidates to make room, the best last: (last_used, key)
        self._all_ended = Event()
        pool.observers.append(self._pool_changed)

    # --- to servers -------------------------------------------------------------------------------------------------

    def forward(self, key, client, front, data):
        """Send a client's datagram to the server of its session, which is opened or moved if need be.

        Nothing is raised: what goes wrong ends this session alone. An exception would stop gevent's watcher of the
        listener, for good.
        """
        session = self.by_key.get(key)
        try:
            if session is None:
                session = self._open(key, client, front, data)
                if session is None:
                    return
            elif session.stale:
                self._move(session)
            session.last_used = self._clock()
            try:
                session.upstream.send(data)
            except SocketError as error:
                self._send_after_error(session, data, error)
            else:
                session.sent(data)
        except Exception:
            self._failed(client, session)

    def send_after_error(self, session, data, error):
        """Deal with `error`, which sending `data` met. Raises nothing."""
        try:
            self._send_after_error(session, data, error)
        except Exception:
            self._failed(session.client, session)

    def _send_after_error(self, session, data, error):
        """A refusal is that of an earlier datagram, and the kernel has not sent this one: send it now."""
        if error.errno in WOULD_BLOCK or blame(error.errno, 'send', 'udp') == HOST:
            self.drop('upstream_full', 'the send buffer towards {address} is full', address=str(session.address))
        elif error.errno == errno.EMSGSIZE:
            self.drop('too_long', 'a datagram of {size} bytes is too long for {address}', size=len(data),
                      address=str(session.address))
        else:
            self._refused(session, error)
            if session.ended:                 # on_down=close: the client begins anew
                self.forward(session.key, session.client, session.front, data)
            elif self._send_once_more(session, data):
                session.sent(data)

    def _send_once_more(self, session, data):
        """Send, after a refusal. Returns whether that went well."""
        try:
            session.upstream.send(data)
            return True
        except SocketError as error:
            self.drop('send_failed', 'sending to {address} failed: {error}', address=str(session.address),
                      error=error.strerror)
            return False

    def _failed(self, client, session):
        self.drop('session_failed', 'unexpected error in the session of {client}, which ends: {trace}',
                  client=endpoint_text(*client[:2]), trace=traceback.format_exc())
        if session is not None:
            self.end(session)

    # --- a session's server -----------------------------------------------------------------------------------------

    def _open(self, key, client, front, data):
        """A new session, or None: then the datagram has been dropped or put aside."""
        if self.closed_to_new_clients:
            self.drops['draining'] += 1
            return None
        if not self.members.members:
            self._early.append((self._clock(), key, client, front, data))      # until DNS has answered
            return None
        if len(self.by_key) >= self.most:
            self._make_room()
        try:
            lease, upstream = self._find_server([])
        except NobodyReachable as error:
            self.drop('no_server', 'a datagram of a new client was dropped: {error}', error=error)
            return None
        session = Session(key, client, front, self._clock())
        session.greenlet = self._idle_workers.pop() if self._idle_workers else RawGreenlet(self._work, get_hub())
        self._attach(session, lease, upstream)
        self.by_key[key] = session
        self.opened += 1
        return session

    def _move(self, session):
        """To another server; if there is none the session stays where it is, for that server may come back."""
        try:
            lease, upstream = self._find_server([session.address])
        except NobodyReachable:
            session.stale = False             # until `_pool_changed` hears of somebody better
            return
        session.watcher.stop()
        session.upstream.close()
        self._credit(session)
        session.lease.end()
        self._attach(session, lease, upstream)
        self.retries += 1

    def _find_server(self, tried):
        """(lease, socket connected to its address). The caller owns both. Raises NobodyReachable."""
        for _ in range(MOST_ATTEMPTS):
            lease = self.members.take(tried)
            upstream = None
            try:
                upstream = self._connect(lease.address)
            finally:
                if upstream is None:
                    lease.end()
            if upstream is not None:
                return lease, upstream
            tried.append(lease.address)
        raise NobodyReachable('%d servers have been tried' % MOST_ATTEMPTS)

    def _attach(self, session, lease, upstream):
        """The session owns both from now on, and its greenlet is switched to when a reply has come."""
        session.lease = lease
        session.upstream = upstream
        session.stale = False
        session.watcher = self._loop.io(upstream.fileno(), READ)
        session.watcher.start(session.greenlet.switch, session)
        lease.address.total += 1

    def _connect(self, address):
        """A connected UDP socket, or None. Raises NobodyReachable when this host has no more descriptors."""
        try:
            upstream = new_socket(address.family, socket.SOCK_DGRAM)
        except SocketError as error:
            if blame(error.errno, 'socket', 'udp') == HOST:
                raise NobodyReachable('this host is short of resources: %s' % error.strerror)
            code = error.errno                # EAFNOSUPPORT: a host without IPv6
        else:
            code = upstream.connect_ex(address.sockaddr)
            if not code:
                if self._responses != 1:      # for a single reply there is room: that call is 2 % of a short session
                    raise_receive_buffer(upstream)
                return upstream
            upstream.close()
        if blame(code, 'connect', 'udp') != HOST:
            self.members.report_failure(address, os.strerror(code))
        return None

    def _refused(self, session, error):
        """The server refused a datagram (ICMP) or can't be reached: passive health, and on to another server."""
        self.members.report_failure(session.address, error.strerror)
        if not session.ended:             # as the report does, with on_down=close
            self._move(session)

    # --- from servers -----------------------------------------------------------------------------------------------

    def _work(self, session):
        """A greenlet serves one session after another: a new one costs more than all else of a short session.

        Whoever switches to it hands it its session: the watcher of the session's socket, or `_rouse`.
        """
        wait = switch_of(get_hub())
        while True:
            self._carry_replies(session, wait)
            if len(self._idle_workers) >= MOST_IDLE_WORKERS:
                return
            self._idle_workers.append(getcurrent())
            session = wait()

    def _carry_replies(self, session, wait):
        """Carry replies, one each time that the session's socket is readable, until the session is ended."""
        try:
            while not session.ended:
                try:
                    data = session.upstream.recv(MOST_BYTES)
                except SocketError as error:
                    if error.errno not in WOULD_BLOCK:
                        self._upstream_failed(session, error)
                else:
                    self._carry_reply(session, data)
                if not session.ended:
                    wait()
        except Exception:
            self._log.error('session_failed', 'unexpected error in the session of {client}, which ends: {trace}',
                            client=endpoint_text(*session.client[:2]), trace=traceback.format_exc())
        finally:
            session.greenlet = None
            self.end(session)
            session.watcher.stop()
            session.upstream.close()

    def _carry_reply(self, session, data):
        address = session.lease.address
        if self._replies_vouch and (address.streak or not address.up):
            self.members.report_success(address)
        session.unanswered = None
        session.last_used = self._clock()
        session.datagrams_received += 1
        session.bytes_received += len(data)
        try:
            session.front.sendto(data, session.client)
        except SocketError as error:
            self.drop('client_full' if error.errno in WOULD_BLOCK else 'reply_failed',
                      'a reply could not be sent: {error}', error=error.strerror)
        if self._responses and session.datagrams_received >= self._responses * session.datagrams_sent:
            self.end(session)

    def _upstream_failed(self, session, error):
        """A refusal has come back. The datagram that it concerns goes to another server, once, if it is unanswered."""
        data, again = session.unanswered, session.sent_again
        self._refused(session, error)
        if data is not None and not again and not session.ended:
            session.sent_again = True
            self._send_once_more(session, data)

    # --- ends -------------------------------------------------------------------------------------------------------

    def end(self, session):
        """End a session, from any greenlet or the hub.

        Its socket is closed at once: what follows may need the descriptor. Its own greenlet does that by itself.
        """
        if self.by_key.get(session.key) is not session:
            return
        del self.by_key[session.key]
        session.ended = True
        self._account(session)
        session.lease.end()
        if session.greenlet is not getcurrent():
            session.watcher.stop()
            session.upstream.close()
            self._loop.run_callback(self._rouse, session)
        if not self.by_key:
            self._all_ended.set()

    def _rouse(self, session):
        if session.greenlet is not None:       # else it has noticed the end by itself
            session.greenlet.switch(session)

    def _credit(self, session):
        """Count what the session has carried for its server, of which it takes leave."""
        session.address.sent += session.bytes_sent
        session.address.received += session.bytes_received
        session.bytes_sent = session.bytes_received = 0

    def _account(self, session):
        self._ended_datagrams[0] += session.datagrams_sent
        self._ended_datagrams[1] += session.datagrams_received
        if self._log_sessions:
            self._log.debug('session', '{client} to {address} ended, {bytes_out} bytes out, {bytes_in} in',
                            client=endpoint_text(*session.client[:2]), address=str(session.address),
                            member=session.address.member.name, bytes_out=session.bytes_sent,
                            bytes_in=session.bytes_received)
        self._credit(session)

    def end_all(self):
        """Returns how many it were."""
        left = list(self.by_key.values())
        for session in left:
            self.end(session)
        return len(left)

    def wait_for_ends(self, seconds):
        """Wait until there is no session, for `seconds` at most."""
        self._all_ended.clear()
        if self.by_key:
            self._all_ended.wait(max(0, seconds))

    def _make_room(self):
        """End the session that has been idle longest.

        Candidates are found a sixteenth of the table at a time, so that a flood of unknown sources costs the same for
        each datagram however large the table is.
        """
        while True:
            if not self._longest_idle:
                count = len(self.by_key) // 16 + 1
                entries = ((session.last_used, key) for key, session in self.by_key.items())
                self._longest_idle = heapq.nsmallest(count, entries)[::-1]
            last_used, key = self._longest_idle.pop()
            session = self.by_key.get(key)
            if session is not None and session.last_used == last_used:
                break
        self.end(session)
        self.drop('session_evicted', 'max_sessions={most} reached: the session idle longest made room', most=self.most)

    def watch_silence(self):
        """Runs in a greenlet of its own: ends sessions that nobody has used for `timeout`, up to an eighth too late."""
        while True:
            gevent.sleep(min(self._timeout / 8, SLOWEST_SWEEP))
            for position, session in enumerate(list(self.by_key.values())):
                if position % 256 == 255:
                    gevent.sleep(0)       # let traffic pass
                if self._clock() - session.last_used >= self._timeout:
                    self.end(session)

    # --- news of servers --------------------------------------------------------------------------------------------

    def _pool_changed(self, event, subject):
        """The pool's observer."""
        if event == 'filled':
            self._loop.run_callback(self._replay_early)
        elif event in ('up', 'added') and not self._review_is_due:
            self._review_is_due = True
            self._loop.run_callback(self._review)
        elif event in ('down', 'removed'):
            if event == 'down':
                close = self._on_down == 'close' and not subject.member.up
            else:
                close = self._on_removed == 'close'
            for session in [session for session in self.by_key.values() if session.address is subject]:
                session.stale = True
                if close:
                    self.end(session)

    def _review(self):
        """There is somebody new or up again: sessions that had nowhere to go but to a server that is down may leave it."""
        self._review_is_due = False
        for session in self.by_key.values():
            session.stale = not session.address.up or session.address.member.departing

    def _replay_early(self):
        """Datagrams that came before there was a server, and are not too old for their clients to wait for a reply."""
        early = list(self._early)
        self._early.clear()
        for came, key, client, front, data in early:
            if self._clock() - came < EARLY_SECONDS:
                self.forward(key, client, front, data)
            else:
                self.drops['too_early'] += 1

    # --- what is counted and said -----------------------------------------------------------------------------------

    def drop(self, kind, template, **fields):
        """Count a datagram, or a session, that was dropped, and say so."""
        self.drops[kind] += 1
        self._log.warning(kind, template, **fields)

    def bytes_in_flight(self):
        """What living sessions have carried so far: address -> (sent, received), in bytes."""
        totals = {}
        for session in self.by_key.values():
            sent, received = totals.get(session.address, (0, 0))
            totals[session.address] = sent + session.bytes_sent, received + session.bytes_received
        return totals

    def datagrams(self):
        """(sent to servers, received from servers) since the start."""
        living = list(self.by_key.values())
        return (self._ended_datagrams[0] + sum(session.datagrams_sent for session in living),
                self._ended_datagrams[1] + sum(session.datagrams_received for session in living))
