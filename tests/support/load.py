"""Clients that never stop, and remember what went wrong."""
from __future__ import absolute_import, division, print_function

import contextlib
import errno
import socket
import time

import gevent

from .clients import connect, read_line


class ClientLoop(object):
    """Clients that connect, say a line to an echo server that greets (`servers.Server`), read it back, and close, again and
    again, inside the `with`.

    `served` counts what went well, `failures` lists what did not, as ('refused', 'reset', 'timeout' or 'eof', when);
    `slowest` is the longest that a client took, in seconds.
    """

    def __init__(self, address, clients=8, namespace=None, pause=0.001, timeout=10.0):
        self._address = address
        self._clients = clients
        self._namespace = namespace
        self._pause = pause
        self._timeout = timeout
        self._greenlets = []
        self._going_on = True
        self.served = 0
        self.failures = []
        self.slowest = 0

    def __enter__(self):
        self._greenlets = [gevent.spawn(self._run, number) for number in range(self._clients)]
        return self

    def __exit__(self, *_):
        """Each client ends in its own time: whoever hangs, fails."""
        self._going_on = False
        gevent.joinall(self._greenlets)
        for greenlet in self._greenlets:
            greenlet.get()

    def kinds(self):
        """How the failed ones failed, each way once."""
        return sorted(set(kind for kind, _ in self.failures))

    def _run(self, number):
        while self._going_on:
            began = time.time()
            failure = self._be_served('client %d' % number)
            if failure:
                self.failures.append((failure, began))
            else:
                self.served += 1
                self.slowest = max(self.slowest, time.time() - began)
            gevent.sleep(self._pause)

    def _be_served(self, line):
        """None, or how it failed."""
        try:
            with contextlib.closing(connect(self._address, self._timeout, self._namespace)) as sock:
                sock.sendall(line.encode('ascii') + b'\n')
                read_line(sock)              # the greeting
                return None if read_line(sock) == line else 'eof'
        except socket.timeout:
            return 'timeout'
        except EnvironmentError as error:
            kinds = {errno.ECONNREFUSED: 'refused', errno.ECONNRESET: 'reset', errno.EPIPE: 'reset'}
            if error.errno not in kinds:
                raise
            return kinds[error.errno]
