"""Clients that wait for a server."""
from __future__ import absolute_import, division, print_function

import contextlib
import socket
import struct

import gevent
import pytest
from gevent.event import Event

from sidelb_lib.checks.exchange import Result
from sidelb_lib.compat import monotonic
from sidelb_lib.net import connect as connecting
from sidelb_lib.net.connect import PeerLeft
from sidelb_lib.policies.round_robin import RoundRobin
from sidelb_lib.pool.merging import Group, Options
from sidelb_lib.tcp.queue import LOOK_SECONDS

from ..support.waiting import wait_until
from .parts import end_of, exchange

LIMITED = '10.0.0.1:1/max=1'         # that there are limits at all is known from the settings


def use(one, limit, *servers):
    one.pool.update('test', [Group(None, [server.endpoint], Options(None, None, limit)) for server in servers])


def waiting(one, count):
    wait_until('%d clients wait' % count, lambda: len(one.server.queue) == count)


def open_sessions(one, count):
    """Clients that have a server, each with a name."""
    clients = []
    for _ in range(count):
        clients.append(one.connect())
        exchange(clients[-1])
    return clients


def test_of_more_clients_than_servers_take_the_last_waits_until_one_ends(balancer, echo):
    one = balancer(server_wait=5.0, backends=LIMITED)
    use(one, 2, echo('a'), echo('b'))
    clients = open_sessions(one, 4)
    with contextlib.closing(one.connect()) as fifth:
        fifth.sendall(b'hello\n')
        waiting(one, 1)
        clients[0].close()
        assert fifth.recv(100)
        assert not one.server.queue and sum(one.server.counts()['queue_seconds']['counts']) == 1
    for client in clients:
        client.close()


def test_who_came_first_is_served_first(balancer, echo):
    one = balancer(server_wait=5.0, backends=LIMITED)
    use(one, 1, echo('a'))
    first, = open_sessions(one, 1)
    line = []
    for number in range(4):
        line.append(one.connect())
        waiting(one, number + 1)
    for number, client in enumerate(line):
        (line[number - 1] if number else first).close()
        exchange(client)
        assert len(one.server.queue) == 3 - number
    line[-1].close()


def test_a_client_that_waits_in_vain_is_reset_and_told_why(balancer, echo):
    one = balancer(server_wait=0.2, backends=LIMITED)
    use(one, 1, echo('a'))
    first, = open_sessions(one, 1)
    with contextlib.closing(one.connect()) as client:
        assert end_of(client) == 'reset'
    assert one.server.tally.refused == {'every_server_is_full': 1}
    assert 'no server became available within 0.2 s: every server is full' in one.log.events('refused')[0]
    first.close()


def test_clients_wait_where_a_file_of_servers_alone_has_limits(balancer, echo):
    one = balancer(servers_file='/nonexistent')         # no server of the settings has a limit
    use(one, 1, echo('a'))
    first, = open_sessions(one, 1)
    with contextlib.closing(one.connect()) as second:
        waiting(one, 1)
        first.close()
        assert exchange(second) == 'a'


def test_without_server_wait_nobody_waits(balancer, echo):
    one = balancer(server_wait=0.0, backends=LIMITED)
    use(one, 1, echo('a'))
    first, = open_sessions(one, 1)
    with contextlib.closing(one.connect()) as client:
        assert end_of(client) == 'reset'
    assert not one.server.counts()['waiting']
    first.close()


@pytest.mark.parametrize('how', ['ends', 'is reset', 'is reset after a request'])
def test_a_client_that_leaves_gives_its_place_up(balancer, echo, how):
    one = balancer(server_wait=30.0, backends=LIMITED)
    use(one, 1, echo('a'))
    first, = open_sessions(one, 1)
    client = one.connect()
    if how.endswith('request'):
        client.sendall(b'hello\n')
    waiting(one, 1)
    if 'reset' in how:
        client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack('ii', 1, 0))
    client.close()
    waiting(one, 0)
    wait_until('its session has ended', lambda: len(one.server.sessions) == 1)
    first.close()


def test_a_client_that_has_asked_and_ended_keeps_its_place(balancer, echo):
    one = balancer(server_wait=30.0, connect_timeout=10.0, backends=LIMITED)
    use(one, 1, echo('a'))
    first, = open_sessions(one, 1)
    with contextlib.closing(one.connect()) as client:
        client.sendall(b'hello\n')
        client.shutdown(socket.SHUT_WR)
        waiting(one, 1)
        first.close()
        assert client.recv(100) == b'a hello\n'


