"""Where the first session goes."""
from __future__ import absolute_import, division, print_function

import random

import pytest

from sidelb_lib.config.settings import defaults
from sidelb_lib.policies.least_connections import LeastConnections
from sidelb_lib.policies.registry import policy_of, start_told
from sidelb_lib.policies.round_robin import RoundRobin
from sidelb_lib.policies.start import instance_of, start_of
from .parts import chosen, members, take, tell


@pytest.mark.parametrize('servers, firsts', [
    (3, [0, 1, 0, 2, 1, 0, 2, 0, 2, 1, 0, 2]), (10, [0, 6, 2, 8, 4, 0, 7, 3, 9, 5, 1, 7]),
    (100, [0, 61, 23, 85, 47, 9, 70, 32, 94, 56, 18, 79])])
def test_consecutive_instances_are_spread_by_the_golden_ratio(servers, firsts):
    assert [int(start_of(number)() * servers) for number in range(12)] == firsts


@pytest.mark.parametrize('host, words', [
    ('app-17', 'number 17 of host app-17'), ('db_3.example.com', 'number 3 of host db_3.example.com'),
    ('db-0', 'number 0 of'), ('node17', 'number 17 of'), ('web01.us.example.com', 'number 1 of'), ('a-1-2', 'number 2 of'),
    ('ip-10-0-0-17.ec2.internal', 'number 17 of'), ('app-5d4f6b7c8-24680', 'number 24680 of'),
    ('b\xe4r-7', 'number 7 of host b\\xe4r-7'), ('app', 'chance (no number at the end of host app)'),
    ('app-7f9c4b6d8-x2x4z', 'chance'), ('app-123456', 'chance'), ('i-0abc1234567890', 'chance'), ('10', 'chance'),
    ('host.17', 'chance'), ('10.0.0.17', 'chance'), ('', 'chance')])
def test_the_number_of_an_instance_is_at_the_end_of_its_hosts_name(host, words):
    number, told = instance_of(None, host, shares_host=False)
    assert told.startswith(words) and (number is None) == words.startswith('chance')


def test_hosts_that_are_counted_up_have_consecutive_numbers():
    numbers = [instance_of(None, 'app-%d.example.com' % number, False)[0] for number in range(8, 12)]
    assert [number - numbers[0] for number in numbers] == [0, 1, 2, 3]


def peak_of(hosts, given=(None,), servers=10):
    """The busiest server's part of the mean when each has one session."""
    counts = [0] * servers
    for host in hosts:
        for one in given:
            number, _ = instance_of(one, host, shares_host=len(given) > 1)
            counts[int(start_of(number)() * servers)] += 1
    return max(counts) * servers / float(sum(counts))


CHANCE = 1.52        # of 100 instances and 10 servers, on average; 2.1 is the worst of sixty


@pytest.mark.parametrize('pattern', ['app-%d', 'app-%02d.example.com', 'node%d', 'ip-10-0-0-%d'])
def test_hosts_that_are_counted_up_begin_evenly(pattern):
    assert peak_of([pattern % number for number in range(100)]) <= 1.2


@pytest.mark.parametrize('pattern', [
    'service%d-0', 'app-%d-0', 'ip-10-0-%d-17', 'app-0.zone%d.example.com', 'app-%x-24680', 'app-7f9c-x%dx45'])
def test_equal_numbers_behind_different_names_begin_no_worse_than_by_chance(pattern):
    peaks = [peak_of([pattern % number for number in range(first, first + 100)]) for first in range(100, 1100, 100)]
    assert sum(peaks) / 10 < CHANCE + 0.15


def test_numbers_that_are_random_begin_as_by_chance():
    chance = random.Random(1)
    peaks = [peak_of(['app-%d' % chance.randrange(100000) for _ in range(100)]) for _ in range(30)]
    assert abs(sum(peaks) / 30 - CHANCE) < 0.15


def test_the_processes_of_hosts_are_numbered_on_each_and_begin_evenly_together():
    assert peak_of(['app-%d' % number for number in range(50)], given=(0, 1)) <= 1.2
    assert peak_of(['app-%x.example.com' % (number * 7919 + 10 ** 6) for number in range(50)], given=(0, 1)) < 2.1
    assert instance_of(1, 'app-17', shares_host=True)[1] == 'instance=1 on host app-17'


@pytest.mark.parametrize('kind', [RoundRobin, LeastConnections])
def test_the_first_session_goes_where_the_number_says(kind):
    policy = kind(start_of(1))
    tell(policy, members('abcdefghij'))
    assert take(policy).name == 'g'


def first_of(host, **changes):
    policy = policy_of(defaults(check='off', **changes), host, lambda: 0.0, lambda: 0.0, lambda event, subject: None)
    tell(policy, members('abcdefghij'))
    return chosen(policy, 1)


def test_by_default_the_host_name_decides():
    assert [first_of('app-%d' % number) for number in range(5)] == list('agcif') and first_of('app') == 'a'


def test_instance_beats_the_host_name_and_off_is_chance():
    assert first_of('app-1', instance='2') == 'c' and first_of('app-1', instance='off') == 'a'


def test_instances_that_share_a_host_begin_by_chance():
    assert first_of('app-1', reuse_port='on') == 'a'


@pytest.mark.parametrize('name, words', [
    ('app-7', 'number 7 of instance=app-7'), ('app_7', 'number 7 of'), ('app.7', 'number 7 of'), ('app7', 'number 7 of'),
    ('app-7.example.com', 'number 7 of'), ('db-1-3', 'number 3 of'), ('app-123456', 'chance (no number at the end of'),
    ('app', 'chance (no number at the end of instance=app)')])
def test_the_name_of_an_instance_counts_as_the_name_of_a_host_would(name, words):
    number, told = instance_of(name, 'other-1', shares_host=False)
    assert told.startswith(words) and (number is None) == words.startswith('chance')
    if 'number 7 of instance=app-7' in told:
        assert number == instance_of(None, name, shares_host=False)[0]


def test_the_name_of_an_instance_that_shares_its_host_is_a_number_on_it():
    assert instance_of('web-2', 'app-17', True)[0] == instance_of(2, 'app-17', True)[0]
    assert instance_of('web', 'app-17', True) == (None, 'chance (no number at the end of instance=web)')


def test_what_decides_is_told():
    assert start_told(defaults(check='off'), 'app-17') == 'number 17 of host app-17'
    assert start_told(defaults(check='off', instance='2'), 'app-17') == 'instance=2'
    assert start_told(defaults(check='off', instance='off'), 'app-17') == 'chance (instance=off)'
    assert start_told(defaults(check='off', reuse_port='on'), 'app-17') == 'chance (reuse_port=on without instance=)'
    assert start_told(defaults(check='off', mode='source'), 'app-17') == "the client's IP"
