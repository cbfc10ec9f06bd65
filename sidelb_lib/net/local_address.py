"""Of a wildcard UDP socket: to which address of this host a datagram was sent, and sending from it (IP_PKTINFO)."""
from __future__ import absolute_import, division, print_function

import socket
import struct

from ..compat import recvmsg, sendmsg

IP_PKTINFO, IPV6_RECVPKTINFO, IPV6_PKTINFO = 8, 49, 50          # ip(7), ipv6(7); Python names but some of them


def ask_for_destination(sock):
    """Have the kernel tell with each datagram to which local address it was sent."""
    if sock.family == socket.AF_INET6:
        sock.setsockopt(socket.IPPROTO_IPV6, IPV6_RECVPKTINFO, 1)
    else:
        sock.setsockopt(socket.IPPROTO_IP, IP_PKTINFO, 1)


def receive_with_destination(sock, most_bytes):
    """Receive from a bare socket for which `ask_for_destination` was called: (data, client address, text of the local
    address). Raises SocketError."""
    data, ancillary, _, client = recvmsg(sock, most_bytes, 128)
    for level, kind, value in ancillary:
        if (level, kind) == (socket.IPPROTO_IP, IP_PKTINFO):
            return data, client, socket.inet_ntop(socket.AF_INET, value[4:8])          # ipi_spec_dst
        if (level, kind) == (socket.IPPROTO_IPV6, IPV6_PKTINFO):
            return data, client, socket.inet_ntop(socket.AF_INET6, value[:16])         # ipi6_addr
    return data, client, sock.getsockname()[0]


def send_from(sock, local, data, address):
    """Send a datagram by a bare, wildcard UDP socket, from the local address `local`. Raises SocketError."""
    if sock.family == socket.AF_INET6:
        level, kind = socket.IPPROTO_IPV6, IPV6_PKTINFO
        value = socket.inet_pton(sock.family, local) + struct.pack('=I', 0)              # ipi6_addr, ipi6_ifindex
    else:
        level, kind = socket.IPPROTO_IP, IP_PKTINFO
        value = struct.pack('=I4s4s', 0, socket.inet_pton(sock.family, local), b'')      # ipi_ifindex, ipi_spec_dst
    return sendmsg(sock, [data], [(level, kind, value)], 0, address)
