"""The pool: merging answers, health, and who is taken."""
from __future__ import absolute_import, division, print_function

import pytest

from sidelb_lib.config.settings import defaults
from sidelb_lib.errors import NobodyReachable
from sidelb_lib.pool.pool import Pool
from sidelb_lib.pool.merging import Group, merge_groups
from sidelb_lib.policies.least_connections import LeastConnections
from sidelb_lib.policies.round_robin import RoundRobin

from ..support.clock import Clock
from ..support.recording import RecordingLog


@pytest.fixture
def log():
    return RecordingLog()


def make_pool(log, policy=None, fall=2, rise=2):
    settings = defaults(check='off', check_fall=fall, check_rise=rise)
    return Pool(policy or RoundRobin(lambda: 0.0), log, Clock(100.0), settings)


@pytest.fixture
def pool(log):
    return make_pool(log)


def endpoint(last, port=5432):
    return '10.0.0.%d' % last, port


V6 = ('2001:db8::1', 5432)


def alone(*lasts):
    return [(None, [endpoint(last)]) for last in lasts]


def merged(groups):
    return [(name, endpoints) for name, endpoints, _ in merge_groups([Group(*group) for group in groups])]


def address_of(pool, wanted):
    return [address for address in pool.addresses() if (address.host, address.port) == wanted][0]


def taken(pool, count):
    leases = [pool.take() for _ in range(count)]
    names = [lease.address.member.name for lease in leases]
    for lease in leases:
        lease.end()
    return names


# --- merging ---------------------------------------------------------------------------------------------------------

def test_groups_with_a_shared_address_are_one():
    assert merged([(None, [endpoint(1)]), ('db1', [V6, endpoint(1)])]) == [('db1', [endpoint(1), V6])]


def test_groups_with_one_name_and_port_are_one_whatever_their_source():
    assert merged([('db1', [endpoint(1)]), ('db1', [V6])]) == [('db1', [endpoint(1), V6])]


def test_one_name_with_two_ports_is_two_servers():
    assert len(merged([('db1', [endpoint(1, 5432)]), ('db1', [endpoint(1, 5433)])])) == 2


def test_a_chain_of_shared_addresses_is_one_server():
    groups = [('a', [endpoint(1)]), ('b', [endpoint(2)]), (None, [endpoint(1), endpoint(2)])]
    assert merged(groups) == [('a', [endpoint(1), endpoint(2)])]


def test_a_server_name_that_looks_like_an_address_joins_nothing():
    assert len(merged([('10.0.0.1', [endpoint(2)]), (None, [endpoint(1)])])) == 2


def test_addresses_are_in_the_order_of_numbers_and_ipv4_comes_first():
    groups = merged([(None, [V6]), (None, [endpoint(10)]), (None, [endpoint(9)])])
    assert [endpoints[0] for _, endpoints in groups] == [endpoint(9), endpoint(10), V6]


# --- updates ---------------------------------------------------------------------------------------------------------

def test_a_server_with_two_addresses_gets_one_share(pool):
    pool.update('ring', [('db1', [endpoint(1), V6]), ('db2', [endpoint(2)])])
    assert sorted(taken(pool, 10)) == ['db1'] * 5 + ['db2'] * 5


def test_the_same_server_from_two_sources_is_one_member(pool):
    pool.update('backends', alone(1))
    pool.update('ring', [('db1', [endpoint(1), V6])])
    assert [member.name for member in pool.members] == ['db1']
    pool.update('ring', [])
    assert [member.name for member in pool.members] == ['10.0.0.1:5432']


def test_sessions_and_health_survive_regrouping(pool):
    pool.update('ring', alone(1) + [(None, [V6])])
    lease = pool.take()
    pool.report_failure(address_of(pool, V6), 'refused')
    pool.report_failure(address_of(pool, V6), 'refused')
    pool.update('ring', [('db1', [endpoint(1), V6])])
    member, = pool.members
    assert member.active == 1 and member.up and not address_of(pool, V6).up
    lease.end()
    assert member.active == 0


