"""Carries bytes both ways between two connected sockets until both directions have ended. The hot path.

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

A direction is, in this order: reading; or waiting for its sink (`_writable` is set, and `_held` or a filled pipe); ended.
"""
from __future__ import absolute_import, division, print_function

import socket
import sys

from gevent import get_hub

from ..compat import READ, WRITE, SocketError, WOULD_BLOCK
from ..hub import never_waits
from ..net.resets import connection_is_gone
from .splicing import NO_SPLICE, PIPE_BYTES

BULKY_READ = 32 * 1024             # reads this large count for splice, smaller ones against
BULKY_READS = 16                   # once large reads lead by this many, the direction switches to splice

CLIENT, SERVER = 'client', 'server'


class Direction(object):
    """One half of a relay: bytes read from `source` are written to `sink`. `moved` counts those that `sink` has taken.

    `ended`: the source reached EOF, or the sink no longer takes anything, and nothing is held.
    """

    __slots__ = ('source', 'sink', 'moved', 'ended', '_relay', '_buffer', '_readable', '_writable', '_held', '_pipe',
                 '_bulky')

    def __init__(self, relay, source, sink):
        self.source = source
        self.sink = sink
        self.moved = 0
        self.ended = False
        self._relay = relay
        self._buffer = relay.resources.buffer
        self._readable = None
        self._writable = None       # set while the sink is full: then nothing is read
        self._held = None           # bytes read from the source that the sink has refused so far
        self._pipe = None           # set while the direction is spliced
        self._bulky = 0

    @property
    def held(self):
        """How many bytes have been read and not been sent."""
        return len(self._held) if self._held is not None else self._pipe.filled if self._pipe is not None else 0

    def start(self, loop):
        self._readable = loop.io(self.source.fileno(), READ)
        self._readable.start(self.ready)

    def end(self):
        """Stop watching, and let go of what is held. Idempotent."""
        self.ended = True
        if self._readable is not None:
            self._readable.stop()
        if self._writable is not None:
            self._writable.stop()
        self._readable = self._writable = self._held = None
        self._leave_pipe()

    def close(self):
        """Drop the reference to the relay as well: a reference cycle would cost a garbage collection, 8 % of a short
        connection."""
        self.end()
        self._relay = None

    @never_waits
    def ready(self):
        """Called by the hub: the source has something to read or, when the sink was full, the sink has room."""
        try:
            if self._pipe is not None:
                self._splice()
            elif self._held is not None:
                self._flush()
            else:
                self._copy()
        except Exception:
            self._relay.fail(sys.exc_info())

    def _copy(self):
        try:
            count = self.source.recv_into(self._buffer)
        except SocketError as error:
            return self._source_failed(error)
        if not count:
            return self._source_ended()
        data = self._buffer[:count]
        try:
            sent = self.sink.send(data)
        except SocketError as error:
            if error.errno not in WOULD_BLOCK:
                return self._sink_failed()
            sent = 0
        self.moved += sent
        if sent < count:
            self._held = memoryview(data[sent:].tobytes())
            self._wait_for_sink()
        if count >= BULKY_READ:
            self._count_bulky_read()
        elif self._bulky:
            self._bulky -= 1

    def _flush(self):
        try:
            sent = self.sink.send(self._held)
        except SocketError as error:
            if error.errno not in WOULD_BLOCK:
                self._sink_failed()
            return
        self.moved += sent
        if sent < len(self._held):
            self._held = self._held[sent:]
        else:
            self._held = None
            self._read_again()

    def _splice(self):
        pipe, splice = self._pipe, self._relay.resources.splice
        if not pipe.filled:
            try:
                pipe.filled = count = splice(self.source.fileno(), pipe.write_end, PIPE_BYTES)
            except (SocketError, OSError) as error:      # EAGAIN means an empty source here: the pipe is not full
                if error.errno in NO_SPLICE:             # nothing was moved: the buffer serves
                    self._leave_pipe()
                    return self._relay.resources.give_up_splicing()
                return self._source_failed(error)
            if not count:
                return self._source_ended()
            if count < BULKY_READ:
                self._bulky -= 1
        try:
            sent = splice(pipe.read_end, self.sink.fileno(), pipe.filled)
        except (SocketError, OSError) as error:
            if error.errno not in WOULD_BLOCK:
                return self._sink_failed()
            sent = 0
        self.moved += sent
        pipe.filled -= sent
        if pipe.filled:
            return self._wait_for_sink()
        if self._bulky <= 0:
            self._leave_pipe()
        self._read_again()

    def _count_bulky_read(self):
        if self._bulky < BULKY_READS:
            self._bulky += 1
        elif self._held is None:
            self._pipe = self._relay.resources.take_pipe()
            self._bulky = BULKY_READS if self._pipe else 0

    def _leave_pipe(self):
        if self._pipe is not None:
            self._relay.resources.give_back(self._pipe)
            self._pipe = None
            self._bulky = 0

    def _wait_for_sink(self):
        if self._writable is None:
            self._readable.stop()
            self._writable = get_hub().loop.io(self.sink.fileno(), WRITE)
            self._writable.start(self.ready)

    def _read_again(self):
        if self._writable is not None:
            self._writable.stop()
            self._writable = None
            if self._relay.stopped:
                self.end()
                self._relay.end_if_all_is_done()
            else:
                self._readable.start(self.ready)

    def stop_reading(self):
        """End as soon as nothing is held."""
        if self._writable is None:
            self.end()

    def _source_ended(self):
        """EOF, and all before it has been sent: pass it on as a half-close.

        When the other direction has ended too, the owner's close says the same with one system call less.
        """
        relay = self._relay
        if relay.hands_over(self):
            return
        self.end()
        relay.note_end(self)
        if not relay.end_if_all_is_done():
            try:
                self.sink.shutdown(socket.SHUT_WR)
            except SocketError:       # ENOTCONN: the sink is gone, which the other direction will find out
                pass

    def _source_failed(self, error):
        """A reset, or a keepalive that got no answer: nothing can be carried either way any more."""
        if error.errno not in WOULD_BLOCK:
            relay = self._relay
            if relay.hands_over(self):
                return
            relay.note_failure(self.source)
            relay.outbound.end()
            relay.inbound.end()
            relay.end_if_all_is_done()

    def _sink_failed(self):
        """The sink takes nothing more. It may have said something before: the other direction goes on until that is
        delivered."""
        self.end()
        self._relay.note_failure(self.sink)
        self._relay.end_if_all_is_done()


