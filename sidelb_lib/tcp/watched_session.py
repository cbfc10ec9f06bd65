"""Sessions that begin again with another server, unseen by the client, when theirs ends at once and without a byte.

Loaded where `early_close=failure` asks for it: other sessions and relays lose nothing.
"""
from __future__ import absolute_import, division, print_function

import socket
import sys

from gevent import get_hub

from ..compat import READ, SocketError
from ..errors import TOO_LATE, NobodyReachable
from ..hub import never_waits
from ..net.blame import HOST, PASSING
from ..net.resets import peer_has_ended
from .direction import Direction
from .queue import seconds_to_wait
from .session import MAX_CONNECT_TIMEOUTS, PACE_SECONDS, QUICK_ATTEMPTS


def watched_session(kind):
    """A subclass of `kind`, Session or one of its subclasses, whose sessions do so."""
    return type('Watched' + kind.__name__, (_Watched, kind), {'__slots__': ()})


def watched_relay(kind):
    """A subclass of `kind`, Relay or one of its subclasses, for such sessions, which set what follows.

    `on_early_end`, None or a function, is called when the server ends, or is reset, before it has said anything and before
    the client has ended. When it returns True it has closed the relay, and `on_end` is not called. `opened` is when the
    server had been reached. A reload may change the class while a session looks for a server: sessions and relays of
    either kind get along with those of the other.
    """
    class Inbound(_Inbound, kind.kind_of_inbound):
        __slots__ = ()

    class WatchedRelay(kind, _Watching):
        __slots__ = ('opened', 'on_early_end')
        kind_of_inbound = Inbound
        kind_of_outbound = _Outbound

        def __init__(self, *arguments, **more):
            kind.__init__(self, *arguments, **more)
            self.opened = self.on_early_end = None

        def hands_over(self):
            return (self.on_early_end is not None and not self.inbound.moved and not self.outbound.ended and
                    not self.stopped and self.on_early_end())
    return WatchedRelay


class _Watching(object):
    """What all relays of `watched_relay` have in common, to know them by: each call of it makes another class."""

    __slots__ = ()


class _Inbound(object):
    """Mixed into the Direction from the server: its end is that of the relay only if `hands_over` does not say otherwise."""

    __slots__ = ()

    def hear(self):
        """Its source is readable, or was once."""
        if not self.ended:
            self._readable.callback()

    def _source_ended(self):
        if not self._relay.hands_over():
            super(_Inbound, self)._source_ended()

    def _source_failed(self, error):
        if error.errno in PASSING or not self._relay.hands_over():
            super(_Inbound, self)._source_failed(error)


class _Outbound(Direction):
    """Looks first whether the server has ended, and takes the client's first bytes from it only once they are on their way:
    before that another server can get them. From then on it is as any other."""

    __slots__ = ()

    def start(self, loop):
        self._readable = loop.io(self.source.fileno(), READ)
        self._readable.start(self._ready_first)

    @never_waits
    def _ready_first(self):
        relay = self._relay
        try:
            if peer_has_ended(self.sink):
                relay.inbound.hear()
            if not self.ended:
                self._copy_first(relay)
        except Exception:
            relay.fail(sys.exc_info())

    def _copy_first(self, relay):
        try:
            count = self.source.recv_into(self._buffer, 0, socket.MSG_PEEK)
        except SocketError as error:
            return self._source_failed(error)
        if not count:
            return self._source_ended()
        try:
            sent = self.sink.send(self._buffer[:count])
        except SocketError as error:
            if error.errno not in PASSING:
                relay.inbound.hear()             # the server has ended in this very moment
                if not self.ended:
                    self._sink_failed()
            return
        self.source.recv_into(self._buffer, sent)
        self.moved += sent
        self._readable.callback = self.ready


class _Watched(object):
    """Mixed into a Session, before it."""

    __slots__ = ()

    def _find_server(self, tried):
        if tried:
            if self._is_late():
                raise NobodyReachable(TOO_LATE)
            self._pause(0 if len(tried) < QUICK_ATTEMPTS else PACE_SECONDS)
        super(_Watched, self)._find_server(tried)

    def _carry(self):
        super(_Watched, self)._carry()
        if isinstance(self.relay, _Watching):
            self.relay.opened = self._server.clock()
            self.relay.on_early_end = self._ended_early

    @never_waits
    def _ended_early(self):
        """Returns whether another server is looked for, which the client does not notice: it must have sent nothing."""
        relay, server = self.relay, self._server
        if not server.early_ends.noticed(self) or relay.outbound.moved or relay.held:
            return False
        relay.close()
        relay.on_early_end = None
        self.upstream.close()
        self.lease.failed('ended at once', HOST)           # the pool has heard of it
        tried = self.lease.tried
        tried.since = self.opened
        self.lease.end()
        server.own_ends.pop(self.own_end, None)
        server.tally.retries += 1
        self.relay = self.upstream = self.address = self.own_end = None
        get_hub().loop.run_callback(server.begin_again, self, tried)
        return True

    def _is_late(self):
        """Has the client waited for as long as one may? Servers that all end at once would keep it for ever."""
        settings = self._server.settings
        most = seconds_to_wait(settings, self._server.members) + MAX_CONNECT_TIMEOUTS * settings.connect_timeout
        return self._server.clock() - self.opened >= most

    def _finish(self, reason, polite):
        if not self.ended:
            super(_Watched, self)._finish(reason, polite)
            if isinstance(self.relay, _Watching):
                self.relay.on_early_end = None             # a reference cycle costs a garbage collection
                self._server.early_ends.session_ended(self)