def test_a_member_that_left_takes_nothing_new_and_stays_until_its_sessions_end(pool):
    pool.update('ring', alone(1, 2))
    lease = pool.take()
    assert lease.address.host == '10.0.0.1'
    pool.update('ring', alone(2))
    assert set(taken(pool, 4)) == set(['10.0.0.2:5432'])
    assert [member.active for member in pool.departing] == [1]
    lease.end()
    assert pool.departing == []


def test_an_address_that_comes_back_while_departing_keeps_its_sessions(pool):
    pool.update('ring', alone(1, 2))
    lease = pool.take()
    pool.update('ring', alone(2))
    pool.update('ring', alone(1, 2))
    assert pool.departing == [] and lease.address.member in pool.members and lease.address.member.active == 1
    lease.end()
    assert lease.address.member.active == 0


def test_an_unchanged_answer_changes_no_object(pool):
    pool.update('ring', alone(1, 2))
    before = list(pool.members)
    pool.update('other', alone(1))
    assert all(now is then for now, then in zip(pool.members, before))


def test_observers_hear_what_came_and_what_left(pool):
    heard = []
    pool.observers.append(lambda event, subject: heard.append(event if subject is pool else (event, str(subject))))
    pool.update('ring', alone(1, 2))
    pool.update('ring', alone(2))
    assert heard == [('added', '10.0.0.1:5432'), ('added', '10.0.0.2:5432'), 'filled', 'available', 'changed',
                     ('removed', '10.0.0.1:5432'), 'changed']


# --- health ----------------------------------------------------------------------------------------------------------

def test_it_takes_fall_failures_in_a_row_to_go_down_and_rise_successes_to_come_up(pool, log):
    pool.update('ring', alone(1, 2))
    one = address_of(pool, endpoint(1))
    pool.report_failure(one, 'refused')
    pool.report_success(one)
    pool.report_failure(one, 'refused')
    assert one.up
    pool.report_failure(one, 'refused')
    assert not one.up and set(taken(pool, 4)) == set(['10.0.0.2:5432'])
    pool.report_success(one)
    pool.report_failure(one, 'refused')
    pool.report_success(one)
    assert not one.up
    pool.report_success(one)
    assert one.up
    assert len(log.events('member_down')) == 1 and len(log.events('member_up')) == 1


def test_a_member_is_up_while_one_of_its_addresses_is(pool):
    pool.update('ring', [('db1', [endpoint(1), V6]), ('db2', [endpoint(2)])])
    for _ in range(2):
        pool.report_failure(address_of(pool, endpoint(1)), 'refused')
    assert sorted(taken(pool, 4)) == ['db1', 'db1', 'db2', 'db2']
    with pool.take(pool.tried(address_of(pool, endpoint(2)))) as lease:
        assert lease.address.host == V6[0]


def test_with_nobody_up_everyone_is_tried_and_the_log_says_so_once(pool, log):
    pool.update('ring', alone(1, 2))
    for address in pool.addresses() * 3:
        pool.report_failure(address, 'refused')
    assert not pool.healthy
    assert sorted(taken(pool, 4)) == ['10.0.0.1:5432'] * 2 + ['10.0.0.2:5432'] * 2
    assert log.events('last_resort') == ['no server is up: trying 2 servers all the same']
    assert [event for _, event, _, _ in log.lines if event in ('member_down', 'last_resort')] == [
        'member_down', 'member_down', 'last_resort']                  # what it follows from comes before it
    pool.report_success(address_of(pool, endpoint(1)))
    pool.report_success(address_of(pool, endpoint(1)))
    assert log.events('last_resort_over') == ['1 of 2 servers up']


def test_what_becomes_of_an_address_that_left_changes_nothing(pool, log):
    pool.update('ring', alone(1, 2))
    one = address_of(pool, endpoint(1))
    pool.update('ring', alone(2))
    for _ in range(3):
        pool.report_failure(one, 'refused')
    assert one.up and not log.events('member_down')