class Relay(object):
    """Both directions between `client` and `upstream`, two connected, non-blocking bare sockets, which the caller owns
    and closes.

    `start` once; `on_end()` is called, by the hub, when both directions have ended. Then the caller calls `close`, which
    it may do at any time. Meanwhile others may look at `outbound.moved` (client to upstream) and `inbound.moved`.
    Afterwards `failed_side` tells which peer was reset, CLIENT or SERVER, and `first_end` which one ended first; `failure`
    is the sys.exc_info() of an exception that nobody expected.

    `on_early_end`, None or a function, is asked when the server ends, or is reset, before it has said anything and before
    the client has ended. When it returns True the caller has closed the relay and the matter is its own.
    """

    __slots__ = ('resources', 'outbound', 'inbound', 'failed_side', 'first_end', 'failure', 'stopped', 'on_early_end',
                 '_on_end')

    def __init__(self, client, upstream, resources):
        self.resources = resources
        self.outbound = Direction(self, client, upstream)
        self.inbound = Direction(self, upstream, client)
        self.failed_side = None
        self.first_end = None
        self.failure = None
        self.stopped = False
        self.on_early_end = None
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

    def hands_over(self, direction):
        """Whether the end of `direction` is early, and the matter of whoever asked for that."""
        return (self.on_early_end is not None and direction is self.inbound and not direction.moved and
                not self.outbound.ended and not self.stopped and self.on_early_end())

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
