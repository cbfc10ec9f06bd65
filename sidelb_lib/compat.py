"""Everything that differs between Python 2 and 3, or between versions of a library. No other module asks for a version."""
from __future__ import absolute_import, division, print_function

import ctypes
import errno
import os
import re
import select
import socket
import struct
import sys
import time

import _socket
import gevent
import gevent.socket
from gevent import monkey
from gevent.hub import RawGreenlet

PY2 = sys.version_info[0] == 2

#: What a watcher waits for: libev's EV_READ and EV_WRITE. gevent has them as `gevent.core`, which it calls deprecated.
READ, WRITE = 1, 2

#: What a call on a socket raises, in every version (in Python 3 another name of OSError).
SocketError = _socket.error

#: "Not now": the only errors of a non-blocking call that are no errors.
WOULD_BLOCK = frozenset([errno.EAGAIN, errno.EWOULDBLOCK, errno.EINTR])


def switch_of(hub):
    """The hub's `switch` as greenlet has it: whoever calls it waits until its own `switch` is called.

    gevent's looks for a hook first that only gevent's Greenlets have, 0.1 to 0.4 us of 0.6 to 1.
    """
    return RawGreenlet.switch.__get__(hub)


def poll(poller, milliseconds):
    """`poller.poll`, and nothing ready when a signal comes: Python 2 raises then."""
    try:
        return poller.poll(milliseconds)
    except select.error as error:
        if error.args[0] != errno.EINTR:
            raise
        return []


def find_monotonic():
    """A function that gives seconds on a clock that never goes back. Python 2 has none: clock_gettime(2) is asked there."""
    if hasattr(time, 'monotonic'):
        return time.monotonic
    get_time, moment = ctypes.CDLL(None).clock_gettime, (ctypes.c_long * 2)()

    def clock():
        get_time(1, moment)              # CLOCK_MONOTONIC
        return moment[0] + moment[1] * 1e-9
    return clock


monotonic = find_monotonic()

_SOCK_NONBLOCK = 0o4000       # Linux; Python 2 does not name them
_SOCK_CLOEXEC = 0o2000000


def new_socket(family, kind):
    """A bare `_socket.socket`: non-blocking, closed on exec, made with one system call. The caller owns it.

    The relay and the connect work on bare sockets: gevent's wrapper costs a Python call for each operation, and its
    constructor an `ioctl` and two watchers that would never be used.
    """
    return _socket.socket(family, kind | _SOCK_NONBLOCK | _SOCK_CLOEXEC)


if PY2:
    def accept(listener):
        """Accept from a bare non-blocking socket: (bare non-blocking socket, peer address). The caller owns the socket.

        Raises SocketError with an errno of WOULD_BLOCK when nobody waits.
        """
        sock, address = listener.accept()
        _close_on_exec(sock.fileno())
        sock.setblocking(False)
        return sock, address

    def _close_on_exec(descriptor):
        import fcntl
        fcntl.fcntl(descriptor, fcntl.F_SETFD, fcntl.FD_CLOEXEC)
else:
    def accept(listener):
        """Accept from a bare non-blocking socket: (bare non-blocking socket, peer address). The caller owns the socket.

        Raises SocketError with an errno of WOULD_BLOCK when nobody waits.
        """
        descriptor, address = listener._accept()
        sock = _socket.socket(listener.family, listener.type, listener.proto, descriptor)
        sock.setblocking(False)
        return sock, address


def bare_socket(sock):
    """The `_socket.socket` below a gevent or standard socket, which stays its owner."""
    while not type(sock) is _socket.socket and hasattr(sock, '_sock'):
        sock = sock._sock
    return sock


def adopt(bare):
    """A gevent socket that owns the connection of a bare one from now on."""
    if PY2:
        return gevent.socket.socket(_sock=bare)
    return gevent.socket.socket(bare.family, bare.type, bare.proto, fileno=bare.detach())


_SPLICE_FLAGS = 1 | 2   # SPLICE_F_MOVE | SPLICE_F_NONBLOCK


