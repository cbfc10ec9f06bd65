"""The sockets that UDP clients send to: the listener, and beside a wildcard one for each local address in use."""
from __future__ import absolute_import, division, print_function

from gevent import get_hub

from ..compat import READ, bare_socket
from ..net.blame import SHORTAGES
from ..net.listeners import listen_udp
from ..net import reuse_port as sharing

MOST_LOCAL_ADDRESSES = 256         # sockets that a wildcard listener opens for its addresses


class LocalFronts(object):
    """The sockets beside a wildcard listener, one bound to each local address that clients have sent to.

    The kernel prefers them to the wildcard from then on, and replies leave with their address. `read(socket, (local,))`
    is called in the hub when one is readable. This object owns the sockets; it does not own `listener`.
    """

    def __init__(self, listener, port, read, log):
        self.opened = 0                    # so far
        self._listener = listener
        self._port = port
        self._read = read
        self._log = log
        self._fronts = {}                  # local IP -> (socket, watcher or None: then it is the listener)

    def front_for(self, local):
        """The socket bound to the local address `local`; the listener where there can be none."""
        if local not in self._fronts and len(self._fronts) < MOST_LOCAL_ADDRESSES:
            self._open(local)
        front, _ = self._fronts.get(local, (self._listener, None))
        return front

    def _open(self, local):
        try:
            shared = sharing.is_shared(self._listener)
            front = bare_socket(listen_udp(local, self._port, shared, beside_wildcard=True))
            if shared:
                # The kernel would prefer it to the wildcards of the other instances: they would get nothing.
                sharing.stop_receiving(front)
        except EnvironmentError as error:
            self._log.warning('no_local_socket', 'replies from {local} may have another address of this host: {error}',
                              local=local, error=error.strerror or str(error))
            if error.errno not in SHORTAGES:       # else it is tried again at the next datagram
                self._fronts[local] = self._listener, None
            return
        watcher = get_hub().loop.io(front.fileno(), READ)
        watcher.start(self._read, front, (local,))
        self._fronts[local] = front, watcher
        self.opened += 1

    def close(self):
        """Idempotent."""
        for front, watcher in self._fronts.values():
            if watcher is not None:
                watcher.stop()
                front.close()
        self._fronts.clear()
