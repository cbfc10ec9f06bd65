"""When names are asked for again."""
from __future__ import absolute_import, division, print_function

import collections

import pytest

from sidelb_lib.discovery.pace import Pace, last_error, retry_delay, smallest_ttl
from sidelb_lib.resolver.answers import EMPTY, FAILED, FOUND

Family = collections.namedtuple('Family', 'kind ips ttl negative_ttl')

HERE = ['10.9.0.1']


def found(ttl):
    return Family(FOUND, HERE, ttl, None)


def gone(negative_ttl, ips=(), ttl=None):
    """An empty answer; `ips` are held from one before."""
    return Family(EMPTY, ips, ttl, negative_ttl)


NO_ANSWER = Family(FAILED, HERE, 300, None)


def test_the_retry_delay_doubles_up_to_its_limit_with_jitter():
    assert [retry_delay(n, 1.0, 60.0, lambda: 0.0) for n in range(1, 9)] == [1, 2, 4, 8, 16, 32, 60, 60]
    assert retry_delay(3, 1.0, 60.0, lambda: 1.0) == 3
    assert retry_delay(1, 1.0, 60.0, lambda: 1.0) == 1
    assert retry_delay(10 ** 6, 1.0, 60.0, lambda: 0.0) == 60
    assert retry_delay(1, 1.0, 0.2, lambda: 0.0) == 0.2


@pytest.mark.parametrize('families, seconds', [
    ([found(10), found(20)], 10), ([found(0), found(20)], 2), ([found(3600)], 60), ([found(None), gone(30)], 60),
    ([found(None), found(10)], 10),
    ([found(10), Family(FOUND, (), 5, None)], 10)])
def test_what_is_in_use_is_asked_for_when_its_smallest_ttl_has_passed_within_limits(families, seconds):
    assert Pace(2.0, 60.0, lambda: 0.0).after('ok', families) == seconds


def test_failures_are_asked_with_growing_delays_until_there_is_an_answer():
    pace = Pace(2.0, 60.0, lambda: 0.0)
    assert [pace.after('failing', [NO_ANSWER, NO_ANSWER]) for _ in range(6)] == [2, 4, 8, 16, 32, 60]
    assert pace.after('ok', [found(10)]) == 10
    assert [pace.after('failing', [NO_ANSWER]), pace.back_off(), pace.after('failing', [NO_ANSWER])] == [2, 4, 8]


def test_with_half_an_answer_the_other_half_is_asked_for_no_later_than_that_one():
    pace = Pace(2.0, 60.0, lambda: 0.0)
    assert [pace.after('partial', [found(10), NO_ANSWER]) for _ in range(4)] == [2, 4, 8, 10]


@pytest.mark.parametrize('state, families, seconds', [
    ('empty', [gone(30), gone(20)], 20), ('empty', [gone(1), gone(None)], 2), ('empty', [gone(900)], 60),
    ('empty', [gone(None)], 2), ('holding', [gone(30, HERE, 300)], 2)])
def test_a_name_that_does_not_exist_is_asked_for_when_its_zone_says_so(state, families, seconds):
    assert Pace(2.0, 60.0, lambda: 0.0).after(state, families) == seconds


def test_nothing_that_is_in_use_has_no_ttl():
    assert smallest_ttl([gone(30), Family(FOUND, (), 5, None), found(None)]) is None


def test_an_exception_is_said_in_one_line():
    try:
        raise ValueError('as it is')
    except ValueError:
        assert last_error().startswith('ValueError: as it is (test_pace.py line ')
