"""The UDP server in this process: sessions, order, sizes, fail-over, limits and drain, on real sockets."""
from __future__ import absolute_import, division, print_function

import collections
import contextlib
import errno
import random
import select
import socket

import gevent
import pytest

from sidelb_lib.checks import udp as udp_check
from sidelb_lib.checks.prober import Prober
from sidelb_lib.compat import monotonic, new_socket
from sidelb_lib.net.listeners import listen_udp
from sidelb_lib.policies.source import score

from ..support.waiting import wait_until
from .parts import OWN_IP, SECONDS, closed_endpoint, exchange


def test_clients_are_spread_over_the_servers(balancer, echo):
    one = balancer()
    one.use(*[echo(name).endpoint for name in 'ABC'])
    assert collections.Counter(one.ask() for _ in range(30)) == {'A': 10, 'B': 10, 'C': 10}


def test_a_client_stays_with_its_server(balancer, echo):
    one = balancer()
    one.use(echo('A').endpoint, echo('B').endpoint)
    client = one.client()
    assert len(set(exchange(client) for _ in range(10))) == 1
    assert len(one.server.sessions) == 1


def test_a_session_counts_as_one_active_session_of_its_member(balancer, echo):
    one = balancer('least-connections')
    one.use(echo('A').endpoint, echo('B').endpoint)
    clients = [one.client() for _ in range(6)]
    assert sorted(exchange(client) for client in clients) == ['A'] * 3 + ['B'] * 3
    assert [member.active for member in one.pool.members] == [3, 3]


def test_with_mode_source_the_ip_of_a_client_says_which_server_it_gets(balancer, echo):
    one = balancer('source')
    servers = dict((server.endpoint, server.name.decode('ascii')) for server in map(echo, 'ABC'))
    one.use(*servers)
    for number in range(1, 6):          # of ten sessions none passes a server over
        ip = '127.0.1.%d' % number
        wanted = max(servers, key=lambda endpoint: score(ip, '%s:%d' % endpoint, 1))
        assert [exchange(one.client(bound=ip)) for _ in range(2)] == 2 * [servers[wanted]]


@pytest.mark.parametrize('host', ['127.0.0.1', '::1'])
@pytest.mark.parametrize('size', [0, 1, 8192, 8193, 65507])
def test_a_datagram_of_any_size_passes_whole_both_ways(balancer, echo, host, size):
    one = balancer(host=host)
    server = echo('', host)
    one.use(server.endpoint)
    data = b'x' * size
    client = one.client(host)
    client.send(data)
    reply = client.recv(65536)
    assert server.received == [data]
    assert reply == (data if size > 60000 else b' ' + data)


def test_an_empty_reply_passes(balancer):
    one = balancer()
    with contextlib.closing(socket.socket(socket.AF_INET, socket.SOCK_DGRAM)) as server:
        server.bind(('127.0.0.1', 0))
        one.use(server.getsockname())
        client = one.client()
        client.send(b'x')
        _, peer = server.recvfrom(10)
        server.sendto(b'', peer)
        server.sendto(b'after', peer)
        assert [client.recv(10), client.recv(10)] == [b'', b'after']


def test_datagrams_of_a_client_stay_in_order_in_a_burst(balancer, echo):
    one = balancer()
    server = echo('A')
    one.use(server.endpoint)
    client = one.client()
    client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4 << 20)
    for number in range(1000):
        client.send(b'%d' % number)
    numbers = [int(client.recv(100).split()[1]) for _ in range(1000)]
    assert numbers == list(range(1000))
    assert len(server.peers) == 1


def test_clients_of_slow_servers_hold_up_nobody_else(balancer, echo):
    one = balancer()
    one.use(echo('A', delay=None).endpoint, echo('B', delay=60).endpoint, echo('C').endpoint)
    clients = [one.client() for _ in range(9)]
    for client in clients:
        client.send(b'hello')
    wait_until('they are held up', lambda: len(select.select(clients, [], [], 0)[0]) == 3)
    assert [client.recv(100) for client in select.select(clients, [], [], 0)[0]] == [b'C hello'] * 3


def test_client_never_notices_a_refused_server(balancer, echo):
    one = balancer()
    server = echo('B')
    one.use(closed_endpoint(), server.endpoint)
    assert [one.ask() for _ in range(8)] == ['B'] * 8
    assert one.log.events('member_down')
    assert server.received == [b'hello'] * 8, 'a datagram came twice, or not at all'


