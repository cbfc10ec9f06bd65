"""The same server for the same client."""
from __future__ import absolute_import, division, print_function

import collections
import random

import pytest

from sidelb_lib.policies.source import BALANCE, CLIENTS, FEW, Source, client_of
from .parts import members, release, take, tell


def source(names, weights=()):
    policy = Source(lambda: 0.0)
    everyone = members(names, weights)
    for member in everyone:
        member.name = 'db%d.example.com' % (ord(member.name) - ord('a') + 1)
    tell(policy, everyone)
    return policy, everyone


def number_of(member):
    return int(member.name[2:member.name.index('.')])


@pytest.mark.parametrize('client, first, second', [
    ('10.1.0.1', 3, 1), ('10.1.0.2', 3, 2), ('10.1.0.3', 3, 1), ('10.1.0.4', 2, None), ('10.1.0.5', 2, None)])
def test_vectors(client, first, second):
    policy, everyone = source('abc')
    assert number_of(policy.choose((), client)) == first
    if second:
        assert number_of(policy.choose([everyone[first - 1]], client)) == second


def test_when_a_member_leaves_only_its_clients_move():
    policy, everyone = source('abcdefgh')
    clients = ['10.%d.%d.7' % (number // 250, number % 250) for number in range(2000)]
    before = [policy.choose((), client) for client in clients]
    tell(policy, everyone[1:])
    for client, former in zip(clients, before):
        if former is not everyone[0]:
            assert policy.choose((), client) is former
    tell(policy, everyone)
    assert [policy.choose((), client) for client in clients] == before


def test_weights_are_met():
    policy, everyone = source('abc', (1, 1, 2))
    counts = collections.Counter(
        number_of(policy.choose((), '10.%d.%d.1' % divmod(number, 250))) for number in range(8000))
    assert abs(counts[3] / 8000.0 - 0.5) < 0.03 and abs(counts[1] / 8000.0 - 0.25) < 0.03


def test_one_client_does_not_fill_a_server_beyond_its_share():
    policy, everyone = source('abcd')
    for _ in range(40):
        take(policy, key='10.1.0.1')
    assert max(member.active for member in everyone) <= 1.25 * 41 / 4 + 1
    assert min(member.active for member in everyone) > 0


def test_a_client_s_connections_are_all_with_one_server_and_so_are_those_of_two_that_share_it():
    policy, everyone = source('abc')
    for _ in range(5):
        assert take(policy, key='10.1.0.1') is take(policy, key='10.1.0.2') is everyone[2]


def test_a_client_returns_to_its_server_when_that_has_room():
    policy, everyone = source('abc')
    taken = [take(policy, key='10.1.0.1') for _ in range(30)]
    assert taken[-1] is not everyone[2]
    for member in taken:
        release(policy, member)
    assert take(policy, key='10.1.0.1') is everyone[2]


def test_the_64_of_an_ipv6_address_is_the_client():
    assert client_of('2001:db8:1:2:aaaa::1') == client_of('2001:db8:1:2::9') != client_of('2001:db8:1:3::9')
    assert client_of('fe80::1%eth0') == 'fe80::1%eth0' and client_of('fe80::2') == 'fe80::2'
    assert client_of('10.1.0.1') == '10.1.0.1' and client_of(None) == ''


def test_the_last_clients_are_remembered_and_no_more():
    policy, _ = source('ab')
    clients = ['10.%d.%d.%d' % (number >> 16, number >> 8 & 255, number & 255) for number in range(CLIENTS + 500)]
    for client in clients:
        policy.choose((), client)
    assert len(policy._orders) == CLIENTS and clients[-2] in policy._orders and clients[0] not in policy._orders


def test_with_everybody_excluded_there_is_nobody():
    policy, everyone = source('abcdef')
    assert policy.choose(everyone, '10.1.0.1') is None
    assert policy.choose(everyone[:5], '10.1.0.1') is everyone[5]


def ranked(policy, count, client):
    """All servers as this client would try them, one after the other."""
    tried = []
    for _ in range(count):
        tried.append(policy.choose(tried, client))
    return tried


CROWD = ['10.2.%d.1' % number for number in range(60)]


def test_after_those_that_are_remembered_comes_the_next_in_the_order_of_the_client():
    for client in CROWD:
        policy, everyone = source('abcdef')
        order = ranked(policy, 6, client)
        assert sorted(order) == everyone
        for position in range(3, 5):
            others, _ = source('')
            tell(others, order[position:])
            assert others.choose((), client) is order[position]


@pytest.mark.parametrize('weights', [(1, 1, 1, 1), (1, 2, 4, 0)])
def test_a_server_takes_a_quarter_more_than_its_share_and_no_more(weights):
    for client in CROWD[:10]:
        policy, everyone = source('abcd', weights)
        order = ranked(policy, 4, client)
        parts = [(member.weight or 1) / float(sum(weight or 1 for weight in weights)) for member in order]
        for total in range(1, 120):
            room = [max(FEW, BALANCE * total * part) for part in parts]
            expected = [member for member, most in zip(order, room) if member.active < most][0]
            assert take(policy, key=client) is expected


@pytest.mark.parametrize('weights, sessions', [((1, 1, 1), (20, 15)), ((1, 2, 1), (20, 35))])
def test_when_nobody_is_left_with_room_the_emptiest_for_its_weight_takes_it(weights, sessions):
    policy, (a, b, c) = source('abc', weights)
    for member, member.active in zip((a, b), sessions):
        policy.recount(member)
    assert set(policy.choose([c], client) for client in CROWD) == set([b])
    assert policy.choose([b, c], CROWD[0]) is a


def test_in_last_resort_a_weight_of_0_counts_as_1():
    policy, (a, b) = source('ab', (0, 1))
    assert abs([policy.choose((), '10.%d.%d.1' % divmod(number, 250)) for number in range(4000)].count(a) - 2000) < 150


@pytest.mark.parametrize('seed', range(4))
def test_a_policy_that_saw_changes_does_as_one_that_is_new(seed):
    chance = random.Random(seed)
    policy, everyone = source('abcdef', (1, 1, 2, 5, 0, 1))
    for _ in range(150):
        member = chance.choice(everyone)
        step = chance.randrange(4)
        if step == 0:
            here = policy.told_by_test
            tell(policy, [one for one in here if one is not member] if member in here else here + [member])
        elif step == 1:
            former, member.weight = member.weight, chance.choice([0, 1, 2, 5])
            if member in policy.told_by_test:
                policy.reweigh(member, former)
        else:
            member.active = chance.randrange(60)
            policy.recount(member)
        new, _ = source('')
        tell(new, policy.told_by_test)
        excluded = chance.sample(everyone, chance.randrange(4))
        for client in CROWD[:20]:
            assert policy.choose((), client) is new.choose((), client)
            assert policy.choose(excluded, client) is new.choose(excluded, client)
