"""What comes when the best have been tried, and what counts as capacity of a tier."""
from __future__ import absolute_import, division, print_function

import pytest

from sidelb_lib.checks.exchange import PASSED, Result
from sidelb_lib.errors import NobodyReachable
from sidelb_lib.pool.merging import Group, Options

from .parts import World
from .test_roles import PreferringCheck, primary
from .test_roles import World as RoleWorld

STANDBY = Result('standby', 'replica', None, None)
REPLICA_WANTED = Result('up', 'replica', None, None)
DOWN = Result('down', None, 'refused', None)


def tried_by_one_client(pool):
    """The last numbers of all addresses that one client tries, none of which takes it."""
    lasts, tried = [], None
    while True:
        try:
            lease = pool.take(tried)
        except NobodyReachable:
            return lasts
        lasts.append(int(lease.address.host.rpartition('.')[2]))
        lease.failed('refused')
        lease.end()
        tried = lease.tried


def both(*lasts):
    """One server with these addresses."""
    return Group(None, [('10.0.0.%d' % last, 1) for last in lasts])


# --- what is left ------------------------------------------------------------------------------------------------------

def test_the_other_address_of_a_server_that_is_down_comes_after_all_that_are_up():
    world = World()
    world.pool.update('test', [both(1, 2), both(3)])
    world.down(world.pool.addresses()[1])
    assert tried_by_one_client(world.pool) == [1, 3, 2]


def test_what_is_handed_over_as_tried_is_not_taken_but_for_what_lacked_a_port_for_a_moment():
    world = World()
    one, two, three = world.use((1, {}), (2, {}), (3, {}))
    tried = world.pool.tried(one, two)
    tried.error = 'no local port'
    assert world.pool.take(tried).address is three
    tried.add(three)
    assert set(tried) == set([one, two, three])
    tried.short = (two,)
    again = tried.without_short()
    assert world.pool.take(again).address is two and again.error == 'no local port'


def test_the_other_address_of_a_server_one_of_which_was_tried_long_ago_is_taken():
    world = World()
    world.pool.update('test', [both(1, 2), both(3)])
    first, second, other = world.pool.addresses()
    assert world.pool.take(world.pool.tried(first, other)).address is second


@pytest.mark.parametrize('weightless, dead', [(2, 3), (3, 2)])
def test_a_server_of_weight_0_that_is_up_comes_before_one_that_is_down(weightless, dead):
    world = World()
    servers = dict((last, {}) for last in (1, 2, 3))
    servers[weightless] = dict(weight=0)
    addresses = world.use(*sorted(servers.items()))
    world.down(addresses[dead - 1])
    assert tried_by_one_client(world.pool) == [1, weightless, dead]
    world.down(addresses[0])
    assert world.taken(3) == {weightless: 3}


def test_an_address_without_the_role_is_not_tried_beside_one_that_has_it():
    world = RoleWorld()
    world.pool.update('ring', [both(1, 2), both(3)])
    world.say(primary(), STANDBY, STANDBY)
    assert tried_by_one_client(world.pool) == [1]


def test_who_is_drained_while_a_client_tries_is_not_tried_any_more():
    world = World()
    world.pool.update('test', [both(1, 2)])
    lease = world.pool.take()
    lease.failed('refused')
    world.pool.drain(lease.address.member)
    with pytest.raises(NobodyReachable):
        world.pool.take(lease.tried)
    assert not world.pool.healthy and world.pool.tier is None


def test_a_server_that_is_down_and_leaves_while_a_client_tries_is_not_tried():
    world = World()
    _, two, three = world.use((1, {}), (2, {}), (3, {}))
    world.down(two)
    world.down(three)
    tried = None
    for _ in range(2):                         # the one that is up, and one of the others
        lease = world.pool.take(tried)
        lease.failed('refused')
        tried = lease.tried
    left = [last for last, address in ((2, two), (3, three)) if address is lease.address]
    world.use((1, {}), (left[0], {}))
    with pytest.raises(NobodyReachable):
        world.pool.take(tried)


