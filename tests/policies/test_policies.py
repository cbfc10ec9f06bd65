"""Who takes the next session."""
from __future__ import absolute_import, division, print_function

import collections

from sidelb_lib.policies.least_connections import LeastConnections
from sidelb_lib.policies.round_robin import RoundRobin
from .parts import chosen, members, release, take, tell


def test_round_robin_takes_each_member_in_turn():
    policy = RoundRobin(lambda: 0.0)
    tell(policy, members('ABC'))
    assert chosen(policy, 7) == 'ABCABCA'


def test_round_robin_begins_at_random():
    starts = set()
    for tenth in range(10):
        policy = RoundRobin(lambda: tenth / 10.0)
        tell(policy, members('ABC'))
        starts.add(chosen(policy, 1))
    assert starts == set('ABC')


def test_round_robin_passes_over_the_excluded():
    policy = RoundRobin(lambda: 0.0)
    a, b, c = everyone = members('ABC')
    tell(policy, everyone)
    assert policy.choose([a]) is b
    assert policy.choose([a, c]) is b
    assert policy.choose(everyone) is None


def test_round_robin_goes_on_after_the_member_that_left():
    policy = RoundRobin(lambda: 0.0)
    a, b, c = members('ABC')
    tell(policy, [a, b, c])
    assert chosen(policy, 2) == 'AB'
    tell(policy, [a, c])
    assert chosen(policy, 3) == 'CAC'


def test_round_robin_goes_on_in_order_when_a_member_comes():
    policy = RoundRobin(lambda: 0.0)
    a, b, c = members('ABC')
    tell(policy, [a, c])
    assert chosen(policy, 1) == 'A'
    tell(policy, [a, b, c])
    assert chosen(policy, 4) == 'BCAB'


def test_round_robin_takes_nobody_twice_when_a_member_comes_before_its_turn():
    policy = RoundRobin(lambda: 0.0)
    a, b, c = members('ABC')
    tell(policy, [b, c])
    assert chosen(policy, 1) == 'B'
    tell(policy, [a, b, c])
    assert chosen(policy, 2) == 'CA'


def test_round_robin_asks_where_to_start_until_there_was_a_session():
    asked = []
    policy = RoundRobin(lambda: asked.append(1) or 0.9)
    a, b, c = members('ABC')
    c.weight = 2
    for member in (a, b, c):
        policy.add(member)
        assert policy.choose([a, b, c]) is None
    policy.choose(())
    times = len(asked)
    assert times >= 3
    policy.remove(c)
    policy.choose(())
    policy.add(c)
    policy.choose(())
    assert len(asked) == times


def test_round_robin_stays_even_while_a_member_comes_and_goes():
    policy = RoundRobin(lambda: 0.5)
    a, b, c, d = members('ABCD')
    tell(policy, [a, b, c, d])
    counts = collections.Counter()
    for turn in range(1200):
        if turn % 5 == 0:
            tell(policy, [a, b, d] if turn % 2 else [a, b, c, d])
        counts[policy.choose(()).name] += 1
    steady = [counts[name] for name in 'ABD']
    assert max(steady) - min(steady) <= 0.1 * max(steady), counts


def test_round_robin_goes_on_after_nobody_was_left():
    policy = RoundRobin(lambda: 0.0)
    tell(policy, members('AB'))
    chosen(policy, 1)
    tell(policy, [])
    assert policy.choose(()) is None
    tell(policy, members('AB'))
    assert chosen(policy, 2) == 'BA'


def test_least_connections_fills_the_emptiest():
    policy = LeastConnections(lambda: 0.0)
    a, b, c = everyone = members('ABC')
    a.active, b.active, c.active = 5, 2, 4
    tell(policy, everyone)
    for _ in range(7):
        take(policy)
    assert (a.active, b.active, c.active) == (6, 6, 6)


def test_least_connections_takes_equals_in_rotation():
    policy = LeastConnections(lambda: 0.0)
    tell(policy, members('ABC'))
    names = []
    for _ in range(9):
        member = take(policy)
        names.append(member.name)
        release(policy, member)
    assert ''.join(names) == 'ABCABCABC'


def test_least_connections_begins_at_random_among_equals():
    starts = set()
    for tenth in range(10):
        policy = LeastConnections(lambda: tenth / 10.0)
        tell(policy, members('ABC'))
        starts.add(take(policy).name)
    assert starts == set('ABC')


def test_least_connections_prefers_a_server_that_holds_fewer_long_sessions():
    policy = LeastConnections(lambda: 0.0)
    tell(policy, members('AB'))
    long_session = take(policy)
    for _ in range(10):
        member = take(policy)
        assert member is not long_session
        release(policy, member)


def test_least_connections_passes_over_the_excluded_and_finds_them_again():
    policy = LeastConnections(lambda: 0.0)
    a, b = everyone = members('AB')
    tell(policy, everyone)
    assert policy.choose([a]) is b
    assert policy.choose([a, b]) is None
    assert policy.choose([]) is a


def test_least_connections_forgets_members_that_left():
    policy = LeastConnections(lambda: 0.0)
    a, b = members('AB')
    tell(policy, [a, b])
    tell(policy, [b])
    release(policy, a)
    assert policy.choose(()) is b


def in_passing(policy, count):
    """The names of those who take that many sessions, which end at once."""
    names = ''
    for _ in range(count):
        member = take(policy)
        names += member.name
        release(policy, member)
    return names


def test_least_connections_keeps_the_turn_of_who_returns():
    policy = LeastConnections(lambda: 0.0)
    a, b, c = everyone = members('ABC')
    tell(policy, everyone)
    assert in_passing(policy, 1) == 'A'
    tell(policy, [a, c])
    tell(policy, everyone)
    assert in_passing(policy, 3) == 'BCA'


def test_least_connections_gives_who_replaces_a_member_its_turn():
    policy = LeastConnections(lambda: 0.0)
    a, b, c = everyone = members('ABC')
    tell(policy, everyone)
    assert in_passing(policy, 1) == 'A'
    other, = members('X')
    other.turn = b.turn
    tell(policy, [a, c, other])
    assert in_passing(policy, 3) == 'XCA'


def test_least_connections_begins_where_it_should_with_members_of_a_former_policy():
    everyone = members('ABC')
    former = LeastConnections(lambda: 0.0)
    tell(former, everyone)
    in_passing(former, 2)
    policy = LeastConnections(lambda: 0.4)
    tell(policy, everyone)
    assert in_passing(policy, 3) == 'BCA'


def test_least_connections_forgets_who_left_before_any_session_whatever_it_weighed():
    policy = LeastConnections(lambda: 0.0)
    a, b = members('AB')
    tell(policy, [a, b])
    a.weight = 3
    policy.reweigh(a, 1)
    tell(policy, [b])
    assert in_passing(policy, 2) == 'BB'


def test_least_connections_stays_small_however_long_it_runs():
    policy = LeastConnections(lambda: 0.0)
    tell(policy, members('ABC'))
    for _ in range(5000):
        release(policy, take(policy))
    assert len(policy._heap) <= 4 * 3 + 65
