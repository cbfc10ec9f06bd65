"""Where in the order of servers the first session goes: by the instance's number, or by chance.

A fleet of instances that do not talk to each other is even only by chance if each begins at random. Consecutive numbers,
spread by the golden ratio, are ten times nearer to even (docs/fleet.md); so are numbers with gaps, even ones and multiples
of ten.

What stands around a host's number moves the start by a hash of it: ip-10-0-1-17 and ip-10-0-2-17, or the first pods of many
StatefulSets, must not all begin with one server. So a number that is none, as in app-5d4f6b7c8-x2x45, is no worse than
chance.
"""
from __future__ import absolute_import, division, print_function

import re
import zlib

from ..errors import printable

_GOLDEN = 2654435769             # 2**32 / the golden ratio; Knuth, The Art of Computer Programming 3, 6.4
_RANGE = 2 ** 32
_MAX_HOST = 255
_PROCESSES = 100000              # how far apart two processes of a host are; hosts have smaller numbers

#: The number of app-17, of db_3.example.com, of node17; of at most five digits, for longer ones are not counted up.
_NUMBERED = re.compile(r'([^.]*[^.0-9])([0-9]{1,5})(\..*)?\Z')
_AT_END = re.compile(r'(.*[^0-9])([0-9]{1,5})()\Z')         # of app.3, which is the name of an instance and not of a host


def start_of(instance):
    """The `start` of a policy for the instance of this number: gives the same fraction, of at least 0 and below 1, each
    time. With M servers the first session goes to number fraction * M, rounded down."""
    fraction = instance * _GOLDEN % _RANGE / float(_RANGE)
    return lambda: fraction


def instance_of(given, host, shares_host):
    """(number for `start_of`, or None for chance; the words for that). `given` is the setting: a number, a name, 'off' or
    None; `shares_host` says that there may be others on this `host`."""
    if given == 'off':
        return None, 'chance (instance=off)'
    if given is None and shares_host:
        return None, 'chance (reuse_port=on without instance=)'
    host = printable(host, _MAX_HOST)
    if given is None:
        return _numbered(host, _NUMBERED.match(host), 'host ' + host)
    words = 'instance=%s' % given
    if not isinstance(given, int):
        found = _AT_END.match(given) or _NUMBERED.match(given)
        if not found or not shares_host:
            return _numbered(given, found, words)
        given = int(found.group(2))
    if not shares_host:
        return given, words
    found = _NUMBERED.match(host)
    own = _numbered(host, found, '')[0] if found else _hash(host)
    return own + _PROCESSES * given, '%s on host %s' % (words, host)


def _numbered(name, found, words):
    if not found:
        return None, 'chance (no number at the end of %s)' % words
    own = int(found.group(2))
    return own + _hash(found.group(1) + (found.group(3) or '')), 'number %d of %s' % (own, words)


def _hash(text):
    return zlib.crc32(text.encode('ascii')) % _RANGE
