"""The sockets that clients send to, of a wildcard listener: replies must come from the address that was asked."""
from __future__ import absolute_import, division, print_function

from gevent import get_hub

from ..compat import READ, bare_socket
from ..net import reuse_port as sharing
from ..net.listeners import listen_udp
from ..net.local_address import send_from

MAX_SOCKETS = 256                  # bound to local addresses at a time
SECONDS_UNUSED = 60.0              # then a socket is closed


class LocalSocket(object):
    """A socket bound to one local address, and the watcher that has it read."""

    __slots__ = ('socket', 'watcher', 'unused_since')

    def __init__(self, sock, watcher):
        self.socket = sock
        self.watcher = watcher
        self.unused_since = None

    def close(self):
        self.watcher.stop()
        self.socket.close()


class LocalAddress(object):
    """In place of a socket of its own: replies leave by the wildcard listener, which is told their address for each."""

    __slots__ = ('_listener', '_local')

    def __init__(self, listener, local):
        self._listener = listener
        self._local = local

    def sendto(self, data, client):
        send_from(self._listener, self._local, data, client)


class ClientSockets(object):
    """The sockets beside a wildcard listener, one bound to each local address that clients send to.

    The kernel prefers them to the wildcard from then on, and replies leave with their address: the costly call that
    tells the address (IP_PKTINFO) is needed for the first datagram to an address, not for each. Where there can't be
    another socket, that call serves for all. `read(socket, (local,))` is called in the hub when one is readable. This
    object owns the sockets; it does not own `listener`.
    """

    def __init__(self, listener, port, read, clock):
        self.opened = 0                    # so far
        self._listener = listener
        self._port = port
        self._read = read
        self._clock = clock
        self._by_local = {}                # local IP -> LocalSocket
        self._retired = []                 # those that are let go

    def socket_for(self, local):
        """What sends replies from the local address `local`: its `sendto` is that of a socket."""
        known = self._by_local.get(local)
        if known is None and len(self._by_local) < MAX_SOCKETS:
            known = self._open(local)
        return known.socket if known else LocalAddress(self._listener, local)

    def _open(self, local):
        try:
            shared = sharing.is_shared(self._listener)
            sock = bare_socket(listen_udp(local, self._port, shared, beside_wildcard=True))
            if shared:
                # The kernel would prefer it to the wildcards of the other instances: they would get nothing.
                sharing.stop_receiving(sock)
        except EnvironmentError:             # short of descriptors, or an address that can't be bound (link-local IPv6)
            return None
        watcher = get_hub().loop.io(sock.fileno(), READ)
        watcher.start(self._read, sock, (local,))
        self._by_local[local] = known = LocalSocket(sock, watcher)
        self.opened += 1
        return known

    def close_unused(self, used):
        """Let go of the sockets that have long not been in `used`, a set: clients may go through very many addresses.

        Such a socket gets no more datagrams, they come to the wildcard again. What it has is read, and it is closed the
        next time.
        """
        for known in [each for each in self._retired if each.socket not in used]:
            self._retired.remove(known)
            known.close()
        now = self._clock()
        for local, known in list(self._by_local.items()):
            if known.socket in used:
                known.unused_since = None
            elif known.unused_since is None:
                known.unused_since = now
            elif now - known.unused_since >= SECONDS_UNUSED:
                sharing.stop_receiving(known.socket)
                self._retired.append(self._by_local.pop(local))

    def close(self):
        """Idempotent."""
        for known in list(self._by_local.values()) + self._retired:
            known.close()
        self._by_local.clear()
        del self._retired[:]
