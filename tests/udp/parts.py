"""The parts of tests of UDP: servers that say who they are, and a balancer in this process with its clients."""
from __future__ import absolute_import, division, print_function

import os
import socket

import gevent

from sidelb_lib.compat import monotonic, new_socket
from sidelb_lib.config.settings import defaults
from sidelb_lib.net.listeners import listen_udp
from sidelb_lib.udp.server import UdpServer

from ..support.balancing import Balancing
from ..support.netns import entered

SECONDS = 10


class NamedEcho(object):
    """Answers each datagram with its name, a blank and the datagram; `delay` seconds late."""

    def __init__(self, name, host='127.0.0.1', port=0, delay=0, namespace=None):
        self.name = name.encode('ascii')
        self.delay = delay
        self.received = []
        self.peers = set()
        with entered(namespace):
            self.sock = socket.socket(socket.AF_INET6 if ':' in host else socket.AF_INET, socket.SOCK_DGRAM)
        self.sock.bind((host, port))
        self.endpoint = self.sock.getsockname()[:2]
        self.greenlet = gevent.spawn(self._serve)

    def _serve(self):
        while True:
            data, peer = self.sock.recvfrom(65536)
            self.received.append(data)
            self.peers.add(peer)
            if self.delay is None:
                continue
            if self.delay:
                gevent.spawn_later(self.delay, self._reply, data, peer)
            else:
                self._reply(data, peer)

    def _reply(self, data, peer):
        self.sock.sendto(self.name + b' ' + data if len(data) < 60000 else data, peer)

    def stop(self):
        """From now on datagrams are refused."""
        self.greenlet.kill()
        self.sock.close()


class Balancer(Balancing):
    """A UdpServer and its pool, with what tests ask of them. In a `namespace` all of its sockets belong to that."""

    def __init__(self, mode='round-robin', host='127.0.0.1', namespace=None, **changes):
        self._namespace = namespace
        changes.setdefault('max_sessions', 1000)
        settings = defaults(proto='udp', mode=mode, check=changes.pop('check', 'udp'), **changes)
        Balancing.__init__(self, settings)
        with entered(namespace):
            server = UdpServer(listen_udp(host, 0), self.pool, self.log, monotonic, settings, settings.max_sessions)
        if namespace:
            server._upstreams.new_socket = self._new_socket
        self.begin(server)
        self.port = self.server.address[1]
        self._clients = []          # open until the end: the next one with a closed one's port would be in its session

    def _new_socket(self, *arguments):
        with entered(self._namespace):
            return new_socket(*arguments)

    def client(self, host='127.0.0.1', bound='', port=0):
        """A socket connected to the balancer: it takes replies from the address it sends to alone."""
        with entered(self._namespace):
            sock = socket.socket(socket.AF_INET6 if ':' in host else socket.AF_INET, socket.SOCK_DGRAM)
        if bound or port:
            sock.bind((bound, port))
        sock.connect((host, self.port))
        sock.settimeout(SECONDS)
        self._clients.append(sock)
        return sock

    def ask(self, host='127.0.0.1'):
        return exchange(self.client(host))

    def close(self):
        for sock in self._clients:
            sock.close()
        Balancing.close(self)


def exchange(client, data=b'hello'):
    """The name of the server that answers."""
    client.send(data)
    return client.recv(65536).split()[0].decode('ascii')


#: An address that tests which run at the same time do not use: a port that is closed here stays closed.
OWN_IP = '127.%d.%d.1' % (64 + os.getpid() % 191, os.getpid() // 191 % 256)


def closed_endpoint():
    sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    sock.bind((OWN_IP, 0))
    endpoint = sock.getsockname()
    sock.close()
    return endpoint
