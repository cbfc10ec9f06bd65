"""Active health: when addresses are probed, and what follows."""
from __future__ import absolute_import, division, print_function

import errno
import random

import gevent
import pytest
from gevent.event import Event

from sidelb_lib.compat import monotonic
from sidelb_lib.config.settings import defaults
from sidelb_lib.net.connect import ConnectError
from sidelb_lib.pool.pool import Pool
from sidelb_lib.policies.round_robin import RoundRobin
from sidelb_lib.checks.exchange import PASSED, Misconfigured, ProbeFailed, Result, ServesNobody, noisy
from sidelb_lib.checks.prober import MAX_AT_ONCE, MAX_DOUBTFUL_AT_ONCE, Places, Prober

from ..support.recording import RecordingLog
from ..support.waiting import wait_until


@pytest.fixture
def log():
    return RecordingLog()


@pytest.fixture
def pool(log):
    return Pool(RoundRobin(random.random), log, monotonic, defaults())


@pytest.fixture
def start_prober(pool, log):
    greenlets = []

    def start(probe, interval=0.02, timeout=0.5):
        prober = Prober(pool, probe, log, monotonic, random.random, interval, timeout)
        greenlets.append(gevent.spawn(prober.run))
        return prober
    yield start
    gevent.killall(greenlets)


class Probed(object):
    """A probe function that notes whom it was asked for, and fails for the ports in `dead`."""

    def __init__(self, dead=()):
        self.dead = set(dead)
        self.asked = []

    def __call__(self, address, deadline):
        self.asked.append(address.port)
        if address.port in self.dead:
            raise ProbeFailed('refused')
        return PASSED


def fill(pool, count=3, first=1):
    pool.update('test', [(None, [('127.0.0.1', port)]) for port in range(first, first + count)])


def test_every_address_is_probed_again_and_again(pool, start_prober):
    fill(pool)
    probe = Probed()
    start_prober(probe)
    wait_until('somebody is not probed', lambda: all(probe.asked.count(port) >= 3 for port in (1, 2, 3)))


def test_both_addresses_of_a_member_are_probed_on_their_own(pool, start_prober):
    pool.update('test', [('db1', [('127.0.0.1', 1), ('127.0.0.2', 2)])])
    start_prober(Probed(dead=[2]))
    wait_until('the dead address is up', lambda: [address.up for address in pool.addresses()] == [True, False])
    assert pool.members[0].up


def test_a_dead_server_goes_down_and_comes_back(pool, log, start_prober):
    fill(pool)
    probe = Probed(dead=[2])
    start_prober(probe)
    wait_until('it did not go down', lambda: log.events('member_down'))
    assert not pool.members[1].up
    probe.dead.clear()
    wait_until('it did not come up', lambda: pool.members[1].up)
    assert len(log.events('member_down')) == len(log.events('member_up')) == 1


def test_while_results_contradict_a_state_the_next_probe_comes_within_a_second(pool, start_prober):
    fill(pool, 1)
    address, = pool.addresses()
    prober = start_prober(Probed(), interval=60)
    assert 54 <= prober._pause(address) <= 66
    address.streak = 1
    assert prober._pause(address) <= 1.0


def test_a_client_that_met_a_failure_hastens_the_probe(pool, start_prober):
    fill(pool, 1)
    probe = Probed(dead=[1])
    start_prober(probe, interval=60)
    gevent.sleep(0)
    pool.report_failure(pool.addresses()[0], 'refused')
    wait_until('no probe came', lambda: probe.asked == [1], timeout=3)
    assert not pool.healthy


def test_probing_now_waits_for_no_interval(pool, start_prober):
    fill(pool)
    probe = Probed()
    prober = start_prober(probe, interval=60)
    gevent.sleep(0)
    prober.probe_now()
    wait_until('not everybody was probed', lambda: sorted(probe.asked) == [1, 2, 3])


def test_an_address_that_left_is_probed_no_more_and_a_new_one_is(pool, start_prober):
    fill(pool)
    probe = Probed()
    start_prober(probe)
    wait_until('nobody is probed', lambda: probe.asked)
    fill(pool, 1, first=9)
    del probe.asked[:]
    wait_until('the new address is not probed', lambda: probe.asked.count(9) >= 3)
    assert set(probe.asked) == set([9])


def test_everybody_is_probed_soon_after_the_start_and_a_newcomer_soon_after_its_coming(pool, start_prober):
    fill(pool, 3)
    probe = Probed()
    start_prober(probe, interval=60)
    wait_until('not everybody was probed', lambda: sorted(probe.asked) == [1, 2, 3], timeout=5)
    fill(pool, 4)
    wait_until('the newcomer was not', lambda: 4 in probe.asked, timeout=5)


def test_first_probes_are_spread_over_a_second(pool, start_prober):
    fill(pool, 100)
    began = monotonic()
    planned = sorted(when - began for when in start_prober(Probed(), interval=60)._planned.values())
    assert 0 <= planned[0] < 0.3 and 0.7 < planned[-1] < 1.2


