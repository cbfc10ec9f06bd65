"""check=http[:PORT][/PATH], https: a GET is answered with a status that passes.

Patroni, clustercheck, CockroachDB, etcd and most others say by a status whether a server can serve. Where the path asks for
a role (`/primary`), 503 means that the server is well and has another one. HTTP/1.1, one connection a probe; the head is all
that is read of an answer.
"""
from __future__ import absolute_import, division, print_function

import binascii
import re
from collections import namedtuple

from ..net.endpoints import is_unix
from .exchange import PASSED, Conversation, ProbeFailed, Result, shown

#: The last part of a path that asks for a role. Patroni's REST API answers 503 to those that have another one.
ROLES = frozenset(['primary', 'leader', 'master', 'read-write', 'replica', 'read-only', 'standby-leader', 'sync', 'async'])
STANDBY_STATUSES = ((503, 503),)

MAX_LINE_BYTES = 4096
_STATUS = re.compile(br'HTTP/1\.[01] ([0-9]{3})(?: ([^\r\n]*))?\Z')

Http = namedtuple('Http', 'path role')


def parse(arguments):
    path = '/' + (arguments or '')
    if not re.match(r'[!-~]+\Z', path):
        raise ValueError('the path has printable ASCII without blanks')
    last = path.partition('?')[0].rstrip('/').rpartition('/')[2]
    return Http(path, last if last in ROLES else None)


def make(options, context, secure=False):
    settings = context.settings
    standby = settings.check_standby or (STANDBY_STATUSES if options.role else ())
    converse = secure_conversation(settings) if secure else Conversation

    def probe(address, deadline):
        with converse(address, deadline) as conversation:
            conversation.send(request(settings, options.path, address))
            status, reason = read_status(conversation)
            facts = conversation.facts()
            conversation.end()
        return verdict(status, reason, settings, standby, options.role)._replace(facts=facts)
    return probe


def request(settings, path, address):
    host = settings.check_host or host_of(address)
    return ('%s %s HTTP/1.1\r\nHost: %s\r\nUser-Agent: SideLB\r\nAccept: */*\r\nConnection: close\r\n\r\n' % (
        settings.check_method, path, host)).encode('ascii')


def host_of(address):
    """The member's name where it has one, else its address, as a Host header wants it."""
    member = getattr(address, 'member', None)
    if is_unix(address.host):
        return 'localhost'
    name = member.name if member is not None and ':' not in member.name else None
    if name:
        return '%s:%d' % (name, address.port)
    return '[%s]:%d' % (address.host, address.port) if ':' in address.host else '%s:%d' % (address.host, address.port)


def read_status(conversation):
    """(status, reason phrase)."""
    while b'\n' not in conversation.received and len(conversation.received) < MAX_LINE_BYTES:
        if not conversation.receive():
            break
    if not conversation.received:
        raise ProbeFailed('ends the connection early')
    line = conversation.received.partition(b'\n')[0].rstrip(b'\r')
    status = _STATUS.match(line)
    if not status:
        begin = binascii.hexlify(conversation.received[:8]).decode('ascii')
        raise ProbeFailed('no HTTP answer: %s' % ' '.join(begin[at:at + 2] for at in range(0, len(begin), 2)))
    return int(status.group(1)), shown(status.group(2) or b'')


def verdict(status, reason, settings, standby, role):
    text = ('HTTP %d %s' % (status, reason)).strip()
    if is_among(status, settings.check_drain):
        return Result('draining', None, text, None)
    if is_among(status, settings.check_expect):
        return PASSED._replace(role=role)
    if is_among(status, standby):
        return Result('standby', None, text, None)
    raise ProbeFailed(text)


def is_among(status, ranges):
    return any(low <= status <= high for low, high in ranges or ())


def secure_conversation(settings):
    from .tls import SecureConversation, client_context
    context = client_context(settings.check_ca)

    def converse(address, deadline):
        name = settings.check_host or host_of(address)
        return SecureConversation(address, deadline, context, name.rpartition(':')[0] or name)
    return converse