def find_splice():
    """A function `(from_descriptor, to_descriptor, most_bytes) -> bytes moved` on splice(2), or None where there is
    none.

    It raises OSError (or SocketError in Python 2, where the two differ) with `errno` set. `os.splice` came with Python
    3.10.
    """
    if hasattr(os, 'splice'):
        splice = os.splice

        def os_splice(source, sink, most):
            return splice(source, sink, most, flags=_SPLICE_FLAGS)
        return os_splice
    try:
        library_splice = ctypes.CDLL(None, use_errno=True).splice
    except (AttributeError, OSError):
        return None
    library_splice.restype = ctypes.c_ssize_t
    library_splice.argtypes = [ctypes.c_int, ctypes.c_void_p, ctypes.c_int, ctypes.c_void_p, ctypes.c_size_t,
                               ctypes.c_uint]

    def ctypes_splice(source, sink, most):
        moved = library_splice(source, None, sink, None, most, _SPLICE_FLAGS)
        if moved < 0:
            code = ctypes.get_errno()
            raise SocketError(code, os.strerror(code))
        return moved
    return ctypes_splice


#: `os.close` itself. gevent 25.8.1 and newer patch it to put the closing off to the event loop's next turn.
close_descriptor = monkey.get_original('os', 'close')


def new_pipe():
    """A pipe (read end, write end) whose descriptors are non-blocking and closed on exec. The caller owns both."""
    if hasattr(os, 'pipe2'):
        return os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
    import fcntl
    ends = os.pipe()
    for end in ends:
        fcntl.fcntl(end, fcntl.F_SETFD, fcntl.FD_CLOEXEC)
        fcntl.fcntl(end, fcntl.F_SETFL, fcntl.fcntl(end, fcntl.F_GETFL) | os.O_NONBLOCK)
    return ends


_ANCILLARY = struct.Struct('@Lii')         # struct cmsghdr: length, level, type, see cmsg(3)


class _Vector(ctypes.Structure):
    _fields_ = [('base', ctypes.c_void_p), ('length', ctypes.c_size_t)]


class _Message(ctypes.Structure):
    """struct msghdr of recvmsg(2), as the C library of Linux has it."""

    _fields_ = [('name', ctypes.c_void_p), ('name_length', ctypes.c_uint32), ('vectors', ctypes.POINTER(_Vector)),
                ('vector_count', ctypes.c_size_t), ('control', ctypes.c_void_p), ('control_length', ctypes.c_size_t),
                ('flags', ctypes.c_int)]


