"""Tiers: who takes how much."""
from __future__ import absolute_import, division, print_function

import collections
import random

import pytest

from sidelb_lib.config.settings import defaults
from sidelb_lib.policies.limits import Limited
from sidelb_lib.policies.least_connections import LeastConnections
from sidelb_lib.policies.registry import policy_of
from sidelb_lib.policies.round_robin import RoundRobin
from sidelb_lib.policies.tiers import Tiers, shares
from ..support.clock import Clock
from .parts import chosen, members, release, take, tell

TABLE = [
    ('3/3 3/3', '100 0'), ('2/3 3/3', '93 7'), ('1/3 3/3', '46 54'), ('0/3 3/3', '0 100'), ('5/7 7/7', '100 0'),
    ('1/2 2/2', '70 30'), ('1/4 1/4 4/4', '35 35 30'), ('1/4 1/4 1/5', '36 36 28'), ('0/3 0/3', '0 0'),
    ('4/5 1/1', '100 0'), ('0/0 2/2', '0 100'), ('5/9 9/9', '77 23'), ('0/3 1/5 1/5 1/5', '0 34 33 33')]


def numbers(text):
    return [tuple(map(int, part.split('/'))) for part in text.split()]


@pytest.mark.parametrize('healths, loads', TABLE)
def test_shares_with_spill(healths, loads):
    assert shares(numbers(healths), 1.4) == [int(load) for load in loads.split()]


def tiers(spill=0, tier_return=0, seed=1, policy=RoundRobin):
    return Tiers(lambda: policy(lambda: 0.0), random.Random(seed).random, Clock(), spill, tier_return)


def test_one_tier_alone_costs_nothing():
    policy = tiers()
    tell(policy, members('abc'))
    assert isinstance(policy.choose.__self__, RoundRobin) and isinstance(policy.recount.__self__, RoundRobin)
    assert chosen(policy, 4) == 'abca'


def test_the_lowest_tier_that_is_up_takes_all():
    policy = tiers()
    everyone = members('abcd', tiers=(1, 1, 2, 2))
    tell(policy, everyone)
    assert chosen(policy, 4) == 'abab'
    tell(policy, everyone[2:])
    assert chosen(policy, 4) == 'cdcd' and policy.active == 2
    tell(policy, everyone)
    assert set(chosen(policy, 4)) == set('ab') and policy.active == 1


def test_after_a_failure_the_rest_of_the_tier_comes_first_and_then_the_next_one():
    policy = tiers()
    everyone = a, b, c = members('abc', tiers=(1, 1, 2))
    tell(policy, everyone)
    assert policy.choose([a]) is b and policy.choose([a, b]) is c and policy.choose(everyone) is None


def test_a_session_that_fails_in_the_tier_that_was_drawn_goes_on_there():
    """It had been sent there by `spill`, or because a better tier is only just back."""
    policy = tiers(spill=1.4)
    everyone = a, b, c, d = members('abcd', tiers=(1, 1, 2, 2))
    for member in everyone:
        policy.know(member, 1)
    tell(policy, [a, c, d])                              # 70, 30 %
    assert all(policy.choose([c]) is d for _ in range(20)) and all(policy.choose([d]) is c for _ in range(20))
    policy = tiers(tier_return=30)
    tell(policy, everyone)
    tell(policy, [c, d])
    tell(policy, everyone)
    policy._clock.now += 29.9                            # nearly all go to tier 1, but this one was sent to tier 2
    assert all(policy.choose([c]) is d for _ in range(20))


def test_when_its_tier_is_exhausted_a_session_goes_to_the_best_of_the_others_and_goes_on_there():
    policy = tiers(spill=1.4)
    everyone = members('abcdef', tiers=(1, 1, 2, 3, 3, 4))
    tell(policy, everyone)
    tried = [everyone[3]]                                # began in tier 3
    for _ in range(5):
        tried.append(policy.choose(tried))
    assert ''.join(member.name for member in tried) == 'deabcf' and policy.choose(tried) is None


def test_while_one_tier_takes_all_nothing_is_drawn_and_no_clock_is_read():
    def nobody(*arguments):
        raise AssertionError('asked for chance or time')
    policy = tiers(tier_return=30)
    everyone = members('abc', tiers=(1, 1, 2))
    tell(policy, everyone)
    tell(policy, everyone[2:])
    tell(policy, everyone)
    policy._clock.now += 31
    chosen(policy, 1)                                    # sees that the return is over
    policy._random = policy._clock = nobody
    assert chosen(policy, 4) in ('abab', 'baba') and policy.choose(everyone[:1]) is everyone[1]


