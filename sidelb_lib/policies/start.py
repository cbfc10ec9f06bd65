"""Where in the order of servers the first session goes: by the instance's number, or by chance.

A fleet of instances that do not talk to each other is even only by chance if each begins at random. Consecutive numbers,
spread by the golden ratio, are ten times nearer to even (docs/fleet.md); so are numbers with gaps, even ones and multiples
of ten.
"""
from __future__ import absolute_import, division, print_function

import re

_GOLDEN = 2654435769             # 2**32 / the golden ratio; Knuth, The Art of Computer Programming 3, 6.4
_RANGE = 2 ** 32

#: The number of app-17, of db_3.example.com; of at most five digits, for longer ones are not counted up.
_ORDINAL = re.compile(r'[^.]*[-_]([0-9]{1,5})(\.|\Z)')


def start_of(instance):
    """The `start` of a policy for the instance of this number: gives the same fraction, of at least 0 and below 1, each
    time. With M servers the first session goes to number fraction * M, rounded down."""
    fraction = instance * _GOLDEN % _RANGE / float(_RANGE)
    return lambda: fraction


def number_in(host):
    """The number of an instance that its host's name tells, or None."""
    found = _ORDINAL.match(host)
    return int(found.group(1)) if found else None
