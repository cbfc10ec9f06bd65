"""The client of the status socket: asks a running instance how it is. See `status_socket` for what is said on it."""
from __future__ import absolute_import, division, print_function

import json
import socket
import time

from . import render as status
from ..compat import monotonic
from ..errors import SidelbError, printable

STATUS_REQUEST = b'status\n'
ANSWER_SECONDS = 5.0
MAX_ANSWER_BYTES = 64 * 1024 * 1024
WATCH_SECONDS = 1.0
CLEAR_SCREEN = '\x1b[H\x1b[2J'


def ask(path, request, seconds=ANSWER_SECONDS):
    """Send `request` (bytes) and return all that is answered (bytes), within `seconds` in all. Raises SidelbError."""
    deadline = monotonic() + seconds
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        sock.settimeout(seconds)
        sock.connect(path)
        sock.sendall(request)
        sock.shutdown(socket.SHUT_WR)
        parts, size = [], 0
        while size <= MAX_ANSWER_BYTES:
            sock.settimeout(max(deadline - monotonic(), 0.001))
            received = sock.recv(65536)
            if not received:
                return b''.join(parts)
            parts.append(received)
            size += len(received)
        raise SidelbError('%s: that is not the answer of SideLB: it does not end' % printable(path))
    except socket.timeout:
        raise SidelbError('%s: no answer within %g seconds' % (printable(path), seconds))
    except EnvironmentError as error:
        reason = error.strerror or str(error)
        raise SidelbError('%s: %s (is SideLB running, with this status_socket?)' % (printable(path), reason))
    finally:
        sock.close()


def health_check(path):
    """Ask for health. Returns (healthy, reason)."""
    try:
        answer = ask(path, b'Q').decode('utf-8', 'replace').strip()
    except SidelbError as error:
        return False, str(error)
    if answer == 'HEALTHY':
        return True, ''
    return False, '%s: %s' % (printable(path), 'no server is up' if answer == 'UNHEALTHY' else 'unexpected answer')


def fetch_snapshot(path):
    """The snapshot of the instance behind `path`. Raises SidelbError."""
    answer = ask(path, STATUS_REQUEST)
    try:
        snapshot = json.loads(answer.decode('utf-8'))
        if isinstance(snapshot, dict) and isinstance(snapshot.get('members', snapshot.get('services')), (list, dict)):
            return snapshot
    except (ValueError, RuntimeError):           # RuntimeError: nested too deeply
        pass
    raise SidelbError('%s: that is not the answer of SideLB' % printable(path))


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
            tables = [_table(path, answer) for path, answer in zip(paths, answers)]
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


def _table(path, answer):
    if isinstance(answer, SidelbError):
        return str(answer)
    try:
        return status.to_table(answer)
    except (AttributeError, LookupError, TypeError, ValueError):
        raise SidelbError('%s: that is not the answer of SideLB' % printable(path))


def _error_object(error):
    return json.dumps({'error': str(error)})
