"""One half of a relay: bytes from one socket to another. The hot path, whose rules are at the head of `relay`.

A direction is, in this order: reading; or waiting for its sink (`_writable` is set, and `_held` or a filled pipe); ended.
"""
from __future__ import absolute_import, division, print_function

import socket
import sys

from gevent import get_hub

from ..compat import READ, WRITE, SocketError
from ..hub import never_waits
from ..net.blame import PASSING
from .splicing import NO_SPLICE, PIPE_BYTES

BULKY_READ = 32 * 1024             # reads this large count for splice, smaller ones against
BULKY_READS = 16                   # once large reads lead by this many, the direction switches to splice


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
            if error.errno not in PASSING:
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
            if error.errno not in PASSING:
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
            if error.errno not in PASSING:
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
        self.end()
        relay.note_end(self)
        if not relay.end_if_all_is_done():
            try:
                self.sink.shutdown(socket.SHUT_WR)
            except SocketError:       # ENOTCONN: the sink is gone, which the other direction will find out
                pass

    def _source_failed(self, error):
        """A reset, or a keepalive that got no answer: nothing can be carried either way any more."""
        if error.errno not in PASSING:
            relay = self._relay
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
