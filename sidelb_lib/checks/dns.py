"""check=dns: does a DNS server answer?"""
from __future__ import absolute_import, division, print_function

import os
import struct

from .exchange import PASSED, ProbeFailed, exchange_datagram

_NS, _IN = 2, 1                   # RFC 1035, 3.2
_SERVFAIL = 2                     # RFC 1035, 4.1.1


def parse(arguments):
    if arguments is not None:
        raise ValueError('nothing comes after dns but a port')


def make(options, context):
    return probe


def probe(address, deadline):
    """It is asked for the name servers of the root, which any server has a word on: any answer but SERVFAIL passes, a
    refusal to serve us included."""
    identity = os.urandom(2)
    query = identity + struct.pack('!HHHHHBHH', 0x0100, 1, 0, 0, 0, 0, _NS, _IN)
    reply = exchange_datagram(address, query, deadline)
    if reply is None:
        raise deadline.passed()
    if len(reply) < 12 or reply[:2] != identity or not ord(reply[2:3]) & 0x80:
        raise ProbeFailed('that is no DNS answer')
    if ord(reply[3:4]) & 0x0f == _SERVFAIL:
        raise ProbeFailed('SERVFAIL')
    return PASSED
