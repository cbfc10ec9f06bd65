"""What a session costs: as much with 1,000 members as with 10. Counted in lines of Python, which no busy machine changes."""
from __future__ import absolute_import, division, print_function

import sys

import pytest

from bench.choosing import ROWS, Choice, microseconds

SESSIONS = 2500


def lines(run):
    counted = [0]

    def trace(frame, event, argument):
        counted[0] += event == 'line'
        return trace
    former = sys.gettrace()
    sys.settrace(trace)
    try:
        run()
    finally:
        sys.settrace(former)
    return counted[0]


def cost(kind, count, more, sessions=SESSIONS):
    choice = Choice(kind, count, **more)
    return lines(lambda: choice.run(sessions)) / sessions


@pytest.mark.parametrize('name, kind, more', [row for row in ROWS if row[0] != '256 weights'])
def test_a_session_costs_the_same_with_a_thousand_members_as_with_ten(name, kind, more):
    few, many = cost(kind, 10, more), cost(kind, 1000, more)
    assert many < 1.3 * few + 3, (few, many)


def test_with_many_weights_it_costs_more_by_the_number_of_weights():
    kind, more = [row[1:] for row in ROWS if row[0] == '256 weights'][0]
    assert cost(kind, 1000, more, 300) < 1.3 * cost(kind, 256, more, 300) + 3


def test_the_figures_are_printed_by_a_command():
    assert 0 < microseconds(Choice(ROWS[0][1], 10)) < 1000
