"""`sidelb drain` and the like: asks the running instances, and tells what they have answered."""
from __future__ import absolute_import, division, print_function

import json
import socket

import gevent

from ..errors import SidelbError, printable
from .commands import counted
from .look import clean, span
from .status_client import ANSWER_SECONDS, ask, connected, write

RELOAD_SECONDS = 10.0
MAX_LINE_BYTES = 1024 * 1024
MAX_REASON = 2000
SPARE_SECONDS = 5.0              # beside the time that a command may wait


def command(paths, name, options, stdout, as_json=False):
    """Carry `name` out on the instance behind each of `paths`, and print what each says. Returns the exit code: 0 when
    all have done it. Raises SidelbError with the first reason against it."""
    line = ('%s %s\n' % (name, json.dumps(options))).encode('utf-8')
    seconds = SPARE_SECONDS + (options.get('seconds', 0) if options.get('wait') else 0)
    for path in paths:
        answer = answer_of(ask(path, line, seconds), path)
        if not answer.get('ok'):
            raise SidelbError(reason_of(answer))
        try:
            text = '\n'.join(LINES[name](clean(answer)))
        except (AttributeError, LookupError, TypeError, ValueError):
            raise SidelbError('%s: that is not the answer of SideLB' % printable(path))
        write(stdout, (json.dumps(answer, sort_keys=True) if as_json else text) + '\n')
    return 0


def events(paths, options, stdout, as_json):
    """Print the events of the instance behind each of `paths`, and go on while they go on. Returns the exit code. Raises
    SidelbError with the first reason against it, or when an instance that was followed has ended."""
    readers = [gevent.spawn(_print_events, path, options, stdout, as_json) for path in paths]
    try:
        for reader in gevent.iwait(readers):
            if reader.value is not None:
                raise reader.value
    finally:
        gevent.killall(readers)
    return 0


def _print_events(path, options, stdout, as_json):
    """Returns the error that ends it, or None: gevent would print the traceback of one that is raised in a greenlet."""
    try:
        _follow(path, options, stdout, as_json)
    except (SidelbError, EnvironmentError) as error:       # or the reader of `stdout` has gone
        return error


def _follow(path, options, stdout, as_json):
    sock = connected(path, ANSWER_SECONDS)
    try:
        sock.sendall(('events %s\n' % json.dumps(options)).encode('utf-8'))
        lines = sock.makefile('rb')
        with gevent.Timeout(ANSWER_SECONDS):         # in all, however it drips
            answer = answer_of(lines.readline(MAX_LINE_BYTES), path)
        if not answer.get('ok'):
            raise SidelbError(reason_of(answer))
        sock.settimeout(None)
        for line in iter(lambda: lines.readline(MAX_LINE_BYTES), b''):
            event = answer_of(line, path)
            write(stdout, (json.dumps(event, sort_keys=True) if as_json else event_text(clean(event))) + '\n')
    except (socket.timeout, gevent.Timeout):
        raise SidelbError('%s: no answer within %g seconds' % (printable(path), ANSWER_SECONDS))
    finally:
        sock.close()
    if options['follow']:
        raise SidelbError('%s: SideLB has ended' % printable(path))


def reload(paths):
    """Have the instance behind each of `paths` read its file again. Returns the mistakes of all, a line each."""
    mistakes = []
    for path in paths:
        answer = answer_of(ask(path, b'reload {}\n', RELOAD_SECONDS), path)
        told = answer.get('mistakes')
        mistakes += [_shown(mistake) for mistake in (told if isinstance(told, list) else [])]
        if not answer.get('ok'):
            mistakes.append('%s: %s' % (printable(path), reason_of(answer)))
    return mistakes


def answer_of(data, path):
    try:
        answer = json.loads(data.decode('utf-8'))
    except (ValueError, RuntimeError):           # RuntimeError: nested too deeply
        answer = None
    if not isinstance(answer, dict):
        raise SidelbError('%s: this instance is too old: it does not know that command' % printable(path))
    return answer


def reason_of(answer):
    """Why an instance has refused."""
    return _shown(answer.get('error') or 'no reason was given')


def _shown(text):
    """There may be names in it that others have chosen."""
    return str(printable('%s' % (text,), MAX_REASON))


def sentence(server):
    """`db: db1.example.com is draining, 3 sessions` out of what an instance says of a server."""
    service = '%s: ' % server['service'] if server.get('service') else ''
    weight = ', weight %g' % server['weight'] if 'weight' in server else ''
    return '%s%s is %s%s, %s' % (service, server['server'], server['state'], weight, counted(server['active'], 'session'))


def rebalanced(service):
    """`db: 2 of 6 sessions closed that servers have above their share; it goes on`."""
    name = '%s: ' % service['service'] if service.get('service') else ''
    if not service['excess']:
        return name + 'no server has more than its share'
    return '%s%d of %s closed that servers have above their share%s' % (
        name, service['closed'], counted(service['excess'], 'session'), '' if service['ended'] else '; it goes on')


COLUMNS = ('SERVICE', 'CLIENT', 'SERVER', 'AGE', 'SILENT', 'SENT', 'RECEIVED')


def session_lines(answer):
    """The table of sessions; without a column for the service where there is but one."""
    rows = [COLUMNS] + [(
        one['service'], one['session'], one['server'] or '(waits)', span(one['age']), span(one['silent']),
        '%d' % one['bytes_sent'], '%d' % one['bytes_received']) for one in answer['sessions']]
    rows = rows if answer['services'] > 1 else [row[1:] for row in rows]
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    lines = ['  '.join(cell.ljust(width) for cell, width in zip(row, widths)).rstrip() for row in rows]
    shown, total = len(answer['sessions']), answer['total']
    return lines + (['%d of %d sessions: the oldest' % (shown, total)] if shown < total else [])


def event_text(event):
    service = '%s: ' % event['service'] if event.get('service') else ''
    return '%s %s %s%s' % (event.get('time'), event.get('level'), service, event.get('message'))


LINES = {
    'drain': lambda answer: map(sentence, answer['servers']),
    'enable': lambda answer: map(sentence, answer['servers']),
    'weight': lambda answer: map(sentence, answer['servers']),
    'sessions': session_lines,
    'close': lambda answer: [counted(answer['closed'], 'session') + ' closed'],
    'rebalance': lambda answer: map(rebalanced, answer['services']),
}
