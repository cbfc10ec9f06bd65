"""Who takes the next session."""
from __future__ import absolute_import, division, print_function

import collections

from sidelb_lib.pool.members import Address, Member
from sidelb_lib.policies.least_connections import LeastConnections
from sidelb_lib.policies.round_robin import RoundRobin


def members(names):
    made = []
    for name in names:
        address = Address('10.0.0.%d' % ord(name[0]), 1, 0)
        address.member = Member(name, [address], (name, ()))
        made.append(address.member)
    return made


def chosen(policy, count, excluded=()):
    return ''.join(policy.choose(excluded).name for _ in range(count))


def test_round_robin_takes_each_member_in_turn():
    policy = RoundRobin(lambda: 0.0)
    policy.update(members('ABC'))
    assert chosen(policy, 7) == 'ABCABCA'


def test_round_robin_begins_at_random():
    starts = set()
    for tenth in range(10):
        policy = RoundRobin(lambda: tenth / 10.0)
        policy.update(members('ABC'))
        starts.add(chosen(policy, 1))
    assert starts == set('ABC')


def test_round_robin_passes_over_the_excluded():
    policy = RoundRobin(lambda: 0.0)
    a, b, c = everyone = members('ABC')
    policy.update(everyone)
    assert policy.choose([a]) is b
    assert policy.choose([a, c]) is b
    assert policy.choose(everyone) is None


def test_round_robin_goes_on_after_the_member_that_left():
    policy = RoundRobin(lambda: 0.0)
    a, b, c = members('ABC')
    policy.update([a, b, c])
    assert chosen(policy, 2) == 'AB'
    policy.update([a, c])
    assert chosen(policy, 3) == 'CAC'


def test_round_robin_goes_on_in_order_when_a_member_comes():
    policy = RoundRobin(lambda: 0.0)
    a, b, c = members('ABC')
    policy.update([a, c])
    assert chosen(policy, 1) == 'A'
    policy.update([a, b, c])
    assert chosen(policy, 4) == 'BCAB'


def test_round_robin_stays_even_while_a_member_comes_and_goes():
    policy = RoundRobin(lambda: 0.5)
    a, b, c, d = members('ABCD')
    policy.update([a, b, c, d])
    counts = collections.Counter()
    for turn in range(1200):
        if turn % 5 == 0:
            policy.update([a, b, d] if turn % 2 else [a, b, c, d])
        counts[policy.choose(()).name] += 1
    steady = [counts[name] for name in 'ABD']
    assert max(steady) - min(steady) <= 0.1 * max(steady), counts


def test_round_robin_begins_anew_after_nobody_was_left():
    policy = RoundRobin(lambda: 0.0)
    policy.update(members('AB'))
    chosen(policy, 1)
    policy.update([])
    assert policy.choose(()) is None
    policy.update(members('AB'))
    assert sorted(chosen(policy, 2)) == ['A', 'B']


def take(policy, excluded=()):
    member = policy.choose(excluded)
    member.active += 1
    policy.recount(member)
    return member


def release(policy, member):
    member.active -= 1
    policy.recount(member)


def test_least_connections_fills_the_emptiest():
    policy = LeastConnections(lambda: 0.0)
    a, b, c = everyone = members('ABC')
    a.active, b.active, c.active = 5, 2, 4
    policy.update(everyone)
    for _ in range(7):
        take(policy)
    assert (a.active, b.active, c.active) == (6, 6, 6)


def test_least_connections_takes_equals_in_rotation():
    policy = LeastConnections(lambda: 0.0)
    policy.update(members('ABC'))
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
        policy.update(members('ABC'))
        starts.add(take(policy).name)
    assert starts == set('ABC')


def test_least_connections_prefers_a_server_that_holds_fewer_long_sessions():
    policy = LeastConnections(lambda: 0.0)
    policy.update(members('AB'))
    long_session = take(policy)
    for _ in range(10):
        member = take(policy)
        assert member is not long_session
        release(policy, member)


def test_least_connections_passes_over_the_excluded_and_finds_them_again():
    policy = LeastConnections(lambda: 0.0)
    a, b = everyone = members('AB')
    policy.update(everyone)
    assert policy.choose([a]) is b
    assert policy.choose([a, b]) is None
    assert policy.choose([]) is a


def test_least_connections_forgets_members_that_left():
    policy = LeastConnections(lambda: 0.0)
    a, b = members('AB')
    policy.update([a, b])
    policy.update([b])
    release(policy, a)
    assert policy.choose(()) is b


def test_least_connections_stays_small_however_long_it_runs():
    policy = LeastConnections(lambda: 0.0)
    policy.update(members('ABC'))
    for _ in range(5000):
        release(policy, take(policy))
    assert len(policy._heap) <= 4 * 3 + 65
