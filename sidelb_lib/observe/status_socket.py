"""The status socket: the server that answers on it, and the client that asks.

The protocol is the Rust program's, and one line more. A client that sends a byte, or just closes its write half, gets
`HEALTHY` or `UNHEALTHY` and a line break; one that sends the line `status` gets the snapshot as one JSON object. Then
the server closes.
"""
from __future__ import absolute_import, division, print_function

import contextlib
import errno
import fcntl
import json
import os
import socket
import stat
import time

import gevent
from gevent.pool import Pool as GreenletPool
from gevent.server import StreamServer

from . import render as status
from ..compat import close_descriptor, let_traffic_pass
from ..errors import SidelbError

DEFAULT_PATH = '/run/sidelb.sock'

STATUS_REQUEST = b'status\n'
ANSWER_SECONDS = 5.0             # both sides give up after it
UNDECIDED_SECONDS = 0.05         # what may be the beginning of a request line gets so long to become one
ACCEPT_PAUSE = 0.1               # seconds, when there are no descriptors
MOST_CLIENTS = 32                # at once; more wait in the kernel's queue
MOST_ANSWER_BYTES = 64 * 1024 * 1024
WATCH_SECONDS = 1.0
CLEAR_SCREEN = '\x1b[H\x1b[2J'


def socket_paths(environ, user):
    """Where a status socket may be when nobody has named a place: the default, then what an unprivileged `user` can
    make."""
    runtime = environ.get('XDG_RUNTIME_DIR')
    return [DEFAULT_PATH] + ([os.path.join(runtime, 'sidelb.sock')] if runtime else []) + ['/tmp/sidelb-%d.sock' % user]


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
        try:
            with _locked(os.path.dirname(path) or '.'):
                _remove_stale(path)
                listener = _bind(path)
        except EnvironmentError as error:
            raise SidelbError(error.strerror or str(error))
        self.path = path
        self._inode = os.stat(path).st_ino
        self._server = _QuietServer(listener, self._answer, spawn=GreenletPool(MOST_CLIENTS))
        self._server.start()

    def stop(self):
        """Stop answering, and remove the socket file if it is still ours."""
        if self._server is None:
            return
        self._server.close()
        try:
            if os.stat(self.path).st_ino == self._inode:
                os.unlink(self.path)
        except EnvironmentError:
            pass

    def _answer(self, client, _):
        try:
            client.settimeout(ANSWER_SECONDS)
            if _read_request(client).startswith(STATUS_REQUEST):
                answer = status.to_json(self._snapshot(), let_traffic_pass) + '\n'
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


@contextlib.contextmanager
def _locked(directory):
    """Hold an advisory lock on a directory, so that of two instances that start at once only one replaces a stale
    socket."""
    descriptor = os.open(directory, os.O_RDONLY)
    try:
        deadline = time.time() + 1.0
        while True:
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except EnvironmentError:
                if time.time() > deadline:       # somebody else's lock: the race it guards against is a small one
                    break
                gevent.sleep(0.01)
        yield
    finally:
        close_descriptor(descriptor)


def _remove_stale(path):
    """Remove the socket of an instance that is no more. Raises SidelbError if it is alive or no socket."""
    try:
        mode = os.stat(path).st_mode
    except EnvironmentError as error:
        if error.errno == errno.ENOENT:
            return
        raise
    if not stat.S_ISSOCK(mode):
        raise SidelbError('there is a file which is no socket')
    code = _connect_code(path)
    if code not in (errno.ECONNREFUSED, errno.ENOENT):
        raise SidelbError('another instance answers there')
    if code == errno.ECONNREFUSED:
        os.unlink(path)


def _connect_code(path):
    """The errno of connecting to the socket `path`, 0 where somebody listens."""
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        sock.settimeout(1.0)
        return sock.connect_ex(path)
    finally:
        sock.close()


def _bind(path):
    """A listening socket that nobody but its owner may connect to, from its first moment."""
    listener = gevent.socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    mask = os.umask(0o177)
    try:
        listener.bind(path)
        listener.listen(128)
    except BaseException:
        listener.close()
        raise
    finally:
        os.umask(mask)
    return listener


# --- the client -----------------------------------------------------------------------------------------------------

def ask(path, request):
    """Send `request` (bytes) and return all that is answered (bytes). Raises SidelbError."""
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        sock.settimeout(ANSWER_SECONDS)
        sock.connect(path)
        sock.sendall(request)
        sock.shutdown(socket.SHUT_WR)
        answer = b''
        while len(answer) < MOST_ANSWER_BYTES:
            received = sock.recv(65536)
            if not received:
                break
            answer += received
        return answer
    except socket.timeout:
        raise SidelbError('%s: no answer within %g seconds' % (path, ANSWER_SECONDS))
    except EnvironmentError as error:
        reason = error.strerror or str(error)
        raise SidelbError('%s: %s (is SideLB running, with this status_socket?)' % (path, reason))
    finally:
        sock.close()


def first_that_listens(paths):
    """The first of `paths` where somebody listens whom we may ask and believe, else the first.

    Anybody may make a socket in /tmp: only one of root's or our own is believed.
    """
    for path in paths:
        if not _connect_code(path) and os.lstat(path).st_uid in (0, os.getuid()):
            return path
    return paths[0]


def health_check(path):
    """Ask for health. Returns (healthy, reason)."""
    try:
        answer = ask(path, b'Q').decode('utf-8', 'replace').strip()
    except SidelbError as error:
        return False, str(error)
    if answer == 'HEALTHY':
        return True, ''
    return False, '%s: no server is up' % path if answer == 'UNHEALTHY' else '%s: unexpected answer' % path


def fetch_snapshot(path):
    """The snapshot of the instance behind `path`. Raises SidelbError."""
    try:
        return json.loads(ask(path, STATUS_REQUEST).decode('utf-8'))
    except ValueError:
        raise SidelbError('%s: that is not the answer of SideLB' % path)


def print_status(paths, as_json, watch, stdout):
    """Print the status of each instance, and of those with one listener also the sum; once or for ever (`watch`).

    Returns the exit code. Of several instances some may be missing, which is said in their place. Raises SidelbError
    when the only one is, or all are, at the beginning: `watch` goes on through restarts.
    """
    shown = False
    while True:
        answers = [_snapshot_or_error(path) for path in paths]
        snapshots = [answer for answer in answers if not isinstance(answer, SidelbError)]
        if not snapshots and not shown:
            raise answers[0]
        shown = True
        if as_json:
            text = '\n'.join(_shown(answer, _error_object, status.to_json) for answer in answers)
        else:
            tables = [_shown(answer, str, status.to_table) for answer in answers]
            text = '\n\n'.join(tables + [status.to_table(total) for total in status.totals(snapshots)])
        stdout.write((CLEAR_SCREEN if watch and not as_json else '') + text + '\n')
        stdout.flush()
        if not watch:
            return 0 if len(snapshots) == len(paths) else 1
        time.sleep(WATCH_SECONDS)


def _snapshot_or_error(path):
    try:
        return fetch_snapshot(path)
    except SidelbError as error:
        return error


def _shown(answer, show_error, show_snapshot):
    return show_error(answer) if isinstance(answer, SidelbError) else show_snapshot(answer)


def _error_object(error):
    return json.dumps({'error': str(error)})
