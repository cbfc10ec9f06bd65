"""Verdicts have a time, belong to a kind of attempt, and outlive an absence."""
from __future__ import absolute_import, division, print_function

import pytest

from sidelb_lib.checks.exchange import Result
from sidelb_lib.config.settings import defaults
from sidelb_lib.errors import NobodyReachable
from sidelb_lib.policies.round_robin import RoundRobin
from sidelb_lib.pool.memory import KEPT_SECONDS, MAX_KEPT
from sidelb_lib.pool.merging import Group, Options
from sidelb_lib.pool.pool import Pool

from ..support.recording import RecordingLog

PASSED, FAILED = Result('up', None, None, None), Result('down', None, 'refused', None)


class World(object):
    """A pool, its clock, and what happens to its servers."""

    def __init__(self, start=0.0, **settings):
        self.now = 100.0
        self.log = RecordingLog()
        self.pool = Pool(RoundRobin(lambda: start), self.log, lambda: self.now, defaults(**settings))

    def use(self, *lasts, **more):
        self.pool.update('ring', [Group(more.get('name'), [('10.0.0.%d' % last, 5432)], more.get('options'))
                                  for last in lasts])
        return [self.address(last) for last in lasts]

    def address(self, last):
        return [address for address in self.pool.addresses() if address.host == '10.0.0.%d' % last][0]

    def probed(self, address, result, times=1, began=None):
        for _ in range(times):
            self.pool.report_result(address, result, self.now if began is None else began)

    def failed(self, address, times=1, began=None):
        for _ in range(times):
            self.pool.report_failure(address, 'refused', began)

    def chosen(self, count):
        """The last numbers of the addresses that get the next sessions, which end at once."""
        lasts = []
        for _ in range(count):
            with self.pool.take() as lease:
                lasts.append(int(lease.address.host.rpartition('.')[2]))
        return lasts


# --- a verdict has a time --------------------------------------------------------------------------------------------

def test_a_failure_that_began_before_the_last_success_says_nothing():
    """A server hangs for a moment; the connects of that moment time out after it has recovered."""
    world = World(check='off')
    one, _ = world.use(1, 2)
    before = world.now
    world.now += 1
    world.pool.report_success(one)
    world.failed(one, times=20, began=before)
    assert one.up and one.failed == 20
    world.failed(one, times=2, began=world.now)
    assert not one.up


def test_a_late_failure_of_a_probe_says_nothing_either():
    world = World()
    one, _ = world.use(1, 2)
    before = world.now
    world.now += 1
    world.probed(one, PASSED)
    world.probed(one, FAILED, times=5, began=before)
    assert one.up


def test_a_late_failure_is_compared_with_successes_of_its_own_kind():
    world = World()
    one, _ = world.use(1, 2)
    world.probed(one, PASSED)
    before = world.now
    world.now += 1
    world.pool.report_success(one)          # a client's connect
    world.probed(one, FAILED, times=2, began=before)
    assert not one.up


# --- connects and probes have separate verdicts ----------------------------------------------------------------------

def test_a_clients_connect_does_not_reset_what_failing_probes_build_up():
    world = World()
    one, _ = world.use(1, 2)
    world.probed(one, PASSED)
    for _ in range(2):
        world.now += 1
        world.probed(one, FAILED)
        world.pool.report_success(one)
    assert not one.up


def test_a_clients_connect_never_lifts_what_probes_have_put_down():
    world = World()
    one, _ = world.use(1, 2)
    world.probed(one, FAILED)
    for _ in range(10):
        world.pool.report_success(one)
    assert not one.up
    world.probed(one, PASSED, times=2)
    assert one.up


def test_a_passing_probe_lifts_what_clients_have_put_down():
    world = World()
    one, _ = world.use(1, 2)
    world.probed(one, PASSED)
    world.now += 1
    world.failed(one, times=2)
    assert not one.up
    world.probed(one, PASSED)
    assert not one.up
    world.probed(one, PASSED)
    assert one.up


def test_without_checks_a_single_failure_takes_a_restored_server_down_again():
    world = World(check='off')
    one, _ = world.use(1, 2)
    world.failed(one, times=2)
    world.pool.restore(one)
    assert one.up
    world.failed(one)
    assert not one.up


# --- who has not been checked yet ------------------------------------------------------------------------------------

def test_at_the_start_traffic_does_not_wait_for_checks():
    world = World()
    world.use(1, 2)
    assert [member.state for member in world.pool.members] == ['unchecked', 'unchecked']
    assert sorted(world.chosen(4)) == [1, 1, 2, 2] and world.pool.healthy


