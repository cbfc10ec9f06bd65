"""Where the first session goes."""
from __future__ import absolute_import, division, print_function

import pytest

from sidelb_lib.config.settings import defaults
from sidelb_lib.policies.least_connections import LeastConnections
from sidelb_lib.policies.registry import policy_of
from sidelb_lib.policies.round_robin import RoundRobin
from sidelb_lib.policies.start import number_in, start_of
from .parts import chosen, members, take, tell


@pytest.mark.parametrize('servers, firsts', [
    (3, [0, 1, 0, 2, 1, 0, 2, 0, 2, 1, 0, 2]), (10, [0, 6, 2, 8, 4, 0, 7, 3, 9, 5, 1, 7]),
    (100, [0, 61, 23, 85, 47, 9, 70, 32, 94, 56, 18, 79])])
def test_consecutive_instances_are_spread_by_the_golden_ratio(servers, firsts):
    assert [int(start_of(number)() * servers) for number in range(12)] == firsts


@pytest.mark.parametrize('host, number', [
    ('app-17', 17), ('app_3.example.com', 3), ('db-0', 0), ('app', None), ('app17', None), ('app-123456', None),
    ('app-7f9c', None), ('10', None), ('host.17', None), ('a-1-2', 2)])
def test_the_number_of_an_instance_is_at_the_end_of_its_hosts_name(host, number):
    assert number_in(host) == number


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
    assert first_of('app-1') == 'g' and first_of('app') == 'a'


def test_instance_beats_the_host_name_and_off_is_chance():
    assert first_of('app-1', instance='2') == 'c' and first_of('app-1', instance='off') == 'a'


def test_instances_that_share_a_host_begin_by_chance():
    assert first_of('app-1', reuse_port='on') == 'a'


def test_a_name_of_an_instance_is_its_number_and_chance_without_one():
    assert first_of('app', instance='web-2') == 'c' and first_of('app-1', instance='web') == 'a'
