"""check=dns[/NAME]: does a DNS server answer?

With a NAME it is asked for its addresses, and any answer but SERVFAIL and REFUSED passes: a resolver that can't reach
the world fails, one that knows the name not to exist passes. Without one it is asked for the name servers of the root,
and any answer at all passes, for a server in a closed network has none that is better than SERVFAIL.
"""
from __future__ import absolute_import, division, print_function

import os
import struct
from collections import namedtuple

from .exchange import PASSED, ProbeFailed, exchange_datagram

_A, _NS, _IN = 1, 2, 1                              # RFC 1035, 3.2
_FAILURES = {2: 'SERVFAIL', 5: 'REFUSED'}           # RFC 1035, 4.1.1
_HEADER = struct.Struct('!HHHHH')

#: `wire`: the name in wire form; `kind`: the type of its records; `failures`: {code: its name} of answers that fail.
Question = namedtuple('Question', 'wire kind failures')


def parse(arguments):
    """A Question."""
    if arguments is None:
        return Question(b'\0', _NS, {})
    return Question(_wire_name(arguments), _A, _FAILURES)


def make(options, context):
    def probe(address, deadline):
        identity = os.urandom(2)
        query = identity + _HEADER.pack(0x0100, 1, 0, 0, 0) + options.wire + struct.pack('!HH', options.kind, _IN)
        reply = exchange_datagram(address, query, deadline)
        if reply is None:
            raise deadline.passed()
        if len(reply) < 12 or reply[:2] != identity or not ord(reply[2:3]) & 0x80:
            raise ProbeFailed('that is no DNS answer')
        code = ord(reply[3:4]) & 0x0f
        if code in options.failures:
            raise ProbeFailed(options.failures[code])
        return PASSED
    return probe


def _wire_name(text):
    """RFC 1035, 3.1."""
    name = text[:-1] if text.endswith('.') else text
    if any(not '!' <= character <= '~' for character in name):
        raise ValueError('a name is printable ASCII: write an international one in its xn-- form')
    labels = name.encode('ascii').split(b'.') if name else []
    if any(not 1 <= len(label) <= 63 for label in labels) or len(name) > 253:
        raise ValueError('each part of a name has 1 to 63 characters, all together at most 253')
    return b''.join(struct.pack('B', len(label)) + label for label in labels) + b'\0'
