"""check=udp: is the port open? A refusal (ICMP) says no; silence says nothing against it.

What is sent is one line break: an empty datagram is dropped on some ways, and taken for an end by some servers.
"""
from __future__ import absolute_import, division, print_function

from .exchange import PASSED, exchange_datagram

PAYLOAD = b'\n'


def parse(arguments):
    if arguments is not None:
        raise ValueError('nothing comes after udp but a port')


def make(options, context):
    return probe


def probe(address, deadline):
    exchange_datagram(address, PAYLOAD, deadline)
    return PASSED
