"""TCP: accept, take a member, connect, relay, release. A greenlet for each connection, in straight-line code."""
from __future__ import absolute_import, division, print_function

import errno
import traceback

import gevent
from gevent import get_hub, getcurrent
from gevent.event import Event
from gevent.hub import RawGreenlet
from gevent.server import StreamServer

from ..compat import SocketError, WOULD_BLOCK, accept
from ..net.blame import HOST, SERVER, SHORTAGES
from ..net.connect import ConnectError, connect
from ..durations import Durations
from ..errors import HOST_IS_SHORT, TOO_LATE, NobodyReachable
from ..net.resets import abort
from ..net.socket_options import keep_alive, send_without_delay
from .relay import Relay
from ..net import reuse_port as sharing

#: accept(2) when this host is short of something: wait, then go on.
ACCEPT_PAUSE = 0.1                # seconds

#: A client is kept waiting for a server so many times `connect_timeout` in all, however many servers there
#: are to try.
MOST_CONNECT_TIMEOUTS = 4

MOST_IDLE_WORKERS = 128

SLOWEST_SWEEP = 10.0              # seconds between two looks for silent sessions, at most


class SessionCut(Exception):
    """Thrown into a session's greenlet to end it; the text is the reason."""


class Session(object):
    """One client connection. `address` and `relay` are None until a server has been reached."""

    __slots__ = ('peer', 'greenlet', 'address', 'relay', 'opened', 'moved_before', 'half_closed_before', 'quiet_since',
                 'kept_alive')

    def __init__(self, peer, greenlet, now):
        self.peer = peer
        self.greenlet = greenlet
        self.address = None
        self.relay = None
        self.opened = now
        self.moved_before = 0              # what the last sweep saw, see `TcpServer.sweep`
        self.half_closed_before = False
        self.quiet_since = now
        self.kept_alive = False


