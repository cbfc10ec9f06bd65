"""A TCP balancer in this process, servers for it, and what tests ask of both."""
from __future__ import absolute_import, division, print_function

import contextlib
import errno
import socket

from gevent.server import StreamServer

from sidelb_lib.compat import find_splice, monotonic
from sidelb_lib.config.settings import defaults
from sidelb_lib.net.listeners import listen_tcp
from sidelb_lib.tcp.server import TcpServer
from sidelb_lib.tcp.splicing import RelayResources

from ..support.balancing import Balancing

SECONDS = 10


class NamedEcho(object):
    """Answers each line with its name and the line; counts the connections that are open."""

    def __init__(self, name, host='127.0.0.1', port=0):
        self.name = name.encode('ascii')
        self.sessions = 0
        self.server = StreamServer((host, port), self._echo)
        self.server.start()
        self.endpoint = self.server.address[:2]

    def _echo(self, sock, _):
        self.sessions += 1
        lines = sock.makefile('rb')
        try:
            for line in iter(lines.readline, b''):
                sock.sendall(self.name + b' ' + line)
        except socket.error:
            pass
        finally:
            self.sessions -= 1
            lines.close()
            sock.close()

    def stop(self):
        """Refuse connections from now on; those that are open go on."""
        self.server.close()


class Balancer(Balancing):
    """A TcpServer and its pool, with what tests ask of them."""

    def __init__(self, family=socket.AF_INET, listener=None, **options):
        limit, share = options.pop('max_connections', 1000), options.pop('share', None)
        options.setdefault('connect_timeout', 2.0)
        settings = defaults(check='off', **options)
        Balancing.__init__(self, settings)
        host = '::1' if family == socket.AF_INET6 else '127.0.0.1'
        self.begin(TcpServer(listener or listen_tcp(host, 0), self.pool, RelayResources(find_splice()), self.log, monotonic,
                             settings, limit, share=share))

    def connect(self):
        return socket.create_connection(self.server.address[:2], SECONDS)

    def ask(self):
        """The name of the server that answers a new connection."""
        with contextlib.closing(self.connect()) as client:
            return exchange(client)


def exchange(client):
    client.sendall(b'hello\n')
    reply = b''
    while not reply.endswith(b'\n'):
        received = client.recv(4096)
        assert received, 'EOF instead of a reply'
        reply += received
    return reply.split()[0].decode('ascii')


def end_of(client):
    """How the connection ends: 'reset' or 'eof'."""
    try:
        while client.recv(65536):
            pass
        return 'eof'
    except socket.error as error:
        assert error.errno == errno.ECONNRESET, error
        return 'reset'
