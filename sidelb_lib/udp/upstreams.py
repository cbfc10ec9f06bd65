"""The sockets to servers, one for each session: found a server, connected, watched together."""
from __future__ import absolute_import, division, print_function

import errno
import os
import socket

from gevent import monkey

from ..compat import READ, SocketError, new_socket
from ..errors import HOST_IS_SHORT, TOO_LATE, NobodyReachable
from ..net.blame import HOST, blame
from ..net.socket_options import raise_receive_buffer

BATCH = 64                         # sockets that are looked at before others get their turn
MAX_ATTEMPTS = 16                  # servers that are tried for one datagram: that happens in the hub, while all others wait


class HostIsShort(NobodyReachable):
    """This host lacks a descriptor or a local port for another socket."""

    def __init__(self, text):
        NobodyReachable.__init__(self, HOST_IS_SHORT, text)


class Upstreams(object):
    """Every session's socket to its server.

    One epoll watches them all: a watcher of libev for each cost 15 % more CPU a query and 6.7 KiB more a session (Python
    3.11, November 2026). This object owns the epoll, and the sockets from `watch` to `close`.
    """

    def __init__(self, pool, settings):
        self.by_number = {}                # descriptor -> Session
        self.local_ports = None            # (first, last) of those that the kernel chooses from, where it tells
        self._pool = pool
        self._single_reply = settings.responses == 1
        self._epoll = monkey.get_original('select', 'epoll')()

    @staticmethod
    def new_socket(family, kind):
        """As `compat.new_socket`; an attribute may stand for it."""
        return new_socket(family, kind)

    def connect(self, tried, ip):
        """(lease, socket connected to its address) of a server that is not in `tried`, see `Pool.take`, for the client with
        this IP. The caller owns both.

        A server that cannot be reached is reported, and the next one is tried. Raises NobodyReachable, HostIsShort.
        """
        for _ in range(MAX_ATTEMPTS):
            lease = self._pool.take(tried, ip)
            upstream = None
            try:
                upstream = self._connect(lease)
            finally:
                if upstream is None:
                    lease.end()
            if upstream is not None:
                lease.address.total += 1
                return lease, upstream
            tried = lease.tried
        raise NobodyReachable(TOO_LATE, '%d servers have been tried' % MAX_ATTEMPTS)

    def _connect(self, lease):
        """A connected socket, or None after the failure was reported. Raises HostIsShort."""
        address = lease.address
        try:
            upstream, call = self.new_socket(address.family, socket.SOCK_DGRAM), 'connect'
        except SocketError as error:
            upstream, call, code = None, 'bind', error.errno     # or of `socket`
        else:
            code = upstream.connect_ex(address.sockaddr)
            if not code and self._is_itself(upstream, address):
                code = errno.ECONNREFUSED
            if not code:
                if not self._single_reply:      # for one reply there is room: that call is 2 % of a short session
                    raise_receive_buffer(upstream)
                return upstream
            upstream.close()
        if call == 'bind' and code == errno.EADDRNOTAVAIL:      # nobody who makes room could help
            raise NobodyReachable(HOST_IS_SHORT, 'source= is no address of this host')
        if blame(code, call, 'udp') == HOST:
            raise HostIsShort('no socket towards %s: %s' % (address, _text(code, call)))
        lease.failed(_text(code, call))
        return None

    def _is_itself(self, upstream, address):
        """Has the kernel chosen the server's port as our own one, on this very host? Then nobody else has it, and what a
        client says would come back to it as an answer."""
        ports = self.local_ports
        if ports and not ports[0] <= address.sockaddr[1] <= ports[1]:
            return False
        return upstream.getsockname()[:2] == address.sockaddr[:2]

    def watch(self, session):
        number = session.upstream.fileno()
        self.by_number[number] = session
        self._epoll.register(number, READ)

    def close_one(self, session):
        """Close the socket of `session`, at once: what follows may need the descriptor."""
        del self.by_number[session.upstream.fileno()]
        session.upstream.close()                # which takes it out of the epoll, epoll(7)

    def fileno(self):
        """The descriptor that is readable when a socket is."""
        return self._epoll.fileno()

    def readable(self):
        """Up to BATCH sessions' descriptors, each with what it is ready for. Never waits."""
        return self._epoll.poll(0, BATCH)

    def close(self):
        """When no session will come any more. Idempotent."""
        self._epoll.close()


def _text(code, call):
    if call == 'connect' and code == errno.EAGAIN:      # as the kernel says it, see net.blame
        return 'no local port is free'
    return os.strerror(code)


def find_local_ports(path='/proc/sys/net/ipv4/ip_local_port_range'):
    """(first, last) of the local ports that Linux hands out, of both families (ip(7)); None where it does not tell."""
    try:
        with open(path) as text:
            first, last = map(int, text.read().split())
    except (EnvironmentError, ValueError):
        return None
    return first, last
