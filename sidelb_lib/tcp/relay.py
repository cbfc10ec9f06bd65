"""Carries bytes both ways between two connected sockets until both directions have ended. The hot path.

The kernel's share of the work dominates; what Python can add is switching, allocating, and starting and stopping
watchers. So:

- one greenlet a connection, woken by two read watchers that are started once. Their callback is the greenlet's own
  `switch` with the direction as its argument: no object is made for a wait and no timer started (against two
  greenlets with gevent's own `recv` and `sendall`: twice the requests a second, half an idle connection's memory);
- one read buffer for the whole process, because nothing yields between a read and the write of the same bytes. Only
  what the sink refuses is copied out and held back; then that direction stops reading until the sink has room
  (back-pressure);
- a direction that keeps filling large reads moves to splice(2) through a pipe of its own, so that its bytes never
  enter the process (one stream: one and a half times the buffer's throughput), and back when it no longer does.
"""
from __future__ import absolute_import, division, print_function

import errno
import fcntl
import socket

import gevent
from gevent import get_hub, getcurrent

from ..compat import READ, WRITE, SocketError, WOULD_BLOCK, close_descriptor, new_pipe, switch_of
from ..net.resets import connection_is_gone, unacknowledged

BUFFER_BYTES = 256 * 1024
PIPE_BYTES = 512 * 1024            # one of 1 MiB is slower: more bytes under way than the processor's cache holds
BULKY_READ = 32 * 1024             # a read of at least this much speaks for splice, a smaller one against it
BULKY_READS = 16                   # so many more of the former than of the latter, and the direction gets a pipe

F_SETPIPE_SZ = 1031                # fcntl(2); Python names it since 3.10

#: splice(2) is not for such a socket, not in this kernel, or forbidden by a seccomp filter.
NO_SPLICE = frozenset([errno.EINVAL, errno.ENOSYS, errno.EPERM, errno.EOPNOTSUPP])

DELIVERY_SECONDS = 1.0             # a reset waits so long for a peer to take some of the bytes that were sent before it
DELIVERY_PAUSE = 0.005             # seconds between two looks


class RelayResources(object):
    """What the relays of one process share: the read buffer, splice(2), and a number of pipes.

    `splice` is what `compat.find_splice` gives, or None. `most_pipes` bounds the descriptors (two a pipe) and the
    kernel memory that bulk transfers may take; a direction that gets none stays with the buffer.
    """

    def __init__(self, splice, most_pipes=64):
        self.buffer = memoryview(bytearray(BUFFER_BYTES))
        self.splice = splice
        self.pipes_left = most_pipes if splice else 0

    def take_pipe(self):
        """A Pipe, or None when there is none to be had now."""
        if self.pipes_left < 1:
            return None
        try:
            pipe = Pipe(new_pipe())
        except (OSError, IOError):        # EMFILE, ENFILE: the buffer serves as well
            return None
        self.pipes_left -= 1
        return pipe

    def give_back(self, pipe):
        """Close a pipe of `take_pipe`. It is never used again: what it still holds is another connection's."""
        pipe.close()
        self.pipes_left += 1


class Pipe(object):
    """The kernel buffer of a spliced direction: `filled` bytes are in it."""

    __slots__ = ('read_end', 'write_end', 'filled')

    def __init__(self, ends):
        self.read_end, self.write_end = ends
        self.filled = 0
        try:
            fcntl.fcntl(self.write_end, F_SETPIPE_SZ, PIPE_BYTES)
        except (OSError, IOError):
            pass      # EPERM past pipe-user-pages-soft, pipe(7): the default of 64 KiB is slower, not wrong

    def close(self):
        close_descriptor(self.read_end)
        close_descriptor(self.write_end)


