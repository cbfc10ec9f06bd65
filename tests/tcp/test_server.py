"""The TCP server in this process: choosing, fail-over, limits, time-outs and drain, on real sockets."""
from __future__ import absolute_import, division, print_function

import collections
import contextlib
import errno
import os
import random
import resource
import socket

import gevent
import pytest
from gevent.event import Event

from sidelb_lib.compat import SocketError, bare_socket, monotonic
from sidelb_lib.net.connect import ConnectError, connect
from sidelb_lib.pool.pool import Pool
from sidelb_lib.config.settings import defaults
from sidelb_lib.policies.registry import policy_named
from sidelb_lib.tcp.session import Session
from sidelb_lib.tcp.tally import peer_text

from ..support.recording import RecordingLog
from ..support.waiting import wait_until
from .parts import SECONDS, end_of, exchange


def closed_endpoint(reserved=[]):
    """A port where nobody listens, kept reserved by a socket that is bound and no more."""
    sock = socket.socket()
    sock.bind(('127.0.0.1', 0))
    reserved.append(sock)
    return sock.getsockname()


@pytest.fixture
def black_hole():
    """An endpoint that answers nothing: its accept queue is full, so the kernel drops each further SYN."""
    listener = socket.socket()
    listener.bind(('127.0.0.1', 0))
    listener.listen(0)
    fillers = []
    for _ in range(2):
        filler = socket.socket()
        filler.setblocking(False)
        filler.connect_ex(listener.getsockname())
        fillers.append(filler)
    yield listener.getsockname()
    for sock in fillers + [listener]:
        sock.close()


def test_connections_are_spread_over_the_servers(balancer, echo):
    one = balancer()
    one.use(*[echo(name).endpoint for name in 'ABC'])
    assert collections.Counter(one.ask() for _ in range(30)) == {'A': 10, 'B': 10, 'C': 10}


def test_a_server_with_two_addresses_gets_one_share(balancer, echo):
    one = balancer()
    first, second, other = echo('A'), echo('A', '127.0.0.2'), echo('B')
    one.use([first.endpoint, second.endpoint], other.endpoint)
    assert collections.Counter(one.ask() for _ in range(30)) == {'A': 15, 'B': 15}


def test_least_connections_avoids_the_server_that_holds_long_sessions(balancer, echo):
    one = balancer(mode='least-connections')
    one.use(echo('A').endpoint, echo('B').endpoint)
    held = [one.connect() for _ in range(6)]
    assert sorted(exchange(client) for client in held) == ['A'] * 3 + ['B'] * 3
    for client in [client for client in held if exchange(client) == 'A']:
        client.close()
    wait_until('the sessions did not end', lambda: len(one.server.sessions) == 3)
    assert [one.ask() for _ in range(4)] == ['A'] * 4
    for client in held:
        client.close()


def test_client_never_notices_a_refused_server(balancer, echo):
    one = balancer()
    one.use(closed_endpoint(), echo('B').endpoint, closed_endpoint())
    assert [one.ask() for _ in range(20)] == ['B'] * 20
    assert len(one.log.events('member_down')) == 2


def test_the_other_address_of_a_server_is_tried_before_another_server(balancer, echo):
    one = balancer()
    one.use([('127.0.0.1', 1), echo('A', '127.0.0.2').endpoint], echo('B').endpoint)
    assert collections.Counter(one.ask() for _ in range(20)) == {'A': 10, 'B': 10}


def test_client_never_notices_a_server_that_answers_nothing(balancer, echo, black_hole):
    one = balancer(connect_timeout=0.2)
    one.use(black_hole, echo('B').endpoint)
    assert [one.ask() for _ in range(6)] == ['B'] * 6
    hole, = [address for address in one.pool.addresses() if address.port == black_hole[1]]
    assert hole.last_error == os.strerror(errno.ETIMEDOUT) and not hole.up


