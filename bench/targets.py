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


def _bulk(name):
    return (Target(name, 'cpu', AT_MOST, 0.55, STREAMS), Target(name, 'cpu', AT_MOST, 0.85, ('envoy',)),
            Target(name, 'rate', AT_LEAST, 1.25, STREAMS))


def _requests(name):
    return (Target(name, 'cpu', AT_MOST, 1.10, ('haproxy',)), Target(name, 'rate', AT_LEAST, 0.97, ('haproxy',)),
            Target(name, 'cpu', AT_MOST, 1.0, ('envoy',)))


def _connections(name):
    return (Target(name, 'rate', AT_LEAST, 0.88, ('haproxy',)), Target(name, 'rate', AT_LEAST, 1.15, ('envoy',)))


TARGETS = (
    _bulk('bulk-1-up') + _bulk('bulk-1-down') + _bulk('bulk-8-up') + _bulk('bulk-8-down') +
    _requests('requests-50') + _requests('requests-500') + _connections('connections') + _connections('connections-light')
) + (
    Target('pipelined', 'rate', AT_LEAST, 0.95, ('haproxy',)),
    Target('latency', 'added p99', AT_MOST, 1.0, ('haproxy',)),
    Target('idle-and-active', 'p99', AT_MOST, 1.0, ('haproxy',)),
    Target('udp-20', 'cpu', AT_MOST, 1.05, ('nginx',)),
    Target('udp-20', 'rate', AT_LEAST, 0.95, ('nginx',)),
    Target('udp-20', 'rate', AT_LEAST, 1.2, ('envoy',)),
    Target('udp-half', 'lost', AT_MOST, 0, ()),
    Target('udp-new', 'rate', AT_LEAST, 0.93, ('nginx',)),
    Target('udp-idle', 'memory', AT_MOST, 1, ()),
    Target('idle-8000', 'memory', AT_MOST, 2, ()),
    Target('rest-probes', 'busy', AT_MOST, 2, ()),
    Target('rest-ring', 'busy', AT_MOST, 2, ()),
    Target('start', 'ready', AT_MOST, 180, ()),
    Target('start', 'memory', AT_MOST, 32, ()),
    Target('two-processes', 'scaling', AT_LEAST, 0.8, ()),      # 1.6 of one process on two cores
)


def verdicts(rounds_by_scenario, targets=TARGETS):
    """A `Verdict` for each target whose scenario SideLB and a rival took part in."""
    found = []
    for target in targets:
        rounds = rounds_by_scenario.get(target.scenario, [])
        own = bench.figures.series(rounds, OURS, target.metric)
        if not any(value is not None for value in own):
            continue
        if target.rivals:
            better = 'higher' if target.bound == AT_LEAST else 'lower'
            rivals = [bench.figures.series(rounds, rival, target.metric) for rival in target.rivals]
            if not any(value is not None for series in rivals for value in series):
                continue                 # not installed
            own = bench.figures.ratios(own, bench.figures.best(rivals, better))
        reached = bench.figures.summary(own)
        found.append(Verdict(target, reached, bool(reached) and meets(target, reached)))
    return found


def meets(target, reached):
    """Whether the median keeps the bound; a bound of 0 must hold in every round."""
    if target.bound == AT_LEAST:
        return reached.median >= target.limit
    return (reached.median if target.limit else reached.high) <= target.limit