def _recvmsg(sock, most_bytes, most_ancillary):
    """recvmsg(2): (data, [(level, type, value), ...], flags, address)."""
    name, data, control = (ctypes.create_string_buffer(size) for size in (28, most_bytes, most_ancillary))
    message, count = _call('recvmsg', sock, name, data, most_bytes, control)
    ancillary, rest, word = [], control.raw[:message.control_length], ctypes.sizeof(ctypes.c_size_t)
    while len(rest) >= _ANCILLARY.size:
        length, level, kind = _ANCILLARY.unpack(rest[:_ANCILLARY.size])
        ancillary.append((level, kind, rest[_ANCILLARY.size:length]))
        rest = rest[max(_ANCILLARY.size, -(-length // word) * word):]
    return data.raw[:count], ancillary, message.flags, _read_sockaddr(name.raw)


def _sendmsg(sock, buffers, ancillary, flags, address):
    """sendmsg(2) of one buffer and one piece of ancillary data: how many bytes were sent."""
    (level, kind, value), = ancillary
    control = _ANCILLARY.pack(_ANCILLARY.size + len(value), level, kind) + value
    control += b'\0' * (-len(control) % ctypes.sizeof(ctypes.c_size_t))
    name, data, control = (ctypes.create_string_buffer(text, len(text)) for text in (
        _write_sockaddr(sock.family, *address), buffers[0], control))
    return _call('sendmsg', sock, name, data, len(data), control)[1]


def _call(function, sock, name, data, size, control):
    """recvmsg or sendmsg with these buffers: (struct msghdr, number of bytes)."""
    vector = _Vector(ctypes.addressof(data), size)
    message = _Message(ctypes.addressof(name), len(name), ctypes.pointer(vector), 1, ctypes.addressof(control),
                       len(control), 0)
    count = getattr(ctypes.CDLL(None, use_errno=True), function)(sock.fileno(), ctypes.byref(message), 0)
    if count < 0:
        code = ctypes.get_errno()
        raise SocketError(code, os.strerror(code))
    return message, count


def _read_sockaddr(raw):
    """What Python makes of a struct sockaddr_in or sockaddr_in6."""
    family, = struct.unpack('=H', raw[:2])
    port, = struct.unpack('!H', raw[2:4])
    if family == socket.AF_INET:
        return socket.inet_ntop(family, raw[4:8]), port
    flow, scope = struct.unpack('!I', raw[4:8])[0], struct.unpack('=I', raw[24:28])[0]
    return socket.inet_ntop(family, raw[8:24]), port, flow, scope


def _write_sockaddr(family, host, port, flow=0, scope=0):
    head, ip = struct.pack('=H', family) + struct.pack('!H', port), socket.inet_pton(family, host)
    if family == socket.AF_INET:
        return head + ip + b'\0' * 8
    return head + struct.pack('!I', flow) + ip + struct.pack('=I', scope)


#: `recvmsg` and `sendmsg` of a bare socket, called with it. Python 2 has none; ctypes calls the C library's there.
recvmsg = getattr(_socket.socket, 'recvmsg', _recvmsg)
sendmsg = getattr(_socket.socket, 'sendmsg', _sendmsg)


def text_of(data):
    """Bytes from outside as a `str`: UTF-8 on Python 2; what is none becomes U+FFFD on both."""
    text = data.decode('utf-8', 'replace')
    return text if str is not bytes else text.encode('utf-8')


def let_traffic_pass():
    """For long computations: have the event loop look for events, and those who wait for them run.

    `gevent.sleep(0)` only runs callbacks that are due, and looks for events after 50 such calls or so.
    """
    gevent.sleep(0.000001)


def paced(items, at_once):
    """`items`, with a pause for traffic before each `at_once`-th of them."""
    for number, item in enumerate(items, 1):
        if number % at_once == 0:
            let_traffic_pass()
        yield item


def http_server_is_sound():
    """Is gevent's HTTP server of a version that may be exposed to a network? Before 25.4.1 it can be misled by crafted
    requests (CVE-2023-41419, and what was found later in its reading of chunked bodies)."""
    # `gevent.version_info` has stayed at 20.0.0 for years.
    return [int(number) for number in re.findall('[0-9]+', gevent.__version__)[:3]] >= [25, 4, 1]


def digest_of(data):
    """MD5 of `data`, to spread by and not to keep secrets; SHA-1 on a host that forbids MD5 altogether (FIPS)."""
    import hashlib                           # and OpenSSL with it, 1 MiB: for those who ask for mode=source
    try:
        return hashlib.md5(data, usedforsecurity=False).digest()
    except TypeError:                        # before Python 3.9
        pass
    except ValueError:
        return hashlib.sha1(data).digest()
    try:
        return hashlib.md5(data).digest()
    except ValueError:
        return hashlib.sha1(data).digest()


def unblock_signals():
    """Unblock what the program which started us has left blocked (uWSGI does): a mask is inherited through exec. Without
    SIGCHLD nobody would hear that a check's program has ended. Python 2 has no such call."""
    import signal
    if hasattr(signal, 'pthread_sigmask'):
        signal.pthread_sigmask(signal.SIG_SETMASK, ())
        return
    library, mask = ctypes.CDLL(None), ctypes.create_string_buffer(128)          # sigset_t of Linux
    library.sigemptyset(mask)
    library.sigprocmask(2, mask, None)           # SIG_SETMASK