class TcpServer(StreamServer):
    """Carries each connection that `listener` accepts to a member of `pool`.

    `listener` is a bound, listening gevent socket (see `net.listeners`); this object owns it from now on. `resources` is the
    relays' RelayResources. Time-outs are seconds, 0 for none. `max_connections` sessions are served at once; further
    clients wait in the kernel's queue. `log_sessions` logs each connection at debug.
    """

    def __init__(self, listener, pool, resources, log, clock, max_connections, connect_timeout=3.0, idle_timeout=0,
                 half_close_timeout=300.0, on_down='keep', on_removed='keep', log_sessions=False):
        StreamServer.__init__(self, listener, handle=self._serve)
        self.pool = None                   # gevent's word for a pool of greenlets, which we do without
        self.members = pool
        self.sessions = set()
        self.max_connections = max_connections
        self.accepted = 0
        self.retries = 0
        self.connect_times = Durations()   # of attempts that succeeded
        self.refused = {}                  # kind of NobodyReachable -> how many clients were reset for it
        self._resources = resources
        self._log = log
        self._clock = clock
        self._connect_timeout = connect_timeout
        self._idle_timeout = idle_timeout
        self._half_close_timeout = half_close_timeout
        self._on_down = on_down
        self._on_removed = on_removed
        self._log_sessions = log_sessions
        self._paused = False               # accepting has stopped, for want of descriptors or sessions
        self._short_of_resources = False
        self._queue_is_empty = False       # what the last accept that failed has found
        self._draining = False
        self._session_ended = Event()
        self._idle_workers = []
        self._members_arrived = Event()
        self._all_ended = Event()
        pool.observers.append(self._pool_changed)

    # --- accepting --------------------------------------------------------------------------------------------------

    def full(self):
        if len(self.sessions) < self.max_connections:
            return False
        self._paused = True
        return True

    def do_read(self):
        """gevent's hook: accept one client. Returns (bare socket, peer), or None when there is none to be had now."""
        try:
            accepted = accept(self.socket)
        except SocketError as error:
            # Anything else is the fault of a connection that is gone already: accept(2) says to treat it like
            # EAGAIN.
            self._queue_is_empty = error.errno in WOULD_BLOCK
            if error.errno in SHORTAGES:
                self._pause(error)
            return None
        self.accepted += 1
        if self._short_of_resources:
            self._short_of_resources = False
            self._log.info('accepting_again', 'accepting connections again')
        return accepted

    def do_handle(self, client, peer):
        """gevent's hook, called by the hub: the session's greenlet starts at once and comes back here at its first
        wait."""
        worker = self._idle_workers.pop() if self._idle_workers else RawGreenlet(self._work, get_hub())
        worker.switch(client, peer)

    def _work(self, client, peer):
        """A greenlet serves one connection after another: on Python 3.11 and newer each new one maps memory for its
        frames, which costs a fourteenth of a short connection."""
        while True:
            self._serve(client, peer)
            if len(self._idle_workers) >= MOST_IDLE_WORKERS or not self.started:
                return
            self._idle_workers.append(getcurrent())
            client, peer = get_hub().switch()

    def _pause(self, error):
        """Out of descriptors or memory: clients wait in the kernel's queue. The listener stays readable, so watching it
        would spin."""
        if not self._short_of_resources:
            self._short_of_resources = True
            self._log.warning('accept_paused', 'clients wait: {error}; raise the limit of open files or lower '
                              'max_connections', error=error.strerror)
        self.stop_accepting()
        gevent.spawn_later(ACCEPT_PAUSE, self._resume_accepting)

    def _resume_accepting(self):
        self._paused = False
        if self.started and not self._draining:
            self.start_accepting()

    # --- one connection ---------------------------------------------------------------------------------------------

    def _serve(self, client, peer):
        """The greenlet of one connection. It owns `client`, and nothing that goes wrong in it reaches anyone else."""
        session = Session(peer, getcurrent(), self._clock())
        self.sessions.add(session)
        try:
            self._carry(session, client)
        except NobodyReachable as error:
            abort(client)
            self._refuse(session, error)
        except (SessionCut, gevent.GreenletExit) as reason:
            abort(client)
            self._log.debug('session_cut', 'cut {client}: {reason}', client=peer_text(peer), reason=str(reason))
        except Exception:
            abort(client)
            self._log.error('session_failed', 'unexpected error in the session of {client}, which ends: {trace}',
                            client=peer_text(peer), trace=traceback.format_exc())
        finally:
            client.close()
            self.sessions.discard(session)
            self._session_ended.set()
            if self._paused:
                self._resume_accepting()
            if not self.sessions:
                self._all_ended.set()

    def _carry(self, session, client):
        """Find a server for the session and relay until its end. What fails is tried elsewhere: the client never
        notices."""
        deadline = session.opened + MOST_CONNECT_TIMEOUTS * self._connect_timeout
        if not self.members.members:
            self._wait_for_members()
        tried = None
        while True:
            with self.members.take(tried, session.peer[0]) as lease:
                self.retries += tried is not None
                upstream = self._connect(lease)
                if upstream is not None:
                    return self._relay(session, client, upstream, lease.address)
            tried = lease.tried
            gevent.sleep(0)               # many that fail at once must not hold up the others
            if self._clock() > deadline:
                raise NobodyReachable(TOO_LATE)

    def _wait_for_members(self):
        """Before the first answer of DNS a client waits, it is not reset."""
        self._members_arrived.clear()
        self._members_arrived.wait(self._connect_timeout)

    def _connect(self, lease):
        """A connected socket, or None when the attempt failed and another may be made. Tells the lease (passive
        health)."""
        try:
            upstream = connect(lease.address, self._connect_timeout)
        except ConnectError as error:
            lease.failed(str(error), HOST if error.local else SERVER)
            # EADDRNOTAVAIL can be the lack of ports towards this address alone.
            if error.local and error.code != errno.EADDRNOTAVAIL:
                raise NobodyReachable(HOST_IS_SHORT, 'this host is short of resources: %s' % error)
            return None
        self.connect_times.add(self._clock() - lease.began)
        lease.succeeded()
        return upstream

    def _relay(self, session, client, upstream, address):
        """Relay between the two until the session's end. Closes `upstream`."""
        relay = Relay(client, upstream, self._resources)
        session.address = address
        session.relay = relay
        address.total += 1
        if self._on_removed == 'close' and address.member.departing:       # it left while we connected
            self.cut(session, 'the server has left')
        whole = False
        try:
            send_without_delay(upstream)
            relay.run()
            whole = not relay.broken
        finally:
            if not whole:
                abort(upstream)
                abort(client)
            upstream.close()
            address.sent += relay.outbound.moved
            address.received += relay.inbound.moved
            if self._log_sessions:
                self._log_end(session)

    # --- what is counted and said -----------------------------------------------------------------------------------

    def _refuse(self, session, error):
        reason = str(error)
        self.refused[error.kind] = self.refused.get(error.kind, 0) + 1
        self._log.warning('refused', 'reset {client}: {reason}', client=peer_text(session.peer), reason=reason)

    def _log_end(self, session):
        self._log.debug('session', '{client} to {address} ended after {duration:.3f} s, {bytes_out} bytes out, '
                        '{bytes_in} in', client=peer_text(session.peer), address=str(session.address),
                        member=session.address.member.name, duration=self._clock() - session.opened,
                        bytes_out=session.relay.outbound.moved, bytes_in=session.relay.inbound.moved)

    # --- ending sessions --------------------------------------------------------------------------------------------

    def cut(self, session, reason):
        """End a session from outside, soon: both its peers get a reset."""
        get_hub().loop.run_callback(self._throw, session, reason)

    def _throw(self, session, reason):
        if session in self.sessions:
            session.greenlet.throw(SessionCut(reason))

    def _pool_changed(self, event, subject):
        """The pool's observer."""
        if event == 'filled':
            self._members_arrived.set()
        elif event == 'down' and self._on_down == 'close' and not subject.member.up:
            for address in subject.member.addresses:
                self.cut_sessions_of(address, 'the server is down')
        elif event == 'removed' and self._on_removed == 'close':
            self.cut_sessions_of(subject, 'the server has left')

    def cut_sessions_of(self, address, reason):
        for session in self.sessions:
            if session.address is address:
                self.cut(session, reason)

    def watch_silence(self):
        """Runs in a greenlet of its own: cuts sessions that stayed silent for too long, found by comparing byte
        counters.

        So the time-outs cost the relay nothing, and act up to an eighth too late.
        """
        while True:
            limits = [limit / 8 for limit in (self._idle_timeout, self._half_close_timeout) if limit]
            gevent.sleep(min(limits + [SLOWEST_SWEEP]))
            for position, session in enumerate(list(self.sessions)):
                if position % 256 == 255:
                    gevent.sleep(0)       # let traffic pass
                if session.relay is not None and session in self.sessions:
                    self._keep_alive(session)
                    self._cut_if_silent(session, session.relay, self._clock())

    def _keep_alive(self, session):
        """Only who lives to see a sweep needs it: those four system calls are 3 % of a short connection."""
        if not session.kept_alive:
            keep_alive(session.relay.outbound.sink)
            session.kept_alive = True

    def _cut_if_silent(self, session, relay, now):
        if (relay.moved, relay.half_closed) != (session.moved_before, session.half_closed_before):
            session.moved_before, session.half_closed_before = relay.moved, relay.half_closed
            session.quiet_since = now
            return
        quiet = now - session.quiet_since
        if relay.lost_a_peer():
            self.cut(session, 'one side is gone')
        elif relay.half_closed and self._half_close_timeout and quiet >= self._half_close_timeout:
            self.cut(session, 'half-closed and silent')
        elif self._idle_timeout and quiet >= self._idle_timeout:
            self.cut(session, 'idle')

    def drain(self, seconds):
        """Serve who waits in the accept queue, close the listener, let sessions end for `seconds`, then cut the rest.

        Returns how many were cut.
        """
        deadline = self._clock() + seconds
        shared = sharing.in_company(self.socket)
        if shared:
            self._leave_to_others(min(seconds / 2, sharing.HANDSHAKE_SECONDS))
        self._serve_the_queue(deadline)
        if shared:
            sharing.leave(self.socket)
        self.close()
        if self.sessions:
            self._all_ended.clear()
            self._all_ended.wait(max(0, deadline - self._clock()))
        return self.cut_all('drain_timeout has passed')

    def _serve_the_queue(self, deadline):
        """Closing the listener would reset those who wait in its queue: take them first, `max_connections` at a time."""
        self._draining = True
        self.stop_accepting()
        while self._clock() < deadline:
            if self.full():
                self._session_ended.clear()
                self._session_ended.wait(deadline - self._clock())
                continue
            accepted = self.do_read()
            if accepted is not None:
                get_hub().loop.run_callback(self.do_handle, *accepted)
                gevent.sleep(0)            # it begins, and counts
            elif self._queue_is_empty:
                return
            else:
                gevent.sleep(ACCEPT_PAUSE)

    def _leave_to_others(self, seconds):
        """Send new clients to the other instances that share our address, and serve for `seconds` those who come still."""
        sharing.send_clients_to_others(self.socket)
        try:
            gevent.sleep(seconds)
        except gevent.GreenletExit:        # a second signal
            sharing.spread_evenly(self.socket)
            raise
        sharing.stop_taking(self.socket)

    def move(self, listener):
        """Accept from another bound listener, which this object owns from now on. Sessions go on; clients that wait in the
        old one's queue are served, as many as there is room for."""
        self.stop_accepting()
        while not self.full():
            accepted = self.do_read()
            if accepted is None:
                break
            get_hub().loop.run_callback(self.do_handle, *accepted)
            gevent.sleep(0)                # it begins, and counts
        self.stop_accepting()
        self.socket.close()
        self.set_listener(listener)
        self.init_socket()                 # as `start` does
        self._resume_accepting()

    def change(self, settings, max_connections):
        """Other settings from now on, for sessions that live as well."""
        self.max_connections = max_connections
        self._connect_timeout = settings.connect_timeout
        self._idle_timeout = settings.idle_timeout
        self._half_close_timeout = settings.half_close_timeout
        self._on_down = settings.on_down
        self._on_removed = settings.on_removed
        self._log_sessions = settings.log_level == 'debug'
        if self._paused:
            self._resume_accepting()

    def cut_all(self, reason):
        """End every session, and wait until they have. Returns how many it were."""
        left = list(self.sessions)
        for session in left:
            self.cut(session, reason)
        if left:
            self._all_ended.clear()
            self._all_ended.wait(1.0)
        return len(left)

    def counts(self):
        """What the status shows of connections; a plain dict."""
        return {'active': len(self.sessions), 'most': self.max_connections, 'total': self.accepted,
                'retries': self.retries,
                'refused': dict(self.refused),
                'connect_seconds': self.connect_times.snapshot()}

    def bytes_in_flight(self):
        """What living sessions have carried so far: address -> (sent, received), in bytes."""
        totals = {}
        for session in self.sessions:
            if session.relay is not None:
                sent, received = totals.get(session.address, (0, 0))
                totals[session.address] = sent + session.relay.outbound.moved, received + session.relay.inbound.moved
        return totals


def peer_text(peer):
    """`127.0.0.1:50000` or `[::1]:50000` of what accept gave."""
    return ('[%s]:%d' if ':' in peer[0] else '%s:%d') % peer[:2]