def test_a_server_that_is_down_and_full_is_not_tried():
    world = World()
    _, two, _ = world.use((1, {}), (2, dict(max=1)), (3, {}))
    leases = []
    while not two.active:
        leases.append(world.pool.take())
    world.down(two)
    assert tried_by_one_client(world.pool) in ([1, 3], [3, 1])


def test_a_weight_for_a_server_that_is_down_moves_no_client_of_others():
    world = World(mode='source')
    _, _, three = world.use((1, {}), (2, {}), (3, {}))
    world.down(three)
    clients = ['10.1.%d.1' % number for number in range(60)]
    leases = [world.pool.take(key=client) for client in clients]
    world.pool.weigh(three.member, 200)
    for client, former in zip(clients, leases):
        with world.pool.take(key=client) as lease:
            assert lease.address is former.address


def test_the_log_counts_those_that_come_second_as_up():
    world = RoleWorld(PreferringCheck())
    world.say(primary(), REPLICA_WANTED, REPLICA_WANTED)
    for _ in range(2):
        world.say(None, None, DOWN)
    assert world.log.events('member_down') == ['10.0.0.3:1 is down: refused, 2 of 3 up']


def test_servers_that_change_places_between_tiers_do_so_at_once():
    """As SRV records with other priorities have it: none of the tiers had been down."""
    world = World(tier_return='30s')
    world.use((1, {}), (2, dict(tier=2)), (3, dict(tier=3)))
    assert world.taken(3) == {1: 3}
    world.use((1, dict(tier=3)), (2, {}), (3, dict(tier=2)))
    assert world.taken(3) == {2: 3}
    assert not world.tier_news()


# --- capacity of a tier, for `spill` -----------------------------------------------------------------------------------

def parts(world):
    """Per cent of the new sessions for each tier."""
    return [int(round(100 * part)) for _, part in sorted(world.pool._policy.parts().items())]


def test_who_is_down_is_missed_in_its_tier_and_who_is_drained_or_has_left_is_not():
    world = World(spill='1.4')
    servers = [(1, {}), (2, {}), (3, dict(tier=2)), (4, dict(tier=2))]
    one = world.use(*servers)[0]
    assert parts(world) == [100, 0]
    world.down(one)
    assert parts(world) == [70, 30]
    world.pool.drain(one.member)
    assert parts(world) == [100, 0]
    world.pool.drain(one.member, False)
    assert parts(world) == [70, 30]
    world.use(*servers[1:])
    assert parts(world) == [100, 0]
    world.use(*servers)
    assert parts(world) == [70, 30]                  # it is remembered as it left


def test_a_server_counts_in_its_tier_while_one_of_its_addresses_is_no_standby():
    world = World(spill='1.4', check='redis/replica')
    world.pool.update('test', [both(1, 2), both(3), Group(None, [('10.0.0.4', 1)], Options(None, 2, None))])
    standby = Result('standby', 'primary', None, None)
    for address, result in zip(world.pool.addresses(), (standby, REPLICA_WANTED, DOWN, REPLICA_WANTED)):
        world.pool.report_result(address, result, world.now)
    assert parts(world) == [70, 30]
    world.pool.report_result(world.pool.addresses()[1], standby, world.now)
    assert parts(world) == [0, 100]
    world.pool.report_result(world.pool.addresses()[2], REPLICA_WANTED, world.now)
    world.pool.report_result(world.pool.addresses()[2], REPLICA_WANTED, world.now)
    assert parts(world) == [100, 0]


def test_a_newcomer_counts_in_its_tier_once_it_has_been_checked():
    world = World(spill='1.4', check='tcp')
    servers = [(1, {}), (2, {}), (3, dict(tier=2)), (4, dict(tier=2))]
    known = world.use(*servers)
    assert parts(world) == [100, 0]                  # at the start nobody has been checked, and all count
    for address in known:
        world.pool.report_result(address, PASSED, world.now)
    newcomer, = [address for address in world.use((5, {}), *servers) if address not in known]
    assert parts(world) == [100, 0]
    world.pool.report_result(newcomer, DOWN, world.now)
    assert parts(world) == [93, 7]
