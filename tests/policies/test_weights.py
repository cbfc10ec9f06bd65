"""Members of different weights."""
from __future__ import absolute_import, division, print_function

import collections

import pytest

from sidelb_lib.policies.credits import REMEMBERED, Credits
from sidelb_lib.policies.least_connections import LeastConnections
from sidelb_lib.policies.limits import Limited
from sidelb_lib.policies.round_robin import KEPT, RoundRobin
from .parts import chosen, members, release, reweigh, take, tell


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
    assert chosen(policy, 1) == 'a' and chosen(policy, 4, [a]) == 'bcbc'
    assert chosen(policy, 4) == chosen(weighted('abc', (3, 1, 1)), 5)[1:]


@pytest.mark.parametrize('count', [3, 40])
def test_after_an_outage_the_heavy_ones_get_no_more_than_their_part(count):
    policy = weighted(['m%02d' % number for number in range(count)], [5] + (count - 1) * [1])
    for _ in range(200):                  # clients for whom all have failed
        tried = []
        while len(tried) < count:
            tried.append(policy.choose(tried))
        assert policy.choose(tried) is None
    heavy = policy.told_by_test[0]
    order = [policy.choose(()) for _ in range(3 * (count + 4))]
    assert abs(order.count(heavy) - 15) <= 3 and all(abs(order.count(other) - 3) <= 2 for other in policy.told_by_test[1:])


def test_while_one_of_several_equals_is_excluded_the_others_take_turns_and_all_is_as_before_afterwards():
    policy = weighted('abcd', (2, 1, 1, 1))
    b = policy.told_by_test[1]
    assert collections.Counter(chosen(policy, 8, [b])) == dict(a=4, c=2, d=2)
    assert chosen(policy, 5) == chosen(weighted('abcd', (2, 1, 1, 1)), 5)


def test_a_weight_of_0_counts_as_1_after_what_is_outdated_was_swept_out_too():
    credits = Credits(members('abc', (0, 1, 2)))
    credits._sweep()
    assert collections.Counter(credits.choose(()).name for _ in range(40)) == dict(a=10, b=10, c=20)


def test_when_all_are_replaced_by_others_of_different_weights_those_have_their_parts():
    policy = weighted('ab', (1, 1))
    chosen(policy, 3)
    tell(policy, members('cd', (1, 3)))
    assert collections.Counter(chosen(policy, 8)) == dict(c=2, d=6)


def test_a_weight_that_rises_brings_no_burst():
    policy = weighted('abc', (1, 1, 2))
    chosen(policy, 5)
    reweigh(policy, policy.told_by_test[0], 3)
    order = chosen(policy, 60)
    assert 'aaaa' not in order and 29 <= order.count('a') <= 31


@pytest.mark.parametrize('count', [2, 3, 5])
@pytest.mark.parametrize('before', range(6))
def test_a_weight_that_rises_among_equals_counts_at_once_and_the_turn_goes_on(before, count):
    policy = weighted('abcde'[:count], count * (1,))
    chosen(policy, before)
    last = policy.told_by_test[(before - 1) % count].name if before else ''
    reweigh(policy, policy.told_by_test[1], 3)
    order = chosen(policy, 20 * (count + 2))
    assert 'bbbb' not in last + order and abs(order.count('b') - 60) <= 1
    assert last in ('', 'b') or order[0] != last


def test_when_a_heavy_one_leaves_the_others_take_turns():
    policy = weighted('abcd', (256, 1, 1, 2))
    chosen(policy, 131)                   # one of the light ones has had its turn, the other one has not
    tell(policy, policy.told_by_test[1:])
    order = chosen(policy, 40)
    assert abs(order.count('b') - 10) <= 1 and abs(order.count('c') - 10) <= 1 and 'bb' not in order, order


def test_one_that_comes_with_another_weight_does_not_move_the_turn():
    policy = RoundRobin(lambda: 0.0)
    everyone = members('abcdefgh', (1, 1, 1, 1, 1, 1, 1, 2))
    for _ in range(5):                    # as often as they like
        tell(policy, everyone[:7])
        first = chosen(policy, 3)
        tell(policy, everyone)
        assert len(set(first + chosen(policy, 4).replace('h', ''))) >= 6


def test_a_weighted_member_that_flaps_gets_no_more_than_its_part():
    policy = weighted('abc', (2, 1, 1))
    everyone, counts = policy.told_by_test, collections.Counter()
    for _ in range(400):
        counts[policy.choose(()).name] += 1
        tell(policy, [member for member in everyone if member.name != 'b'])
        tell(policy, everyone)
    assert 180 <= counts['a'] <= 220 and counts['b'] <= 110


