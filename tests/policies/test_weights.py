"""Members of different weights."""
from __future__ import absolute_import, division, print_function

import collections

import pytest

from sidelb_lib.policies.least_connections import LeastConnections
from sidelb_lib.policies.round_robin import RoundRobin
from .parts import chosen, members, take, tell


def weighted(names, weights, start=0.0, policy=RoundRobin):
    one = policy(lambda: start)
    tell(one, members(names, weights))
    return one


@pytest.mark.parametrize('weights, order', [((5, 1, 1), 'aabacaa'), ((1, 2, 3), 'cbacbc')])
def test_round_robin_interleaves_as_nginx_does(weights, order):
    assert chosen(weighted('abc', weights), 2 * len(order)) == 2 * order


@pytest.mark.parametrize('weights', [(5, 1, 1), (1, 2, 3), (7, 3), (1, 1, 1, 2)])
def test_any_full_round_holds_exactly_the_weights(weights):
    names = 'abcd'[:len(weights)]
    order = chosen(weighted(names, weights), 5 * sum(weights))
    for first in range(4 * sum(weights)):
        window = collections.Counter(order[first:first + sum(weights)])
        assert [window[name] for name in names] == list(weights)


def test_the_same_choices_as_the_algorithm_step_by_step():
    weights = [3, 1, 4, 1, 5, 9, 2, 6, 5, 3, 5, 8]
    credits, expected = [0] * len(weights), []
    for _ in range(500):
        credits = [credit + weight for credit, weight in zip(credits, weights)]
        best = credits.index(max(credits))
        credits[best] -= sum(weights)
        expected.append('abcdefghijkl'[best])
    assert chosen(weighted('abcdefghijkl', weights), 500) == ''.join(expected)


def test_an_excluded_member_keeps_its_credit():
    policy = weighted('abc', (3, 1, 1))
    a = policy.told_by_test[0]
    assert 'a' not in chosen(policy, 2, [a])
    assert chosen(policy, 3) == 'aaa'


def test_a_weight_that_rises_brings_no_burst():
    policy = weighted('abc', (1, 1, 2))
    chosen(policy, 5)
    a = policy.told_by_test[0]
    a.weight = 3
    policy.reweigh(a, 1)
    order = chosen(policy, 60)
    assert 'aaaa' not in order and 29 <= order.count('a') <= 31


def test_a_weighted_member_that_flaps_gets_no_more_than_its_part():
    policy = weighted('abc', (2, 1, 1))
    everyone, counts = policy.told_by_test, collections.Counter()
    for _ in range(400):
        counts[policy.choose(()).name] += 1
        tell(policy, [member for member in everyone if member.name != 'b'])
        tell(policy, everyone)
    assert 180 <= counts['a'] <= 220 and counts['b'] <= 110


def test_not_all_instances_begin_with_the_heaviest():
    firsts = set(chosen(weighted('abc', (3, 2, 1), start=sixth / 6.0), 1) for sixth in range(6))
    assert firsts == set('abc')


def test_weights_that_become_equal_are_plain_turns_again():
    policy = weighted('abc', (1, 1, 2))
    c = policy.told_by_test[2]
    chosen(policy, 4)
    c.weight = 1
    policy.reweigh(c, 2)
    assert sorted(chosen(policy, 3)) == ['a', 'b', 'c'] and policy._credits is None


def test_least_connections_fills_by_weight():
    policy = weighted('abc', (1, 2, 3), policy=LeastConnections)
    assert ''.join(take(policy).name for _ in range(12)) == 'cbcabccbcabc'
    assert [member.active for member in policy.told_by_test] == [2, 4, 6]


def test_least_connections_follows_a_weight_that_changes():
    policy = weighted('ab', (1, 1), policy=LeastConnections)
    a, b = policy.told_by_test
    a.weight = 3
    policy.reweigh(a, 1)
    for _ in range(40):
        take(policy)
    assert (a.active, b.active) == (30, 10)


@pytest.mark.parametrize('policy', [RoundRobin, LeastConnections])
def test_members_without_weight_are_equals_when_nobody_else_is_left(policy):
    one = weighted('ab', (0, 0), policy=policy)
    assert sorted(take(one).name for _ in range(6)) == list('aaabbb')
