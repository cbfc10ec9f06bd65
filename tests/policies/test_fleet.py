"""N instances that do not talk to each other, on the real policies: how even their sessions are over M servers.

The rows are those of a model that was measured beforehand: instances, servers, sessions of each; the busiest server's
part of the mean.
"""
from __future__ import absolute_import, division, print_function

import pytest

from bench.fleet import (
    CHANCE, FIRST, MOMENTS, ORDINAL, RETURNS, Life, drawn, expected_variation, loads, peak, shares_after_return, variation)
from sidelb_lib.policies.least_connections import LeastConnections
from sidelb_lib.policies.round_robin import RoundRobin

#: (instances, servers, sessions): by chance, all at the first, by number, by number with 10 % missing.
ROWS = [
    ((10, 3, 10), 1.05, 1.2, 1.02, 1.03), ((20, 10, 5), 1.33, 2.0, 1.10, 1.11),
    ((100, 10, 5), 1.15, 2.0, 1.02, 1.03), ((200, 50, 10), 1.28, 5.0, 1.05, 1.10),
    ((1000, 20, 5), 1.09, 4.0, None, None), ((1000, 100, 10), 1.19, 10.0, 1.01, 1.05)]


def averaged(measure, size, **how):
    """Over fewer seeds where a fleet is large, and chance small."""
    seeds = min(30, max(2, 60000 // (size[0] * size[1])))
    return sum(measure(loads(*size, seed=seed, **how)) for seed in range(seeds)) / float(seeds)


@pytest.mark.parametrize('size, by_chance, at_first, by_number, with_gaps', ROWS)
def test_how_even_a_fleet_is(size, by_chance, at_first, by_number, with_gaps):
    assert abs(averaged(peak, size, start=CHANCE) - by_chance) < 0.08
    assert abs(peak(loads(*size, start=FIRST)) - at_first) < 0.01
    if by_number:
        assert peak(loads(*size, start=ORDINAL)) < by_number + 0.03
        assert averaged(peak, size, start=ORDINAL, missing=0.1) < with_gaps + 0.05


@pytest.mark.slow          # a million members are told to policies: 2 s
@pytest.mark.once
def test_a_thousand_instances_and_servers():
    assert abs(peak(loads(1000, 1000, 10, start=CHANCE)) - 2.06) < 0.15
    assert peak(loads(1000, 1000, 10, start=ORDINAL)) < 1.10 + 0.03


@pytest.mark.parametrize('size', [row[0] for row in ROWS if row[0][0] < 1000])
def test_chance_varies_as_the_formula_says(size):
    measured, expected = averaged(variation, size, start=CHANCE), expected_variation(*size)
    assert abs(measured - expected) < 0.2 * expected


def test_a_multiple_of_the_servers_is_exactly_even():
    assert peak(loads(50, 10, 20, start=CHANCE)) == 1.0


def test_both_policies_begin_alike():
    assert loads(100, 10, 5, start=ORDINAL, policy=LeastConnections) == loads(100, 10, 5, start=ORDINAL)


@pytest.mark.parametrize('policy', [RoundRobin, LeastConnections])
def test_the_sessions_of_a_server_that_dies_are_spread_over_the_others(policy):
    life = Life(100, 10, 10, policy)
    life.lose(3)
    assert life.counts[3] == 0 and sum(life.counts) == 1000
    assert peak(life.counts) <= 1.15 * 10 / 9.0


def test_a_server_that_returns_is_filled_soon_by_least_connections_and_slowly_by_round_robin():
    how = dict(instances=100, servers=10, sessions=10, lifetime=600.0)
    least, = shares_after_return(LeastConnections, [120], **how)
    turns, late = shares_after_return(RoundRobin, [120, 660], **how)
    assert least >= 0.6 and turns <= 0.25 and abs(late - 1) < 0.1


def test_slow_start_holds_the_wave_back():
    how = dict(instances=100, servers=10, sessions=10, lifetime=600.0)
    early, late = shares_after_return(LeastConnections, [60, 600], slow_start=150.0, **how)
    assert early < 0.2 and late > 0.95


def test_the_picture_is_drawn():
    peaks = dict((start, [1.5, 1.2, 1.0]) for start in (FIRST, CHANCE, ORDINAL))
    picture = drawn(peaks, dict((name, [0.5] * len(MOMENTS)) for name, _, _ in RETURNS))
    assert picture.startswith('<svg') and '1.50' in picture and picture.rstrip().endswith('</svg>')
