"""Which sessions `rebalance` closes, round by round, of servers whose sessions take a while to end."""
from __future__ import absolute_import, division, print_function

import pytest

from sidelb_lib.config.settings import defaults
from sidelb_lib.pool.lease import Lease
from sidelb_lib.service import rebalancing
from sidelb_lib.service.rebalancing import Rebalancing

from .pool.parts import World


class Session(object):
    def __init__(self, pool, address, opened):
        self.address = address
        self.opened = opened
        self.ended = False
        self.lease = address and Lease(pool, address, None, 0)

    def silent_seconds(self, now):
        return 100


class Server(object):
    """Its sessions are delivering still when they are cut. `on_cut()` is called then."""

    def __init__(self):
        self.sessions = []
        self.cut = []
        self.on_cut = lambda: None

    def living(self):
        return list(self.sessions)

    def cut_one(self, session, reason):
        self.cut.append(session)
        self.on_cut()


@pytest.fixture
def world(monkeypatch):
    monkeypatch.setattr(rebalancing, 'ROUND_SECONDS', 0)
    return World()


def run_of(world, server, per_second=2):
    run = Rebalancing(world.pool, server, world.log, lambda: world.now, defaults(), per_second, 30)
    run.run()
    return run


def opened(world, address, count, first=0):
    return [Session(world.pool, address, first + number) for number in range(count)]


def test_so_many_a_second_the_oldest_first_and_none_twice(world):
    a, b = world.use((1, {}), (2, {}))
    server = Server()
    server.sessions = opened(world, a, 12) + opened(world, b, 4)
    run = run_of(world, server)
    assert server.cut == server.sessions[:4] and (run.excess, run.closed, run.ended) == (4, 4, True)
    assert world.log.events('rebalanced') == ['4 of 4 sessions were closed that servers had above their share']


def test_those_that_have_ended_or_have_no_server_yet_are_passed_over(world):
    a, _ = world.use((1, {}), (2, {}))
    server = Server()
    waiting, ended = Session(world.pool, None, -2), Session(world.pool, a, -1)
    ended.lease.end()
    ended.ended = True
    server.sessions = [waiting, ended] + opened(world, a, 4)
    run_of(world, server)
    assert server.cut == server.sessions[2:4]


def test_a_server_that_has_too_many_only_since_it_began_is_left_alone(world):
    a, b, c = world.use((1, {}), (2, {}), (3, {}))
    server = Server()
    server.sessions = opened(world, a, 12)

    def many_come_to_c():
        if len(server.cut) == 1:
            server.sessions += opened(world, c, 30, -100)
    server.on_cut = many_come_to_c
    run = run_of(world, server)
    assert run.ended and server.cut == server.sessions[:len(server.cut)] and run.closed == 2


def test_once_it_is_stopped_there_is_no_further_round(world):
    a, _ = world.use((1, {}), (2, {}))
    server = Server()
    server.sessions = opened(world, a, 12)
    run = Rebalancing(world.pool, server, world.log, lambda: world.now, defaults(), 2, 30)
    server.on_cut = lambda: setattr(run, 'stopped', True)
    run.run()
    assert run.closed == 2 and run.ended