def test_newcomers_are_neither_ahead_nor_behind_whoever_has_left():
    """Those that were chosen have left, so the others have waited for long."""
    policy = RoundRobin(lambda: 0.0)
    crowd = members(['m%02d' % number for number in range(60)], [2] + 59 * [1])
    tell(policy, crowd)
    chosen(policy, 30)
    kept, newcomers = [crowd[0]] + crowd[-2:], members('uvwxyz', 6 * [1])
    tell(policy, kept)
    for count in range(1, 7):
        tell(policy, kept + newcomers[:count])
    assert ''.join(sorted(chosen(policy, 10)))[-6:] == 'uvwxyz'
    chosen(policy, 10)
    tell(policy, kept + newcomers[1:])
    chosen(policy, 1)
    tell(policy, kept + newcomers)
    assert chosen(policy, 10).count('u') == 1


def test_in_last_resort_a_weight_of_0_counts_as_1_beside_others():
    policy = weighted('abc', (0, 1, 2))
    everyone = a, b, c = policy.told_by_test
    assert collections.Counter(chosen(policy, 40)) == dict(a=10, b=10, c=20)
    tell(policy, [b, c])
    tell(policy, everyone)
    assert collections.Counter(chosen(policy, 40)) == dict(a=10, b=10, c=20)
    reweigh(policy, a, 3)
    assert collections.Counter(chosen(policy, 60)) == dict(a=30, b=10, c=20)


def test_a_weight_that_changes_while_nobody_may_be_chosen_counts_from_the_next_choice_on():
    policy = weighted('abc', (3, 1, 2))
    a, b, c = policy.told_by_test
    assert policy.choose([a, b, c]) is None
    reweigh(policy, a, 1)
    assert collections.Counter(chosen(policy, 40)) == dict(a=10, b=10, c=20)


def test_not_all_instances_begin_with_the_heaviest():
    firsts = set(chosen(weighted('abc', (3, 2, 1), start=sixth / 6.0), 1) for sixth in range(6))
    assert firsts == set('abc')


def test_weights_that_become_equal_are_plain_turns_again():
    policy = weighted('abc', (1, 1, 2))
    chosen(policy, 4)
    reweigh(policy, policy.told_by_test[2], 1)
    assert sorted(chosen(policy, 3)) == ['a', 'b', 'c']
    chosen(policy, KEPT)
    assert policy._credits is None and chosen(policy, 6) in ('abcabc', 'bcabca', 'cabcab')


def test_least_connections_fills_by_weight():
    policy = weighted('abc', (1, 2, 3), policy=LeastConnections)
    assert ''.join(take(policy).name for _ in range(12)) == 'cbcabccbcabc'
    assert [member.active for member in policy.told_by_test] == [2, 4, 6]


def test_least_connections_follows_a_weight_that_changes():
    policy = weighted('ab', (1, 1), policy=LeastConnections)
    a, b = policy.told_by_test
    reweigh(policy, a, 3)
    for _ in range(40):
        take(policy)
    assert (a.active, b.active) == (30, 10)


def test_least_connections_turns_to_one_whose_weight_rises_further():
    policy = weighted('abc', (1, 2, 4), policy=LeastConnections)
    a, _, c = policy.told_by_test
    assert policy.choose(()) is c
    reweigh(policy, a, 8)
    assert policy.choose(()) is a


def test_least_connections_turns_to_the_first_one_whose_weight_rises():
    policy = weighted('abc', (1, 1, 1), policy=LeastConnections)
    a, _, c = policy.told_by_test
    assert policy.choose(()) is a
    reweigh(policy, c, 2)
    assert policy.choose(()) is c


def test_least_connections_compares_sessions_alone_when_the_only_other_weight_has_left():
    policy = weighted('abcd', (1, 1, 1, 2), policy=LeastConnections)
    a, b, c, _ = policy.told_by_test
    policy.choose(())
    for member, member.active in ((a, 3), (b, 2), (c, 1)):
        policy.recount(member)
    tell(policy, [a, b, c])
    assert policy.choose(()) is c


def test_least_connections_takes_a_weight_of_0_for_1_beside_others():
    policy = weighted('abc', (0, 1, 2), policy=LeastConnections)
    assert collections.Counter(take(policy).name for _ in range(40)) == dict(a=10, b=10, c=20)


@pytest.mark.parametrize('kind', [RoundRobin, LeastConnections])
def test_which_weights_there_are_is_known_whoever_came_and_left(kind):
    policy = weighted('abc', (1, 2, 3), policy=kind)
    a, b, _ = policy.told_by_test
    tell(policy, [a, b])
    reweigh(policy, a, 5)
    reweigh(policy, a, 2)
    assert policy._weights == {2: 2}


