"""Accepting clients as long as there is room for them; while there is none they wait in the kernel's queue."""
from __future__ import absolute_import, division, print_function

import gevent
from gevent import get_hub
from gevent.event import Event
from gevent.server import StreamServer

from ..compat import SocketError, WOULD_BLOCK, accept
from ..hub import never_waits
from ..limits import most_within
from ..net import reuse_port as sharing
from ..net.accepting import ACCEPT_PAUSE, PausesAccepting
from ..net.blame import SHORTAGES

ACCEPTS = 100                     # clients accepted before others get their turn


class Acceptor(PausesAccepting, StreamServer):
    """The part of the server that owns the listener. A subclass takes clients over by `do_handle(bare socket, peer)`, counts
    them in `tally`, and says `make_room()` when one of `sessions` has ended.

    `max_connections` sessions are served at once. `share`, where services have one count of descriptors, is a limits.Share.

    gevent's StreamServer is what listens. Of its hooks `full`, `_do_read` and `do_read` are ours: sockets are bare.
    """

    def __init__(self, listener, log, clock, max_connections, share):
        StreamServer.__init__(self, listener, handle=self.do_handle)
        self.pool = None                   # gevent's word for a pool of greenlets, which we do without
        self.clock = clock
        self.sessions = set()
        self.max_connections = max_connections
        self.queue_is_old = False          # clients have waited in the kernel's queue, and some may have left
        self._log = log
        self._share = share
        if share is not None:
            share.sessions = self.sessions
            self.full = self._full_in_its_share
        self._look = None                  # the greenlet that is going to look whether others have left room
        self._paused = False               # accepting has stopped, for want of descriptors or sessions
        self._short_of_resources = False
        self._queue_is_empty = False       # what the last accept that failed has found
        self._draining = False
        self._session_ended = Event()

    # --- room -------------------------------------------------------------------------------------------------------

    def full(self):
        """Is there no room for another client? Then accepting goes on when there is."""
        if len(self.sessions) < self.max_connections:
            return False
        self._paused = self.queue_is_old = True
        return True

    def _full_in_its_share(self):
        """Stands for `full` where services share the descriptors: those of others may be what is lacking, whose ends nobody
        tells us of."""
        if Acceptor.full(self):
            return True
        if self._share.has_room():
            return False
        self._paused = self.queue_is_old = True
        if self._look is None:             # each end of a session leads here again
            self._look = gevent.spawn_later(ACCEPT_PAUSE, self._look_for_room)
        return True

    def _look_for_room(self):
        self._look = None
        self._accept_again()

    @property
    def most(self):
        """How many clients it can have now."""
        return most_within(self.max_connections, self._share)

    def make_room(self):
        """There is one session less."""
        self._session_ended.set()
        if self._paused:
            self._accept_again()

    # --- accepting --------------------------------------------------------------------------------------------------

    @never_waits
    def _do_read(self):
        """gevent's hook, called by the hub: the listener is readable."""
        for _ in range(ACCEPTS):
            if self.full():
                return self.stop_accepting()
            accepted = self.do_read()
            if accepted is None:
                return None
            self.do_handle(*accepted)

    @never_waits
    def do_read(self):
        """Accept one client. Returns (bare socket, peer), or None when there is none to be had now."""
        try:
            accepted = accept(self.socket)
        except SocketError as error:
            # Anything else is the fault of a connection that is gone already: accept(2) says to treat it like
            # EAGAIN.
            self._queue_is_empty = error.errno in WOULD_BLOCK
            self.queue_is_old = self.queue_is_old and not self._queue_is_empty
            if error.errno in SHORTAGES:
                self._pause_for(error)
            return None
        self.tally.accepted += 1
        if self._short_of_resources:
            self._short_of_resources = False
            self._log.info('accepting_again', 'accepting connections again')
        return accepted

    def _pause_for(self, error):
        """Out of descriptors or memory."""
        if not self._short_of_resources:
            self._short_of_resources = True
            self._log.warning('accept_paused', 'clients wait: {error}; raise the limit of open files or lower '
                              'max_connections', error=error.strerror)
        self.queue_is_old = True
        self.pause_accepting()

    def _accept_again(self):
        self._paused = False
        if self.started and not self._draining:
            self.start_accepting()

    # --- the end of a listener --------------------------------------------------------------------------------------

    def close_after_queue(self, deadline):
        """Serve the clients that are already in the kernel's queue, until `deadline` at most, and close the listener."""
        shared = sharing.has_siblings(self.socket)
        try:
            if shared:
                self._leave_to_others(min((deadline - self.clock()) / 2, sharing.HANDSHAKE_SECONDS))
            self._serve_the_queue(deadline)
        finally:                               # also when a second signal ends this greenlet
            if shared:
                sharing.close_and_rebalance(self.socket)
            self.close()

    def _leave_to_others(self, seconds):
        """Send new clients to the other instances that share our address, and serve for `seconds` those who come still."""
        sharing.send_clients_to_others(self.socket)
        gevent.sleep(seconds)
        sharing.drop_new_handshakes(self.socket)

    def _serve_the_queue(self, deadline):
        """Closing the listener would reset those who wait in its queue: take them first, as there is room for them."""
        self._draining = True
        self.stop_accepting()
        while self.clock() < deadline:
            if self.full():
                self._session_ended.clear()
                self._session_ended.wait(min(deadline - self.clock(), ACCEPT_PAUSE))       # others may make room, too
                continue
            accepted = self.do_read()
            if accepted is not None:
                self._begin(accepted)
            elif self._queue_is_empty:
                return
            else:
                gevent.sleep(ACCEPT_PAUSE)

    def _begin(self, accepted):
        get_hub().loop.run_callback(self.do_handle, *accepted)
        gevent.sleep(0)                        # it begins, and counts

    def _move(self, listener):
        """Accept from another bound listener, which this object owns from now on. Clients that wait in the old one's queue
        are served, as many as there is room for. `_accept_again` is the next step."""
        self.stop_accepting()
        while not self.full():
            accepted = self.do_read()
            if accepted is None:
                break
            self._begin(accepted)
        self.stop_accepting()
        self.socket.close()
        self.set_listener(listener)
        self.init_socket()                     # as `start` does
