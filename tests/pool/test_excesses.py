"""Whose sessions `rebalance` may close: by tiers, and of servers that take new ones."""
from __future__ import absolute_import, division, print_function

import pytest

from sidelb_lib.errors import NobodyReachable
from sidelb_lib.pool.lease import Lease

from .parts import World


def world_with(*servers, **settings):
    """`servers` are (tier, sessions)."""
    world = World(**settings)
    world.use(*[(last, dict(tier=tier)) for last, (tier, _) in enumerate(servers, 1)])
    for address, (_, sessions) in zip(world.pool.addresses(), servers):
        for _ in range(sessions):
            Lease(world.pool, address, None, world.now)
            world.pool._policy.recount(address.member)
    return world


def excesses(world, spills=False):
    return dict((int(member.addresses[0].host[-1]), count) for member, count in world.pool.excesses(spills).items())


def test_a_worse_tier_is_to_have_none_and_with_spill_each_is_looked_at_by_itself():
    world = world_with((1, 6), (1, 0), (2, 4), (2, 0))
    assert excesses(world) == {1: 1, 3: 4}
    assert excesses(world, spills=True) == {1: 3, 3: 2}


def test_who_takes_nothing_keeps_its_sessions_and_takes_none_of_others():
    world = world_with((1, 6), (1, 0), (1, 9))
    world.down(world.pool.addresses()[2])
    assert excesses(world) == {1: 3}


def test_while_nobody_is_up_nobody_has_too_many():
    world = world_with((1, 6), (1, 0))
    for address in world.pool.addresses():
        world.down(address)
    assert excesses(world) == {} and excesses(world, spills=True) == {}


def test_a_client_that_has_tried_all_is_told_the_last_error_of_this_host():
    world = world_with((1, 0))
    for error, text in ((None, 'every server has been tried'), ('no port', 'every server has been tried: no port')):
        tried = world.pool.tried(*world.pool.addresses())
        tried.error = error
        del world.heard[:]
        with pytest.raises(NobodyReachable) as raised:
            world.pool.take(tried)
        assert str(raised.value) == text and world.heard == []
    world.use()
    del world.heard[:]
    with pytest.raises(NobodyReachable):
        world.pool.take()
    assert world.heard == ['wanted']


def test_an_address_is_up_while_a_source_has_it_and_nothing_holds_it_down():
    world = world_with((1, 0), (1, 0))
    one, two = world.pool.addresses()
    world.down(two)
    assert [world.pool.is_up(address.endpoint) for address in (one, two)] == [True, False]
    world.use()
    assert not world.pool.is_up(one.endpoint)