def test_a_failed_connect_counts_against_the_server_and_a_good_one_for_it(balancer, echo):
    one = balancer()
    server = echo('A')
    one.use(server.endpoint)
    address = one.pool.addresses()[0]
    server.stop()
    with pytest.raises((AssertionError, socket.error)):
        one.ask()
    assert (address.streak, address.failed, address.up) == (1, 1, True)
    echo('A', port=server.endpoint[1])
    assert one.ask() == 'A'
    assert address.streak == 0


def test_client_is_reset_when_nobody_is_there(balancer):
    one = balancer()
    one.use(closed_endpoint())
    with contextlib.closing(one.connect()) as client:
        assert end_of(client) == 'reset'
    assert one.server.tally.refused == {'every_server_has_been_tried': 1}


def test_servers_that_are_down_are_tried_as_a_last_resort(balancer, echo):
    one = balancer()
    server = echo('A')
    one.use(server.endpoint)
    for _ in range(2):
        one.pool.report_failure(one.pool.addresses()[0], 'test')
    assert not one.pool.healthy
    assert one.ask() == 'A'


def test_client_that_comes_before_the_first_answer_waits(balancer, echo):
    one = balancer()
    server = echo('A')
    asking = gevent.spawn(one.ask)
    wait_until('the client was not accepted', lambda: one.server.sessions)
    one.use(server.endpoint)
    assert asking.get(timeout=SECONDS) == 'A'


def test_client_that_waits_in_vain_for_the_first_answer_is_reset(balancer):
    one = balancer(connect_timeout=0.1)
    with contextlib.closing(one.connect()) as client:
        assert end_of(client) == 'reset'
    assert one.server.tally.refused == {'no_server_is_known': 1}


def test_search_for_a_server_ends_after_a_few_time_outs(balancer, black_hole, monkeypatch):
    one = balancer(connect_timeout=0.1)
    monkeypatch.setattr('sidelb_lib.tcp.session.connect', lambda address, timeout, client, local: connect(one.hole, timeout))
    one.use(*[('127.0.0.%d' % number, 1) for number in range(1, 100)])
    one.hole = Pool(policy_named('round-robin', random.random), RecordingLog(), monotonic, defaults(check='off'))
    one.hole.update('test', [(None, [black_hole])])
    one.hole, = one.hole.addresses()
    with contextlib.closing(one.connect()) as client:
        assert end_of(client) == 'reset'
    assert one.server.tally.refused == {'no_server_could_be_reached_in_time': 1} and one.server.tally.retries <= 6


def test_ipv6_all_the_way(balancer, echo):
    one = balancer(family=socket.AF_INET6)
    one.use(echo('A', '::1').endpoint)
    assert one.ask() == 'A'


def test_past_max_connections_clients_wait_in_the_queue(balancer, echo):
    one = balancer(max_connections=2)
    one.use(echo('A').endpoint)
    held = [one.connect(), one.connect()]
    assert [exchange(client) for client in held] == ['A', 'A']
    waiting = gevent.spawn(one.ask)
    gevent.sleep(0.1)
    assert not waiting.ready() and len(one.server.sessions) == 2
    held[0].close()
    assert waiting.get(timeout=SECONDS) == 'A'
    held[1].close()


