"""What is told of a server's health, to whom, and what is kept of it."""
from __future__ import absolute_import, division, print_function

import pytest

from sidelb_lib.checks.exchange import PASSED, Result
from sidelb_lib.pool.merging import Group

from .parts import World

DOWN = Result('down', None, 'refused', None)
STANDBY = Result('standby', 'primary', None, None)
REPLICA = Result('up', 'replica', None, None)


def heard(world, done, *arguments):
    """The events that follow from it."""
    del world.heard[:]
    done(*arguments)
    return world.heard


def test_what_changes_nothing_is_told_to_nobody_and_leaves_the_time_of_the_last_change():
    world = World(check='tcp')
    one, _ = world.use((1, {}), (2, {}))
    world.now += 5
    assert heard(world, world.pool.report_result, one, PASSED, world.now) == []
    since, world.now = one.since, world.now + 5
    assert heard(world, world.pool.report_result, one, PASSED, world.now) == []
    assert heard(world, world.pool.report_result, one, DOWN, world.now) == ['failed']
    assert (one.since, one.streak, one.changes, one.failed, one.failed_probes) == (since, 1, 0, 1, 1)
    assert heard(world, world.pool.report_result, one, DOWN, world.now) == ['down', 'failed']
    assert (one.since, one.streak, one.changes, one.last_error_at) == (world.now, 0, 1, world.now)


def test_one_failure_is_enough_where_a_server_says_that_it_serves_nobody():
    world = World(check='tcp', check_fall='5')
    one, _ = world.use((1, {}), (2, {}))
    world.pool.report_result(one, PASSED._replace(facts={'not_after': 7}), world.now)
    assert one.not_after == 7
    world.pool.report_result(one, DOWN, world.now)
    assert one.up
    world.pool.report_result(one, DOWN._replace(facts={'certain': True}), world.now)
    assert not one.up


def test_of_a_server_that_has_left_nothing_is_told_or_counted():
    world = World(check='redis/replica')
    one, _ = world.use((1, {}), (2, {}))
    for address in world.pool.addresses():
        world.pool.report_result(address, REPLICA, world.now)
    lease = world.pool.take()
    while lease.address is not one:
        lease = world.pool.take()
    assert heard(world, world.pool.report_end, one) == ['doubted']
    world.use((2, {}))
    del world.heard[:]
    world.pool.report_end(one)
    world.pool.report_failure(one, 'refused')
    world.pool.report_result(one, DOWN, world.now)
    world.pool.report_unknown(one)
    world.pool.restore(one)
    assert world.pool.report_early_end(one) is False
    assert world.heard == [] and one.failed == 0 and one.up
    assert world.pool.departing == [one.member]


def test_without_a_role_nobody_doubts_a_server_that_ends_a_session():
    world = World(check='tcp')
    one, = world.use((1, {}))
    assert heard(world, world.pool.report_end, one) == []
    world.pool.report_unknown(one)


def test_a_server_is_demoted_when_it_was_up_and_is_a_standby_and_in_no_other_case():
    world = World(check='redis/replica')
    one, two = world.use((1, {}), (2, {}))
    assert 'demoted' not in heard(world, world.pool.report_result, one, STANDBY, world.now)
    assert 'demoted' not in heard(world, world.pool.report_result, one, REPLICA, world.now)
    assert 'demoted' in heard(world, world.pool.report_result, one, STANDBY, world.now)
    world.pool.report_result(two, REPLICA, world.now)
    for _ in range(2):
        assert 'demoted' not in heard(world, world.pool.report_result, two, DOWN, world.now)


def test_there_is_room_when_a_server_is_taken_that_was_not_and_not_when_it_is_no_more():
    world = World()
    one, two = world.use((1, {}), (2, {}))
    assert heard(world, world.pool.drain, one.member) == []
    assert heard(world, world.pool.drain, one.member, False) == ['room']
    assert heard(world, world.pool.drain, two.member) == [] and heard(world, world.pool.drain, one.member) == []
    assert heard(world, world.pool.drain, one.member, False) == ['available']


@pytest.mark.parametrize('comes_first', [0, 1])
def test_slow_start_begins_when_the_first_of_several_addresses_is_back_and_goes_on_with_the_next(comes_first):
    world = World(slow_start='30s')
    world.pool.update('test', [Group('a', [('10.0.0.1', 1), ('10.0.0.2', 1)]), Group('b', [('10.0.0.3', 1)])])
    addresses = world.pool.addresses()[:2]
    for address in addresses:
        world.down(address)
    world.pool.restore(addresses[comes_first])
    assert addresses[0].member.weight == 0.1
    world.now += 15
    world.pool.tick()
    world.pool.restore(addresses[1 - comes_first])
    assert addresses[0].member.weight == 0.5


# --- one session for a server that ends sessions at once ----------------------------------------------------------------

def ending_early(world, address):
    while address.up:
        world.pool.report_early_end(address)
    return address


def test_one_that_ends_sessions_early_is_tried_out_by_a_session_that_is_counted():
    world = World()
    one, two = world.use((1, dict(max=1)), (2, {}))
    assert world.pool.try_out(one) is None           # nothing is wrong with it
    ending_early(world, one)
    assert one.last_error == 'ends sessions at once'
    lease = world.pool.try_out(one)
    assert lease.address is one and (one.active, one.member.active) == (1, 1)
    assert world.pool.try_out(one) is None           # it takes but one
    lease.end()
    assert (one.active, one.member.active) == (0, 0) and world.pool.try_out(one)


def test_it_is_not_tried_out_while_a_better_tier_serves_or_it_is_down_for_another_reason_or_has_left():
    world = World()
    one, two, three = world.use((1, {}), (2, dict(tier=2)), (3, {}))
    assert world.pool.try_out(ending_early(world, two)) is None
    ending_early(world, one)
    world.pool.report_failure(one, 'refused')
    world.pool.report_failure(one, 'refused')
    assert world.pool.try_out(one) is None
    world.pool.restore(one)
    assert not one.up and world.pool.try_out(one)
    world.use((2, dict(tier=2)), (3, {}))
    assert world.pool.try_out(one) is None


def test_sessions_go_round_the_addresses_of_a_server_to_the_one_with_the_fewest():
    world = World()
    world.pool.update('test', [Group(None, [('10.0.0.1', 1), ('10.0.0.2', 1)])])
    assert world.taken(6) == {1: 3, 2: 3}
    held = world.pool.take()
    assert world.taken(3) == {3 - int(held.address.host[-1]): 3}