@pytest.mark.parametrize('healths, loads', [row for row in TABLE if row[1] != '0 0'])
def test_sessions_are_drawn_as_the_table_says(healths, loads):
    policy, counts = tiers(spill=1.4, seed=7), collections.Counter()
    everyone, up = [], []
    for number, (tier_up, known) in enumerate(numbers(healths)):
        names = [chr(ord('a') + number) + str(each) for each in range(known)]
        tier = members(names, tiers=[number + 1] * known)
        everyone += tier
        up += tier[:tier_up]
    for member in everyone:
        policy.know(member, 1)
    tell(policy, up)
    for _ in range(10000):
        counts[policy.choose(()).tier] += 1
    for number, load in enumerate(loads.split()):
        assert abs(counts[number + 1] / 100.0 - int(load)) < 1.5


def test_a_tier_that_returns_takes_its_sessions_little_by_little():
    policy = tiers(tier_return=30, seed=3)
    everyone = members('ab', tiers=(1, 2))
    tell(policy, everyone)
    assert chosen(policy, 10) == 10 * 'a'
    tell(policy, everyone[1:])
    tell(policy, everyone)
    assert chosen(policy, 10) == 10 * 'b'
    policy._clock.now += 15
    assert abs(chosen(policy, 4000).count('a') / 4000.0 - 0.5) < 0.05
    policy._clock.now += 15
    assert chosen(policy, 50) == 50 * 'a'


def test_a_tier_that_flaps_moves_few_sessions():
    policy, moved, total = tiers(tier_return=30, seed=3), 0, 0
    everyone = members('ab', tiers=(1, 2))
    tell(policy, everyone)
    chosen(policy, 1)
    for _ in range(40):
        tell(policy, everyone[1:])
        policy._clock.now += 3
        tell(policy, everyone)
        for _ in range(30):
            policy._clock.now += 0.1
            moved += chosen(policy, 1) == 'a'
            total += 1
    assert moved < 0.2 * total


@pytest.mark.parametrize('change', ['comes', 'goes'])
def test_a_tier_that_returns_server_by_server_begins_once(change):
    """A second server of it that comes or goes meanwhile changes nothing of its pace."""
    policy = tiers(tier_return=30, seed=3)
    a, b, c = everyone = members('abc', tiers=(1, 1, 2))
    tell(policy, everyone)
    tell(policy, [c])
    tell(policy, [a, c] if change == 'comes' else everyone)
    policy._clock.now += 15
    tell(policy, everyone if change == 'comes' else [a, c])
    assert abs(chosen(policy, 4000).count('c') / 4000.0 - 0.5) < 0.05
    policy._clock.now += 15
    assert 'c' not in chosen(policy, 50)


def test_a_tier_that_is_lost_while_it_returns_begins_anew_however_long_it_was_away():
    policy = tiers(tier_return=30, seed=3)
    everyone = members('ab', tiers=(1, 2))
    for _ in range(2):
        tell(policy, everyone)
        tell(policy, everyone[1:])
    policy._clock.now += 100
    assert chosen(policy, 10) == 10 * 'b'
    tell(policy, everyone)
    assert chosen(policy, 10) == 10 * 'b'


@pytest.mark.parametrize('up, meanwhile', [('ac', 'c'), ('ab', 'b'), ('abc', 'b')])
def test_meanwhile_the_next_tier_that_has_somebody_takes_the_rest(up, meanwhile):
    policy = tiers(tier_return=30, seed=3)
    everyone = members('abc', tiers=(1, 2, 3))
    tell(policy, everyone)
    tell(policy, [member for member in everyone if member.name in up[1:]])
    tell(policy, [member for member in everyone if member.name in up])
    assert chosen(policy, 20) == 20 * meanwhile
    policy._clock.now += 15
    order = chosen(policy, 4000)
    assert set(order) == set('a' + meanwhile) and abs(order.count('a') / 4000.0 - 0.5) < 0.05


def test_a_tier_that_is_lost_again_while_it_and_a_better_one_return_takes_nothing():
    policy = tiers(tier_return=30, seed=3)
    a, b, c = everyone = members('abc', tiers=(1, 2, 3))
    tell(policy, everyone)
    tell(policy, [c])
    tell(policy, everyone)
    policy._clock.now += 15
    tell(policy, [a, c])
    order = chosen(policy, 4000)
    assert set(order) == set('ac') and abs(order.count('a') / 4000.0 - 0.5) < 0.05


def test_when_nobody_of_any_tier_is_left_nobody_is_chosen():
    policy = tiers()
    everyone = members('ab', tiers=(1, 2))
    tell(policy, everyone)
    tell(policy, [])
    assert policy.choose(()) is None and policy.active is None