def test_one_failure_is_enough_for_an_address_that_was_never_probed(pool, start_prober):
    fill(pool, 2)
    probe = Probed(dead=[2])
    start_prober(probe, interval=60)
    wait_until('it is up', lambda: not pool.addresses()[1].up, timeout=5)
    assert probe.asked.count(2) == 1 and pool.addresses()[0].up


def test_silent_servers_do_not_keep_probes_from_the_others(pool, start_prober):
    """All of them hang for the whole test, more than there are places."""
    fill(pool, 1)
    probe = Probed()

    def hanging(address, deadline):
        if address.port > 1:
            gevent.sleep(60)
        return probe(address, deadline)
    start_prober(hanging)
    wait_until('it is not probed', lambda: probe.asked.count(1) > 1)
    fill(pool, 3 * MAX_AT_ONCE)
    gevent.sleep(0.3)                        # all places that they can have are theirs
    probe.dead.add(1)
    wait_until('the death was not found', lambda: not pool.addresses()[0].up)


def test_addresses_that_are_down_are_probed_beside_those_that_are_up_and_so_found_again(pool, start_prober):
    fill(pool, 3)
    probe = Probed(dead=[2, 3])
    start_prober(probe)
    wait_until('they are up', lambda: [address.up for address in pool.addresses()] == [True, False, False])
    probe.dead.clear()
    wait_until('they are down', lambda: all(address.up for address in pool.addresses()))


def test_only_so_many_probes_run_at_once(pool, start_prober):
    fill(pool, 3 * MAX_AT_ONCE)
    for address in pool.addresses():
        address.last_probe = 0.0             # known, and up
    running, most = [0], [0]

    def slow(address, deadline):
        running[0] += 1
        most[0] = max(most[0], running[0])
        gevent.sleep(0.02)
        running[0] -= 1
        return PASSED
    start_prober(slow, interval=0.001)
    wait_until('the probes do not run side by side', lambda: most[0] == MAX_AT_ONCE)
    gevent.sleep(0.1)
    assert most[0] == MAX_AT_ONCE


def test_a_fault_of_this_host_marks_nobody_down(pool, log, start_prober):
    fill(pool, 1)

    def short_of_descriptors(address, deadline):
        raise ConnectError(errno.EMFILE)
    start_prober(short_of_descriptors, interval=0.001)
    wait_until('it was not told', lambda: len(log.events('probe_error')) > 5)
    assert pool.healthy and pool.addresses()[0].failed == 0


def test_failures_of_clients_do_not_put_off_the_probe(pool, start_prober):
    fill(pool, 1)
    address, = pool.addresses()
    pool._fall = 10 ** 9
    probe = Probed(dead=[1])
    start_prober(probe, interval=60)
    gevent.sleep(0)
    deadline = monotonic() + 4
    while not probe.asked and monotonic() < deadline:
        pool.report_failure(address, 'refused')
        gevent.sleep(0.001)
    assert probe.asked


# --- several services, and reloads -----------------------------------------------------------------------------------

class Silent(object):
    """A probe function that waits until `answer` is set; `running` is how many of it do now."""

    def __init__(self, counts=None):
        self.answer = Event()
        self.counts = counts if counts is not None else {'running': 0, 'most': 0}

    def __call__(self, address, deadline):
        self.counts['running'] += 1
        self.counts['most'] = max(self.counts.values())
        try:
            self.answer.wait()
        finally:
            self.counts['running'] -= 1
        raise ProbeFailed('no answer')


def prober_of(log, probe, places, count=100, first=1):
    pool = Pool(RoundRobin(random.random), log, monotonic, defaults())
    fill(pool, count, first)
    prober = Prober(pool, probe, log, monotonic, random.random, 0.02, 0.5, places)
    return pool, prober, gevent.spawn(prober.run)


def test_probers_of_one_process_share_the_places_and_each_gets_its_turn(log):
    places, silent = Places(), Silent()
    _, _, one = prober_of(log, silent, places)
    _, _, other = prober_of(log, silent, places)
    probe = Probed()
    pool, _, third = prober_of(log, probe, places, count=1)
    try:
        wait_until('the places are not used', lambda: silent.counts['running'] == MAX_DOUBTFUL_AT_ONCE)
        silent.answer.set()
        wait_until('the third service was not probed', lambda: probe.asked)
        assert silent.counts['most'] == MAX_DOUBTFUL_AT_ONCE
    finally:
        gevent.killall([one, other, third])


def test_a_prober_that_was_stopped_reports_nothing_more_and_gives_its_places_back(log):
    places, silent = Places(), Silent()
    pool, prober, greenlet = prober_of(log, silent, places)
    wait_until('nothing is probed', lambda: silent.counts['running'] == MAX_DOUBTFUL_AT_ONCE)
    prober.stop()
    silent.answer.set()
    greenlet.join(5)
    assert greenlet.ready()
    wait_until('probes go on', lambda: silent.counts['running'] == 0 and not len(places.greenlets))
    assert places.doubtful.is_free and not log.events('member_down')
    assert all(address.last_probe is None for address in pool.addresses())


