"""What SideLB has to reach, and whether it did. All pure."""
from __future__ import absolute_import, division, print_function

import collections

import bench.figures

OURS = 'sidelb'

# rivals: names whose best, round by round, `limit` is a ratio to; none: `limit` is absolute, in its unit
Target = collections.namedtuple('Target', 'scenario metric bound limit rivals')
# reached: a `Summary`, or None when no round gave a usable figure; met: whether that is enough
Verdict = collections.namedtuple('Verdict', 'target reached met')

AT_LEAST, AT_MOST = 'at least', 'at most'
STREAMS = ('haproxy', 'nginx')

TARGETS = (
    Target('bulk-1-up', 'rate', AT_LEAST, 1.5, STREAMS),
    Target('bulk-1-down', 'rate', AT_LEAST, 1.5, STREAMS),
    Target('bulk-8-up', 'rate', AT_LEAST, 1.5, STREAMS),
    Target('bulk-8-down', 'rate', AT_LEAST, 1.5, STREAMS),
    Target('requests-50', 'rate', AT_LEAST, 1.0, ('haproxy',)),
    Target('requests-500', 'rate', AT_LEAST, 0.95, ('haproxy',)),
    Target('pipelined', 'rate', AT_LEAST, 0.95, ('haproxy',)),
    Target('requests-50', 'cpu', AT_MOST, 1.15, ('haproxy',)),
    Target('connections', 'rate', AT_LEAST, 0.8, ('haproxy',)),
    Target('connections-light', 'rate', AT_LEAST, 0.8, ('haproxy',)),
    Target('latency', 'added p99', AT_MOST, 1.2, ('haproxy',)),
    Target('udp-20', 'rate', AT_LEAST, 1.2, ('nginx', 'dnsdist')),
    Target('udp-half', 'lost', AT_MOST, 0, ()),
    Target('udp-new', 'rate', AT_LEAST, 0.8, ('nginx',)),
    Target('udp-idle', 'memory', AT_MOST, 12, ()),
    Target('idle-8000', 'memory', AT_MOST, 9, ()),
    Target('rest-probes', 'busy', AT_MOST, 2, ()),
    Target('rest-ring', 'busy', AT_MOST, 2, ()),
    Target('start', 'ready', AT_MOST, 300, ()),
    Target('two-processes', 'scaling', AT_LEAST, 0.8, ()),      # 1.6 of one process on two cores
)


def verdicts(rounds_by_scenario, targets=TARGETS):
    """A `Verdict` for each target whose scenario SideLB took part in."""
    found = []
    for target in targets:
        rounds = rounds_by_scenario.get(target.scenario, [])
        own = bench.figures.series(rounds, OURS, target.metric)
        if not any(value is not None for value in own):
            continue
        if target.rivals:
            better = 'higher' if target.bound == AT_LEAST else 'lower'
            rivals = [bench.figures.series(rounds, rival, target.metric) for rival in target.rivals]
            own = bench.figures.ratios(own, bench.figures.best(rivals, better))
        reached = bench.figures.summary(own)
        found.append(Verdict(target, reached, bool(reached) and meets(target, reached)))
    return found


def meets(target, reached):
    """Whether the median keeps the bound; a bound of 0 must hold in every round."""
    if target.bound == AT_LEAST:
        return reached.median >= target.limit
    return (reached.median if target.limit else reached.high) <= target.limit