class Direction(object):
    """One half of a relay: what `source` says goes to `sink`. `moved` counts the bytes that `sink` has taken.

    `ended`: it carries nothing any more, since its source said EOF or its sink no longer takes anything.
    """

    __slots__ = ('source', 'sink', 'moved', 'ended', '_relay', '_buffer', '_wake', '_readable', '_writable', '_held',
                 '_pipe', '_bulky')

    def __init__(self, relay, source, sink):
        self.source = source
        self.sink = sink
        self.moved = 0
        self.ended = False
        self._relay = relay
        self._buffer = relay.resources.buffer
        self._wake = None
        self._readable = None
        self._writable = None       # set while the sink is full: then nothing is read
        self._held = None           # bytes read from the source that the sink has refused so far
        self._pipe = None           # set while the direction is spliced
        self._bulky = 0

    @property
    def held_back(self):
        """Does it wait for its sink, and not watch its source?"""
        return self._writable is not None

    def start(self, loop, wake):
        self._wake = wake
        self._readable = loop.io(self.source.fileno(), READ)
        self._readable.start(wake, self)

    def stop(self):
        """Stop watching, and let go of what is held. Idempotent."""
        if self._readable is not None:
            self._readable.stop()
        if self._writable is not None:
            self._writable.stop()
        self._readable = self._writable = self._wake = self._held = None
        self._leave_pipe()

    def close(self):
        """Stop, and let go of the relay. A circle would be left to Python's garbage collector, which costs a thirteenth
        of a short connection."""
        self.stop()
        self._relay = None

    def step(self):
        """Do what can be done now: the source has something to read or, when the sink was full, the sink has room."""
        if self._pipe is not None:
            return self._splice()
        if self._held is not None:
            return self._flush()
        try:
            count = self.source.recv_into(self._buffer)
        except SocketError as error:
            return self._source_failed(error)
        if not count:
            return self._end()
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
                    self._relay.resources.pipes_left = 0
                    return None
                return self._source_failed(error)
            if not count:
                return self._end()
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
            self._wait_for_sink()
            return
        self._read_again()
        if self._bulky <= 0:
            self._leave_pipe()

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
            self._writable.start(self._wake, self)

    def _read_again(self):
        if self._writable is not None:
            self._writable.stop()
            self._writable = None
            self._readable.start(self._wake, self)

    def _end(self):
        """The source said EOF, and all before it has been delivered: pass it on as a half-close.

        When the other direction has ended too, the owner's close says the same with one system call less.
        """
        self.ended = True
        self.stop()
        if not self._relay.ended:
            try:
                self.sink.shutdown(socket.SHUT_WR)
            except SocketError:       # ENOTCONN: the sink is gone, which the other direction will find out
                pass

    def _source_failed(self, error):
        """A reset, or a keepalive that got no answer: nothing can be carried either way any more."""
        if error.errno not in WOULD_BLOCK:
            self._relay.broken_socket = self.source
            self._relay.broken = True
            self._relay.outbound.ended = self._relay.inbound.ended = True

    def _sink_failed(self):
        """The sink takes nothing more. It may have said something before: the other direction goes on until that is
        delivered."""
        self.ended = True
        self._relay.broken_socket = self.sink       # what it said before still goes to the other side
        self._relay.broken = True
        self.stop()


class Relay(object):
    """Both directions between `client` and `upstream`, two connected, non-blocking bare sockets, which the caller owns
    and closes.

    `run()` is called once, in the greenlet of the connection. While it runs, others may look at `outbound.moved`
    (client to upstream) and `inbound.moved`, and throw an exception into the greenlet to end it. `broken` tells
    afterwards that one of the sockets failed: a reset. Then the caller must reset both (`abort`) and not close them
    politely.
    """

    __slots__ = ('resources', 'outbound', 'inbound', 'broken', 'broken_socket')

    def __init__(self, client, upstream, resources):
        self.resources = resources
        self.outbound = Direction(self, client, upstream)
        self.inbound = Direction(self, upstream, client)
        self.broken = False
        self.broken_socket = None       # the one that failed; the other may still be owed bytes

    @property
    def ended(self):
        return self.outbound.ended and self.inbound.ended

    @property
    def half_closed(self):
        return self.outbound.ended or self.inbound.ended

    @property
    def moved(self):
        return self.outbound.moved + self.inbound.moved

    def run(self):
        hub = get_hub()
        wait, wake = switch_of(hub), getcurrent().switch
        outbound, inbound = self.outbound, self.inbound
        try:
            outbound.start(hub.loop, wake)
            inbound.start(hub.loop, wake)
            while not (outbound.ended and inbound.ended):
                wait().step()
        finally:
            outbound.close()
            inbound.close()
        if self.broken_socket is not None:
            wait_until_delivered(outbound.sink if self.broken_socket is outbound.source else inbound.sink)

    def lost_a_peer(self):
        """Has a peer gone that is not watched, since it has said its last or what it said is held back from the other?"""
        return any((direction.held_back or direction.ended) and connection_is_gone(direction.source)
                   for direction in (self.outbound, self.inbound))


def wait_until_delivered(sock):
    """Wait until the peer has acknowledged all that was sent on `sock`, while it takes some each DELIVERY_SECONDS.

    A reset throws away what is still in the send queue; what was read before it must be delivered before it. The queue
    is bounded, so a peer that takes only a little each time holds the session for a bounded time as well.
    """
    left, patience = unacknowledged(sock), DELIVERY_SECONDS
    while left and patience > 0:
        gevent.sleep(DELIVERY_PAUSE)
        before, left = left, unacknowledged(sock)
        patience = patience - DELIVERY_PAUSE if left == before else DELIVERY_SECONDS
