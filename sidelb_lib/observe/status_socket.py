"""The status socket: the server that answers on it.

The protocol is the Rust program's, and one line more. A client that sends a byte, or just closes its write half, gets
`HEALTHY` or `UNHEALTHY` and a line break; one that sends the line `status` gets the snapshot as one JSON object, with
`status history` the last 15 minutes in it; one that sends the line of a command (see `commands`) its answer as one, to
`events` further lines. The line `give way` is another instance's, see `status_place`. Then the server closes.
"""
from __future__ import absolute_import, division, print_function

import json
import os
import socket

from gevent.server import StreamServer

from . import render
from .crowd import Crowded
from .status_place import GIVE_WAY
from ..compat import let_traffic_pass, text_of
from ..net import unix_socket

STATUS_REQUEST = b'status\n'
HISTORY_REQUEST = b'status history\n'
MAX_LINE_BYTES = 4096
ANSWER_SECONDS = 5.0             # a client that takes longer to ask, or to take its answer, is left
UNDECIDED_SECONDS = 0.05         # what may be the beginning of a request line gets so long to become one


class _QuietServer(Crowded, StreamServer):
    """gevent's server prints a traceback for each accept that finds no descriptor left. Here the client waits."""

    def __init__(self, listener, answer):
        Crowded.__init__(self)
        StreamServer.__init__(self, listener)
        self._answer = answer

    def do_read(self):
        try:
            return StreamServer.do_read(self)
        except EnvironmentError:
            self.pause_accepting()
            return None

    def handle(self, client, peer):
        self.begin()
        try:
            self._answer(client, self.has_asked)
        finally:
            self.end()


class StatusServer(object):
    """Answers on a Unix socket of mode 0600. `healthy()` and `snapshot()` are called for each request, and
    `command(line, who, has_left)` for a line that is none of the status: it returns a dict, or None for what is no command.
    `gives_way()` says whether another instance may have the path.
    """

    def __init__(self, healthy, snapshot, command, command_words, gives_way):
        self.path = None
        self._healthy = healthy
        self._snapshot = snapshot
        self._command = command
        self._gives_way = gives_way
        self._words = [b'status', b'give'] + [word.encode('ascii') for word in command_words]
        self._server = None
        self._inode = None

    def start(self, path):
        """Bind `path` and answer on it. Raises SidelbError when another instance answers there, or it cannot be made."""
        listener = unix_socket.bind(path)
        self.path = path
        self._inode = unix_socket.inode(path)
        self._server = _QuietServer(listener, self._answer)
        self._server.start()

    def stop(self):
        """Stop answering, and remove the socket file if it is still ours."""
        if self._server is None:
            return
        server, self._server = self._server, None
        server.close()
        if unix_socket.inode(self.path) == self._inode:
            try:
                os.unlink(self.path)
            except EnvironmentError:
                pass

    def _answer(self, client, has_asked):
        try:
            client.settimeout(ANSWER_SECONDS)
            request = read_request(client, self._words)
            has_asked()
            answer, events = self._answer_to(request, client)
            try:
                client.settimeout(ANSWER_SECONDS)
                client.sendall(answer.encode('utf-8'))
                if events is not None:
                    events.send_to(client)
            finally:
                if events is not None:
                    events.close()
        except EnvironmentError:         # a client that is gone or sleeps
            pass

    def _answer_to(self, request, client):
        """(the text, the Follower of events that come after it or None)."""
        if request.startswith((STATUS_REQUEST, HISTORY_REQUEST)):
            snapshot = self._snapshot(request.startswith(HISTORY_REQUEST))
            return render.to_json(snapshot, let_traffic_pass) + '\n', None
        if request.startswith(GIVE_WAY) and self._gives_way():
            self.stop()
            return 'GIVEN\n', None
        line, end, _ = request.partition(b'\n')
        if end:                          # only a whole line is a command
            answer = self._command(text_of(line), peer_text(client), lambda: unix_socket.has_closed(client))
            if answer is not None:
                events = answer.pop('events', None)
                return json.dumps(answer, sort_keys=True) + '\n', events
        return ('HEALTHY\n' if self._healthy() else 'UNHEALTHY\n'), None


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
        pid, uid = unix_socket.peer_of(client)
    except EnvironmentError:
        return 'somebody'
    return 'uid %d, pid %d' % (uid, pid)
