"""check=redis[:PORT][/ROLE]: PING is answered, and ROLE says what is wanted. For Redis, Valkey, KeyDB, Dragonfly.

PING and ROLE go in one send, and both must pass: a server that loads its data says `master` already.
"""
from __future__ import absolute_import, division, print_function

import re

from . import roles
from .exchange import PASSED, Conversation, Misconfigured, ProbeFailed, noisy, shown

MAX_REPLY_BYTES = 16384

parse = roles.parse


def make(options, context):
    def probe(address, deadline):
        commands = login(context) + [('PING',)] + ([('ROLE',)] if options.role else []) + [('QUIT',)]
        with Conversation(address, deadline) as conversation:
            conversation.send(b''.join(command(*words) for words in commands))
            for words in commands[:-1]:
                reply = Reply(conversation).read()
                found = judge(words[0], reply, options.role)
            conversation.end()
        return found
    return probe


def login(context):
    password = context.password()
    if not password:
        return []
    user = context.settings.check_user
    named = context.settings.origins['check_user'] != 'default'
    return [('AUTH', user, password) if named else ('AUTH', password)]


def command(*words):
    """An array of bulk strings, as the Redis protocol has it."""
    parts = [word.encode('utf-8') if not isinstance(word, bytes) else word for word in words]
    return b'*%d\r\n' % len(parts) + b''.join(b'$%d\r\n%s\r\n' % (len(part), part) for part in parts)


def judge(word, reply, role):
    """What a reply says. Raises ProbeFailed, Misconfigured."""
    if isinstance(reply, Error):
        return judge_error(word, reply, role)
    if word == 'PING' and reply != b'PONG':
        raise ProbeFailed('PING is answered by %s' % shown(bytes(reply) if isinstance(reply, bytes) else b'another thing'))
    if word == 'ROLE':
        return role_of(reply, role)
    return PASSED


def judge_error(word, error, role):
    kind, text = error.partition(b' ')[0], shown(bytes(error))
    if kind == b'BUSY':
        return PASSED                      # a script runs
    if kind == b'NOAUTH' and word == 'PING' and not role:
        return noisy('counts each check as an error (%s): set SIDELB_CHECK_PASSWORD or check_password_file=' % text)
    if kind in (b'NOAUTH', b'NOPERM', b'WRONGPASS', b'DENIED') or word == 'AUTH' or kind == b'ERR' and word == 'ROLE':
        raise Misconfigured(text)
    raise ProbeFailed(text)


def role_of(reply, wanted):
    """The Result for the array that ROLE gives. A replica counts when it is connected to its primary."""
    first = reply[0] if isinstance(reply, list) and reply else None
    if first == b'master':
        return roles.result(roles.PRIMARY, wanted)
    if first in (b'slave', b'replica'):
        if wanted == roles.PRIMARY:
            return roles.result(roles.REPLICA, wanted)
        state = reply[3] if len(reply) > 3 else b''
        if state != b'connected':
            raise ProbeFailed('the replica is not connected to its primary (%s)' % shown(bytes(state)))
        return roles.result(roles.REPLICA, wanted)
    if first == b'sentinel':
        raise ProbeFailed('this is a Sentinel')
    raise ProbeFailed('ROLE is answered by another thing')


class Error(bytes):
    """An error reply, without its dash."""


class Reply(object):
    """Reads one reply: bytes, an Error, an int, None, or a list of such."""

    def __init__(self, conversation):
        self._conversation = conversation

    def read(self, depth=0):
        line = self._line()
        kind, rest = line[:1], line[1:]
        if kind == b'+':
            return rest
        if kind == b'-':
            return Error(rest)
        if kind == b':':
            return rest
        if kind in (b'$', b'*') and re.match(br'-?[0-9]{1,9}\Z', rest) and depth < 4:
            size = int(rest)
            if size < 0:
                return None
            if size > MAX_REPLY_BYTES:
                raise ProbeFailed('the answer is too long')
            if kind == b'$':
                return self._conversation.read(size + 2)[:-2]
            return [self.read(depth + 1) for _ in range(min(size, 1024))]
        raise ProbeFailed('no Redis answer: %s' % shown(line[:16]))

    def _line(self):
        conversation = self._conversation
        while b'\r\n' not in conversation.received:
            if len(conversation.received) > MAX_REPLY_BYTES:
                raise ProbeFailed('a line of the answer is too long')
            if not conversation.receive():
                raise ProbeFailed('ends the connection early')
        line, _, conversation.received = conversation.received.partition(b'\r\n')
        return line
