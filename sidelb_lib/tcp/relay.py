"""Carries bytes both ways between two connected sockets until both directions have ended.

A relay is a small state machine in the callbacks of watchers: nothing on the way of the bytes ever waits, so no greenlet
is switched to for a wake-up (2 of 5 us of user time for a small request) and none is kept for an idle connection (6.5 of 8
KiB; Python 3.11, November 2026). Its rules:

- two read watchers a connection, started once; what one finds is sent on at once, out of one buffer for all relays;
- only what the sink refuses is copied out and held back; then that direction reads nothing until the sink has room
  (back-pressure): it holds at most one buffer or one pipe;
- a direction that keeps filling large reads moves to splice(2) through a pipe of its own, and back when it no longer does;
- EOF becomes a half-close, after what was read before it. The relay ends when both directions have;
- a reset ends both directions. If it was the sink that failed, what it had said before still goes the other way;
- `stop_reading` ends a relay from outside, once what it holds is delivered;
- an unexpected exception in a callback ends this relay alone.
"""
from __future__ import absolute_import, division, print_function

from ..net.resets import connection_is_gone
from .direction import Direction

CLIENT, SERVER = 'client', 'server'


class Relay(object):
    """Both directions between `client` and `upstream`, two connected, non-blocking bare sockets, which the caller owns
    and closes.

    `start` once; `on_end()` is called, by the hub, when both directions have ended. Then the caller calls `close`, which
    it may do at any time. Meanwhile others may look at `outbound.moved` (client to upstream) and `inbound.moved`.
    Afterwards `failed_side` tells which peer was reset, CLIENT or SERVER, and `first_end` which one ended first; `failure`
    is the sys.exc_info() of an exception that nobody expected.
    """

    __slots__ = ('resources', 'outbound', 'inbound', 'failed_side', 'first_end', 'failure', 'stopped', '_on_end')

    kind_of_outbound = kind_of_inbound = Direction
    began = first_byte = None          # of a TimedRelay

    def __init__(self, client, upstream, resources):
        self.resources = resources
        self.outbound = self.kind_of_outbound(self, client, upstream)
        self.inbound = self.kind_of_inbound(self, upstream, client)
        self.failed_side = None
        self.first_end = None
        self.failure = None
        self.stopped = False
        self._on_end = None

    @property
    def ended(self):
        return self.outbound.ended and self.inbound.ended

    @property
    def half_closed(self):
        return self.outbound.ended or self.inbound.ended

    @property
    def moved(self):
        return self.outbound.moved + self.inbound.moved

    @property
    def held(self):
        return self.outbound.held + self.inbound.held

    @property
    def survivor(self):
        """The socket of the peer that was not reset: it may be owed bytes. None where no one was reset."""
        if self.failed_side is None:
            return None
        return self.outbound.sink if self.failed_side == CLIENT else self.inbound.sink

    def start(self, loop, on_end):
        self._on_end = on_end
        self.outbound.start(loop)
        self.inbound.start(loop)

    def stop_reading(self):
        """End from outside: read nothing more, deliver what is held, then `on_end`."""
        self.stopped = True
        self.outbound.stop_reading()
        self.inbound.stop_reading()
        self.end_if_all_is_done()

    def close(self):
        """Stop carrying, and let go of what is held. Idempotent; `on_end` is not called any more."""
        self._on_end = None
        self.outbound.close()
        self.inbound.close()

    def vanished_peer(self):
        """CLIENT or SERVER when that peer has been reset since it said EOF, which nobody would notice otherwise; else
        None."""
        for direction in (self.outbound, self.inbound):
            if direction.ended and connection_is_gone(direction.source):
                return self._side_of(direction.source)
        return None

    def gone_while_held(self):
        """CLIENT or SERVER when that peer has been reset while what it said waits for the other; else None. It may have
        said more that is yet to be read."""
        for direction in (self.outbound, self.inbound):
            if direction.held and connection_is_gone(direction.source):
                return self._side_of(direction.source)
        return None

    def end_if_all_is_done(self):
        """Tell the owner, if both directions have ended. Returns whether they have."""
        if not (self.outbound.ended and self.inbound.ended):
            return False
        on_end, self._on_end = self._on_end, None
        if on_end is not None:
            on_end()
        return True

    def note_end(self, direction):
        if self.first_end is None:
            self.first_end = self._side_of(direction.source)

    def note_failure(self, sock):
        if self.failed_side is None:
            self.failed_side = self._side_of(sock)

    def _side_of(self, sock):
        return CLIENT if sock is self.outbound.source else SERVER

    def fail(self, failure):
        """An unexpected exception: it ends this relay alone."""
        self.failure = failure
        self.outbound.end()
        self.inbound.end()
        self.end_if_all_is_done()
