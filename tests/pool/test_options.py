"""Weights, tiers, limits, slow start, flapping and roles, as the pool sees them."""
from __future__ import absolute_import, division, print_function

import pytest

from sidelb_lib.checks.exchange import PASSED, Result
from sidelb_lib.config.settings import defaults
from sidelb_lib.errors import NobodyReachable
from sidelb_lib.pool.merging import Group

from .parts import World

FAILED = Result('down', None, 'refused', None)
STANDBY = Result('standby', 'replica', None, None)
PRIMARY = Result('up', 'primary', None, None)


def test_sessions_follow_the_weights_of_the_servers():
    world = World()
    world.use((1, dict(weight=3)), (2, {}), (3, dict(weight=0)))
    assert world.taken(8) == {1: 6, 2: 2}


def test_a_weight_that_changes_changes_no_object_and_no_session():
    world = World()
    one, _ = world.use((1, dict(weight=3)), (2, {}))
    lease = world.pool.take()
    world.use((1, {}), (2, {}))
    assert world.pool.addresses()[0] is one and one.member.weight == 1 and sum(world.taken(8).values()) == 8
    lease.end()


def test_a_weight_that_a_person_wants_is_in_force_at_once():
    world = World()
    one, _ = world.use((1, {}), (2, {}))
    world.taken(2)
    world.pool.weigh(one.member, 3)
    assert world.taken(8) == {1: 6, 2: 2}
    world.pool.weigh(one.member, None)
    assert world.taken(8) == {1: 4, 2: 4}


@pytest.mark.parametrize('before, after', [({}, dict(weight=3)), (dict(max=5), dict(max=6)), (dict(tier=1), {})])
def test_the_only_server_of_a_tier_goes_on_when_its_options_change(before, after):
    world = World(tier_return='30s')
    one, _ = world.use((1, before), (2, dict(tier=2)))
    assert world.taken(4) == {1: 4}
    assert world.use((1, after), (2, dict(tier=2)))[0] is one
    assert world.taken(4) == {1: 4} and world.log.events('tier_changed') == []


def test_clients_that_wait_for_room_hear_that_a_limit_was_raised():
    world = World()
    world.use((1, dict(max=1)))
    lease = world.pool.take()
    assert 'room' not in world.heard
    world.use((1, dict(max=2)))
    assert 'room' in world.heard and world.taken(1) == {1: 1}
    lease.end()


def test_the_next_tier_takes_over_when_nobody_of_the_first_is_up():
    world = World()
    one, two, three = world.use((1, {}), (2, {}), (3, dict(tier=2)))
    world.down(one)
    assert world.taken(4) == {2: 4}
    world.down(two)
    assert world.taken(4) == {3: 4}
    assert world.log.events('tier_changed') == ['new sessions go to tier 2: 1 of 1 servers up; tier 1 takes none']
    assert [event for event in world.heard if event in ('down', 'tier')] == ['down', 'down', 'tier']
    world.pool.restore(one)
    assert world.taken(4) == {1: 4}


# --- which tier new sessions go to, as it is told ---

def test_a_tier_that_comes_back_is_told_with_the_time_in_which_its_share_grows():
    world = World(tier_return='30s')
    one, two, three = world.use((1, {}), (2, {}), (3, dict(tier=2)))
    world.down(one)
    world.down(two)
    world.pool.restore(two)
    assert world.tier_news() == [
        ('warning', 'new sessions go to tier 2: 1 of 1 servers up; tier 1 takes none'),
        ('info', 'new sessions go to tier 1: 1 of 2 servers up; its share grows for 30 s')]
    assert world.pool.tier_parts() == {1: 0, 2: 1}
    world.now += 7.5
    assert world.pool.tier_parts() == {1: 0.25, 2: 0.75}
    world.now += 30
    assert world.pool.tier_parts() == {1: 1, 2: 0}


@pytest.mark.parametrize('first, then', [((2, dict(tier=2)), (1, {})), ((1, {}), (2, dict(tier=2)))])
def test_at_the_start_the_best_tier_is_no_news_in_whatever_order_names_answer(first, then):
    world = World()
    world.pool.expect([1, 2])
    world.use(first)
    world.use(first, then)
    world.pool.expect([])
    assert world.tier_news() == [] and world.taken(2) == {1: 2}


def test_at_the_start_a_worse_tier_is_told_when_clients_wait_for_the_best_one_no_longer():
    world = World(ring_domains='us.example.com:1,de.example.com:1/tier=2')
    world.pool.expect([1, 2])
    world.use((2, dict(tier=2)))
    assert world.tier_news() == []
    world.pool.expect([])
    world.use((2, dict(tier=2)), (1, {}))
    assert world.tier_news() == [('warning', 'new sessions go to tier 2: 1 of 1 servers up; tier 1 takes none'),
                                 ('info', 'new sessions go to tier 1: 1 of 1 servers up')]


