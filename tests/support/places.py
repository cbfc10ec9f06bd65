"""Addresses for test servers: ports that stay theirs while they are down, one port on several addresses."""
from __future__ import absolute_import, division, print_function

import socket

from .netns import entered

ATTEMPTS = 50


def endpoint(ip, port):
    """`127.0.0.1:80` or `[::1]:80`, as SideLB's arguments want it."""
    return '[%s]:%d' % (ip, port) if ':' in ip else '%s:%d' % (ip, port)


def family_of(ip):
    return socket.AF_INET6 if ':' in ip else socket.AF_INET


def bound_socket(ip, port, namespace=None):
    """A TCP socket bound to (ip, port) in `namespace` (or None), not listening. The caller owns it."""
    with entered(namespace):
        sock = socket.socket(family_of(ip), socket.SOCK_STREAM)
    try:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        sock.bind((ip, port))
    except BaseException:
        sock.close()
        raise
    return sock


class Reservation(object):
    """One port, the same on every address of `ips`, that nobody else is given until `release()`.

    A socket is bound to each address and never listens. On Linux a server that sets SO_REUSEADDR (all do) can
    bind and listen beside it, and while no server listens a connect is refused, as it should be; but the
    kernel hands the port to nobody who asks for any port, neither for a listener nor for an outgoing
    connection. So a test's server can go and come back on its address without a race against all else that
    runs on the machine.
    """

    def __init__(self, ips, port=0, namespace=None):
        self.ips = list(ips)
        self._sockets = []
        for attempts_left in reversed(range(1 if port else ATTEMPTS)):
            try:
                self.port = self._bind_all(port, namespace)
                return
            except EnvironmentError:
                self.release()
                if not attempts_left:
                    raise

    def _bind_all(self, port, namespace):
        for ip in self.ips:
            self._sockets.append(bound_socket(ip, port, namespace))
            port = self._sockets[0].getsockname()[1]
        return port

    @property
    def addresses(self):
        return [(ip, self.port) for ip in self.ips]

    def release(self):
        for sock in self._sockets:
            sock.close()
        self._sockets = []

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.release()
