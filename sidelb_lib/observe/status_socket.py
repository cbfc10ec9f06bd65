"""The status socket: the server that answers on it.

The protocol is the Rust program's, and one line more. A client that sends a byte, or just closes its write half, gets
`HEALTHY` or `UNHEALTHY` and a line break; one that sends the line `status` gets the snapshot as one JSON object, one that
sends the line of a command (see `commands`) its answer as one. Then the server closes.
"""
from __future__ import absolute_import, division, print_function

import json
import os
import socket
import struct

from gevent.pool import Pool as GreenletPool
from gevent.server import StreamServer

from . import render
from ..compat import let_traffic_pass
from ..net import unix_socket
from ..net.accepting import PausesAccepting

STATUS_REQUEST = b'status\n'
MAX_LINE_BYTES = 4096
SO_PEERCRED = 17                 # unix(7); Python 2 does not name it
ANSWER_SECONDS = 5.0             # a client that takes longer to ask, or to take its answer, is left
UNDECIDED_SECONDS = 0.05         # what may be the beginning of a request line gets so long to become one
MAX_CLIENTS = 32                 # at once; more wait in the kernel's queue


class _QuietServer(PausesAccepting, StreamServer):
    """gevent's server prints a traceback for each accept that finds no descriptor left. Here the client waits."""

    def do_read(self):
        try:
            return StreamServer.do_read(self)
        except EnvironmentError:
            self.pause_accepting()
            return None


class StatusServer(object):
    """Answers on a Unix socket of mode 0600. `healthy()` and `snapshot()` are called for each request, and
    `command(line, who)` for a line that is none of the status: it returns a dict, or None for what is no command."""

    def __init__(self, healthy, snapshot, command, command_words):
        self.path = None
        self._healthy = healthy
        self._snapshot = snapshot
        self._command = command
        self._words = [b'status'] + [word.encode('ascii') for word in command_words]
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
            answer = self._answer_to(read_request(client, self._words), client)
            client.settimeout(ANSWER_SECONDS)
            client.sendall(answer.encode('utf-8'))
        except EnvironmentError:         # a client that is gone or sleeps
            pass

    def _answer_to(self, request, client):
        if request.startswith(STATUS_REQUEST):
            return render.to_json(self._snapshot(), let_traffic_pass) + '\n'
        line, end, _ = request.partition(b'\n')
        if end:                          # only a whole line is a command
            answer = self._command(str(line.decode('utf-8', 'replace')), peer_text(client))
            if answer is not None:
                return json.dumps(answer, sort_keys=True) + '\n'
        return 'HEALTHY\n' if self._healthy() else 'UNHEALTHY\n'


def read_request(client, words):
    """What the client asks: what it sends until the end of a line that begins with one of the `words`, or until it can
    become none any more."""
    request = b''
    while b'\n' not in request and len(request) < MAX_LINE_BYTES and may_become_line(request, words):
        if request:
            client.settimeout(UNDECIDED_SECONDS)
        try:
            received = client.recv(4096)
        except socket.timeout:
            break
        if not received:
            break
        request += received
    return request


def may_become_line(request, words):
    word, blank, _ = request.partition(b' ')
    return word in words if blank else any(one.startswith(word) for one in words)


def peer_text(client):
    """`uid 1000, pid 812` of the program at the other end of a Unix socket, unix(7)."""
    try:
        pid, uid, _ = struct.unpack('3i', client.getsockopt(socket.SOL_SOCKET, SO_PEERCRED, struct.calcsize('3i')))
    except EnvironmentError:
        return 'somebody'
    return 'uid %d, pid %d' % (uid, pid)
