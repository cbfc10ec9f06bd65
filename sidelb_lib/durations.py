"""How long something took, counted by size: what Prometheus calls a histogram."""
from __future__ import absolute_import, division, print_function

from bisect import bisect_left

#: Upper bounds in seconds: from a server on this host to one that hardly answers.
BOUNDS = (0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0)


#: From a session for one question to one that is there for days.
LONG_BOUNDS = (0.1, 1.0, 10.0, 60.0, 300.0, 900.0, 3600.0, 14400.0, 43200.0, 86400.0)


class Durations(object):
    """`counts[i]` is how many took more than bounds[i - 1] and at most bounds[i] seconds, the last count all beyond.
    `seconds` is their sum. Adding one happens with each connection, and costs a fraction of a microsecond."""

    __slots__ = ('bounds', 'counts', 'seconds')

    def __init__(self, bounds=BOUNDS):
        self.bounds = bounds
        self.counts = [0] * (len(bounds) + 1)
        self.seconds = 0.0

    def add(self, seconds):
        self.counts[bisect_left(self.bounds, seconds)] += 1
        self.seconds += seconds

    def snapshot(self):
        """A plain dict; `counts` has one more than `bounds`."""
        return {'bounds': list(self.bounds), 'counts': list(self.counts), 'sum': self.seconds}