def test_a_restored_address_goes_down_at_its_next_failure(pool):
    pool.update('ring', alone(1, 2))
    one = address_of(pool, endpoint(1))
    for _ in range(2):
        pool.report_failure(one, 'refused')
    pool.restore(one)
    assert one.up
    pool.report_failure(one, 'refused')
    assert not one.up


# --- who is taken ----------------------------------------------------------------------------------------------------

def test_after_a_failure_the_next_address_of_the_member_comes_first(pool):
    pool.update('ring', [('db1', [endpoint(1), V6]), ('db2', [endpoint(2)])])
    order, tried = [], None
    while True:
        try:
            with pool.take(tried) as lease:
                order.append(lease.address.host)
                lease.failed('refused')
                tried = lease.tried
        except NobodyReachable:
            break
    assert order == ['10.0.0.1', '2001:db8::1', '10.0.0.2']


def test_those_who_are_down_are_tried_last(pool):
    pool.update('ring', alone(1, 2, 3))
    down = address_of(pool, endpoint(2))
    for _ in range(2):
        pool.report_failure(down, 'refused')
    tried = pool.tried()
    for _ in range(3):
        with pool.take(tried) as lease:
            tried.add(lease.address)
    assert tried.last is down


def test_an_empty_pool_says_that_nobody_is_known(pool):
    with pytest.raises(NobodyReachable) as raised:
        pool.take()
    assert str(raised.value) == 'no server is known'


def test_a_session_counts_from_the_moment_it_is_taken(log):
    pool = make_pool(log, LeastConnections(lambda: 0.0))
    pool.update('ring', alone(1, 2, 3))
    leases = [pool.take() for _ in range(6)]
    assert [member.active for member in pool.members] == [2, 2, 2]
    with pytest.raises(ValueError):
        with leases[0]:
            raise ValueError()
    assert sorted(member.active for member in pool.members) == [1, 2, 2]


def test_a_thousand_members_are_taken_evenly(log):
    pool = make_pool(log, LeastConnections(lambda: 0.3))
    pool.update('ring', [(None, [('10.0.%d.%d' % divmod(number, 250), 5432)]) for number in range(1000)])
    for _ in range(3000):
        pool.take()
    assert set(member.active for member in pool.members) == set([3])


def test_an_answer_of_thousands_of_addresses_is_taken_in_slice_by_slice(log):
    """Sessions get their turn in between: each slice is a few milliseconds."""
    events, slices = [], []

    def pause():
        slices.append(len(events))
        del events[:]
    pool = Pool(RoundRobin(lambda: 0.0), log, Clock(100.0), defaults(check='off'), pause)
    pool.observers.append(lambda event, subject: events.append(event))
    for network in range(2):
        pool.update('ring', [(None, [('10.%d.%d.%d' % (network, number // 250, number % 250), 5432)])
                             for number in range(4000)])
    assert sum(slices) + len(events) >= 4000 + 8000             # came, and left
    assert max(slices + [len(events)]) < 200


@pytest.mark.parametrize('later', [0, 1])
def test_what_an_update_that_was_ended_in_a_pause_had_left_undone_is_done_by_the_next_one(log, later):
    class Ended(BaseException):
        pass

    def pause():
        pauses.append(None)
        if len(pauses) == 5:
            pool.update('other', [(None, [('10.9.9.9', 5432)])])            # meanwhile
            raise Ended()
    pauses, groups = [], [(None, [('10.0.%d.%d' % divmod(number, 250), 5432)]) for number in range(500)]
    pool = Pool(RoundRobin(lambda: 0.0), log, Clock(100.0), defaults(check='off'), pause)
    with pytest.raises(Ended):
        pool.update('ring', groups)
    pool.update('ring', groups[later:])
    assert len(pool.members) == 501 - later