@contextlib.contextmanager
def descriptors_left(count):
    """Leave the process so few free descriptors."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(1024, soft), hard))
    blockers = []
    try:
        while True:
            try:
                blockers.append(os.dup(0))
            except OSError:
                break
        for _ in range(count):
            os.close(blockers.pop())
        yield
    finally:
        for blocker in blockers:
            os.close(blocker)
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def test_running_out_of_descriptors_makes_clients_wait_and_ends_nothing(balancer, echo):
    one = balancer()
    one.use(echo('A').endpoint)
    assert one.ask() == 'A'
    wait_until('the session did not end', lambda: not one.server.sessions)
    with descriptors_left(1):
        client = one.connect()            # takes the last one: it cannot be accepted
        wait_until('nobody noticed', lambda: one.log.events('accept_paused'))
        gevent.sleep(0.3)
        assert len(one.log.events('accept_paused')) == 1, 'it spins, or it tells again and again'
        assert one.pool.healthy
    assert exchange(client) == 'A'
    assert one.log.events('accepting_again')
    client.close()


def test_lack_of_descriptors_for_the_server_side_is_not_the_servers_fault(balancer, echo, monkeypatch):
    one = balancer(connect_timeout=0.2)
    one.use(echo('A').endpoint)

    def none_left(family, kind):
        raise SocketError(errno.EMFILE, os.strerror(errno.EMFILE))
    # In one process with its clients there is no knowing whom the real limit would hit.
    monkeypatch.setattr('sidelb_lib.net.connect.new_socket', none_left)
    with contextlib.closing(one.connect()) as client:
        assert end_of(client) == 'reset'
    assert one.pool.healthy and one.pool.addresses()[0].failed == 0
    monkeypatch.undo()
    assert one.ask() == 'A'


def test_idle_sessions_are_ended_and_busy_ones_are_not(balancer, echo):
    one = balancer(idle_timeout=0.4)
    one.use(echo('A').endpoint)
    idle, busy = one.connect(), one.connect()
    exchange(idle), exchange(busy)
    idle.settimeout(0.0)
    for _ in range(40):
        assert exchange(busy) == 'A'
        gevent.sleep(0.02)
    idle.settimeout(SECONDS)
    assert end_of(idle) == 'reset'
    assert len(one.server.sessions) == 1
    busy.close()


def test_a_half_closed_session_may_be_silent_for_a_bounded_time_only(balancer):
    one = balancer(half_close_timeout=0.2)
    listener = socket.socket()
    listener.bind(('127.0.0.1', 0))
    listener.listen(5)
    one.use(listener.getsockname())
    client, untouched = one.connect(), one.connect()
    first, _ = listener.accept()
    second, _ = listener.accept()
    client.shutdown(socket.SHUT_WR)
    assert end_of(client) == 'reset'
    assert len(one.server.sessions) == 1, 'a session that is not half-closed was ended too'
    for sock in client, untouched, first, second, listener:
        sock.close()


def test_on_down_close_ends_the_sessions_of_that_server_alone(balancer, echo):
    one = balancer(on_down='close')
    one.use(echo('A').endpoint, echo('B').endpoint)
    clients = dict((exchange(client), client) for client in (one.connect(), one.connect()))
    address_of_a, = [session.address for session in one.server.sessions
                     if peer_text(clients['A'].getsockname()) == peer_text(session.peer)]
    for _ in range(2):
        one.pool.report_failure(address_of_a, 'test')
    assert end_of(clients['A']) == 'reset'
    assert exchange(clients['B']) == 'B'
    for client in clients.values():
        client.close()


def test_by_default_sessions_of_a_server_that_went_down_or_left_go_on(balancer, echo):
    one = balancer()
    one.use(echo('A').endpoint)
    client = one.connect()
    exchange(client)
    for _ in range(2):
        one.pool.report_failure(one.pool.addresses()[0], 'test')
    one.use()
    assert exchange(client) == 'A'
    assert len(one.pool.departing) == 1
    client.close()
    wait_until('it was never forgotten', lambda: not one.pool.departing)


def test_on_removed_close_ends_the_session_of_a_server_that_left_while_it_was_connected_to(balancer, echo, monkeypatch):
    one = balancer(on_removed='close')
    one.use(echo('A').endpoint)
    go_on = Event()

    def slow_connect(address, timeout, client, local):
        go_on.wait(SECONDS)
        return connect(address, timeout, client, local)
    monkeypatch.setattr('sidelb_lib.tcp.session.connect', slow_connect)
    client = one.connect()
    wait_until('nobody connects', lambda: one.pool.members[0].active)
    one.use()
    go_on.set()
    assert end_of(client) == 'reset'
    assert not one.pool.departing


def test_on_removed_close_ends_the_sessions_of_a_server_that_left(balancer, echo):
    one = balancer(on_removed='close')
    one.use(echo('A').endpoint)
    client = one.connect()
    exchange(client)
    one.use()
    assert end_of(client) == 'reset'
    client.close()


def test_a_server_killed_in_mid_stream_resets_its_clients_only(balancer, echo):
    one = balancer()
    listener = socket.socket()
    listener.bind(('127.0.0.1', 0))
    listener.listen(5)
    one.use(listener.getsockname(), echo('B').endpoint)
    clients = [one.connect(), one.connect()]
    victim, _ = listener.accept()
    victim.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b'\1\0\0\0\0\0\0\0')
    victim.close()
    listener.close()
    endings = []
    for client in clients:
        client.settimeout(1.0)
        try:
            endings.append(exchange(client))
        except (AssertionError, socket.error):
            endings.append('ended')
    assert sorted(endings) == ['B', 'ended']
    for client in clients:
        client.close()


def test_an_unexpected_error_ends_one_session_alone_and_is_told_with_its_context(balancer, echo, monkeypatch):
    one = balancer()
    one.use(echo('A').endpoint)
    client = one.connect()
    exchange(client)
    monkeypatch.setattr(Session, '_connect', lambda session, deadline: 1 / 0)
    with contextlib.closing(one.connect()) as unlucky:
        assert end_of(unlucky) == 'reset'
    monkeypatch.undo()
    assert exchange(client) == 'A' and one.ask() == 'A'
    told, = one.log.events('session_failed')
    assert '127.0.0.1:' in told and 'ZeroDivisionError' in told
    client.close()


def test_counts_return_to_zero_whatever_happened(balancer, echo, black_hole):
    one = balancer(connect_timeout=0.15)
    one.use(echo('A').endpoint, closed_endpoint(), black_hole)
    clients = [one.connect() for _ in range(20)]
    for client in clients:
        exchange(client)
    for client in clients:
        client.close()
    wait_until('sessions are left', lambda: not one.server.sessions)
    assert [address.active for address in one.pool.addresses()] == [0, 0, 0]
    assert [member.active for member in one.pool.members] == [0, 0, 0]


def test_bytes_of_living_and_ended_sessions_are_counted(balancer, echo):
    one = balancer()
    one.use(echo('A').endpoint)
    address, = one.pool.addresses()
    client = one.connect()
    exchange(client)
    assert one.server.bytes_in_flight() == {address: (6, 8)}
    client.close()
    wait_until('the session did not end', lambda: not one.server.sessions)
    assert (address.sent, address.received, address.total) == (6, 8, 1)


def test_drain_serves_who_waits_in_the_queue_and_lets_sessions_end(balancer, echo):
    one = balancer()
    one.use(echo('A').endpoint)
    busy = one.connect()
    exchange(busy)
    one.server.stop_accepting()           # so that the next clients are in the kernel's queue when the drain begins
    queued = [one.connect() for _ in range(5)]
    draining = gevent.spawn(one.server.drain, SECONDS)
    assert [exchange(client) for client in queued] == ['A'] * 5
    with pytest.raises(socket.error):
        one.connect()
    assert exchange(busy) == 'A' and not draining.ready()
    for client in queued + [busy]:
        client.close()
    assert draining.get(timeout=SECONDS) == 0


def test_drain_cuts_what_is_left_at_its_deadline_and_counts_it(balancer, echo):
    one = balancer()
    one.use(echo('A').endpoint)
    idle = [one.connect() for _ in range(3)]
    for client in idle:
        exchange(client)
    assert one.server.drain(0.1) == 3
    assert [end_of(client) for client in idle] == ['reset'] * 3


def test_each_connection_is_logged_at_debug(balancer, echo):
    one = balancer(log_level='debug')
    one.use(echo('A').endpoint)
    one.ask()
    wait_until('nothing was logged', lambda: one.log.events('session'))
    assert '(client_end), 6 bytes out, 8 in' in one.log.events('session')[0]


def test_a_session_whose_client_is_gone_ends_although_its_server_sleeps(balancer, monkeypatch):
    monkeypatch.setattr('sidelb_lib.tcp.ending.SLOWEST_SWEEP', 0.05)
    monkeypatch.setattr('sidelb_lib.tcp.ending.PATIENCE', 0.3)
    one = balancer()
    listener = socket.socket()
    listener.bind(('127.0.0.1', 0))
    listener.listen(5)
    one.use(listener.getsockname())
    client = one.connect()
    sleeper, _ = listener.accept()
    session, = one.server.sessions
    client.setblocking(False)

    def filled():
        try:
            while client.send(b'x' * 65536):
                gevent.sleep(0)
        except socket.error:
            return session.relay.outbound.held
    wait_until('nothing is held back', filled)
    client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b'\1\0\0\0\0\0\0\0')
    client.close()
    wait_until('it goes on', lambda: not one.server.sessions)
    sleeper.close()
    listener.close()


def test_nagle_is_off_and_keepalive_is_on_towards_both_sides(balancer, echo, monkeypatch):
    pairs = []
    one = balancer(idle_timeout=2)          # the server's side gets it when idle sessions are looked for, here after 250 ms
    real = one.server.relay_of
    monkeypatch.setattr(one.server, 'relay_of', lambda client, upstream, resources: (
        pairs.append((client, upstream)), real(client, upstream, resources))[1])
    one.use(echo('A').endpoint)
    client = one.connect()
    assert exchange(client) == 'A'
    for sock in pairs[0]:
        assert sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)
        wait_until('no keepalive', lambda: sock.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE))
        assert sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE) == 60
    client.close()


def test_a_search_among_very_many_dead_servers_holds_up_nobody(balancer, echo):
    one = balancer(connect_timeout=0.3)
    one.use(*[('127.1.%d.%d' % divmod(number, 250), 1) for number in range(1000)])
    for address in one.pool.addresses()[:-1]:
        for _ in range(2):
            one.pool.report_failure(address, 'test')
    ticks = []

    def tick():
        while True:
            ticks.append(monotonic())
            gevent.sleep(0.01)
    ticking = gevent.spawn(tick)
    with contextlib.closing(one.connect()) as client:
        assert end_of(client) == 'reset'
    ticking.kill()
    assert max(later - earlier for earlier, later in zip(ticks, ticks[1:])) < 1.0


def test_a_drain_takes_the_queue_in_turn_within_max_connections(balancer, echo):
    one = balancer(max_connections=2)
    server = echo('A')
    one.use(server.endpoint)
    clients = [one.connect() for _ in range(8)]
    wait_until('nobody is served', lambda: server.sessions == 2)
    draining = gevent.spawn(one.server.drain, SECONDS)
    for client in clients:
        assert exchange(client) == 'A'
        assert server.sessions <= 2
        client.close()
    assert draining.get(timeout=SECONDS) == 0


def test_connecting_to_oneself_is_a_refusal(monkeypatch):
    """The kernel may choose the wanted port as our own: nobody listens, and yet a connection is there."""
    sock = socket.socket()
    sock.bind(('127.0.0.1', 0))
    port = sock.getsockname()[1]
    address = Pool(policy_named('round-robin', random.random), RecordingLog(), monotonic, defaults(check='off'))
    address.update('test', [(None, [('127.0.0.1', port)])])
    own = bare_socket(sock)
    own.setblocking(False)
    monkeypatch.setattr('sidelb_lib.net.connect.new_socket', lambda family, kind: own)
    with pytest.raises(ConnectError) as raised:
        connect(address.addresses()[0], 1.0)
    assert port < 32768 or raised.value.code == errno.ECONNREFUSED