def test_a_member_of_another_weight_that_comes_later_has_its_part_at_once():
    policy = weighted('ab', (1, 1))
    chosen(policy, 3)
    tell(policy, policy.told_by_test + members('c', (2,)))
    assert collections.Counter(chosen(policy, 8)) == dict(a=2, b=2, c=4)


@pytest.mark.parametrize('policy', [RoundRobin, LeastConnections])
def test_members_without_weight_are_equals_when_nobody_else_is_left(policy):
    one = weighted('ab', (0, 0), policy=policy)
    assert sorted(take(one).name for _ in range(6)) == list('aaabbb')


# --- members that are full again and again, which the policy sees go and come ------------------------------------------

def one_by_one(policy, count):
    """How often each gets a session that ends before the next one begins."""
    counts = collections.Counter()
    for _ in range(count):
        member = take(policy)
        counts[member.name] += 1
        release(policy, member)
    return counts


def limited(kind, names, weights, limit=1):
    policy = Limited(kind(lambda: 0.0), lambda member: None)
    tell(policy, members(names, weights, limit=limit))
    return policy


@pytest.mark.parametrize('weights', [(3, 1), (5, 1, 1), (1, 2, 3), (1, 1, 1, 1, 1)])
def test_short_sessions_on_servers_for_one_at_a_time_follow_the_weights(weights):
    counts = one_by_one(limited(RoundRobin, 'abcde'[:len(weights)], weights), 100 * sum(weights))
    assert [counts[name] // 99 for name in 'abcde'[:len(weights)]] == list(weights)


def test_short_sessions_on_servers_for_one_at_a_time_are_even_by_least_connections():
    assert set(one_by_one(limited(LeastConnections, 'abcde', 5 * (1,)), 500).values()) == {100}


@pytest.mark.parametrize('policy', [RoundRobin, LeastConnections])
def test_that_all_were_full_moves_no_turn(policy):
    policy, counts = limited(policy, 'ab', (1, 1)), collections.Counter()
    for _ in range(100):
        for member in [take(policy), take(policy)]:
            release(policy, member)
        counts += one_by_one(policy, 1)
    assert set(counts.values()) == {50}


def test_a_member_in_and_out_of_last_place_does_not_rank_all_anew():
    """A weight that differs, full with each session: the heap is made anew once, and not each time."""
    policy = limited(LeastConnections, [chr(ord('a') + number) for number in range(20)], 19 * (1,) + (9,))
    inner, made = policy._policy, []
    rebuild = inner._rebuild
    inner._rebuild = lambda: made.append(rebuild())
    one_by_one(policy, 200)
    assert len(made) <= 8


# --- what is remembered ------------------------------------------------------------------------------------------------

@pytest.mark.parametrize('policy', [RoundRobin, LeastConnections])
def test_weights_that_change_while_nobody_comes_leave_nothing_behind(policy):
    one = weighted('abc', (1, 2, 3), policy=policy)
    take(one)
    for number in range(2000):
        reweigh(one, one.told_by_test[0], 1 + number % 100 / 100.0)
    heap = one._heap if policy is LeastConnections else sum(one._credits._heaps.values(), [])
    assert len(heap) <= 100
    assert take(one)


def test_members_that_come_and_go_while_nobody_comes_leave_nothing_behind():
    credits = Credits(members('abc', (1, 2, 3)))
    others = members(['d%d' % number for number in range(REMEMBERED + 300)])
    for _ in range(2):
        for member in others:
            credits.add(member)
            credits.remove(member)
    assert sum(map(len, credits._heaps.values())) <= 100 and len(credits._left) == REMEMBERED
    assert others[-1].order in credits._left and others[0].order not in credits._left


def test_a_million_choices_later_all_is_small_and_the_order_the_same():
    credits = Credits(members('abc', (0.3, 1.1, 1.6)))       # as of SRV records
    first = [credits.choose(()).name for _ in range(300)]
    credits._gained += 10 ** 9 / 3.0                         # as many choices
    for member, (paid, order, _) in list(credits._current.items()):
        credits._current[member] = paid + member.weight * 10 ** 9 / 3.0, order, member
    credits._sweep()
    later = [credits.choose(()).name for _ in range(300)]
    assert sum(map(len, credits._heaps.values())) <= 6
    assert collections.Counter(later) == collections.Counter(first) == dict(a=30, b=110, c=160)


def test_the_lightest_beside_the_heaviest_gets_its_part():
    for policy in (RoundRobin, LeastConnections):
        one = weighted('ab', (1, 256), policy=policy)
        names = ''.join(take(one).name for _ in range(2 * 257))
        assert names.count('a') == 2