def test_a_server_killed_in_mid_session_is_left_for_another(balancer, echo):
    one = balancer()
    servers = dict((name, echo(name)) for name in 'AB')
    one.use(*[server.endpoint for server in servers.values()])
    client = one.client()
    first = exchange(client)
    servers.pop(first).stop()
    other, = servers
    assert [exchange(client) for _ in range(3)] == [other] * 3
    assert one.server.table.retries == 1


def test_a_server_that_comes_back_is_used_again(balancer, echo):
    one = balancer()
    server = echo('A', OWN_IP)
    one.use(server.endpoint)
    client = one.client()
    assert exchange(client) == 'A'
    server.stop()
    client.send(b'lost')
    wait_until('the refusal was not noticed', lambda: one.pool.addresses()[0].failed)
    echo('A', OWN_IP, port=server.endpoint[1])
    assert exchange(client) == 'A'


def test_a_session_leaves_a_member_that_went_down_at_the_next_datagram(balancer, echo):
    one = balancer()
    one.use(echo('A').endpoint, echo('B').endpoint)
    client = one.client()
    first = exchange(client)
    address, = [session.address for session in one.server.sessions.values()]
    for _ in range(2):
        one.pool.report_failure(address, 'test')
    assert len(one.server.sessions) == 1
    assert exchange(client) == {'A': 'B', 'B': 'A'}[first]


def test_a_session_leaves_a_member_that_left_dns_at_the_next_datagram(balancer, echo):
    one = balancer()
    one.use(echo('A').endpoint)
    client = one.client()
    assert exchange(client) == 'A'
    one.use(echo('B').endpoint)
    assert exchange(client) == 'B'
    assert not one.pool.departing


def test_a_session_that_moves_leaves_its_bytes_with_the_server_that_carried_them(balancer, echo):
    one = balancer()
    one.use(echo('A').endpoint)
    client = one.client()
    exchange(client, b'12345')
    left, = one.pool.addresses()
    one.use(echo('B').endpoint)
    exchange(client, b'123')
    came, = one.pool.addresses()
    assert (left.sent, left.received) == (5, 7)
    assert one.server.bytes_in_flight() == {came: (3, 5)}
    one.server.cut_all('test')
    assert (left.sent, left.received, came.sent, came.received) == (5, 7, 3, 5)


def test_close_leaves_a_server_alone_that_is_up_on_another_address(balancer, echo):
    one = balancer(on_down='close')
    one.use([echo('A').endpoint, echo('A').endpoint])
    client = one.client()
    exchange(client)
    session, = one.server.sessions.values()
    for _ in range(2):
        one.pool.report_failure(session.address, 'test')
    assert list(one.server.sessions.values()) == [session]
    assert exchange(client) == 'A' and session.address.up


def test_a_burst_towards_a_server_that_is_closed_on_its_first_refusal_is_carried_by_another(balancer, echo):
    one = balancer(on_down='close')
    gone, other = echo('A', OWN_IP), echo('B')
    one.use(gone.endpoint)
    client = one.client()
    exchange(client)
    closed, = one.pool.addresses()
    one.use(gone.endpoint, other.endpoint)
    one.pool.report_failure(closed, 'the first of two')
    gone.stop()
    for number in range(3):
        client.send(b'%d' % number)          # the second send meets the refusal of the first
    wait_until('datagrams are lost', lambda: other.received[-2:] == [b'1', b'2'])
    assert exchange(client) == 'B'
    assert closed.active == 0 and not closed.up


def test_an_evicted_session_gives_its_descriptor_back_at_once(balancer, echo):
    one = balancer(max_sessions=1)
    one.use(echo('A').endpoint)
    exchange(one.client())
    evicted, = one.server.sessions.values()
    one.server._forwarding.forward(('127.0.0.1', 1), ('127.0.0.1', 1), one.server.socket, b'x')
    assert evicted.ended and evicted.upstream.fileno() == -1


@pytest.mark.parametrize('check', ['udp', 'off'])
def test_a_reply_speaks_for_its_server_where_silence_would_do(balancer, echo, check):
    one = balancer(check=check)
    one.use(echo('A').endpoint)
    address, = one.pool.addresses()
    client = one.client()
    for _ in range(4):
        one.pool.report_failure(address, 'refused')
        exchange(client)
    assert address.up