def test_a_tier_whose_servers_people_have_drained_takes_none():
    world = World()
    one, two, _, _ = world.use((1, {}), (2, dict(tier=2)), (3, dict(tier=3)), (4, dict(tier=3)))
    world.pool.drain(one.member)
    world.pool.drain(two.member)
    assert world.tier_news()[1:] == [('warning', 'new sessions go to tier 3: 2 of 2 servers up; tiers 1 and 2 take none')]


def test_while_nobody_is_up_no_tier_is_told():
    world = World()
    one, two = world.use((1, {}), (2, dict(tier=2)))
    for address in one, two:
        world.down(address)
    told = world.tier_news()
    assert len(told) == 1 and world.log.events('last_resort')
    world.pool.restore(two)
    assert world.tier_news() == told           # as before
    world.pool.restore(one)
    assert world.tier_news()[1:] == [('info', 'new sessions go to tier 1: 1 of 1 servers up')]


def test_in_last_resort_the_best_tier_comes_first_and_that_is_no_return():
    world = World(tier_return='30s')
    one, two = world.use((1, {}), (2, dict(tier=2)))
    world.down(one)
    world.down(two)
    assert world.taken(5) == {1: 5}
    world.now += 40
    world.pool.restore(two)
    world.pool.restore(one)
    assert world.pool.tier_parts() == {1: 0.0, 2: 1.0}         # now it is back, and begins with nothing


def test_of_an_update_only_what_it_has_led_to_is_told():
    world = World()
    world.use((1, {}), (2, dict(tier=2)), (3, dict(tier=3)))
    world.use((1, dict(tier=3)), (2, dict(tier=3)), (3, {}))
    assert world.tier_news() == [] and world.taken(2) == {3: 2}
    world.use((1, dict(tier=3)), (2, dict(tier=2)))
    assert world.tier_news() == [('warning', 'new sessions go to tier 2: 1 of 1 servers up; tier 1 takes none')]


def test_a_reload_that_leaves_the_tiers_tells_nothing_of_them():
    world = World(backends='10.0.0.9:1')
    world.use((1, {}), (2, dict(tier=2)), (3, dict(tier=3)))
    settings = defaults(check='off', mode='least-connections', backends='10.0.0.9:1')
    world.pool.change(settings, world.policy(settings))
    assert world.tier_news() == [] and world.log.events('last_resort') == [] and world.taken(2) == {1: 2}


# --- clients that come before the first answer ---


def test_a_better_tier_that_has_not_answered_yet_is_worth_waiting_for():
    world = World()
    world.pool.expect([1, 3])
    world.use((1, dict(tier=2)))
    assert world.pool.awaits_answers and 'filled' not in world.heard
    world.use((1, dict(tier=2)), (2, {}))
    assert not world.pool.awaits_answers and world.heard.count('filled') == 1


def test_a_better_tier_that_has_answered_nothing_is_worth_no_waiting():
    world = World()
    world.pool.expect([1, 3])
    world.use((1, dict(tier=2)))
    world.pool.expect([3])
    assert not world.pool.awaits_answers and world.heard.count('filled') == 1
    world.pool.expect([])
    assert world.heard.count('filled') == 1


def test_a_retry_of_a_client_goes_to_the_next_tier_when_its_own_is_exhausted():
    world = World()
    one, two = world.use((1, {}), (2, dict(tier=2)))
    with world.pool.take() as lease:
        lease.failed('refused')
    with world.pool.take(lease.tried) as other:
        assert (lease.address, other.address) == (one, two)


def test_what_is_full_waits_for_room_and_is_not_taken_in_last_resort():
    world = World()
    _, _, three = world.use((1, dict(max=2)), (2, dict(max=1)), (3, {}))
    world.down(three)
    leases = [world.pool.take() for _ in range(3)]
    assert sorted(lease.address.host for lease in leases) == ['10.0.0.1', '10.0.0.1', '10.0.0.2']
    world.down(leases[0].address)              # the other one is full, and is all that is up
    with pytest.raises(NobodyReachable) as raised:
        world.pool.take()
    assert raised.value.kind == 'every_server_is_full'
    before = len(world.heard)
    [lease for lease in leases if lease.address.host == '10.0.0.2'][0].end()
    assert world.heard[before:] == ['room'] and world.taken(1) == {2: 1}


def test_a_server_that_comes_up_takes_its_share_little_by_little():
    world = World(slow_start='30s')
    one, two = world.use((1, {}), (2, {}))
    assert world.taken(10) == {1: 5, 2: 5}     # not at the start of the process
    world.down(two)
    world.pool.restore(two)
    for elapsed, part in ((0, 0.1), (3, 0.1), (10, 1 / 3.0), (15, 0.5), (30, 1)):
        world.now = 1000.0 + elapsed
        world.pool.tick()
        assert abs(two.member.weight - part) < 0.01
    assert two.member.weight == 1


def test_a_new_server_is_cold_as_well_and_its_name_does_not_change_that():
    world = World(slow_start='30s')
    world.use((1, {}))
    _, two = world.use((1, {}), (2, {}))
    assert two.member.weight == 0.1
    world.now += 15
    world.pool.update('test', [Group('a', [('10.0.0.1', 1)]), Group('b', [('10.0.0.2', 1)])])
    assert two.member.name == 'b' and two.member.weight == 0.5
    assert 300 <= world.taken(900)[2] <= 301
    world.now += 15
    world.pool.tick()
    assert two.member.weight == 1


