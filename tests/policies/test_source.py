"""The same server for the same client."""
from __future__ import absolute_import, division, print_function

import collections

import pytest

from sidelb_lib.policies.source import CLIENTS, Source, client_of
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
    assert client_of('10.1.0.1') == '10.1.0.1' and client_of(None) == ''


def test_what_is_remembered_of_clients_is_bounded():
    policy, _ = source('ab')
    for number in range(CLIENTS + 500):
        policy.choose((), '10.%d.%d.%d' % (number >> 16, number >> 8 & 255, number & 255))
    assert len(policy._orders) == CLIENTS


def test_with_everybody_excluded_there_is_nobody():
    policy, everyone = source('abcdef')
    assert policy.choose(everyone, '10.1.0.1') is None
    assert policy.choose(everyone[:5], '10.1.0.1') is everyone[5]