def test_replies_do_not_speak_for_a_server_whose_probes_want_a_certain_one(balancer, echo):
    one = balancer(check='dns')
    one.use(echo('A').endpoint)
    address, = one.pool.addresses()
    client = one.client()
    for _ in range(2):
        one.pool.report_failure(address, 'SERVFAIL')
        exchange(client)
    assert not address.up


@pytest.mark.parametrize('option', ['on_down', 'on_removed'])
def test_close_drops_the_sessions_at_once(balancer, echo, option):
    one = balancer(**{option: 'close'})
    one.use(echo('A').endpoint)
    client = one.client()
    exchange(client)
    if option == 'on_down':
        for _ in range(2):
            one.pool.report_failure(one.pool.addresses()[0], 'test')
    else:
        one.use()
    assert not one.server.sessions


def test_datagrams_that_come_before_the_first_answer_wait(balancer, echo):
    one = balancer()
    client = one.client()
    client.send(b'early')
    server = echo('A')
    wait_until('it was not read', lambda: one.server._forwarding._early)
    one.use(server.endpoint)
    assert client.recv(100) == b'A early'


def test_at_max_sessions_the_one_idle_longest_makes_room(balancer, echo):
    one = balancer(max_sessions=3)
    one.use(echo('A').endpoint)
    clients = [one.client() for _ in range(3)]
    for client in clients:
        exchange(client)
    exchange(clients[0])
    newcomer = one.client()
    assert exchange(newcomer) == 'A'
    alive = set(key[1] for key in one.server.sessions)
    assert alive == set(client.getsockname()[1] for client in (clients[0], clients[2], newcomer))
    assert one.server.table.drops['session_evicted'] == 1


def test_a_flood_of_unknown_sources_stays_within_max_sessions(balancer, echo):
    one = balancer(max_sessions=50)
    one.use(echo('A').endpoint)
    clients = [one.client() for _ in range(500)]       # all open at once, so that no two have the same port
    assert [exchange(client) for client in clients] == ['A'] * 500
    assert len(one.server.sessions) == 50
    assert one.pool.members[0].active == 50
    assert one.server.table.drops['session_evicted'] == 450


def test_silent_sessions_expire_and_give_everything_back(balancer, echo):
    one = balancer(session_timeout=0.3)
    one.use(echo('A').endpoint)
    silent, busy = one.client(), one.client()
    exchange(silent)

    def only_the_busy_one_is_left():
        exchange(busy)
        return list(one.server.sessions) == [busy.getsockname()]
    wait_until('the silent one did not expire', only_the_busy_one_is_left)
    wait_until('the other did not expire', lambda: not one.server.sessions)
    assert one.pool.members[0].active == 0


def test_with_responses_the_session_ends_when_each_datagram_has_its_replies(balancer, echo):
    one = balancer(responses=1)
    one.use(echo('A', delay=0.05).endpoint)
    client = one.client()
    for _ in range(3):
        client.send(b'hello')
    assert [client.recv(100) for _ in range(3)] == [b'A hello'] * 3
    wait_until('the session did not end', lambda: not one.server.sessions)


@pytest.mark.parametrize('bind, addresses', [('0.0.0.0', ['127.0.0.1', '127.0.0.2', '127.9.9.9']), ('::', ['::1'])])
def test_a_wildcard_listener_answers_from_the_address_that_was_asked(balancer, echo, bind, addresses):
    one = balancer(host=bind)
    one.use(echo('A').endpoint)
    for _ in range(3):
        assert [one.ask(host) for host in addresses] == ['A'] * len(addresses)


def test_one_client_may_ask_two_addresses_of_a_wildcard_listener(balancer, echo):
    one = balancer(host='0.0.0.0')
    one.use(echo('A').endpoint)
    with contextlib.closing(socket.socket(socket.AF_INET, socket.SOCK_DGRAM)) as client:
        client.bind(('127.0.0.1', 0))
        client.settimeout(SECONDS)
        for _ in range(2):
            for host in '127.0.0.1', '127.0.0.2':
                client.sendto(b'x', (host, one.port))
                assert client.recvfrom(100) == (b'A x', (host, one.port))


def test_a_second_instance_can_not_take_the_listeners_address():
    for host in '127.0.0.1', '0.0.0.0':
        first = listen_udp(host, 0)
        with contextlib.closing(first):
            with pytest.raises(socket.error) as raised:
                listen_udp(host, first.getsockname()[1])
            assert raised.value.errno == errno.EADDRINUSE