class PrimaryCheck(object):
    name, role, port = 'test', 'primary', None


def without_primary(one, server):
    """The Address of `server`, of which nobody knows yet that it is the primary that is wanted."""
    one.server.settings = one.server.settings._replace(check=PrimaryCheck())
    one.pool.change(one.server.settings, RoundRobin(lambda: 0.0))
    one.use(server.endpoint)
    address, = one.pool.addresses()
    return address


def test_while_there_is_no_primary_clients_wait_and_all_are_served_when_there_is_one(balancer, echo):
    one = balancer(server_wait=10.0)
    address = without_primary(one, echo('a'))
    clients = [one.connect() for _ in range(5)]
    waiting(one, 5)
    one.pool.report_result(address, Result('up', 'primary', None, None), one.server.clock())
    for client in clients:
        assert exchange(client) == 'a'
        client.close()


def test_a_client_for_whom_every_server_fails_tries_again_while_it_waits(balancer, echo):
    one = balancer(server_wait=10.0)
    server = echo('a')
    server.stop()
    one.use(server.endpoint)
    with contextlib.closing(one.connect()) as client:
        waiting(one, 1)
        server.server = type(server.server)(server.endpoint, server._echo)
        server.server.start()
        assert exchange(client) == 'a'


def test_those_behind_a_client_that_left_do_not_wait_for_news(balancer, echo):
    one = balancer(server_wait=30.0)
    server = echo('a')
    server.stop()
    one.use(server.endpoint)
    first = one.connect()                    # it has tried everybody
    waiting(one, 1)
    server.server = type(server.server)(server.endpoint, server._echo)
    server.server.start()
    with contextlib.closing(one.connect()) as second:
        first.close()
        assert exchange(second) == 'a'


def test_those_for_whom_every_server_failed_go_on_together_when_there_is_one(balancer, echo):
    """They were connecting when it went, so each has tried it before it came to wait."""
    one = balancer(server_wait=30.0)
    gone, came = echo('gone'), echo('came')
    gone.stop()
    one.use(gone.endpoint)
    clients = [connecting_one.get() for connecting_one in [gevent.spawn(one.connect) for _ in range(5)]]
    waiting(one, 5)
    began = monotonic()
    one.use(gone.endpoint, came.endpoint)
    for client in clients:
        assert exchange(client) == 'came'
        client.close()
    assert monotonic() - began < LOOK_SECONDS        # one after the other took so long for each


def test_when_the_client_whose_turn_it_is_leaves_the_next_one_gets_the_server(balancer, echo, monkeypatch):
    one = balancer(server_wait=30.0)
    address = without_primary(one, echo('a'))
    clients = [one.connect() for _ in range(2)]
    waiting(one, 2)
    connects = []

    def connect_for_the_second(*arguments):
        connects.append(arguments)
        if len(connects) == 1:
            raise PeerLeft('the client has left')
        return connecting.connect(*arguments)
    monkeypatch.setattr('sidelb_lib.tcp.session.connect', connect_for_the_second)
    one.pool.report_result(address, Result('up', 'primary', None, None), one.server.clock())
    assert exchange(clients[1]) == 'a' and len(connects) == 2
    for client in clients:
        client.close()


def test_two_places_at_once_are_for_two_clients_though_the_first_is_slow_to_reach_its_server(balancer, echo, monkeypatch):
    one = balancer(server_wait=30.0, backends=LIMITED)
    use(one, 1, echo('a'), echo('b'))
    served = open_sessions(one, 2)
    clients = [one.connect() for _ in range(2)]
    waiting(one, 2)
    connects, reached = [], Event()

    def connect_slowly_at_first(*arguments):
        connects.append(arguments)
        if len(connects) == 1:
            reached.wait()
        return connecting.connect(*arguments)
    monkeypatch.setattr('sidelb_lib.tcp.session.connect', connect_slowly_at_first)
    for session in list(one.server.sessions):
        if session.lease:
            session.lease.end()
    assert exchange(clients[1])
    reached.set()
    assert exchange(clients[0])
    for client in served + clients:
        client.close()


def test_sessions_that_wait_can_be_cut(balancer, echo):
    one = balancer(server_wait=30.0, backends=LIMITED)
    use(one, 1, echo('a'))
    first, = open_sessions(one, 1)
    with contextlib.closing(one.connect()) as client:
        waiting(one, 1)
        one.server.cut_all('the test')
        assert end_of(client) == 'reset'
    assert not one.server.queue
    first.close()