def test_a_prober_that_is_ended_while_it_waits_for_a_place_keeps_none(log):
    places = Places()
    blocked = Event()
    for _ in range(MAX_AT_ONCE):
        places.greenlets.spawn(blocked.wait)
    _, _, greenlet = prober_of(log, Probed(), places, count=1)
    wait_until('it does not wait', lambda: places.doubtful._taken == 1)
    greenlet.kill()
    assert places.doubtful._taken == 0
    blocked.set()


class Roles(object):
    """A probe function of servers of which the port `primary` is the primary, the others replicas."""

    def __init__(self, primary):
        self.primary = primary
        self.asked = []

    def __call__(self, address, deadline):
        self.asked.append(address.port)
        if address.port == self.primary:
            return Result('up', 'primary', None, None)
        return Result('standby', 'replica', None, None)


@pytest.fixture
def pool_of_roles(log):
    return Pool(RoundRobin(random.random), log, monotonic, defaults(check='redis/primary'))


def states(pool):
    return [address.state for address in pool.addresses()]


def test_when_one_role_changes_the_others_are_asked_at_once(pool_of_roles, log):
    fill(pool_of_roles)
    probe = Roles(1)
    prober = Prober(pool_of_roles, probe, log, monotonic, random.random, interval=60)
    running = gevent.spawn(prober.run)
    wait_until('not all are known', lambda: states(pool_of_roles) == ['up', 'standby', 'standby'])
    probe.primary = 2
    prober._schedule(pool_of_roles.addresses()[0], 0)          # its turn
    wait_until('the new primary was not found', lambda: states(pool_of_roles) == ['standby', 'up', 'standby'])
    running.kill()


def test_while_nobody_has_the_role_everybody_is_asked_within_a_second(pool_of_roles, log):
    fill(pool_of_roles)
    probe = Roles(None)
    prober = Prober(pool_of_roles, probe, log, monotonic, random.random, interval=60)
    running = gevent.spawn(prober.run)
    wait_until('they are not asked again', lambda: all(probe.asked.count(port) >= 2 for port in (1, 2, 3)))
    probe.primary = 3
    wait_until('the primary was not found', lambda: states(pool_of_roles)[2] == 'up')
    assert prober._pause(pool_of_roles.addresses()[0]) >= 54
    running.kill()


def test_a_session_that_the_server_ended_has_it_probed_at_once_but_not_again_and_again(pool_of_roles, log):
    """It may be stopping, and lose the role: each further client would meet that, too."""
    fill(pool_of_roles, 2)
    probe = Roles(1)
    prober = Prober(pool_of_roles, probe, log, monotonic, random.random, interval=60)
    running = gevent.spawn(prober.run)
    wait_until('not all are known', lambda: states(pool_of_roles) == ['up', 'standby'])
    begun, began = probe.asked.count(1), monotonic()

    def ended_until_probed(times):
        def is_probed():
            pool_of_roles.report_end(pool_of_roles.addresses()[0])
            return probe.asked.count(1) >= begun + times
        return is_probed
    wait_until('it is not probed', ended_until_probed(1))
    wait_until('it is not probed again', ended_until_probed(3))
    assert monotonic() - began >= 0.5
    running.kill()


def test_without_a_role_sessions_that_the_server_ends_are_nothing_to_look_at(pool, log, start_prober):
    fill(pool, 1)
    probe = Probed()
    prober = start_prober(probe, interval=60)
    pool.report_end(pool.addresses()[0])
    assert not prober._doubted


def test_a_server_that_says_it_serves_nobody_is_down_at_once(pool, log, start_prober):
    fill(pool, 1)
    results = [PASSED]

    def probe(address, deadline):
        if results:
            return results.pop()
        raise ServesNobody('the database system is shutting down')
    start_prober(probe, interval=0.5)
    wait_until('it did not go down', lambda: log.events('member_down'))
    assert pool.addresses()[0].failed_probes == 1


def test_a_check_that_is_misconfigured_takes_nobody_down_and_is_told_once(pool, log, start_prober):
    fill(pool, 1)
    asked = []

    def wrong_password(address, deadline):
        asked.append(address)
        raise Misconfigured('password authentication failed')
    start_prober(wrong_password, interval=0.001)
    wait_until('it is not probed', lambda: len(asked) > 5)
    assert pool.healthy and pool.addresses()[0].failed_probes == 0
    assert len(log.events('check_misconfigured')) == 1


def test_a_server_that_logs_each_check_is_told_once_and_is_well(pool, log, start_prober):
    fill(pool, 3)
    asked = []

    def probe(address, deadline):
        asked.append(address)
        return noisy('logs each check: create the role sidelb')
    start_prober(probe, interval=0.001)
    wait_until('it is not probed', lambda: len(asked) > 9)
    told, = log.events('check_noisy')
    assert told.endswith(' logs each check: create the role sidelb') and pool.healthy
