"""`sidelb drain` and the like: asks the running instances, and tells what they have answered."""
from __future__ import absolute_import, division, print_function

import json

from ..errors import SidelbError, printable
from .commands import counted
from .status_client import ask

RELOAD_SECONDS = 10.0
SPARE_SECONDS = 5.0              # beside the time that a command may wait


def command(paths, name, options, stdout):
    """Carry `name` out on the instance behind each of `paths`, and print what each says. Returns the exit code: 0 when
    all have done it. Raises SidelbError with the first reason against it."""
    line = ('%s %s\n' % (name, json.dumps(options))).encode('utf-8')
    seconds = SPARE_SECONDS + (options.get('seconds', 0) if options.get('wait') else 0)
    for path in paths:
        answer = answer_of(ask(path, line, seconds), path)
        if not answer.get('ok'):
            raise SidelbError(answer.get('error') or 'no reason was given')
        for server in answer['servers']:
            stdout.write(sentence(server) + '\n')
    return 0


def reload(paths):
    """Have the instance behind each of `paths` read its file again. Returns the mistakes of all, a line each."""
    mistakes = []
    for path in paths:
        answer = answer_of(ask(path, b'reload {}\n', RELOAD_SECONDS), path)
        mistakes += answer.get('mistakes', [])
        if not answer.get('ok'):
            mistakes.append('%s: %s' % (printable(path), answer.get('error') or 'no reason was given'))
    return mistakes


def answer_of(data, path):
    try:
        answer = json.loads(data.decode('utf-8'))
    except ValueError:
        answer = None
    if not isinstance(answer, dict):
        raise SidelbError('%s: this instance is too old: it knows no commands' % path)
    return answer


def sentence(server):
    """`db: db1.example.com is draining, 3 sessions` out of what an instance says of a server."""
    service = '%s: ' % server['service'] if server.get('service') else ''
    return '%s%s is %s, %s' % (service, server['server'], server['state'], counted(server['active'], 'session'))
