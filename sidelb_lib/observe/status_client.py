"""The client of the status socket: asks a running instance how it is. See `status_socket` for what is said on it."""
from __future__ import absolute_import, division, print_function

import calendar
import codecs
import json
import locale
import socket
import time

from . import render, said
from ..compat import monotonic
from ..errors import SidelbError, printable

STATUS_REQUEST = b'status\n'
HISTORY_REQUEST = b'status history\n'
ANSWER_SECONDS = 5.0
MAX_ANSWER_BYTES = 64 * 1024 * 1024
WATCH_SECONDS = 1.0


def ask(path, request, seconds=ANSWER_SECONDS):
    """Send `request` (bytes) and return all that is answered (bytes), within `seconds` in all. Raises SidelbError."""
    deadline = monotonic() + seconds
    sock = connected(path, seconds)
    try:
        sock.settimeout(seconds)
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
        raise unreachable(path, error)
    finally:
        sock.close()


def connected(path, seconds):
    """A socket that is connected to `path` within `seconds`, which the caller closes. Raises SidelbError."""
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        sock.settimeout(seconds)
        sock.connect(path)
        return sock
    except EnvironmentError as error:
        sock.close()
        raise unreachable(path, error)


def unreachable(path, error):
    reason = error.strerror or str(error)
    return SidelbError('%s: %s (is SideLB running, with this status_socket?)' % (printable(path), reason))


def health_check(path):
    """Ask for health. Returns (healthy, reason)."""
    try:
        answer = ask(path, b'Q').decode('utf-8', 'replace').strip()
    except SidelbError as error:
        return False, str(error)
    if answer == 'HEALTHY':
        return True, ''
    return False, '%s: %s' % (printable(path), 'no server is up' if answer == 'UNHEALTHY' else 'unexpected answer')


def fetch_snapshot(path, with_history=False):
    """The snapshot of the instance behind `path`. Raises SidelbError."""
    answer = ask(path, HISTORY_REQUEST if with_history else STATUS_REQUEST)
    try:
        snapshot = json.loads(answer.decode('utf-8'))
        if isinstance(snapshot, dict) and isinstance(snapshot.get('members', snapshot.get('services')), (list, dict)):
            return snapshot
    except (ValueError, RuntimeError):           # RuntimeError: nested too deeply
        pass
    raise SidelbError('%s: that is not the answer of SideLB' % printable(path))


def print_status(paths, as_json, watch, stdout, environ, with_history=False):
    """Print the status of each instance, and of those with one listener also the sum; once or for ever (`watch`).
    JSON has the last 15 minutes `with_history`; tables always do.

    Returns the exit code. Of several instances some may be missing, which is said in their place. Raises SidelbError
    when the only one is, or all are, at the beginning: `watch` goes on through restarts.
    """
    if watch and not as_json:
        from . import watching
        return watching.run(lambda: together([_drawable(path, fetch_snapshot(path, True)) for path in paths]),
                            has_color(stdout, environ), is_utf8())
    shown = False
    while True:
        answers = [_snapshot_or_error(path, with_history or not as_json) for path in paths]
        snapshots = [answer for answer in answers if not isinstance(answer, SidelbError)]
        if not snapshots and not shown:
            raise answers[0]
        shown = True
        if as_json:
            text = '\n'.join(_error_object(one) if isinstance(one, SidelbError) else render.to_json(one) for one in answers)
        else:
            text = '\n'.join(_tables(paths, answers, snapshots, stdout, environ))
        write(stdout, text + '\n')
        if not watch:
            return 0 if len(snapshots) == len(paths) else 1
        time.sleep(WATCH_SECONDS)


def _tables(paths, answers, snapshots, stdout, environ):
    from . import terminal
    from .look import Look
    look = Look(_width(stdout, environ), has_color(stdout, environ), is_utf8())
    blocks = []
    for path, answer in zip(paths, answers):
        blocks.append([str(answer)] if isinstance(answer, SidelbError) else _lines(path, answer, look))
    for total in render.totals(snapshots):
        whole = {'version': '', 'services': {'%d instances' % total['instances']: total}}
        blocks.append(terminal.head(whole, *list(whole['services'].items())[0], look=look, alone=False) + [''] +
                      terminal.table(total, look))
    return '\n\n'.join('\n'.join(line.rstrip() for line in lines) for lines in blocks).split('\n')


def _lines(path, snapshot, look):
    from . import terminal
    try:
        return terminal.status(_drawable(path, snapshot), look)
    except (AttributeError, LookupError, TypeError, ValueError):
        raise SidelbError('%s: that is not the answer of SideLB' % printable(path))


def _drawable(path, snapshot):
    """A snapshot that is safe to be shown. Raises SidelbError for what is none, or one of version 1.0."""
    from .look import clean
    from .terminal import local_clocks
    if not isinstance(snapshot.get('services'), dict) or 'verdict' not in snapshot:
        raise SidelbError('%s: that is not the answer of SideLB%s' % (
            printable(path), ' 1.1 or newer: use --json' if 'version' in snapshot else ''))
    try:
        snapshot = clean(snapshot)
        local_clocks(snapshot, time.time(), lambda seconds: list(time.localtime(seconds)[:6]),
                     lambda text: calendar.timegm(time.strptime(text[:19], '%Y-%m-%dT%H:%M:%S')))
    except (AttributeError, LookupError, TypeError, ValueError):
        raise SidelbError('%s: that is not the answer of SideLB' % printable(path))
    return snapshot


def together(snapshots):
    """Several processes as one snapshot: a service is told apart by its number where names are equal."""
    whole = dict(snapshots[0], services={}, changes=[])
    for number, snapshot in enumerate(snapshots):
        for name, service in snapshot['services'].items():
            unique = name if len(snapshots) == 1 else '%s#%d' % (name, number + 1)
            whole['services'][unique] = service
            whole['changes'] += [dict(change, service=unique) for change in snapshot['changes']
                                 if change['service'] == name]
    whole['changes'].sort(key=lambda change: change['time'], reverse=True)
    if len(snapshots) > 1:
        whole['verdict'] = said.overall(whole['services'])
    return whole


def has_color(stdout, environ):
    return stdout.isatty() and not environ.get('NO_COLOR') and environ.get('TERM') not in (None, '', 'dumb')


def is_utf8():
    return codecs.lookup(locale.getpreferredencoding(False) or 'ascii').name == 'utf-8'


def _width(stdout, environ):
    """Columns; None for a pipe."""
    if not stdout.isatty():
        return None
    if environ.get('COLUMNS', '').isdigit() and int(environ['COLUMNS']):
        return int(environ['COLUMNS'])
    from .watching import window
    return window(stdout.fileno())[0]


def write(stdout, text):
    """Text of any characters: what the locale does not have is a question mark."""
    if not isinstance(text, bytes):
        text = text.encode('utf-8' if is_utf8() else 'ascii', 'replace')
    getattr(stdout, 'buffer', stdout).write(text)
    stdout.flush()


def _snapshot_or_error(path, with_history):
    try:
        return fetch_snapshot(path, with_history)
    except SidelbError as error:
        return error


def _error_object(error):
    return json.dumps({'error': str(error)})
