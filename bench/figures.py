"""Statistics of rounds. All pure."""
from __future__ import absolute_import, division, print_function

import collections

Summary = collections.namedtuple('Summary', 'median low high')


def median(values):
    """The middle of `values`, or the mean of the middle two."""
    ordered = sorted(values)
    middle = len(ordered) // 2
    if len(ordered) % 2:
        return ordered[middle]
    return (ordered[middle - 1] + ordered[middle]) / 2


def summary(values):
    """`Summary` of the values that are there, or None when none is."""
    present = [value for value in values if value is not None]
    return Summary(median(present), min(present), max(present)) if present else None


def series(rounds, contestant, metric):
    """The metric of one contestant round by round, None where it is missing."""
    return [results.get(contestant, {}).get(metric) for results in rounds]


def ratios(own, other):
    """`own` by `other` round by round, None where one is missing or not positive: lost in noise."""
    return [one / two if one and two and one > 0 and two > 0 else None for one, two in zip(own, other)]


def best(several, better):
    """Round by round the best of several series: max when 'higher' is better, else min."""
    choose = max if better == 'higher' else min
    return [choose([value for value in values if value is not None] or [None]) for values in zip(*several)]
