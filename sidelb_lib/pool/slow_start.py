"""A server that came up takes its share little by little: its weight rises from a tenth to the whole.

In whole seconds: servers that came up in the same one have the same weight, and choosing costs more with more different
ones.
"""
from __future__ import absolute_import, division, print_function

import math

LEAST = 0.1              # of the weight, at the beginning


class SlowStart(object):
    """`seconds` is how long the weight rises, `reweigh(member, weight)` puts one in force. `tick` is to be called once a
    second. In place of `former`, another SlowStart, it goes on where that one was."""

    def __init__(self, seconds, clock, reweigh, former=None):
        self._seconds = seconds
        self._clock = clock
        self._reweigh = reweigh
        self._rising = dict(former._rising) if former else {}            # member -> when it began

    def begin(self, member):
        self._rising[member] = math.floor(self._clock())
        self._reweigh(member, member.full_weight * LEAST)

    def inherit(self, member, formers):
        """`member` has addresses of others, which may be cold, and are still if they keep some."""
        begun = [self._rising[former] for former in formers if former in self._rising]
        if begun and len(begun) == len(formers):
            self._rising[member] = max(begun)
            member.weight = member.full_weight * part_of(self._clock() - max(begun), self._seconds)

    def tick(self):
        now = self._clock()
        for member, began in list(self._rising.items()):
            part = part_of(now - began, self._seconds)
            self._reweigh(member, member.full_weight * part if part < 1 else member.full_weight)
            if part >= 1 or member.standing is None:
                del self._rising[member]


def part_of(elapsed, seconds):
    """The part of its weight that a server has `elapsed` seconds after it came up."""
    return min(1.0, max(LEAST, elapsed / float(seconds)))
