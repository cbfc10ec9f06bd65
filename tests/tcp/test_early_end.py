"""Servers that end a session at once without a byte."""
from __future__ import absolute_import, division, print_function

import contextlib
import socket
import struct

import pytest
from gevent.server import StreamServer

from sidelb_lib.tcp import early_end

from ..support.waiting import wait_until
from .parts import end_of, exchange


class Hollow(object):
    """Accepts and ends at once: politely, by a reset, or once it has got a byte."""

    def __init__(self, how):
        self.how = how
        self.accepted = 0
        self.server = StreamServer(('127.0.0.1', 0), self._end)
        self.server.start()
        self.endpoint = self.server.address[:2]

    def _end(self, sock, _):
        self.accepted += 1
        if self.how == 'after a byte':
            sock.recv(1)
        if self.how == 'answers':
            sock.sendall(b'x')
        if self.how == 'resets':
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack('ii', 1, 0))
        sock.close()


@pytest.fixture
def hollow():
    servers = []

    def make(how):
        servers.append(Hollow(how))
        return servers[-1]
    yield make
    for server in servers:
        server.server.close()


@pytest.mark.parametrize('how', ['ends', 'resets'])
def test_a_client_that_has_sent_nothing_is_given_another_server_unseen(balancer, echo, hollow, how):
    one = balancer(early_close='failure')
    dead = hollow(how)
    one.use(dead.endpoint, echo('b').endpoint)
    for _ in range(6):
        with contextlib.closing(one.connect()) as client:
            wait_until('a server has it', lambda: any(
                session.address and session.address.port != dead.endpoint[1] for session in one.server.sessions))
            assert exchange(client) == 'b'
        wait_until('it has ended', lambda: not one.server.sessions)
    address = [each for each in one.pool.addresses() if each.port == dead.endpoint[1]][0]
    assert dead.accepted == 2 and not address.up and address.last_error == 'ends sessions at once'
    assert sum(member.active for member in one.pool.members) == 0


def test_by_default_it_is_no_failure(balancer, hollow):
    one = balancer()
    one.use(hollow('ends').endpoint)
    for _ in range(4):
        with contextlib.closing(one.connect()) as client:
            assert end_of(client) == 'eof'
    address, = one.pool.addresses()
    assert address.up and address.failed == 0


@pytest.mark.parametrize('mode, least, most', [('least-connections', 18, 20), ('round-robin', 10, 10)])
def test_by_default_least_connections_sends_nearly_all_there_and_round_robin_its_share(
        balancer, echo, hollow, mode, least, most):
    one, dead = balancer(mode=mode), hollow('ends')
    one.use(echo('A').endpoint, dead.endpoint)
    held = []
    for _ in range(20):
        client = one.connect()
        client.sendall(b'hello\n')
        try:
            if client.recv(100):
                held.append(client)
        except socket.error:
            pass
    wait_until('the ends were not noticed', lambda: len(one.server.sessions) == len(held))
    assert least <= dead.accepted <= most
    for client in held:
        client.close()


def test_what_a_client_has_sent_is_not_said_twice(balancer, echo, hollow):
    one = balancer(early_close='failure')
    dead = hollow('after a byte')
    one.use(dead.endpoint, echo('b').endpoint)
    ends = []
    for _ in range(4):
        with contextlib.closing(one.connect()) as client:
            client.sendall(b'hello\n')
            client.settimeout(10)
            try:
                ends.append(client.recv(100) or b'eof')
            except socket.error:
                ends.append(b'reset')
    assert ends.count(b'b hello\n') == 2 and dead.accepted == 2       # and no third one goes there
    wait_until('it is down', lambda: not [each for each in one.pool.addresses()
                                          if each.port == dead.endpoint[1]][0].up)


