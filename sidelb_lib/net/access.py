"""Who may connect: lists of networks. Pure."""
from __future__ import absolute_import, division, print_function

import re
import socket
import struct
from collections import namedtuple

from .endpoints import canonical_ip, family_of

_BITS = {socket.AF_INET: 32, socket.AF_INET6: 128}
_MAPPED = '::ffff:'


class Network(namedtuple('Network', 'family prefix bits')):
    """The addresses of a family whose first `bits` bits are those of `prefix`, a number of that many bits."""

    __slots__ = ()

    def __str__(self):
        number = self.prefix << _BITS[self.family] - self.bits
        packed = struct.pack('!I', number) if self.family == socket.AF_INET else struct.pack(
            '!QQ', number >> 64, number & 0xffffffffffffffff)
        return '%s/%d' % (socket.inet_ntop(self.family, packed), self.bits)

    def has(self, family, number):
        return family == self.family and number >> _BITS[family] - self.bits == self.prefix


def parse_network(text):
    """`10.0.0.0/8`, `2001:db8::/32`, or one address. ValueError says how to write it."""
    ip, slash, bits = text.partition('/')
    if not canonical_ip(ip):
        raise ValueError('write a network like 10.0.0.0/8 or 2001:db8::/32, or one address')
    family, number = number_of(ip)
    size = _BITS[family]
    if slash and not (re.match(r'[0-9]{1,3}\Z', bits) and int(bits) <= size):
        raise ValueError('the part after the slash is the number of bits: 0 to %d' % size)
    count = int(bits) if slash else size
    prefix = number >> size - count
    if prefix << size - count != number:
        raise ValueError('%s has bits beyond the first %d: did you mean %s?' % (ip, count, Network(family, prefix, count)))
    return Network(family, prefix, count)


def parse_trusted(text):
    """Like `parse_network`, of those who are believed what they say of a client."""
    if text.lower() in ('on', 'yes', 'true'):
        raise ValueError('name the networks that are trusted, like 10.0.0.0/8: who sends a PROXY header can pretend to be '
                         'any client')
    if text.lower() in ('off', 'no', 'false'):
        raise ValueError('leave the setting out')
    return parse_network(text)


def is_allowed(ip, allow, deny):
    """May the client come in? `deny` is asked first, then `allow`, if there is one; both are lists of Network."""
    if not allow and not deny:
        return True
    family, number = number_of(ip)
    if any(network.has(family, number) for network in deny):
        return False
    return not allow or any(network.has(family, number) for network in allow)


def covers(wide, narrow):
    """Has the Network `wide` every address of `narrow`?"""
    return wide.bits <= narrow.bits and wide.has(narrow.family, narrow.prefix << _BITS[narrow.family] - narrow.bits)


def number_of(ip):
    """(family, the address as a number). IPv4 in IPv6 is IPv4: one client is one client."""
    if ip.startswith(_MAPPED) and '.' in ip:
        ip = ip[len(_MAPPED):]
    family = family_of(ip)
    packed = socket.inet_pton(family, ip.partition('%')[0])
    if family == socket.AF_INET:
        return family, struct.unpack('!I', packed)[0]
    high, low = struct.unpack('!QQ', packed)
    return family, high << 64 | low
