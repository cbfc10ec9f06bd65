"""From which local address connections are made, where that is not left to the kernel."""
from __future__ import absolute_import, division, print_function

import socket

from ..compat import new_socket
from .endpoints import family_of
from .socket_options import tune

IP_BIND_ADDRESS_NO_PORT = 24       # ip(7), Linux 4.2; Python names it since 3.12


class Source(object):
    """`new_socket` makes sockets that are bound to one of `ips`, the one of their family; others are as they come.

    The port is chosen at the connect: so each server address has all local ports, and not all of them together.
    """

    def __init__(self, ips):
        self._by_family = dict((family_of(ip), ip) for ip in ips)

    def new_socket(self, family, kind):
        """As `compat.new_socket`. Raises SocketError also when the address is not one of this host."""
        sock, ip = new_socket(family, kind), self._by_family.get(family)
        if ip is None:
            return sock
        try:
            tune(sock, socket.IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, 1)
            sock.bind((ip, 0))
        except BaseException:
            sock.close()
            raise
        return sock
