"""A check for a role: who is taken, and who of several primaries."""
from __future__ import absolute_import, division, print_function

import pytest

from sidelb_lib.checks.exchange import Result
from sidelb_lib.config.settings import defaults
from sidelb_lib.errors import NobodyReachable
from sidelb_lib.policies.round_robin import RoundRobin
from sidelb_lib.pool.merging import Group
from sidelb_lib.pool.pool import Pool

from ..support.recording import RecordingLog

FAILED = Result('down', None, 'refused', None)
REPLICA = Result('standby', 'replica', None, None)


def primary(timeline=None):
    return Result('up', 'primary', None, {'timeline': timeline} if timeline else None)


class PrimaryCheck(object):
    """Stands for check=postgres/primary and the like."""

    name, role, port = 'test', 'primary', None


class PreferringCheck(PrimaryCheck):
    role = 'prefer-replica'


class World(object):
    """Three servers."""

    def __init__(self, check=PrimaryCheck()):
        self.now = 1000.0
        self.log, self.heard = RecordingLog(), []
        settings = defaults(check_interval=5.0)._replace(check=check)
        self.pool = Pool(RoundRobin(lambda: 0.0), self.log, lambda: self.now, settings)
        self.pool.update('ring', [Group(None, [('10.0.0.%d' % last, 1)]) for last in (1, 2, 3)])
        self.pool.observers.append(lambda event, subject: self.heard.append((event, str(subject))))
        self.one, self.two, self.three = self.pool.addresses()

    def say(self, *results):
        """What the servers answer, one after another."""
        for address, result in zip((self.one, self.two, self.three), results):
            if result:
                self.now += 0.01
                self.pool.report_result(address, result, self.now)

    def taken(self):
        """The address that a client gets, or why it gets none."""
        try:
            with self.pool.take() as lease:
                return lease.address
        except NobodyReachable as error:
            return error.kind


@pytest.fixture
def world():
    return World()


def test_nobody_is_taken_before_a_check_has_told_its_role(world):
    assert world.taken() == 'no_server_may_be_taken' and not world.pool.healthy
    world.say(REPLICA, primary())
    assert world.taken() is world.two and world.pool.healthy
    assert [address.state for address in world.pool.addresses()] == ['standby', 'up', 'unchecked']


def test_a_replica_is_never_taken_and_no_failure(world):
    world.say(REPLICA, REPLICA, REPLICA)
    assert world.taken() == 'no_server_may_be_taken'
    assert world.one.failed == 0 and not world.log.events('member_down')


def test_a_dead_primary_is_not_taken_in_last_resort(world):
    world.say(primary(), REPLICA, REPLICA)
    for _ in range(2):
        world.say(FAILED)
    assert world.one.state == 'down' and world.one.role is None and world.taken() == 'no_server_may_be_taken'


def test_one_answer_changes_a_role(world):
    world.say(primary(), REPLICA, REPLICA)
    world.say(REPLICA)
    assert world.one.state == 'standby' and ('demoted', '10.0.0.1:1') in world.heard
    world.say(None, primary())
    assert world.taken() is world.two
    assert world.log.events('role_changed') == ['10.0.0.1:1 of 10.0.0.1:1 is replica, before: primary',
                                                '10.0.0.2:1 of 10.0.0.2:1 is primary, before: replica']
    assert [subject for event, subject in world.heard if event == 'role'] == ['10.0.0.1:1', '10.0.0.2:1']


def test_a_former_primary_that_returns_and_says_to_be_one_is_not_believed(world):
    world.say(primary(), REPLICA, REPLICA)
    world.now += 60
    world.say(FAILED)
    world.say(FAILED, primary())
    world.now += 60
    for _ in range(3):
        world.say(primary(), primary())
    assert world.taken() is world.two and world.one.state == 'standby'
    assert world.one.last_error == 'another server is the primary'
    assert world.log.events('two_primaries') == [
        '10.0.0.1:1 and 10.0.0.2:1 say that they are the primary: 10.0.0.2:1 is believed']


def test_a_later_timeline_wins(world):
    world.say(primary(3), REPLICA, REPLICA)
    world.now += 60
    world.say(None, primary(4))
    assert world.taken() is world.two and world.one.state == 'standby' and ('demoted', '10.0.0.1:1') in world.heard
    world.say(primary(3), primary(4))
    assert world.taken() is world.two


def test_at_the_start_nobody_is_believed_of_two_and_later_the_smallest_address(world):
    world.say(primary(), primary(), REPLICA)
    assert world.taken() == 'no_server_may_be_taken'
    world.now += 11
    world.say(None, primary())
    assert world.taken() is world.one


def test_when_the_other_one_gives_in_the_last_is_taken(world):
    world.say(primary(), primary(), REPLICA)
    world.say(REPLICA)
    assert world.taken() is world.two


def test_when_the_primary_leaves_dns_the_other_claimant_is_taken(world):
    world.say(primary(), REPLICA, REPLICA)
    world.now += 60
    world.say(None, primary())
    assert world.taken() is world.one
    world.pool.update('ring', [Group(None, [('10.0.0.%d' % last, 1)]) for last in (2, 3)])
    assert world.taken() is world.two


def test_a_role_that_cannot_be_asked_for_is_forgotten_but_for_the_only_primary(world):
    world.say(primary(), REPLICA)
    world.now += 16
    for address in (world.one, world.two):
        world.pool.report_unknown(address)
    assert (world.one.state, world.two.state) == ('up', 'unchecked') and world.taken() is world.one


# --- prefer-replica ----------------------------------------------------------------------------------------------------

REPLICA_WANTED = Result('up', 'replica', None, None)


@pytest.fixture
def preferring():
    return World(PreferringCheck())


def test_the_primary_is_taken_while_there_is_no_replica(preferring):
    preferring.say(primary(), FAILED, FAILED)
    assert preferring.taken() is preferring.one and preferring.pool.healthy


def test_replicas_come_first_and_the_primary_is_up_all_the_same(preferring):
    preferring.say(primary(), REPLICA_WANTED, REPLICA_WANTED)
    assert set(preferring.taken() for _ in range(6)) == set([preferring.two, preferring.three])
    assert preferring.one.state == 'up' and ('demoted', '10.0.0.1:1') not in preferring.heard
    preferring.pool.drain(preferring.two.member)
    for _ in range(2):
        preferring.say(None, None, FAILED)
    assert preferring.taken() is preferring.one


def test_a_client_whose_replica_refuses_goes_to_the_primary(preferring):
    preferring.say(primary(), REPLICA_WANTED, FAILED)
    lease = preferring.pool.take()
    lease.failed('refused')
    lease.end()
    with preferring.pool.take(lease.tried) as other:
        assert (lease.address, other.address) == (preferring.two, preferring.one)


def test_a_replica_that_is_promoted_comes_second_from_then_on(preferring):
    preferring.say(FAILED, REPLICA_WANTED, REPLICA_WANTED)
    preferring.say(None, primary())
    assert set(preferring.taken() for _ in range(4)) == set([preferring.three])
    preferring.say(None, REPLICA_WANTED)
    assert set(preferring.taken() for _ in range(4)) == set([preferring.two, preferring.three])


def test_who_waits_for_anybody_hears_of_the_primary(preferring):
    preferring.say(FAILED, FAILED, FAILED)
    del preferring.heard[:]
    preferring.say(primary())
    preferring.say(primary())
    assert ('available', repr(preferring.pool)) in preferring.heard
