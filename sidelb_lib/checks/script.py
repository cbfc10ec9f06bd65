"""check=send:HEX,expect:HEX: a datagram is sent, and the reply must begin as said."""
from __future__ import absolute_import, division, print_function

import binascii
import re
from collections import namedtuple

from .exchange import PASSED, ProbeFailed, exchange_datagram, shown

MAX_BYTES = 1232                  # goes through any network in one piece: DNS flag day 2020

_EXCHANGE = re.compile(r'send:([0-9a-f]+),expect:([0-9a-f]+)\Z')

#: The bytes to send, and those that the reply must begin with.
Exchange = namedtuple('Exchange', 'send expect')


def parse(arguments):
    """An Exchange."""
    parts = _EXCHANGE.match(arguments.replace(' ', '').lower())
    if not parts or any(len(part) % 2 for part in parts.groups()):
        raise ValueError('write send:HEX,expect:HEX, with two hexadecimal digits for each byte')
    exchange = Exchange(*[binascii.unhexlify(part) for part in parts.groups()])
    if max(len(part) for part in exchange) > MAX_BYTES:
        raise ValueError('a probe has at most %d bytes' % MAX_BYTES)
    return exchange


def make(options, context):
    def probe(address, deadline):
        reply = exchange_datagram(address, options.send, deadline)
        if reply is None:
            raise deadline.passed()
        if not reply.startswith(options.expect):
            raise ProbeFailed('wanted %s, got %s' % (shown(options.expect), shown(reply)))
        return PASSED
    return probe
