"""The client of the status socket: asks a running instance how it is. See `status_socket` for what is said on it."""
from __future__ import absolute_import, division, print_function

import json
import socket
import time

from . import render as status
from ..errors import SidelbError, printable

STATUS_REQUEST = b'status\n'
ANSWER_SECONDS = 5.0
MAX_ANSWER_BYTES = 64 * 1024 * 1024
WATCH_SECONDS = 1.0
CLEAR_SCREEN = '\x1b[H\x1b[2J'


def ask(path, request, seconds=ANSWER_SECONDS):
    """Send `request` (bytes) and return all that is answered (bytes), each part within `seconds`. Raises SidelbError."""
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        sock.settimeout(seconds)
        sock.connect(path)
        sock.sendall(request)
        sock.shutdown(socket.SHUT_WR)
        answer = b''
        while len(answer) < MAX_ANSWER_BYTES:
            received = sock.recv(65536)
            if not received:
                break
            answer += received
        return answer
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
    try:
        return json.loads(ask(path, STATUS_REQUEST).decode('utf-8'))
    except ValueError:
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
