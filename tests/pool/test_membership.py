"""What stays of servers when their sources say something else of them."""
from __future__ import absolute_import, division, print_function

from sidelb_lib.pool.merging import Group

from .parts import World


def named(last, name=None):
    return Group(name, [('10.0.0.%d' % last, 1)])


def test_a_weight_that_is_written_anew_replaces_what_a_person_wanted_for_good():
    world = World()
    one, _ = world.use((1, {}), (2, {}))
    world.pool.weigh(one.member, 3)
    world.use((1, dict(max=9)), (2, {}))
    assert one.member.weight == 3                    # nothing new was written of its weight
    assert world.pool.set_by_people() == ([], {one.member.name: (3, 1)})
    world.use((1, dict(weight=2)), (2, {}))
    assert one.member.weight == 2 and world.pool.set_by_people() == ([], {})
    world.use((1, {}), (2, {}))
    assert one.member.weight == 1


def test_a_server_that_is_given_a_name_keeps_its_turn():
    world = World(mode='least-connections')
    world.use((1, {}), (2, {}), (3, {}))
    assert world.taken(1) == {1: 1}
    world.pool.update('test', [named(1), named(2, 'x'), named(3)])
    assert [world.taken(1) for _ in range(3)] == [{2: 1}, {3: 1}, {1: 1}]


def test_one_that_was_drained_is_so_when_it_returns_by_whatever_name():
    world = World()
    one, _ = world.use((1, {}), (2, {}))
    world.pool.drain(one.member)
    world.use((2, {}))
    world.pool.update('test', [named(1, 'x'), named(2)])
    assert world.taken(4) == {2: 4} and [member.state for member in world.pool.members] == ['up', 'draining']


def test_a_weight_that_a_person_takes_back_is_forgotten():
    world = World()
    one, _ = world.use((1, {}), (2, {}))
    world.pool.weigh(one.member, 3)
    world.pool.weigh(one.member, None)
    assert world.pool.set_by_people() == ([], {}) and one.member.weight == 1


def test_the_sessions_of_an_address_go_along_with_it_when_it_is_a_server_of_its_own():
    world = World(mode='least-connections')
    world.pool.update('test', [Group(None, [('10.0.0.1', 1), ('10.0.0.2', 1)]), named(3)])
    leases = [world.pool.take() for _ in range(4)]
    assert sorted(lease.address.host[-1] for lease in leases) == ['1', '2', '3', '3']
    world.pool.update('test', [named(1), named(2), named(3)])
    assert sorted(world.pool.take().address.host[-1] for _ in range(2)) == ['1', '2']


def test_that_a_second_source_names_the_same_servers_is_no_change():
    world = World()
    world.use((1, {}), (2, {}))
    del world.heard[:]
    world.pool.update('other', [named(1)])
    assert world.heard == [] and len(world.pool.members) == 2
    world.pool.update('other', [named(3)])
    assert 'changed' in world.heard
