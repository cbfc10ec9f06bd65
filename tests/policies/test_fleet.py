"""N instances that do not talk to each other, on the real policies: how even their sessions are over M servers.

The rows are those of a model that was measured beforehand: instances, servers, sessions of each; the busiest server's
part of the mean.
"""
from __future__ import absolute_import, division, print_function

import io
import os
import re

import pytest

from bench.fleet import (
    CHANCE, FIRST, MOMENTS, ORDINAL, TOLD, Life, drawn, expected_variation, fleet, life_with_a_return, loads, measured,
    peak, variation)
from sidelb_lib.policies.least_connections import LeastConnections
from sidelb_lib.policies.round_robin import RoundRobin

DOCS = os.path.join(os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__)))), 'docs')

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
    assert peak(loads(1000, 1000, 10, start=ORDINAL, missing=0.1)) < 1.20 + 0.05


@pytest.mark.parametrize('size', [row[0] for row in ROWS])
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


HOW = dict(instances=100, servers=10, sessions=10)


def test_a_server_that_returns_is_filled_soon_by_least_connections_and_slowly_by_round_robin():
    least, = life_with_a_return(LeastConnections, [0.2], **HOW).shares
    turns, late = life_with_a_return(RoundRobin, [0.2, 1.1], **HOW).shares
    assert least >= 0.6 and turns <= 0.25 and abs(late - 1) < 0.1


@pytest.mark.parametrize('policy, soon, late', [(RoundRobin, 0.0, 0.95), (LeastConnections, 0.2, 0.97)])
def test_a_server_whose_weight_rises_has_its_share_of_a_fleet_little_by_little(policy, soon, late):
    shares = life_with_a_return(policy, [0.1, 0.25, 1.5], slow_start=300.0, **HOW).shares      # weights of 0.2, 0.5, 1
    assert soon <= shares[1] < 0.55 and shares[0] < 0.2 and shares[2] > late


@pytest.mark.parametrize('policy', [RoundRobin, LeastConnections])
def test_a_server_that_returns_again_rises_little_by_little_again(policy):
    life = Life(100, 10, 10, policy, lifetime=600.0, slow_start=300.0)
    life.run(600)
    for _ in range(3):
        life.lose(0)
        life.run(60)
        life.regain(0)
        life.run(60)
        assert life.share(0) < 0.2
        life.run(900)
        assert life.share(0) > 0.9


def swing(policy, sessions):
    """The least and the largest part of its share that a server has in the second to sixth lifetime after its return."""
    life = Life(200, 10, sessions, policy, lifetime=600.0)
    life.run(720)
    life.lose(0)
    life.run(60)
    life.regain(0)
    life.run(600)
    shares = []
    for _ in range(20):
        life.run(150)
        shares.append(life.share(0))
    return min(shares), max(shares)


def test_least_connections_swings_after_a_return_where_instances_have_few_sessions():
    least, most = swing(LeastConnections, 5)
    assert least < 0.2 and most > 1.8
    least, most = swing(LeastConnections, 15)
    assert 0.65 < least < 0.8 and 1.2 < most < 1.35


def test_nothing_swings_with_a_multiple_of_the_servers_and_little_with_round_robin():
    assert swing(LeastConnections, 20) == (1, 1)
    least, most = swing(RoundRobin, 5)
    assert 0.7 < least and most < 1.3


@pytest.mark.parametrize('policy', [RoundRobin, LeastConnections])
def test_a_fleet_that_began_by_number_is_as_even_as_by_chance_after_some_lifetimes(policy):
    life = Life(100, 10, 5, policy, lifetime=600.0, start=ORDINAL)
    assert peak(life.counts) < 1.03
    life.run(1800)
    assert 1.05 < peak(life.counts) < 1.2


@pytest.mark.parametrize('policy, most', [(RoundRobin, 260), (LeastConnections, 320)])
@pytest.mark.parametrize('start', [CHANCE, ORDINAL])
def test_a_fleet_is_more_even_than_its_instances_where_weights_ask_for_parts_of_a_session(start, policy, most):
    counts = [0, 0, 0]
    for instance in fleet(200, 3, policy, start, weights=(3, 1, 1)):
        counts[instance.take()] += 1
        counts[instance.take()] += 1
    assert 220 < counts[0] < most, counts           # 240 is right; 400, where all would begin with the heaviest


def test_a_wave_is_what_comes_in_a_sixtieth_of_a_lifetime_in_parts_of_the_usual():
    life = Life(60, 10, 10, RoundRobin, lifetime=60.0)           # a server gets one session a second
    life.opened_at[3] = [0.0, 5.0, 5.2, 5.9, 6.5, 20.0]
    assert life.wave(3) == 3


# --- docs/fleet.md and its picture -----------------------------------------------------------------------------------

def read(name):
    with io.open(os.path.join(DOCS, name), encoding='utf-8') as stream:
        return stream.read()


def rows_under(head):
    """The cells of the rows of the one table of docs/fleet.md whose head begins like that."""
    table = read('fleet.md').split('| ' + head)[1].split('\n\n')[0].splitlines()[2:]
    return [[cell.strip() for cell in row.strip('|').split('|')] for row in table]


AGAIN = 'python -m bench.fleet docs/fleet.svg draws it again, and prints the figures of the guide'


@pytest.fixture(scope='module')
def results():
    return measured()


def test_the_guide_says_how_even_fleets_are_that_begin_in_different_ways():
    told = dict((tuple(int(number) for number in row[0].split(',')), row[1:]) for row in rows_under('instances, servers'))
    for size, by_chance, at_first, by_number, with_gaps in ROWS + [((1000, 1000, 10), 2.06, 100.0, 1.10, 1.20)]:
        if size in told:
            assert [float(cell) for cell in told.pop(size)] == [at_first, by_chance, by_number, with_gaps]
    assert not told


def test_the_guide_says_what_was_measured_of_a_server_that_returns(results):
    returns = results[-1]
    told = rows_under('share of a returned server')
    assert len(told) == len(returns)
    for row, found in zip(told, returns.values()):
        at = dict(zip(MOMENTS, found.shares))
        assert row[1:] == ['%.2f' % at[moment] for moment in TOLD] + ['%.1f' % found.wave], AGAIN


def test_the_picture_is_the_one_that_the_command_draws(results):
    assert read('fleet.svg') == drawn(*results), AGAIN


def test_the_picture_shows_fleets_of_ten_a_hundred_and_a_thousand(results):
    texts = re.findall(r'>([^<]+)</text>', drawn(*results))
    assert [text for text in texts if text.endswith(' instances')] == ['10 instances', '100 instances', '1,000 instances']
