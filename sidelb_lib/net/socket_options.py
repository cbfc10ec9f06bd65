"""What is set on sockets beyond the kernel's defaults, and why.

All of it only tunes: a kernel that is short of memory for it (ENOBUFS) ends no session, so nothing here raises.
"""
from __future__ import absolute_import, division, print_function

import socket

from ..compat import SocketError

#: Seconds of silence before the first keepalive, between two, and how many may stay unanswered, see tcp(7). A
#: peer that vanished from an idle connection is found out within two minutes, by the kernel's own defaults after two hours.
KEEPALIVE_IDLE, KEEPALIVE_INTERVAL, KEEPALIVE_COUNT = 60, 15, 4

#: The kernel doubles it, for its own bookkeeping, and bounds it by net.core.rmem_max and wmem_max, see socket(7).
LOCAL_BUFFER_BYTES = 512 * 1024

#: Of a UDP socket. The kernel doubles it, and counts about 770 bytes for a small datagram: 2,700 of them, which one greedy
#: client can have before everybody's. They take 30 ms to carry; with 8 MiB it was up to 210 (Python 3.11, 2026).
RECEIVE_BUFFER_BYTES = 1 << 20

SO_RCVBUFFORCE = 33                # socket(7)


def tune(sock, level, option, value):
    """Whether the kernel took it."""
    try:
        sock.setsockopt(level, option, value)
    except SocketError:
        return False
    return True


def send_without_delay(sock):
    """No Nagle delay. An accepted socket inherits it from its listener on Linux."""
    tune(sock, socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)


def keep_alive(sock):
    """Have the kernel find out when the peer has vanished. An accepted socket inherits it from its listener on Linux."""
    tune(sock, socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    tune(sock, socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, KEEPALIVE_IDLE)
    tune(sock, socket.IPPROTO_TCP, socket.TCP_KEEPINTVL, KEEPALIVE_INTERVAL)
    tune(sock, socket.IPPROTO_TCP, socket.TCP_KEEPCNT, KEEPALIVE_COUNT)


def bound_buffers(sock):
    """For clients on this host, where the kernel's buffers of several MiB only push bytes out of the processor's cache.

    With this and a pipe of 512 KiB (tcp/splicing) a stream is 10-20 % faster. An accepted socket inherits it.
    """
    tune(sock, socket.SOL_SOCKET, socket.SO_RCVBUF, LOCAL_BUFFER_BYTES)
    tune(sock, socket.SOL_SOCKET, socket.SO_SNDBUF, LOCAL_BUFFER_BYTES)


def raise_receive_buffer(sock):
    """As far as the system allows: past net.core.rmem_max only with CAP_NET_ADMIN, socket(7)."""
    if not tune(sock, socket.SOL_SOCKET, SO_RCVBUFFORCE, RECEIVE_BUFFER_BYTES):
        tune(sock, socket.SOL_SOCKET, socket.SO_RCVBUF, RECEIVE_BUFFER_BYTES)
