"""The TCP server: each client becomes a Session; what sessions ask and tell, other settings, drain."""
from __future__ import absolute_import, division, print_function

import socket
from functools import partial

import gevent
from gevent import get_hub
from gevent.event import Event

from ..errors import DRAIN
from ..hub import never_waits
from ..net.own_listener import was_meant_for
from ..net.resets import abort
from ..net.workers import Workers
from .acceptor import Acceptor
from .ending import ENDS_OF_SERVERS, Deliveries, Sweeper
from .fate import endings
from .queue import Queue
from .relay import Relay
from .session import Session
from .tally import Tally, peer_text


class TcpServer(Acceptor):
    """Carries each connection that `listener` accepts to a member of `pool`.

    `listener` is a bound, listening gevent socket (see `net.listeners`); this object owns it from now on. `resources` is
    the relays' RelayResources. For `max_connections` and `share` see `acceptor`. `access_log`, where that is wanted, is
    called with a line for each session that has ended.

    A greenlet belongs to a connection only while that has to wait (see `session`).
    """

    def __init__(self, listener, pool, resources, log, clock, settings, max_connections, access_log=None,
                 share=None):
        Acceptor.__init__(self, listener, log, clock, max_connections, share)
        self.members = pool
        self.take = pool.take              # or that of `early_ends`, while they have a server to try
        self.resources = resources
        self.settings = settings
        self.tally = Tally(log, clock)
        self.tally.change(settings, access_log)
        self.deliveries = Deliveries(clock, self)
        self.queue = Queue(pool, clock)
        self.early_ends = None             # an EarlyEnds, once that is wanted
        self._workers = Workers()
        self.own_ends = {}                 # local address of each of our sockets to servers -> where that goes
        self._answers_came = Event()
        self._all_ended = Event()
        pool.observers.append(self._pool_changed)
        self._guard()

    # --- clients ----------------------------------------------------------------------------------------------------

    @never_waits
    def do_handle(self, client, peer):
        """Called by the hub: the session's greenlet starts at once and comes back here at its first wait."""
        if peer[:2] in self.own_ends and was_meant_for(client, self.own_ends[peer[:2]]):
            return self._refuse_loop(client, peer)
        session = self._session_of(self, client, peer, self.clock())
        self.sessions.add(session)
        self._workers.run(session.begin)

    def _guard(self):
        """Have clients pass what the settings put before `do_handle`, and become sessions of the kind that they need."""
        settings, self._session_of = self.settings, Session
        self.__dict__.pop('do_handle', None)
        if self.socket.family == socket.AF_UNIX:
            from .admission import UnixAdmission
            self.do_handle = UnixAdmission(self).do_handle
        elif settings.allow or settings.deny or settings.accept_proxy:
            from .admission import Admission
            self.do_handle = Admission(self).do_handle
        if settings.accept_proxy or settings.proxy != 'off':
            from .proxied_session import ProxiedSession
            self._session_of = ProxiedSession
        self.relay_of = Relay
        if self.tally.times_sessions:
            from .timed_relay import TimedRelay
            self.relay_of = TimedRelay
        if settings.early_close == 'failure':
            from .early_end import EarlyEnds
            from .watched_session import watched_relay, watched_session
            self.early_ends = self.early_ends or EarlyEnds(self.members, self.clock, self)
            self.relay_of, self._session_of = watched_relay(self.relay_of), watched_session(self._session_of)
        if self.tally.times_sessions:
            self.relay_of = partial(self.relay_of, clock=self.clock)
        self.make_socket = ()              # further arguments of `connect`
        if settings.source:
            from ..net.source import Source
            self.make_socket = (Source(settings.source).new_socket,)

    def _refuse_loop(self, client, peer):
        """The client is one of our own connections to a server, whose address leads to us. Both ends of it are compared: a
        client may have the same local port towards us as we have towards a server."""
        self._log.warning('loop', 'a connection to the server {address} came back to the listener and was reset: that '
                          'address leads to SideLB itself', address=peer_text(self.own_ends[peer[:2]]))
        abort(client)
        client.close()

    # --- what sessions ask, and tell ---------------------------------------------------------------------------------

    def wait_for_answers(self):
        """Before the first answer of DNS a client waits: it is neither reset nor sent to a worse tier."""
        self.members.want()
        self._answers_came.clear()
        self._answers_came.wait(self.settings.connect_timeout)

    @never_waits
    def begin_again(self, session, tried):
        """Find another server for a session than those of `tried`."""
        if not session.ended:
            self._workers.run(session.begin, tried)

    @never_waits
    def session_ended(self, session, reason):
        """`session` has closed its sockets."""
        self.sessions.discard(session)
        self.own_ends.pop(session.own_end, None)
        if session.relay is not None:
            session.address.sent += session.relay.outbound.moved
            session.address.received += session.relay.inbound.moved
        if reason in ENDS_OF_SERVERS:
            self.members.report_end(session.address)
        self.tally.end(session, reason)
        self.make_room()

    def make_room(self):
        Acceptor.make_room(self)
        if not self.sessions:
            self._all_ended.set()

    # --- ending sessions --------------------------------------------------------------------------------------------

    @never_waits
    def _pool_changed(self, event, subject):
        """The pool's observer."""
        if event == 'filled':
            self._answers_came.set()
        else:
            for address, reason in endings(event, subject, self.settings):
                self.cut_sessions_of(address, reason)

    @never_waits
    def cut_sessions_of(self, address, reason):
        """End every session of a server's address, soon."""
        for session in list(self.sessions):
            if session.address is address:
                self.cut_one(session, reason)

    def living(self):
        """A list of the sessions."""
        return list(self.sessions)

    def cut_one(self, session, reason):
        get_hub().loop.run_callback(session.cut, reason)

    def watch_silence(self):
        """Runs in a greenlet of its own: ends sessions that stayed silent for too long, and those that have delivered what
        they owed."""
        delivering = gevent.spawn(self.deliveries.run)
        try:
            Sweeper(self.sessions, self.clock, self).run()
        finally:
            delivering.kill(block=False)

    def drain(self, seconds):
        """Serve the clients that are already in the accept queue, close the listener, let sessions end for `seconds`, then
        cut the rest. Returns how many were cut."""
        deadline = self.clock() + seconds
        self.close_after_queue(deadline)
        if self.sessions:
            self._all_ended.clear()
            self._all_ended.wait(max(0, deadline - self.clock()))
        left = self.cut_all(DRAIN)
        if self.early_ends:
            self.early_ends.close()
        return left

    def move(self, listener):
        """Accept from another bound listener, which this object owns from now on. Sessions go on."""
        self._move(listener)
        self._guard()
        self._accept_again()

    def change(self, settings, max_connections, access_log=None):
        """Other settings from now on, for sessions that live as well."""
        self.settings = settings
        self.max_connections = max_connections
        self.tally.change(settings, access_log)
        self._guard()
        if self._paused:
            self._accept_again()

    def cut_all(self, reason=DRAIN):
        """End every session at once, and wait until they have ended. Returns how many there were."""
        left = list(self.sessions)
        for session in left:
            session.cut(reason, at_once=True)
        if self.sessions:
            self._all_ended.clear()
            self._all_ended.wait(1.0)
        return len(left)

    # --- what is counted --------------------------------------------------------------------------------------------

    def counts(self):
        """What the status shows of connections; a plain dict."""
        return dict(self.tally.counts(), active=len(self.sessions), most=self.most, waiting=len(self.queue),
                    queue_seconds=self.queue.times.snapshot())

    def bytes_in_flight(self):
        """What living sessions have carried so far: address -> (sent, received), in bytes."""
        totals = {}
        for session in self.sessions:
            if session.relay is not None:
                sent, received = totals.get(session.address, (0, 0))
                totals[session.address] = sent + session.relay.outbound.moved, received + session.relay.inbound.moved
        return totals
