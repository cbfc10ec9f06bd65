"""How a probe talks: a conversation with one address, bounded in time and size, over TCP or by one datagram.

A module of a check has `parse(arguments)` and `make(options, context)`; what `make` returns is called as
`probe(address, deadline)` and returns a Result, or raises

- ProbeFailed: the server did not pass,
- Misconfigured: the check is wrong (a password, say), which says nothing of the server,
- ConnectError: a fault of this host, which says nothing of it either.
"""
from __future__ import absolute_import, division, print_function

import errno
import os
import socket
from collections import namedtuple

from ..compat import READ, WOULD_BLOCK, WRITE, SocketError, monotonic, new_socket
from ..net.blame import SERVER, blame
from ..net.connect import ConnectError, connect, wait_for

MAX_REPLY_BYTES = 64 * 1024       # of one conversation
MAX_SHOWN = 120                   # characters of what a server said
GOODBYE_SECONDS = 0.1             # for a server to close its side once we have ended ours
MAX_LEARNT = 10000                # addresses of which something is remembered

#: What a probe found. `state`: 'up', 'standby' (alive, and not what is wanted) or 'draining'; `role`: a word or None;
#: `text`: why, in words, or None; `facts`: a dict of what else the server told, or None.
Result = namedtuple('Result', 'state role text facts')

PASSED = Result('up', None, None, None)


def noisy(text):
    """The Result of a server that is well, and keeps a record of each check; `text` says how that is mended."""
    return PASSED._replace(facts={'noisy': text})


class ProbeFailed(Exception):
    """The server did not pass; the text says why."""

    facts = None                      # of the Result that is reported


class ServesNobody(ProbeFailed):
    """The server itself says that it takes no sessions now: that needs no second probe."""

    facts = {'certain': True}


class Learnt(dict):
    """What probes have learnt of addresses. Those come and go for years: when there are too many all is learnt anew."""

    def __setitem__(self, key, value):
        if len(self) >= MAX_LEARNT:
            self.clear()
        dict.__setitem__(self, key, value)


class Misconfigured(Exception):
    """The check cannot be made as it is set up; the text says why. Nobody's health changes."""


class Deadline(object):
    """When a probe must have ended: `seconds` from now on `clock`, for all that it does."""

    __slots__ = ('seconds', '_clock', '_end')

    def __init__(self, seconds, clock=monotonic):
        self.seconds = seconds
        self._clock = clock
        self._end = clock() + seconds

    def left(self):
        """Seconds; 0 when it has passed."""
        return max(0.0, self._end - self._clock())

    def passed(self):
        """The ProbeFailed for a server that said nothing in time."""
        return ProbeFailed('no answer within %g s' % self.seconds)


def shown(data):
    """Bytes of a server for a terminal or a log: all but printable ASCII is escaped, and it is cut."""
    text = ''.join(chr(code) if 32 <= code < 127 else '\\x%02x' % code for code in bytearray(data[:MAX_SHOWN + 1]))
    return text if len(text) <= MAX_SHOWN else text[:MAX_SHOWN - 3] + '...'


def failure(error, call, protocol):
    """The exception to raise for a SocketError of `call` (see `net.blame`): whose fault is it?"""
    if blame(error.errno, call, protocol) != SERVER:
        return ConnectError(error.errno, call, protocol)
    return ProbeFailed(error.strerror or str(error))


class Conversation(object):
    """One connection to `address` (its `family`, `sockaddr` and `port` are used), until `deadline`. A context manager.

    It owns its socket and closes it at the end of the `with`. `end` closes in good order, for a server that logs what
    is cut off. What has been received and not been read yet is in `received`.
    """

    def __init__(self, address, deadline):
        self.received = b''
        self.ended = False                # the server has closed its side
        self._count = 0
        self._deadline = deadline
        try:
            self._sock = connect(address, deadline.left(), make_socket=maker_of(address))
        except ConnectError as error:
            if error.local:
                raise
            raise ProbeFailed(str(error))
        greeting = getattr(address, 'greeting', None)
        if greeting:
            try:
                Conversation.send(self, greeting)
            except BaseException:
                self._sock.close()
                raise

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self._sock.close()

    def send(self, data):
        while data:
            try:
                data = data[self._sock.send(data):]
            except SocketError as error:
                if error.errno not in WOULD_BLOCK:
                    raise failure(error, 'send', 'tcp')
                self._wait(WRITE)

    def receive(self):
        """Wait for more, and add it to `received`. Returns False when there will be no more.

        Raises ProbeFailed when the deadline passes, or more than MAX_REPLY_BYTES came.
        """
        while not self.ended:
            try:
                data = self._sock.recv(MAX_REPLY_BYTES)
            except SocketError as error:
                if error.errno not in WOULD_BLOCK:
                    raise failure(error, 'receive', 'tcp')
                self._wait(READ)
                continue
            self.ended = not data
            self._note(data)
            return bool(data)
        return False

    def _note(self, data):
        self._count += len(data)
        if self._count > MAX_REPLY_BYTES:
            raise ProbeFailed('the answer has more than %d bytes' % MAX_REPLY_BYTES)
        self.received += data

    def facts(self):
        """What the connection itself tells, for a Result; None for nothing."""

    def read(self, size):
        """Exactly so many bytes. Raises ProbeFailed also when the server ends before."""
        while len(self.received) < size:
            if not self.receive():
                raise ProbeFailed('ends the connection early')
        data, self.received = self.received[:size], self.received[size:]
        return data

    def end(self, goodbye=b''):
        """Say goodbye, end our side, and wait a moment for the other: a reset would be an error in the server's log."""
        try:
            self.send(goodbye)
            self._finish()
        except (ProbeFailed, ConnectError, SocketError):
            pass                          # the verdict stands

    def _finish(self):
        self._sock.shutdown(socket.SHUT_WR)
        until = Deadline(min(GOODBYE_SECONDS, self._deadline.left()))
        count = 0
        while count < MAX_REPLY_BYTES and wait_for(self._sock, READ, until.left()):
            data = self._sock.recv(MAX_REPLY_BYTES)
            if not data:
                return
            count += len(data)

    def _wait(self, event):
        if not wait_for(self._sock, event, self._deadline.left()):
            raise self._deadline.passed()


def maker_of(address):
    """What makes sockets towards `address`: as its `registry.Approach` says, if it has one."""
    return getattr(address, 'new_socket', new_socket)


def exchange_datagram(address, payload, deadline):
    """Send a datagram and return the reply, or None when none comes before the deadline.

    Raises ProbeFailed for a refusal, ConnectError for a fault of this host's own.
    """
    call, sock = 'bind', None            # or `socket`
    try:
        sock = maker_of(address)(address.family, socket.SOCK_DGRAM)
        call = 'connect'
        sock.connect(address.sockaddr)
        if sock.getsockname()[:2] == address.sockaddr[:2]:         # the kernel has chosen that port: nobody else has it
            raise ProbeFailed(os.strerror(errno.ECONNREFUSED))
        call = 'send'
        sock.send(payload)
        call = 'receive'
        if not wait_for(sock, READ, deadline.left()):
            return None
        return sock.recv(65536)
    except SocketError as error:
        raise failure(error, call, 'udp')
    finally:
        if sock is not None:
            sock.close()