def test_one_failure_is_enough_for_an_address_that_was_never_checked():
    world = World()
    one, _ = world.use(1, 2)
    world.probed(one, FAILED)
    assert one.state == 'down' and set(world.chosen(4)) == {2}


def test_at_the_start_the_others_go_on_taking_clients_when_the_first_one_has_passed():
    world = World()
    one, _ = world.use(1, 2)
    world.probed(one, PASSED)
    assert sorted(world.chosen(4)) == [1, 1, 2, 2]


def test_a_newcomer_is_checked_first_while_others_are_up():
    world = World()
    one, = world.use(1)
    world.probed(one, PASSED)
    _, two = world.use(1, 2)
    assert set(world.chosen(4)) == {1}
    world.probed(two, PASSED)
    assert sorted(world.chosen(4)) == [1, 1, 2, 2]


def test_a_newcomer_takes_clients_at_once_when_nobody_else_is_up():
    world = World()
    one, = world.use(1)
    world.probed(one, PASSED)
    world.use(1, 2)
    world.now += 1
    world.probed(one, FAILED, times=2)
    assert set(world.chosen(4)) == {2}


def test_without_checks_there_is_nobody_unchecked():
    world = World(check='off')
    one, = world.use(1)
    _, two = world.use(1, 2)
    assert two.state == 'up' and sorted(world.chosen(4)) == [1, 1, 2, 2]


# --- a verdict outlives an absence -----------------------------------------------------------------------------------

@pytest.mark.parametrize('check', ['tcp', 'off'])
def test_a_dead_server_that_leaves_and_returns_is_dead_still(check):
    world = World(check=check)
    one, two = world.use(1, 2)
    world.failed(one, times=2)
    world.use(2)
    world.now += KEPT_SECONDS - 1
    world.use(1, 2)
    assert world.address(1).state == 'down' and set(world.chosen(6)) == {2}


def test_after_a_long_absence_it_is_a_newcomer():
    world = World(check='off')
    one, _ = world.use(1, 2)
    world.failed(one, times=2)
    world.use(2)
    world.now += KEPT_SECONDS + 1
    world.use(1, 2)
    assert world.address(1).up


def test_a_sound_server_that_returns_is_checked_anew():
    world = World()
    one, two = world.use(1, 2)
    world.probed(one, PASSED)
    world.probed(two, PASSED)
    world.use(2)
    world.use(1, 2)
    assert world.address(1).state == 'unchecked' and set(world.chosen(4)) == {2}