def test_a_server_that_answers_and_ends_is_sound(balancer, hollow):
    one = balancer(early_close='failure')
    one.use(hollow('answers').endpoint)
    for _ in range(4):
        with contextlib.closing(one.connect()) as client:
            assert client.recv(10) == b'x' and end_of(client) == 'eof'
    address, = one.pool.addresses()
    assert address.up and address.failed == 0


def test_a_client_that_ends_first_blames_nobody(balancer, echo):
    one = balancer(early_close='failure')
    one.use(echo('a').endpoint)
    for _ in range(4):
        one.connect().close()
    wait_until('they have ended', lambda: one.server.tally.accepted == 4 and not one.server.sessions)
    address, = one.pool.addresses()
    assert address.up and address.failed == 0


def test_when_all_end_at_once_the_client_is_reset(balancer, hollow):
    one = balancer(early_close='failure')
    one.use(hollow('ends').endpoint, hollow('ends').endpoint)
    with contextlib.closing(one.connect()) as client:
        assert end_of(client) == 'reset'
    assert one.server.tally.refused == {'every_server_has_been_tried': 1}


def taken_down(one, dead):
    """The address of the Hollow `dead`, after as many sessions as take it down."""
    address, = [each for each in one.pool.addresses() if each.port == dead.endpoint[1]]
    while address.up:
        with contextlib.closing(one.connect()):
            wait_until('another server has the client', lambda: any(
                session.address not in (None, address) for session in one.server.sessions))
        wait_until('it has ended', lambda: not one.server.sessions)
    return address


def due_for_a_trial(one, server):
    """The address of `server`, which was taken down and is to be tried by the next client."""
    address = taken_down(one, server)
    wait_until('it is to be tried', lambda: address in one.server.early_ends._due)
    return address


def test_it_is_tried_by_one_client_at_a_time_and_comes_back_when_that_one_gets_a_byte(balancer, hollow, echo):
    one = balancer(early_close='failure', check_interval=0.1)
    dead = hollow('ends')
    one.use(dead.endpoint, echo('b').endpoint)
    address = due_for_a_trial(one, dead)
    dead.how, before = 'after a byte', dead.accepted
    with contextlib.closing(one.connect()) as first:
        wait_until('one client is there', lambda: dead.accepted == before + 1)
        for _ in range(4):
            assert one.ask() == 'b'
        assert dead.accepted == before + 1 and not address.up
        first.sendall(b'x')                               # which ends it, early
        assert end_of(first) in ('eof', 'reset')
    wait_until('it is to be tried again', lambda: address in one.server.early_ends._due)
    dead.how = 'answers'
    with contextlib.closing(one.connect()) as client:
        assert client.recv(10) == b'x' and end_of(client) == 'eof'
    wait_until('it is cleared', lambda: address.early is None and address.up)
    assert not one.server.early_ends._due and not one.server.early_ends._times


def test_a_client_that_leaves_shows_nothing_and_the_next_one_tries(balancer, hollow, echo, monkeypatch):
    monkeypatch.setattr(early_end, 'EARLY_SECONDS', 0.3)
    one = balancer(early_close='failure', check_interval=0.05)
    dead = hollow('ends')
    one.use(dead.endpoint, echo('b').endpoint)
    address = due_for_a_trial(one, dead)
    dead.how, before = 'after a byte', dead.accepted
    with contextlib.closing(one.connect()):
        wait_until('one client is there', lambda: dead.accepted == before + 1)
    wait_until('the next one is to try', lambda: address in one.server.early_ends._due)
    assert not address.up and one.server.early_ends._times == {address: 1}


def test_while_nobody_else_is_up_it_is_up_again_after_a_while_and_a_single_early_end_ends_that(balancer, hollow):
    one = balancer(early_close='failure', check_interval=0.2)
    one.use(hollow('ends').endpoint)
    for _ in range(2):
        with contextlib.closing(one.connect()) as client:
            end_of(client)
    address, = one.pool.addresses()
    assert not address.up
    wait_until('another chance', lambda: address.up)
    with contextlib.closing(one.connect()) as client:
        end_of(client)
    assert not address.up
