"""Weights, limits and slow start while something else changes as well."""
from __future__ import absolute_import, division, print_function

import pytest

from sidelb_lib.checks.exchange import PASSED, Result
from sidelb_lib.errors import NobodyReachable
from sidelb_lib.pool.merging import Group, Options
from .parts import World

FAILED = Result('down', None, 'refused', None)
MODES = ['round-robin', 'least-connections']


@pytest.mark.parametrize('before', [0, 1, 2, 3])
def test_a_weight_that_a_person_sets_among_equals_counts_at_once(before):
    world = World()
    one, two = world.use((1, {}), (2, {}))
    world.taken(before)
    world.pool.weigh(one.member, 3)
    assert world.taken(8) == {1: 6, 2: 2}
    world.pool.weigh(one.member, 0)
    assert world.taken(4) == {2: 4} and one.state == 'draining'
    world.pool.weigh(one.member, None)
    assert world.taken(10) in ({1: 5, 2: 5}, {1: 6, 2: 4})


def test_a_weight_that_a_person_sets_counts_at_once_with_least_connections():
    world = World(mode='least-connections')
    one, _ = world.use((1, {}), (2, {}))
    world.pool.weigh(one.member, 3)
    leases = [world.pool.take() for _ in range(8)]
    assert sum(lease.address is one for lease in leases) == 6


def test_a_written_weight_that_changes_drops_nobody():
    """As in SRV records, whose weights follow the health of services."""
    world = World(slow_start='30s')
    world.use((1, dict(weight=10)), (2, dict(weight=10)))
    one, two = world.pool.addresses()
    world.down(two)
    world.pool.restore(two)
    world.down(one)                           # two is all there is, and rising
    world.now += 15
    world.pool.tick()
    assert two.member.weight == 5
    world.use((1, dict(weight=10)), (2, dict(weight=20)))
    assert two.member.weight == 10            # of 20: it goes on
    assert world.log.events('last_resort') == [] and world.taken(3) == {2: 3}


def test_a_written_limit_that_rises_lets_waiting_clients_in():
    world = World()
    one, = world.use((1, dict(max=1)))
    world.pool.take()
    with pytest.raises(NobodyReachable):
        world.pool.take()
    before = len(world.heard)
    world.use((1, dict(max=2)))
    assert 'room' in world.heard[before:] and world.taken(1) == {1: 1}
    world.pool.take()
    world.use((1, dict(max=1)))
    with pytest.raises(NobodyReachable):
        world.pool.take()


def test_a_written_weight_that_is_0_no_more_lets_waiting_clients_in():
    world = World()
    one, two = world.use((1, dict(weight=0)), (2, {}))
    before = len(world.heard)
    world.use((1, dict(weight=2)), (2, {}))
    assert 'room' in world.heard[before:] and world.taken(3) == {1: 2, 2: 1}


def test_a_tier_that_is_written_anew_moves_its_server_and_keeps_its_sessions():
    world = World(mode='least-connections')
    one, two = world.use((1, {}), (2, {}))
    leases = [world.pool.take() for _ in range(4)]
    world.use((1, dict(tier=2)), (2, {}))
    assert world.taken(2) == {2: 2} and one.member.active == 2 and world.log.events('last_resort') == []
    world.use((1, {}), (2, {}))
    assert world.taken(2) == {1: 1, 2: 1}
    for lease in leases:
        lease.end()
    assert world.taken(10) == {1: 5, 2: 5}


@pytest.mark.parametrize('mode', MODES)
def test_a_limit_is_kept_when_nothing_better_is_left(mode):
    """A client for whom those that are up have failed tries those that are down: not more of them than they may take."""
    world = World(mode=mode, check_fall='9')
    one, two = world.use((1, dict(max=1)), (2, {}))
    world.down(one)
    lease = world.pool.take()
    lease.failed('refused')
    lease.end()
    last = world.pool.take(lease.tried)
    assert last.address is one
    with world.pool.take() as lease:
        lease.failed('refused')
    with pytest.raises(NobodyReachable):
        world.pool.take(lease.tried)
    assert one.member.active == 1


def test_the_other_address_of_a_server_that_is_full_meanwhile_is_not_tried():
    world = World()
    world.pool.update('test', [Group('a', [('10.0.0.1', 1), ('10.0.0.2', 1)], Options(None, None, 1)),
                               Group('b', [('10.0.0.3', 1)])])
    lease = world.pool.take()
    assert lease.address.member.name == 'a'
    lease.failed('refused')
    lease.end()
    other = world.pool.take()                 # b's turn
    third = world.pool.take()
    assert third.address.member.name == 'a'
    retry = world.pool.take(lease.tried)
    assert retry.address.member.name == 'b' and other.address.member is retry.address.member


