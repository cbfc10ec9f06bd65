"""Slow start of servers that are joined, leave, or are warm at last."""
from __future__ import absolute_import, division, print_function

import pytest

from sidelb_lib.pool.merging import Group
from sidelb_lib.pool.slow_start import LEAST, part_of

from .parts import World


@pytest.fixture
def world():
    """Server 1 is warm; 2 came just now, and 3 fifteen seconds later."""
    world = World(slow_start='30s')
    world.use((1, {}))
    world.use((1, {}), (2, {}))
    world.now += 15
    world.pool.tick()
    world.use((1, {}), (2, {}), (3, {}))
    assert [member.weight for member in world.pool.members] == [1, 0.5, LEAST]
    return world


def join(world, *lasts):
    """These are one server by name from now on. Returns it."""
    world.pool.update('test', [Group('a' if last in lasts else None, [('10.0.0.%d' % last, 1)]) for last in (1, 2, 3)])
    joined, = [member for member in world.pool.members if member.name == 'a']
    return joined


def test_two_that_are_cold_are_as_cold_as_the_last_one(world):
    joined = join(world, 2, 3)
    assert joined.weight == LEAST
    world.now += 15
    world.pool.tick()
    assert joined.weight == 0.5


def test_a_cold_address_of_a_server_that_is_warm_does_not_make_it_cold(world):
    joined = join(world, 1, 3)
    assert joined.weight == 1
    world.pool.tick()
    assert joined.weight == 1


def test_when_a_cold_server_is_divided_all_parts_are_cold(world):
    join(world, 2, 3)
    join(world, 1)
    assert [member.weight for member in world.pool.members] == [LEAST, LEAST, 1]
    world.now += 15
    world.pool.tick()
    assert [member.weight for member in world.pool.members] == [0.5, 0.5, 1]


def test_nothing_is_kept_of_those_that_are_warm_or_have_left(world):
    world.use((1, {}), (2, {}))
    world.pool.tick()
    assert len(world.pool._slow_start._rising) == 1
    world.now += 15
    world.pool.tick()
    assert not world.pool._slow_start._rising and [member.weight for member in world.pool.members] == [1, 1]


def test_the_part_is_a_tenth_at_least_and_all_at_most():
    assert [part_of(elapsed, 30) for elapsed in (-5, 0, 3, 15, 30, 45)] == [0.1, 0.1, 0.1, 0.5, 1, 1]
