"""Ending a TCP connection by a reset, and what of it has been delivered."""
from __future__ import absolute_import, division, print_function

import ctypes
import fcntl
import socket
import struct

from ..compat import SocketError

TCP_CLOSE, TCP_CLOSE_WAIT = 7, 8   # states of a socket: its connection is no more; its peer has said EOF. netinet/tcp.h
SIOCOUTQ = 0x5411                  # tcp(7): bytes in the send queue that the peer has not acknowledged


def unacknowledged(sock):
    """Bytes in the send queue of `sock` that its peer may still take; 0 also when it can't tell.

    A socket that was reset keeps its count for ever, so its state is asked first (TCP_INFO, tcp(7)).
    """
    try:
        if connection_is_gone(sock):
            return 0
        return struct.unpack('i', fcntl.ioctl(sock.fileno(), SIOCOUTQ, struct.pack('i', 0)))[0]
    except EnvironmentError:
        return 0


def connection_is_gone(sock):
    """Has the connection of `sock` been reset, or given up?"""
    return state_of(sock) == TCP_CLOSE


def peer_has_ended(sock):
    """Has the peer of `sock` said EOF, or been reset, though there may be bytes to read before that?"""
    return state_of(sock) in (TCP_CLOSE, TCP_CLOSE_WAIT)


def state_of(sock):
    if sock.family == socket.AF_UNIX:
        from .unix_socket import has_closed, has_ended
        return TCP_CLOSE if has_closed(sock) else TCP_CLOSE_WAIT if has_ended(sock) else None
    return ord(sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 1))


def abort(sock):
    """Make the coming `close` of `sock` a reset. A peer must not take an end that nobody asked for as a complete
    answer."""
    try:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack('ii', 1, 0))
    except SocketError:               # whatever the reason: the close that follows must not be a polite one
        disconnect(sock)


def disconnect(sock):
    """Reset the connection of a TCP socket at once, by connect(2) to AF_UNSPEC, which Python has no form for. Raises
    nothing."""
    nowhere = ctypes.create_string_buffer(16)        # struct sockaddr: AF_UNSPEC is 0
    ctypes.CDLL(None).connect(sock.fileno(), nowhere, 16)
