"""The status socket: the server that answers on it.

The protocol is the Rust program's, and one line more. A client that sends a byte, or just closes its write half, gets
`HEALTHY` or `UNHEALTHY` and a line break; one that sends the line `status` gets the snapshot as one JSON object. Then
the server closes.
"""
from __future__ import absolute_import, division, print_function

import os
import socket

import gevent
from gevent.pool import Pool as GreenletPool
from gevent.server import StreamServer

from . import render
from ..compat import let_traffic_pass
from ..net import unix_socket

STATUS_REQUEST = b'status\n'
ANSWER_SECONDS = 5.0             # a client that takes longer to ask, or to take its answer, is left
UNDECIDED_SECONDS = 0.05         # what may be the beginning of a request line gets so long to become one
ACCEPT_PAUSE = 0.1               # seconds, when there are no descriptors
MAX_CLIENTS = 32                 # at once; more wait in the kernel's queue


class _QuietServer(StreamServer):
    """gevent's server prints a traceback for each accept that finds no descriptor left. Here the client waits."""

    def do_read(self):
        try:
            return StreamServer.do_read(self)
        except EnvironmentError:
            self.stop_accepting()
            gevent.spawn_later(ACCEPT_PAUSE, self._accept_again)
            return None

    def _accept_again(self):
        if self.started:
            self.start_accepting()


class StatusServer(object):
    """Answers on a Unix socket of mode 0600. `healthy()` and `snapshot()` are called for each request."""

    def __init__(self, healthy, snapshot):
        self.path = None
        self._healthy = healthy
        self._snapshot = snapshot
        self._server = None
        self._inode = None

    def start(self, path):
        """Bind `path` and answer on it. Raises SidelbError when another instance answers there, or it can not be made."""
        listener = unix_socket.bind(path)
        self.path = path
        self._inode = unix_socket.inode(path)
        self._server = _QuietServer(listener, self._answer, spawn=GreenletPool(MAX_CLIENTS))
        self._server.start()

    def stop(self):
        """Stop answering, and remove the socket file if it is still ours."""
        if self._server is None:
            return
        self._server.close()
        if unix_socket.inode(self.path) == self._inode:
            try:
                os.unlink(self.path)
            except EnvironmentError:
                pass

    def _answer(self, client, _):
        try:
            client.settimeout(ANSWER_SECONDS)
            if _read_request(client).startswith(STATUS_REQUEST):
                answer = render.to_json(self._snapshot(), let_traffic_pass) + '\n'
            else:
                answer = 'HEALTHY\n' if self._healthy() else 'UNHEALTHY\n'
            client.sendall(answer.encode('utf-8'))
        except EnvironmentError:         # a client that is gone or sleeps
            pass


def _read_request(client):
    """What the client asks: what it sends until that is a status request, or can not become one any more."""
    request = b''
    while len(request) < len(STATUS_REQUEST) and STATUS_REQUEST.startswith(request):
        if request:
            client.settimeout(UNDECIDED_SECONDS)
        try:
            received = client.recv(4096)
        except socket.timeout:
            break
        if not received:
            break
        request += received
    client.settimeout(ANSWER_SECONDS)
    return request
