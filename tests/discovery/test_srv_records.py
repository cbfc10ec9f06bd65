"""SRV records: what two of them say, and which answers name no server."""
from __future__ import absolute_import, division, print_function

import pytest

from sidelb_lib.discovery.srv_records import Target, options_of, targets_of, usable
from sidelb_lib.pool.merging import Options
from sidelb_lib.resolver.answers import EMPTY, empty, failed, found


def test_two_priorities_are_two_tiers():
    one, two = targets_of(['10 1 5432 a.x', '20 1 5432 b.x'])[0]
    assert options_of([one, two]) == {one: Options(None, 1, None, 1), two: Options(None, 2, None, 1)}


def test_two_weights_are_said_as_parts_of_their_mean():
    one, two = targets_of(['0 1 5432 a.x', '0 3 5432 b.x'])[0]
    assert options_of([one, two]) == {one: Options(0.5, None, None, 1), two: Options(1.5, None, None, 3)}


@pytest.mark.parametrize('values', [['20 7 1 a.x', '10 6 1 a.x'], ['10 6 1 a.x', '20 7 1 a.x']])
def test_the_weight_of_a_worse_priority_is_not_added(values):
    assert targets_of(values)[0] == [Target('a.x', 1, 10, 6)]


@pytest.mark.parametrize('answer, port', [
    (found(['0 0 1 .', '0 1 5432 a.x'], 60, ['n']), None), (found(['0 1 0 a.x'], 60, ['n']), 5432),
    (failed('no answer'), None), (empty('no such name', ['n'], 60), None)])
def test_an_answer_that_names_a_server_or_says_why_none_is_there_stays_as_it_is(answer, port):
    assert usable(answer, port) is answer


@pytest.mark.parametrize('values, reason', [
    (['0 0 0 .'], 'the name says that this service is not available (target .)'),
    (['0 1 0 a.x'], 'no usable record'), (['0 0 0 .', '0 1 0 a.x'], 'no usable record')])
def test_an_answer_that_names_no_server_is_an_empty_one(values, reason):
    answer = usable(found(values, 60, ['n']))
    assert (answer.kind, answer.values, answer.reason, answer.ttl, answer.names) == (EMPTY, (), reason, 60, ('n',))
