"""One count of descriptors for all services of a process."""
from __future__ import absolute_import, division, print_function

import itertools
import random

import pytest

from sidelb_lib.limits import TCP_DESCRIPTORS, UDP_DESCRIPTORS, Budget


def shares(limit, *kinds):
    budget = Budget(limit, len(kinds))
    found = [budget.share(each) for each in kinds]
    for share in found:
        share.sessions = set()
    return budget, found


def fill(share):
    while share.left():
        share.sessions.add(len(share.sessions))


def test_a_service_alone_shares_nothing():
    budget = Budget(1000)
    assert budget.share(TCP_DESCRIPTORS) is None
    assert (budget.connections, budget.sessions, budget.pipes) == (300, 600, 64)


def test_a_busy_one_may_take_what_the_others_leave_and_none_is_denied_a_quarter_of_its_even_part():
    budget, (one, two) = shares(1200, TCP_DESCRIPTORS, TCP_DESCRIPTORS)
    assert (budget.total, budget.floor) == (800, 100)
    fill(one)
    assert len(one.sessions) == one.most == 350
    assert two.left() == 50
    fill(two)
    assert (len(two.sessions), one.left()) == (50, 0)


def test_what_one_gives_back_any_other_may_take():
    _, (one, two) = shares(1200, TCP_DESCRIPTORS, UDP_DESCRIPTORS)
    fill(one)
    fill(two)
    assert (len(one.sessions), len(two.sessions)) == (350, 100)
    for _ in range(10):
        one.sessions.pop()
    assert two.left() == 20
    fill(two)
    assert one.left() == 0


def test_one_that_is_yet_to_come_has_its_floor_and_one_that_leaves_needs_none():
    budget = Budget(1200, 2)
    one = budget.share(TCP_DESCRIPTORS)
    assert one.left() == 350
    two = budget.share(TCP_DESCRIPTORS)
    assert one.left() == 350
    two.sessions, two.leaving, budget.services = set(range(30)), True, 1
    assert one.left() == 370
    two.close()
    assert one.left() == 400


def test_services_that_a_reload_adds_share_the_pipes_with_those_before():
    budget = Budget(1000, 1)
    assert [budget.pipes for _ in range(4) if budget.share(TCP_DESCRIPTORS)] == [64, 32, 21, 16]


@pytest.mark.parametrize('seed', range(20))
def test_together_they_never_have_more_than_there_is_and_each_gets_its_floor(seed):
    chance = random.Random(seed)
    kinds = [chance.choice((TCP_DESCRIPTORS, UDP_DESCRIPTORS)) for _ in range(chance.randint(1, 8))]
    budget, found = shares(chance.randint(200, 3000), *kinds)
    names = itertools.count()
    for _ in range(3000):
        share = chance.choice(found)
        if chance.random() < 0.6:
            if len(share.sessions) < budget.floor // share._each:
                assert share.left()
            assert share.has_room() == bool(share.left())
            if share.left():
                share.sessions.add(next(names))
        elif share.sessions:
            share.sessions.pop()
        assert sum(one.taken for one in found) <= budget.total


def test_with_hardly_any_descriptors_each_still_gets_one_session():
    _, found = shares(40, *[TCP_DESCRIPTORS] * 8)
    for share in found:
        fill(share)
        assert share.sessions
