"""What long sessions need: an age, and an end when their server loses its role."""
from __future__ import absolute_import, division, print_function

import collections
import contextlib
import time

import gevent
import pytest

from sidelb_lib.checks.exchange import Result
from sidelb_lib.policies.round_robin import RoundRobin
from sidelb_lib.service.rebalancing import Rebalancing
from sidelb_lib.tcp.ending import Silence, age_of_end

from ..support.waiting import wait_until
from .parts import end_of, exchange

REPLICA, PRIMARY = Result('standby', 'replica', None, None), Result('up', 'primary', None, None)


class PrimaryCheck(object):
    name, role, port = 'test', 'primary', None


def test_a_session_of_age_is_ended_when_it_is_silent(balancer, echo):
    one = balancer(max_session_age=1.0)
    one.use(echo('a').endpoint)
    with contextlib.closing(one.connect()) as client:
        exchange(client)
        began = time.time()
        assert end_of(client) == 'reset'
        assert 1.5 < time.time() - began < 5
    assert one.server.tally.ended['max_session_age'] == 1


def test_a_session_that_is_never_silent_goes_on(balancer, echo):
    one = balancer(max_session_age=1.0)
    one.use(echo('a').endpoint)
    with contextlib.closing(one.connect()) as client:
        began = time.time()
        while time.time() - began < 4:
            exchange(client)
            gevent.sleep(0.05)
    assert not one.server.tally.ended['max_session_age']


Opened = collections.namedtuple('Opened', 'peer opened')


@pytest.mark.parametrize('peer', [lambda number: ('127.0.0.1', 40000 + 2 * number), lambda number: ('unix:pid 7 uid 0', 7)])
def test_the_sessions_of_a_pool_are_not_ended_in_step(peer):
    """Neighbouring ports, or one process, within milliseconds."""
    ages = sorted(age_of_end(Opened(peer(number), 5000.0 + 0.0003 * number), 100.0) for number in range(20))
    gaps = [later - earlier for earlier, later in zip(ages, ages[1:])]
    assert 90 <= ages[0] < 92 and 108 < ages[-1] <= 110 and max(gaps) < 4, ages


def with_primary_check(one, **changes):
    one.server.settings = one.server.settings._replace(check=PrimaryCheck(), **changes)
    one.pool.change(one.server.settings, RoundRobin(lambda: 0.0))


def demote(one, server):
    """A session to a primary, which becomes a replica."""
    one.use(server.endpoint)
    address, = one.pool.addresses()
    one.pool.report_result(address, PRIMARY, one.server.clock())
    client = one.connect()
    exchange(client)
    one.pool.report_result(address, REPLICA, one.server.clock())
    return client


def test_sessions_of_a_primary_that_is_one_no_more_end(balancer, echo):
    one = balancer()
    with_primary_check(one)
    with contextlib.closing(demote(one, echo('a'))) as client:
        assert end_of(client) == 'reset'
    assert one.server.tally.ended['demoted'] == 1


def test_with_on_demoted_keep_they_go_on(balancer, echo):
    one = balancer()
    with_primary_check(one, on_demoted='keep')
    with contextlib.closing(demote(one, echo('a'))) as client:
        assert exchange(client) == 'a'


def test_of_twelve_on_one_server_and_none_on_the_other_six_that_are_silent_are_closed_the_oldest_first(balancer, echo):
    one = balancer()
    full = echo('a')
    one.use(full.endpoint)
    clients = [one.connect() for _ in range(12)]
    for client in clients:
        exchange(client)
    one.use(full.endpoint, echo('b').endpoint)
    sessions = sorted(one.server.sessions, key=lambda session: session.opened)
    for number, session in enumerate(sessions):
        session.silence = Silence(session.opened)
        session.silence.look(session, one.server.clock(), one.server.settings)
        if number not in (0, 3, 11):                             # those are busy
            session.silence.since -= 60
    run = Rebalancing(one.pool, one.server, one.log, one.server.clock, one.server.settings, per_second=100, silent=30.0)
    run.run()
    wait_until('they have ended', lambda: len(one.server.sessions) == 6)
    assert (run.excess, run.closed) == (6, 6) and one.server.tally.ended['rebalance'] == 6
    assert [session.ended for session in sessions] == [False, True, True, False] + 4 * [True] + 4 * [False]
    for client in clients:
        client.close()