def test_of_servers_that_are_down_those_of_the_better_tier_are_tried_first():
    world = World()
    addresses = world.use((1, dict(tier=3)), (2, dict(tier=2)), (3, dict(tier=2)), (4, {}), (5, dict(tier=3)))
    for address in addresses[:4]:
        world.down(address)
    tried, tiers = None, []
    for _ in addresses:
        with world.pool.take(tried) as lease:
            lease.failed('refused')
        tried = lease.tried
        tiers.append(lease.address.member.tier)
    assert tiers == [3, 1, 2, 2, 3]


def test_a_session_whose_server_leaves_meanwhile_goes_on_in_its_tier():
    world = World(tier_return='30s')
    one, two, three = world.use((1, {}), (2, dict(tier=2)), (3, dict(tier=2)))
    world.down(one)
    lease = world.pool.take()
    world.pool.restore(one)                   # has nothing of its sessions back yet
    other = three if lease.address is two else two
    left = {two: 3, three: 2}[lease.address]
    world.use((1, {}), (left, dict(tier=2)))
    lease.failed('refused')
    lease.end()
    assert world.pool.take(lease.tried).address is other


def test_newcomers_are_no_capacity_that_is_lost_until_they_have_been_checked():
    """A zone that grows sends nobody to the next one."""
    world = World(check='tcp', spill='1.4')
    old = [(1, {}), (2, {}), (3, dict(tier=2)), (4, dict(tier=2))]
    for address in world.use(*old):
        world.pool.report_result(address, PASSED, world.now)
    new = [(number, {}) for number in range(5, 9)]
    world.use(*old + new)
    assert world.pool.tier_parts() == {1: 1, 2: 0} and set(world.taken(20)) == {1, 2}
    found = [address for address in world.pool.addresses() if address.state == 'unchecked']
    assert len(found) == 4
    for address in found:
        world.pool.report_result(address, FAILED, world.now)
    assert world.pool.tier_parts() == {1: 0.46, 2: 0.54}


# --- slow start ----------------------------------------------------------------------------------------------------------

def rising(world, *servers):
    addresses = world.use(*servers)
    world.taken(1)
    world.down(addresses[-1])
    world.pool.restore(addresses[-1])
    return addresses


@pytest.mark.parametrize('mode', MODES)
def test_the_share_of_a_server_that_rises_is_what_its_weight_says(mode):
    world = World(mode=mode, slow_start='30s')
    addresses = rising(world, (1, {}), (2, {}), (3, {}))
    shares = []
    for _ in range(30):
        world.now += 1
        world.pool.tick()
        if mode == 'round-robin':
            shares.append(world.taken(100).get(3, 0) / 100.0)
            part = addresses[2].member.weight
            assert abs(shares[-1] - part / (2 + part)) <= 0.015
        else:
            leases = [world.pool.take() for _ in range(300)]
            got, part = sum(lease.address is addresses[2] for lease in leases), addresses[2].member.weight
            assert abs(got - 300 * part / (2 + part)) <= 2
            for lease in leases:
                lease.end()
    assert addresses[2].member.weight == 1


def test_a_weight_that_is_set_while_a_server_rises_rises_on():
    world = World(slow_start='30s')
    one, two = rising(world, (1, dict(weight=2)), (2, dict(weight=2)))
    world.now += 15
    world.pool.tick()
    assert two.member.weight == 1
    world.pool.weigh(two.member, 8)
    assert two.member.weight == 4 and world.taken(6) == {1: 2, 2: 4}
    world.pool.weigh(two.member, 0)
    world.pool.weigh(two.member, None)
    assert two.member.weight == 1
    world.now += 15
    world.pool.tick()
    assert two.member.weight == 2


def test_a_server_that_is_drained_while_it_rises_is_as_far_as_the_time_when_it_is_enabled():
    world = World(slow_start='30s')
    one, two = rising(world, (1, {}), (2, {}))
    world.pool.drain(two.member)
    world.now += 15
    world.pool.tick()
    assert world.taken(4) == {1: 4}
    world.pool.drain(two.member, False)
    assert two.member.weight == 0.5 and world.taken(6) == {1: 4, 2: 2}


def test_servers_that_come_in_one_second_share_a_weight_all_the_way():
    """Choosing costs more with more different weights."""
    world = World(slow_start='30s')
    world.use((1, {}))
    clock = iter(range(10 ** 6))
    world.pool._slow_start._clock = lambda: 1001 + next(clock) / 10.0 ** 6
    world.use(*[(number, {}) for number in range(1, 100)])
    for start in (1009, 1020):
        world.pool._slow_start._clock = lambda: start + next(clock) / 10.0 ** 6
        world.pool.tick()
        assert len(set(member.weight for member in world.pool.members)) == 2


def test_a_server_that_rises_and_is_full_rises_meanwhile():
    world = World(slow_start='30s')
    one, two = rising(world, (1, {}), (2, dict(max=1)))
    leases = []
    while two.active == 0:
        leases.append(world.pool.take())
    world.now += 15
    world.pool.tick()
    assert world.taken(4) == {1: 4}
    [lease for lease in leases if lease.address is two][0].end()
    assert two.member.weight == 0.5 and world.taken(9) == {1: 6, 2: 3}
