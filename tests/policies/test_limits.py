"""Members that are full, as their sessions, weights and they themselves come and go."""
from __future__ import absolute_import, division, print_function

import collections

import pytest

from sidelb_lib.config.settings import defaults
from sidelb_lib.policies.least_connections import LeastConnections
from sidelb_lib.policies.limits import Limited
from sidelb_lib.policies.registry import policy_of
from sidelb_lib.policies.round_robin import RoundRobin
from sidelb_lib.policies.source import Source
from .parts import members, release, reweigh, take, tell

KINDS = [RoundRobin, LeastConnections, Source]


def limited(kind, names, limit):
    """(the policy, its members, [members that have room again])."""
    room, everyone = [], members(names, limit=limit)
    policy = Limited(kind(lambda: 0.0), room.append)
    tell(policy, everyone)
    return policy, everyone, room


def test_least_connections_counts_on_below_the_limit():
    policy, (a, b), _ = limited(LeastConnections, 'ab', 5)
    assert ''.join(take(policy).name for _ in range(4)) == 'abab'
    release(policy, b)
    release(policy, b)
    assert ''.join(take(policy).name for _ in range(3)) == 'bba'


@pytest.mark.parametrize('kind', KINDS)
def test_one_that_has_more_than_its_limit_gets_nothing_until_it_has_less(kind):
    """As after a reload that lowers it."""
    policy = Limited(kind(lambda: 0.0), [].append)
    a, b = everyone = members('ab', limit=2)
    a.active = b.active = 4
    tell(policy, everyone)
    for _ in range(2):
        release(policy, a)
        assert take(policy) is None
    release(policy, a)
    assert take(policy) is a and take(policy) is None


@pytest.mark.parametrize('kind', KINDS)
@pytest.mark.parametrize('sessions', [1, 2, 4])
def test_the_sessions_of_one_that_has_left_end_without_notice(kind, sessions):
    room = []
    policy = Limited(kind(lambda: 0.0), room.append)
    a, b = members('ab', limit=2)
    a.active = sessions
    tell(policy, [a, b])
    tell(policy, [b])
    while a.active:
        release(policy, a)
    assert room == [] and take(policy) is b


@pytest.mark.parametrize('kind', KINDS)
def test_one_that_leaves_full_and_is_back_with_room_may_leave_again(kind):
    policy, (a, b), _ = limited(kind, 'ab', 2)
    while take(policy):
        pass
    tell(policy, [b])
    a.active = 0
    tell(policy, [a, b])
    assert policy.choose(()) is a
    tell(policy, [b])
    assert policy.choose(()) is None


@pytest.mark.parametrize('kind', [RoundRobin, LeastConnections])
def test_a_weight_that_changes_below_the_limit_counts_at_once(kind):
    policy, (a, _), _ = limited(kind, 'ab', 40)
    reweigh(policy, a, 3)
    assert collections.Counter(take(policy).name for _ in range(40)) == dict(a=30, b=10)


@pytest.mark.parametrize('kind', [RoundRobin, LeastConnections])
def test_a_weight_that_changes_while_a_server_is_full_counts_when_it_has_room(kind):
    policy, (a, b), room = limited(kind, 'ab', 40)
    a.active = 40
    policy.recount(a)
    reweigh(policy, a, 3)
    for _ in range(40):
        release(policy, a)
    assert room == [a]
    assert collections.Counter(take(policy).name for _ in range(40)) == dict(a=30, b=10)


def policy_for(**settings):
    return policy_of(defaults(**settings), 'app', lambda: 0.0, lambda: 0.0, lambda member: None)


@pytest.mark.parametrize('settings', [
    dict(backends='10.0.0.1:1,10.0.0.2:1/max=1'), dict(ring_domains='db.example.com:1/max=1'),
    dict(servers_file='/etc/servers')])
def test_limits_are_kept_wherever_one_may_be_written(settings):
    policy = policy_for(**settings)
    tell(policy, members('ab', limit=1))
    assert [take(policy).name, take(policy).name, take(policy)] == ['a', 'b', None]


@pytest.mark.parametrize('settings', [{}, dict(backends='10.0.0.1:1/weight=2'), dict(ring_domains='db.example.com:1')])
def test_where_none_is_written_they_cost_nothing(settings):
    policy = policy_for(**settings)
    tell(policy, members('ab'))
    assert isinstance(policy.choose.__self__, RoundRobin) and isinstance(policy.recount.__self__, RoundRobin)