def test_a_reload_makes_no_server_warm():
    world = World(slow_start='30s')
    world.use((1, {}))
    _, two = world.use((1, {}), (2, {}))
    settings = defaults(check='off', slow_start='60s', mode='least-connections')
    world.now += 15
    world.pool.change(settings, world.policy(settings))
    assert two.member.weight == 0.25
    world.now += 45
    world.pool.tick()
    assert two.member.weight == 1
    world.pool.change(defaults(check='off'), world.policy(defaults(check='off')))
    assert world.taken(4) == {1: 2, 2: 2}


def test_a_server_that_flaps_has_to_show_more_each_time():
    world = World(check='tcp')
    one, _ = world.use((1, {}), (2, {}))
    world.pool.report_result(one, PASSED, world.now)
    needed = []
    for _ in range(6):
        world.now += 1
        for _ in range(2):
            world.pool.report_result(one, FAILED, world.now)
        count = 0
        while not one.up:
            world.now += 1
            count += 1
            world.pool.report_result(one, PASSED, world.now)
        needed.append(count)
    assert needed == [2, 4, 8, 16, 32, 32]
    assert ['in a row' in text for text in world.log.events('member_down')] == [False] + 5 * [True]
    assert world.log.events('member_down')[-1].endswith('1 of 2 up; as it goes up and down, 32 checks in a row must pass')
    world.now += 700                           # it has stayed up
    for _ in range(2):
        world.pool.report_result(one, FAILED, world.now)
    assert world.log.events('member_down')[-1].endswith('1 of 2 up')
    world.now += 1
    for _ in range(2):
        world.pool.report_result(one, PASSED, world.now)
    assert one.up


@pytest.mark.parametrize('drained_as, enabled_as', [('db1', None), (None, 'db1'), ('db1', 'db2'), ('db1', 'db1')])
def test_who_is_enabled_stays_so_under_whatever_name_it_was_drained(drained_as, enabled_as):
    world = World()

    def named(name):
        world.pool.update('test', [Group(name, [('10.0.0.1', 1)]), Group('other', [('10.0.0.2', 1)])])
        return [address for address in world.pool.addresses() if address.host == '10.0.0.1'][0]
    world.pool.drain(named(drained_as).member)
    assert named(enabled_as).state == 'draining'
    world.pool.drain(named(enabled_as).member, False)
    for name in ('db1', None, 'db2', 'db1'):
        assert named(name).state == 'up', name
    assert world.pool.set_by_people()[0] == []


def test_who_was_drained_before_a_restart_can_be_enabled_under_another_name():
    world = World()
    world.pool.take_up(['db1'], {})
    for name, state in (('db1', 'draining'), (None, 'draining')):
        world.pool.update('test', [Group(name, [('10.0.0.1', 1)]), Group('other', [('10.0.0.2', 1)])])
        one = [address for address in world.pool.addresses() if address.host == '10.0.0.1'][0]
        assert one.state == state
    world.pool.drain(one.member, False)
    world.pool.update('test', [Group('db1', [('10.0.0.1', 1)]), Group('other', [('10.0.0.2', 1)])])
    assert one.state == 'up'


def test_who_has_left_is_enabled_by_the_name_it_was_drained_by_and_who_is_here_is_not():
    world = World()
    one, two = world.use((1, {}), (2, {}))
    groups = [Group(None, [one.endpoint]), Group(None, [two.endpoint])]
    name = one.member.name
    world.pool.drain(one.member)
    assert not world.pool.enable_absent(name) and one.state == 'draining'
    world.pool.update('test', groups[1:])
    assert world.pool.set_by_people()[0] == [name]
    assert world.pool.enable_absent(name) and not world.pool.enable_absent(name)
    world.pool.update('test', groups)
    assert [address.state for address in world.pool.addresses() if address.endpoint == one.endpoint][0] != 'draining'
    assert world.pool.set_by_people()[0] == []


def test_a_drained_server_takes_nothing_even_in_last_resort():
    world = World()
    one, two = world.use((1, {}), (2, {}))
    lease = world.pool.take()
    world.pool.drain(one.member)
    world.down(two)
    assert one.state == 'draining' and world.taken(4) == {2: 4} and lease.address is one
    world.pool.drain(one.member, False)
    assert world.taken(4) == {1: 4}
    lease.end()


def test_the_session_of_a_drained_server_ends_after_a_reload_that_changes_the_policy():
    world = World()
    one, = world.use((1, dict(tier=2)))
    lease = world.pool.take()
    world.pool.drain(one.member)
    settings = defaults(check='off', mode='least-connections')
    world.pool.change(settings, world.policy(settings))
    lease.end()
    assert one.member.active == 0
    world.pool.drain(one.member, False)
    assert world.taken(2) == {1: 2}