def test_drain_takes_no_new_clients_and_lets_sessions_go_on(balancer, echo):
    one = balancer()
    one.use(echo('A').endpoint)
    client, newcomer = one.client(), one.client()
    exchange(client)
    draining = gevent.spawn(one.server.drain, 1000)
    gevent.sleep(0)
    newcomer.send(b'hello')
    wait_until('the new client was not turned away', lambda: one.server.table.drops['draining'] == 1)
    assert exchange(client) == 'A'
    assert not draining.ready()
    one.server.cut_all('the test has seen enough')
    assert draining.get(timeout=SECONDS) == 0


def test_a_drain_ends_what_is_left_in_time(balancer, echo):
    one = balancer()
    one.use(echo('A').endpoint)
    exchange(one.client())
    assert one.server.drain(0.1) == 1
    assert not one.server.sessions


def test_too_long_a_datagram_is_counted_and_harms_nobody(balancer, echo):
    one = balancer(host='::1')
    one.use(echo('A').endpoint)           # IPv6 carries 20 bytes more than IPv4
    client = one.client('::1')
    client.send(b'x' * 65520)
    wait_until('it was not counted', lambda: one.server.table.drops['too_long'] == 1)
    assert exchange(client) == 'A'


def test_unexpected_errors_end_one_session_alone(balancer, echo, monkeypatch):
    one = balancer()
    one.use(echo('A').endpoint)
    client = one.client()
    exchange(client)
    monkeypatch.setattr(one.server._upstreams, 'connect', lambda tried: 1 / 0)
    other = one.client()
    other.send(b'x')
    wait_until('nothing was told', lambda: one.log.events('session_failed'))
    monkeypatch.undo()
    assert exchange(client) == 'A' and exchange(other) == 'A'
    assert one.pool.members[0].active == 2


def test_everything_is_counted(balancer, echo):
    one = balancer()
    one.use(echo('A').endpoint)
    address, = one.pool.addresses()
    client = one.client()
    exchange(client)
    exchange(client)
    assert one.server.bytes_in_flight() == {address: (10, 14)}
    assert one.server.table.datagrams() == (2, 2)
    one.server.cut_all('test')
    assert (address.sent, address.received, address.total) == (10, 14, 1)
    assert one.server.table.datagrams() == (2, 2)


def test_the_udp_probe_finds_a_closed_port_and_its_return(balancer, echo):
    one = balancer()
    server = echo('A', OWN_IP, delay=None)
    one.use(server.endpoint)
    prober = Prober(one.pool, udp_check.probe, one.log, monotonic, random.random, interval=0.02, timeout=0.05)
    one.greenlets.append(gevent.spawn(prober.run))
    wait_until('it is not probed', lambda: len(server.received) > 3)
    assert one.pool.healthy
    server.stop()
    wait_until('it is up', lambda: not one.pool.healthy)
    echo('A', OWN_IP, port=server.endpoint[1], delay=None)
    wait_until('it is down', lambda: one.pool.healthy)


def test_a_refusal_that_closes_the_session_leaves_no_count_behind(balancer, echo):
    one = balancer(on_down='close')
    server = echo('A')
    one.use(server.endpoint, echo('B').endpoint)
    clients = dict((exchange(client), client) for client in (one.client(), one.client()))
    address, = [address for address in one.pool.addresses() if address.port == server.endpoint[1]]
    one.pool.report_failure(address, 'test')            # the next failure takes it down
    server.stop()
    clients['A'].send(b'x')
    wait_until('it is up', lambda: not address.up)
    assert len(one.server.sessions) == 1
    one.server.cut_all('test')
    assert [address.active for address in one.pool.addresses()] == [0, 0]
    assert [member.active for member in one.pool.members] == [0, 0]


def test_a_new_client_without_any_server_is_dropped_and_counted(balancer, monkeypatch):
    one = balancer()
    one.use(closed_endpoint())
    monkeypatch.setattr(one.server._upstreams, '_connect', lambda address: None)      # what a host without a route gives
    with contextlib.closing(one.client()) as client:
        client.send(b'x')
        wait_until('it was not counted', lambda: one.server.table.drops['no_server'] == 1)
    assert not one.server.sessions and one.pool.members[0].active == 0
    assert not one.log.events('session_failed')