def test_what_is_remembered_is_bounded():
    world = World(check='off')
    everyone = [('10.1.%d.%d' % (number // 250, number % 250 + 1), 5432) for number in range(MAX_KEPT + 100)]
    world.pool.update('ring', [Group(None, [endpoint]) for endpoint in everyone])
    for address in world.pool.addresses():
        world.failed(address, times=2)
    world.pool.update('ring', [])
    assert len(world.pool._memory._kept) == MAX_KEPT


def test_an_address_that_was_down_and_held_by_a_session_while_it_was_away_is_the_same_when_it_returns():
    world = World(check='off')
    one, two = world.use(1, 2)
    lease = world.pool.take(world.pool.tried(two))
    world.failed(one, times=2)
    world.use(2)
    world.use(1, 2)
    assert world.address(1) is one and not one.up
    lease.end()


@pytest.mark.parametrize('news', ['report_byte', 'forgive_early_ends'])
def test_a_server_that_has_left_is_not_taken_again_when_a_session_shows_that_it_is_sound(news):
    world = World(check='off')
    one, two = world.use(1, 2)
    lease = world.pool.take(world.pool.tried(two))
    for _ in range(2):
        world.pool.report_early_end(one)
    assert not one.up
    world.use(2)
    getattr(world.pool, news)(one)
    assert world.chosen(4) == [2, 2, 2, 2] and one.up
    lease.end()
    assert world.pool.departing == []
    world.use(1, 2)
    assert world.chosen(4) in ([1, 2, 1, 2], [2, 1, 2, 1])


def test_a_retry_never_takes_an_address_of_a_server_that_has_left():
    world = World(check='off')
    world.pool.update('ring', [Group('a', [('10.0.0.1', 5432), ('10.0.0.3', 5432)]), Group('b', [('10.0.0.2', 5432)])])
    lease = world.pool.take()
    assert lease.address.host == '10.0.0.1'
    lease.failed('refused')
    world.pool.update('ring', [Group('b', [('10.0.0.2', 5432)])])
    lease.end()
    with world.pool.take(lease.tried) as other:
        assert other.address.host == '10.0.0.2'


# --- the turn --------------------------------------------------------------------------------------------------------

def test_a_server_that_flaps_between_clients_gets_no_more_than_its_turn():
    world = World(check='off')
    everyone = world.use(1, 2, 3, 4)
    flapping, got = everyone[1], []
    for _ in range(16):
        got += world.chosen(1)
        world.failed(flapping, times=2)
        world.pool.restore(flapping)
        world.pool.report_success(flapping)
    assert [got.count(last) for last in (1, 2, 3, 4)] == [4, 4, 4, 4]


def test_the_random_start_outlives_the_names_that_rdns_finds():
    """Twelve instances that start at different servers must not all be put back to the first one by its name."""
    firsts = set()
    for twelfth in range(12):
        world = World(start=twelfth / 12.0, check='off')
        world.use(*range(1, 7))
        for named in range(1, 7):                        # names come one after another
            world.pool.update('ring', [
                Group('db%d' % last if last <= named else None, [('10.0.0.%d' % last, 5432)]) for last in range(1, 7)])
        firsts.update(world.chosen(1))
    assert len(firsts) == 6


def test_the_turn_goes_on_behind_the_last_server_when_names_change_the_order():
    world = World(check='off')
    world.use(1, 2, 3)
    assert world.chosen(2) == [1, 2]
    world.pool.update('ring', [Group('c', [('10.0.0.1', 5432)]), Group('b', [('10.0.0.2', 5432)]),
                               Group('a', [('10.0.0.3', 5432)])])
    assert world.chosen(3) == [1, 3, 2]                  # the order is a, b, c now, and b was last


# --- inside a member -------------------------------------------------------------------------------------------------

def test_sessions_of_a_member_are_spread_over_its_addresses_of_the_preferred_family():
    world = World(check='off')
    world.pool.update('ring', [Group('db', [('10.0.0.1', 1), ('10.0.0.2', 1), ('10.0.0.3', 1), ('2001:db8::1', 1)])])
    leases = [world.pool.take() for _ in range(9)]
    assert sorted(lease.address.host for lease in leases) == ['10.0.0.1'] * 3 + ['10.0.0.2'] * 3 + ['10.0.0.3'] * 3


@pytest.mark.parametrize('prefer, hosts', [
    ('ipv4', ['10.0.0.1', '10.0.0.2']), ('ipv6', ['2001:db8::1']), ('any', ['10.0.0.1', '10.0.0.2', '2001:db8::1'])])
def test_prefer_says_which_family_takes_the_sessions(prefer, hosts):
    world = World(check='off', prefer=prefer)
    world.pool.update('ring', [Group('db', [('10.0.0.1', 1), ('10.0.0.2', 1), ('2001:db8::1', 1)])])
    assert sorted(set(world.pool.take().address.host for _ in range(6))) == hosts


def test_the_other_family_serves_when_the_preferred_one_is_down():
    world = World(check='off')
    world.pool.update('ring', [Group('db', [('10.0.0.1', 1), ('2001:db8::1', 1)])])
    world.failed(world.address(1), times=2)
    with world.pool.take() as lease:
        assert lease.address.host == '2001:db8::1'


# --- many dead ones --------------------------------------------------------------------------------------------------

def test_a_client_that_has_tried_everyone_has_asked_each_once():
    world = World(check='off')
    world.pool.update('ring', [Group(None, [('10.0.%d.%d' % (number // 250, number % 250 + 1), 1)])
                               for number in range(1000)])
    for address in world.pool.addresses():
        world.failed(address, times=2)
    tried = None
    for _ in range(1000):
        with world.pool.take(tried) as lease:
            lease.failed('refused')
            tried = lease.tried
    assert len(tried) == 1000
    with pytest.raises(NobodyReachable):
        world.pool.take(tried)


# --- draining --------------------------------------------------------------------------------------------------------

def test_weight_0_takes_nothing_new_and_serves_as_a_last_resort():
    world = World(check='off')
    world.pool.update('ring', [Group('a', [('10.0.0.1', 1)], Options(0, None, None)), Group('b', [('10.0.0.2', 1)])])
    assert world.address(1).state == 'draining' and set(world.chosen(4)) == {2}
    world.failed(world.address(2), times=2)
    assert set(world.chosen(4)) == {1} and not world.pool.healthy         # before one that is down
    world.failed(world.address(1), times=2)
    assert set(world.chosen(4)) == {1, 2}


def test_a_check_that_says_draining_is_no_failure():
    world = World()
    one, two = world.use(1, 2)
    world.probed(two, PASSED)
    world.probed(one, Result('draining', None, 'HTTP 404', None))
    assert one.state == 'draining' and one.up and one.failed == 0 and set(world.chosen(4)) == {2}
    world.probed(one, PASSED)
    assert sorted(world.chosen(4)) == [1, 1, 2, 2]
