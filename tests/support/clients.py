"""What test clients do with a TCP socket."""
from __future__ import absolute_import, division, print_function

import errno
import socket
import struct

from .netns import entered
from .places import family_of


def connect(address, timeout=10.0, namespace=None):
    """A connected socket with a time-out, made inside `namespace` if one is given. The caller closes it."""
    with entered(namespace):
        sock = socket.socket(family_of(address[0]), socket.SOCK_STREAM)
    try:
        sock.settimeout(timeout)
        sock.connect(address)
    except BaseException:
        sock.close()
        raise
    return sock


def tcp_pair(timeout=10.0):
    """Two connected TCP sockets of loopback: (one end, the other)."""
    listener = socket.socket()
    listener.bind(('127.0.0.1', 0))
    listener.listen(1)
    one = socket.create_connection(listener.getsockname())
    other, _ = listener.accept()
    listener.close()
    for sock in one, other:
        sock.settimeout(timeout)
    return one, other


def read_line(sock):
    """The next line as native str, without its line break; what came before the end if there is none."""
    line = b''
    while not line.endswith(b'\n'):
        byte = sock.recv(1)
        if not byte:
            break
        line += byte
    return str(line.decode('utf-8').rstrip('\n'))


def read_exactly(sock, size):
    """`size` bytes; fails if the end comes first."""
    parts = []
    missing = size
    while missing:
        data = sock.recv(min(missing, 65536))
        assert data, 'the stream ended %d bytes too early' % missing
        parts.append(data)
        missing -= len(data)
    return b''.join(parts)


def read_all(sock):
    """All bytes until the end."""
    parts = []
    while True:
        data = sock.recv(65536)
        if not data:
            return b''.join(parts)
        parts.append(data)


def how_it_ends(sock):
    """Read to the end and tell which it was: 'eof' or 'reset'. What is read is thrown away."""
    try:
        while sock.recv(65536):
            pass
    except EnvironmentError as error:
        if error.errno not in (errno.ECONNRESET, errno.EPIPE):
            raise
        return 'reset'
    return 'eof'


def how_connecting_ends(address, timeout=10.0, namespace=None):
    """Connect and read to the end: 'refused', 'timeout', 'reset' or 'eof'."""
    try:
        sock = connect(address, timeout, namespace)
    except socket.timeout:
        return 'timeout'
    except EnvironmentError as error:
        if error.errno != errno.ECONNREFUSED:
            raise
        return 'refused'
    try:
        return how_it_ends(sock)
    except socket.timeout:
        return 'timeout'
    finally:
        sock.close()


def reset(sock):
    """Close with a reset instead of an end, socket(7) SO_LINGER."""
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack('ii', 1, 0))
    sock.close()