def test_a_session_leaves_a_silent_server_when_another_comes_up(balancer, echo):
    one = balancer()
    silent, server = echo('S', delay=None), echo('A')
    one.use(silent.endpoint, server.endpoint)
    for address in one.pool.addresses():
        for _ in range(2):
            one.pool.report_failure(address, 'test')
    clients = [one.client() for _ in range(2)]          # one for each, as a last resort
    for client in clients:
        client.send(b'hello')
    wait_until('there are no sessions', lambda: len(one.server.sessions) == 2)
    for _ in range(2):
        one.pool.report_success([each for each in one.pool.addresses() if each.port == server.endpoint[1]][0])
    gevent.sleep(0)
    for client in clients:
        client.send(b'again')
        wait_until('it stays with the silent one', lambda: b'again' in client.recv(100))


def test_least_connections_avoids_a_server_that_answers_nothing(balancer, echo):
    one = balancer(mode='least-connections', responses=1)
    silent, server = echo('S', delay=None), echo('A')
    one.use(silent.endpoint, server.endpoint)
    for _ in range(20):
        with contextlib.closing(one.client()) as client:
            client.settimeout(0.3)
            client.send(b'hello')
            try:
                client.recv(100)
            except socket.timeout:
                pass
            wait_until('the answered one did not end', lambda: len(one.server.sessions) == len(silent.received))
    assert len(silent.received) == 1


def test_a_session_leaves_a_departed_server_when_there_is_another_again(balancer, echo):
    one = balancer()
    first = echo('A')
    one.use(first.endpoint)
    client = one.client()
    assert exchange(client) == 'A'
    one.use()
    assert exchange(client) == 'A'                      # there is nobody else
    one.use(echo('B').endpoint)
    gevent.sleep(0)
    assert exchange(client) == 'B'


def test_an_unexpected_error_in_a_known_session_ends_it_and_the_listener_goes_on(balancer, echo, monkeypatch):
    one = balancer()
    one.use(echo('A').endpoint)
    client = one.client()
    exchange(client)
    one.use(echo('B').endpoint)
    monkeypatch.setattr(one.server.table, 'move', lambda session: 1 / 0)
    client.send(b'x')
    wait_until('nothing was told', lambda: one.log.events('session_failed'))
    monkeypatch.undo()
    assert exchange(client) == 'B'
    assert one.pool.members[0].active == 1 and not one.pool.departing


def test_a_host_without_ipv6_uses_the_other_servers(balancer, echo, monkeypatch):
    one = balancer()
    one.use(('2001:db8::1', 53), echo('A').endpoint)

    def no_ipv6(family, kind):
        if family == socket.AF_INET6:
            raise socket.error(errno.EAFNOSUPPORT, 'not supported')
        return new_socket(family, kind)
    monkeypatch.setattr(one.server._upstreams, 'new_socket', no_ipv6)
    assert [one.ask() for _ in range(6)] == ['A'] * 6
    assert not one.pool.members[1].up


def test_a_refused_datagram_is_sent_again_just_once(balancer):
    one = balancer()
    one.use(closed_endpoint(), closed_endpoint(), closed_endpoint())
    client = one.client()
    sent = []
    failed = one.server._forwarding.failed

    def counted(session, error):
        sent.append(session.unanswered)
        failed(session, error)
    one.server._forwarding.failed = counted
    client.send(b'x')
    wait_until('it was not refused twice', lambda: len(sent) >= 2)
    gevent.sleep(0.2)
    assert len(sent) == 2                 # the first sending and the second, no third


def test_of_many_sessions_the_one_idle_longest_makes_room(balancer, echo):
    one = balancer(max_sessions=64)
    one.use(echo('A').endpoint)
    clients = [one.client() for _ in range(70)]
    for client in clients:
        exchange(client)
    alive = set(key[1] for key in one.server.sessions)
    assert alive == set(client.getsockname()[1] for client in clients[6:])


def test_a_first_burst_to_a_wildcard_listener_stays_in_order(balancer, echo):
    one = balancer(host='0.0.0.0')
    server = echo('A', delay=None)
    one.use(server.endpoint)
    for host in '127.0.0.7', '127.0.0.8', '127.0.0.9':
        del server.received[:]
        client = one.client(host)
        for number in range(150):
            client.send(b'%d' % number)
        wait_until('some are missing', lambda: len(server.received) == 150)
        assert [int(data) for data in server.received] == list(range(150))