def test_least_connections_counts_in_a_tier_that_came_later():
    policy = tiers(policy=LeastConnections)
    a, b, c = everyone = members('abc', tiers=(1, 2, 2))
    tell(policy, [a])
    take(policy)
    tell(policy, everyone)
    tell(policy, [b, c])
    assert ''.join(take(policy).name for _ in range(4)) == 'bcbc'


@pytest.mark.parametrize('spill', ['off', '1.4'])
def test_with_mode_source_a_client_has_its_tier_and_moves_once_while_one_returns(spill):
    clock, settings = Clock(), defaults(check='off', mode='source', spill=spill, tier_return='30s')
    policy = policy_of(settings, 'app', random.random, clock, lambda member: None)
    everyone, clients = members('abcd', tiers=(1, 1, 2, 2)), ['10.1.%d.7' % number for number in range(250)]
    for member in everyone:
        policy.know(member, 1)
    for wanted in (everyone, everyone[2:], everyone[1:]):
        tell(policy, wanted)
    seen = []
    for _ in range(31):
        found = [policy.choose((), client) for client in clients]
        assert found == [policy.choose((), client) for client in clients]
        seen.append([member.tier for member in found])
        clock.now += 1
    assert all(list(tiers) == sorted(tiers, reverse=True) for tiers in zip(*seen))
    share = 1.0 if spill == 'off' else 0.7               # one of two is up
    assert seen[0].count(1) == 0 and abs(seen[15].count(1) / 250 - share / 2) < 0.1
    assert abs(seen[30].count(1) / 250 - share) < 0.08


def test_at_the_start_a_better_tier_takes_all_at_once():
    policy = tiers(tier_return=30)
    everyone = members('ab', tiers=(1, 2))
    tell(policy, everyone[1:])
    assert chosen(policy, 2) == 'bb'
    tell(policy, everyone)
    assert chosen(policy, 2) == 'aa'


def test_least_connections_compares_inside_a_tier_alone():
    policy = tiers(policy=LeastConnections)
    tell(policy, members('abc', tiers=(1, 1, 2)))
    assert ''.join(take(policy).name for _ in range(6)) == 'ababab'


# --- most sessions of a server ---------------------------------------------------------------------------------------

def test_a_full_member_is_passed_over_until_it_has_room():
    room = []
    policy = Limited(RoundRobin(lambda: 0.0), room.append)
    a, b = everyone = members('ab', limit=2)
    tell(policy, everyone)
    assert ''.join(take(policy).name for _ in range(4)) == 'abab' and take(policy) is None
    release(policy, b)
    assert room == [b] and take(policy) is b and take(policy) is None


def test_a_full_member_that_leaves_and_returns_is_full_still():
    policy = Limited(RoundRobin(lambda: 0.0), lambda member: None)
    a, b = everyone = members('ab', limit=1)
    tell(policy, everyone)
    take(policy), take(policy)
    tell(policy, [b])
    tell(policy, everyone)
    assert take(policy) is None
    release(policy, a)
    assert take(policy) is a


def test_when_a_tier_is_full_the_next_one_takes_over():
    policy = Tiers(lambda: Limited(RoundRobin(lambda: 0.0), lambda member: None), random.random, Clock())
    everyone = members('abc', tiers=(1, 2, 2), limit=2)
    tell(policy, everyone)
    assert ''.join(take(policy).name for _ in range(5)) == 'aabcb'


def test_a_tier_that_was_full_is_neither_lost_nor_has_it_returned():
    policy = Tiers(lambda: Limited(RoundRobin(lambda: 0.0), lambda member: None), random.random, Clock(), 0, 30)
    everyone = a, _, _ = members('abc', tiers=(1, 2, 2), limit=2)
    tell(policy, everyone)
    assert ''.join(take(policy).name for _ in range(3)) == 'aab' and policy.active == 1
    for _ in range(20):                       # all at once it has its sessions again
        release(policy, a)
        assert take(policy) is a


def test_with_spill_a_tier_that_is_full_passes_its_part_on():
    policy = Tiers(lambda: Limited(RoundRobin(lambda: 0.0), lambda member: None), random.Random(1).random, Clock(), 1.4)
    everyone = members('abcd', tiers=(1, 1, 2, 2), limit=2)
    for member in everyone:
        policy.know(member, 1)
    tell(policy, [everyone[0]] + everyone[2:])
    assert sorted(take(policy).name for _ in range(6)) == list('aaccdd') and take(policy) is None
