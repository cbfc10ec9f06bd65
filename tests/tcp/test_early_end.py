"""Servers that end a session at once without a byte."""
from __future__ import absolute_import, division, print_function

import contextlib
import socket
import struct

import gevent
import pytest
from gevent.server import StreamServer

from sidelb_lib.compat import monotonic
from sidelb_lib.net import connect as connecting
from sidelb_lib.net.resets import peer_has_ended
from sidelb_lib.pool.merging import Group, Options
from sidelb_lib.tcp import early_end
from sidelb_lib.tcp.splicing import RelayResources
from sidelb_lib.tcp.timed_relay import TimedRelay
from sidelb_lib.tcp.watched_session import watched_relay

from ..support.clients import reset, tcp_pair
from ..support.making import making
from ..support.waiting import wait_until
from .parts import NamedEcho, end_of, exchange


class Hollow(object):
    """Accepts and ends at once: politely, by a reset, or once it has got a byte."""

    def __init__(self, how, endpoint=('127.0.0.1', 0)):
        self.how = how
        self.accepted = 0
        self.server = StreamServer(endpoint, self._end)
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


def address_of(one, server):
    address, = [each for each in one.pool.addresses() if each.port == server.endpoint[1]]
    return address


hollow = making(Hollow, lambda hollow: hollow.server.close())


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
    address = address_of(one, dead)
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
    address = address_of(one, dead)
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


def test_each_trial_that_fails_doubles_the_time_to_the_next_one(balancer, hollow, echo, monkeypatch):
    one, delays, spawn_later = balancer(early_close='failure', check_interval=0.05), [], gevent.spawn_later

    def noted(seconds, function, *arguments):
        if function == one.server.early_ends._is_due:
            delays.append(seconds)
        return spawn_later(min(seconds, 0.1), function, *arguments)
    monkeypatch.setattr(early_end.gevent, 'spawn_later', noted)
    dead = hollow('ends')
    one.use(dead.endpoint, echo('b').endpoint)
    address = taken_down(one, dead)
    for times in range(2, 9):
        wait_until('it is to be tried', lambda: address in one.server.early_ends._due)
        with contextlib.closing(one.connect()):
            wait_until('the trial has failed', lambda: len(delays) == times)
    assert delays == [0.05, 0.1, 0.2, 0.4, 0.8, 1.6, 1.6, 1.6]


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


def test_a_trial_that_has_not_reached_the_server_yet_shows_nothing(balancer, hollow, echo, monkeypatch):
    monkeypatch.setattr(early_end, 'EARLY_SECONDS', 0.1)
    one, looks, gate = balancer(early_close='failure', check_interval=0.05), [], []
    dead = hollow('ends')
    one.use(dead.endpoint, echo('b').endpoint)
    address = due_for_a_trial(one, dead)
    connecting_until(monkeypatch, dead, lambda upstream: gate)
    monkeypatch.setattr(one.pool, 'forgive_early_ends', lambda address: looks.append('forgiven'))
    spawn_later = gevent.spawn_later

    def noted(seconds, function, *arguments):
        if function == one.server.early_ends._trial_over:
            looks.append('looked at')
        return spawn_later(seconds, function, *arguments)
    monkeypatch.setattr(early_end.gevent, 'spawn_later', noted)
    with contextlib.closing(one.connect()):
        wait_until('it was looked at twice', lambda: len(looks) >= 3)
        gate.append(True)
    assert set(looks) == set(['looked at']) and not address.up


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


# --- what a client has said, and what others hear ------------------------------------------------------------------------

def connecting_until(monkeypatch, server, condition):
    """Have sessions go on from a connect to `server` only once `condition(upstream)` is true."""
    def connect(address, *arguments):
        upstream = connecting.connect(address, *arguments)
        if address.port == server.endpoint[1]:
            wait_until('it has not come to that', lambda: condition(upstream))
        return upstream
    monkeypatch.setattr('sidelb_lib.tcp.session.connect', connect)


@pytest.mark.parametrize('how', ['ends', 'resets'])
def test_what_a_client_has_said_goes_to_another_server_if_the_first_had_ended_before_it_was_sent(
        balancer, echo, hollow, monkeypatch, how):
    one, dead = balancer(early_close='failure'), hollow(how)
    connecting_until(monkeypatch, dead, peer_has_ended)
    one.use(dead.endpoint, echo('b').endpoint)
    for _ in range(4):
        assert one.ask() == 'b'
    assert dead.accepted == 2 and one.server.tally.retries == 2


def test_what_a_server_that_resets_in_this_very_moment_does_not_take_goes_to_another_one(balancer, echo, monkeypatch):
    one, listener, looked = balancer(early_close='failure'), socket.socket(), []
    listener.bind(('127.0.0.1', 0))
    listener.listen(5)
    one.use(listener.getsockname(), echo('b').endpoint)

    def has_not_ended_yet(upstream):
        if not looked and upstream.getpeername() == listener.getsockname():
            looked.append(upstream)
            reset(listener.accept()[0])
        return False
    monkeypatch.setattr('sidelb_lib.tcp.watched_session.peer_has_ended', has_not_ended_yet)
    while not looked:
        assert one.ask() == 'b'
    listener.close()


def test_servers_that_all_end_at_once_keep_a_client_for_as_long_as_it_may_wait(balancer, hollow):
    one = balancer(early_close='failure', server_wait=1.5, check_interval=0.1)
    one.use(hollow('ends').endpoint, hollow('resets').endpoint)
    for _ in range(2):
        began = monotonic()
        with contextlib.closing(one.connect()) as client:
            assert end_of(client) == 'reset'
        assert 1.0 < monotonic() - began < 4
    assert one.server.tally.refused == {'every_server_has_been_tried': 2}


def test_a_client_of_many_servers_that_all_end_is_given_up_in_time(balancer, hollow):
    one = balancer(early_close='failure', connect_timeout=0.05)
    one.use(*[hollow('ends').endpoint for _ in range(12)])
    with contextlib.closing(one.connect()) as client:
        assert end_of(client) == 'reset'
    assert one.server.tally.refused == {'no_server_could_be_reached_in_time': 1}


def test_the_second_begins_when_the_server_has_been_reached(balancer, echo, hollow, monkeypatch):
    monkeypatch.setattr(early_end, 'EARLY_SECONDS', 0.2)
    one, dead = balancer(early_close='failure', check_fall=1), hollow('ends')
    one.use(dead.endpoint, echo('b').endpoint)
    connecting_until(monkeypatch, dead, lambda upstream: gevent.sleep(0.3) is None)
    for _ in range(2):
        assert one.ask() == 'b'
    assert not address_of(one, dead).up


class Cancelled(NamedEcho):
    """As PostgreSQL: a client that says `cancel` is no session, and its connection ends without an answer."""

    def _echo(self, sock, peer):
        if sock.recv(6, socket.MSG_PEEK) == b'cancel':
            sock.recv(100)
            return sock.close()
        return NamedEcho._echo(self, sock, peer)


cancelled = making(Cancelled, Cancelled.stop)


def cancel(one):
    with contextlib.closing(one.connect()) as client:
        client.sendall(b'cancel')
        assert end_of(client) == 'eof'
    wait_until('it has not ended', lambda: all(session.relay.inbound.moved for session in one.server.sessions))


def test_questions_that_a_living_server_does_not_answer_take_it_down_only_when_nothing_comes_from_it(
        balancer, cancelled, monkeypatch):
    one = balancer(early_close='failure', check_interval=60.0)
    one.use(cancelled('a').endpoint)
    address, = one.pool.addresses()
    with contextlib.closing(one.connect()) as client:
        exchange(client)
        monkeypatch.setattr(early_end, 'EARLY_SECONDS', 60.0)
        for _ in range(4):                           # at the same time
            cancel(one)
        monkeypatch.setattr(early_end, 'EARLY_SECONDS', 0.2)
        for _ in range(4):                           # now and then
            gevent.sleep(0.2)
            exchange(client)
            cancel(one)
        assert address.up and not address.failed
        for _ in range(50):
            if address.up:
                gevent.sleep(0.2)
                cancel(one)
        assert not address.up


class Flaky(NamedEcho):
    """Ends at once while `is_hollow`."""

    is_hollow = False
    ended = 0

    def _echo(self, sock, peer):
        if self.is_hollow:
            self.ended += 1
            return sock.close()
        return NamedEcho._echo(self, sock, peer)


flaky = making(Flaky, Flaky.stop)


def ask_elsewhere(one, server):
    """A client that is silent until another server than `server` has it."""
    before = set(one.server.sessions)
    with contextlib.closing(one.connect()) as client:
        wait_until('another server has it', lambda: [session for session in set(one.server.sessions) - before if (
            session.address and session.address.port != server.endpoint[1])])
        assert exchange(client) == 'b'
    wait_until('it has ended', lambda: set(one.server.sessions) <= before)


def test_sessions_that_live_on_show_that_their_server_is_sound(balancer, flaky, echo):
    one, dying = balancer(early_close='failure'), flaky('a')
    one.use(dying.endpoint, echo('b').endpoint)
    address, kept = address_of(one, dying), []
    for times in range(1, 4):
        dying.is_hollow = True
        while dying.ended < times:
            ask_elsewhere(one, dying)
        assert address.up and address.early.streak == 1
        dying.is_hollow = False
        answers = []
        while 'a' not in answers:
            kept.append(one.connect())
            answers.append(exchange(kept[-1]))
    for client in kept:
        client.close()


def test_the_end_of_a_session_that_is_older_than_the_trouble_shows_nothing(balancer, flaky, echo):
    one, dying = balancer(early_close='failure', check_interval=60.0), flaky('a')
    one.use(dying.endpoint, echo('b').endpoint)
    clients = [one.connect() for _ in range(2)]
    old, = [client for client in clients if exchange(client) == 'a']
    dying.is_hollow = True
    address = address_of(one, dying)
    while address.up:
        ask_elsewhere(one, dying)
    old.close()
    wait_until('it has ended', lambda: not address.active)
    assert not address.up
    for client in clients:
        client.close()


def test_a_server_that_left_while_it_was_down_by_this_is_no_last_resort_when_it_returns(balancer, hollow, echo):
    one, dead, sound = balancer(early_close='failure', check_interval=0.1), hollow('ends'), echo('b')
    one.use(dead.endpoint, sound.endpoint)
    address = taken_down(one, dead)
    one.use(sound.endpoint)
    wait_until('it has another chance', lambda: one.ask() and not address.ends_early)
    one.use(dead.endpoint, sound.endpoint)
    assert address_of(one, dead) is address and address.up


def test_servers_that_have_left_are_forgotten(balancer, hollow, echo):
    one, sound = balancer(early_close='failure', check_interval=60.0), echo('b')
    for _ in range(4):
        dead = hollow('ends')
        one.use(dead.endpoint, sound.endpoint)
        taken_down(one, dead)
    early_ends = one.server.early_ends
    assert len(early_ends._last) == len(early_ends._times) == 1


def test_a_server_of_ours_that_ends_leaves_no_timer_behind(balancer, hollow, echo):
    one = balancer(early_close='failure', check_interval=60.0)
    dead = hollow('ends')
    one.use(dead.endpoint, echo('b').endpoint)
    taken_down(one, dead)
    timers = list(one.server.early_ends._timers)
    assert timers
    one.server.drain(0)
    wait_until('a timer is left', lambda: all(timer.dead for timer in timers))


def test_it_comes_and_goes_with_the_settings(balancer, hollow, echo):
    one, dead = balancer(check_interval=0.1), hollow('ends')
    one.use(dead.endpoint, echo('b').endpoint)
    plain = one.server.settings
    assert one.server.early_ends is None
    one.server.change(plain._replace(early_close='failure'), 10)
    address = taken_down(one, dead)
    one.server.change(plain, 10)
    wait_until('it is not forgiven', lambda: address.up)
    with contextlib.closing(one.connect()) as first, contextlib.closing(one.connect()) as second:
        assert sorted(answer(client) for client in (first, second)) == ['b', 'eof']


@pytest.mark.parametrize('former, later', [('ignore', 'failure'), ('failure', 'ignore')])
def test_a_client_that_waits_while_the_setting_changes_is_served(balancer, echo, former, later):
    one = balancer(early_close=former, server_wait=10.0, servers_file='/nonexistent')
    one.pool.update('test', [Group(None, [echo('a').endpoint], Options(None, None, 1))])
    with contextlib.closing(one.connect()) as first, contextlib.closing(one.connect()) as second:
        assert exchange(first) == 'a'
        wait_until('the second one does not wait', lambda: len(one.server.queue) == 1)
        one.server.change(one.server.settings._replace(early_close=later), 10)
        first.close()
        assert exchange(second) == 'a'
        second.shutdown(socket.SHUT_WR)
        assert end_of(second) == 'eof'
    wait_until('they have not ended', lambda: not one.server.sessions)
    assert not one.log.events('session_failed')


def answer(client):
    try:
        return exchange(client)
    except (AssertionError, EnvironmentError):
        return 'eof'


def test_the_first_byte_of_a_server_is_timed_though_the_client_is_heard_before_it():
    (client, other), (upstream, server) = tcp_pair(), tcp_pair()
    relay = watched_relay(TimedRelay)(other, upstream, RelayResources(None), monotonic)
    relay.start(gevent.get_hub().loop, lambda: None)
    server.sendall(b'x')
    server.close()
    client.sendall(b'hello')
    relay.outbound._readable.callback()
    assert client.recv(10) == b'x' and relay.first_byte is not None
    relay.close()
    for sock in client, other, upstream:
        sock.close()


@pytest.mark.parametrize('http', [None, ('127.0.0.1', 0)])
def test_sessions_that_are_timed_are_moved_as_well(balancer, hollow, echo, http):
    one, dead = balancer(early_close='failure', http=http), hollow('ends')
    one.use(dead.endpoint, echo('b').endpoint)
    for _ in range(4):
        with contextlib.closing(one.connect()) as client:
            wait_until('a server has it', lambda: [session for session in one.server.sessions
                                                   if session.address and session.address.port != dead.endpoint[1]])
            assert exchange(client) == 'b'
        wait_until('it has ended', lambda: not one.server.sessions)
    assert dead.accepted == 2


def test_who_ends_a_session_later_is_not_blamed(balancer, hollow, monkeypatch):
    monkeypatch.setattr(early_end, 'EARLY_SECONDS', 0.05)
    one = balancer(early_close='failure')
    one.use(hollow('after a byte').endpoint)
    for _ in range(3):
        with contextlib.closing(one.connect()) as client:
            wait_until('it is open', lambda: [session for session in one.server.sessions if session.relay])
            gevent.sleep(0.1)
            client.sendall(b'x')
            assert end_of(client) == 'eof'
    address, = one.pool.addresses()
    assert address.up and not address.failed


@pytest.mark.parametrize('before', ['another server has a session', 'it answered'])
def test_two_questions_without_an_answer_take_it_down_whatever_was_answered(balancer, hollow, echo, before):
    one, dead, clients = balancer(early_close='failure', check_interval=60.0), hollow('answers'), []
    if before == 'it answered':
        one.use(dead.endpoint)
        with contextlib.closing(one.connect()) as client:
            assert end_of(client) == 'eof'
    one.use(dead.endpoint, echo('b').endpoint)
    dead.how, accepted = 'after a byte', dead.accepted
    while dead.accepted < accepted + 2:
        clients.append(one.connect())
        answer(clients[-1])
    wait_until('it is down', lambda: not address_of(one, dead).up)
    for client in clients:
        client.close()


def test_nothing_is_kept_of_servers_that_have_left(balancer, hollow, echo):
    one, sound = balancer(early_close='failure', check_interval=60.0), echo('b')
    for _ in range(3):
        dead = hollow('ends')
        one.use(dead.endpoint, sound.endpoint)
        address = taken_down(one, dead)
    assert list(one.server.early_ends._last) == list(one.server.early_ends._times) == [address]


def test_one_that_is_back_after_it_was_forgotten_is_cleared_by_a_byte(balancer, hollow, echo):
    one, sound, dead, other = balancer(early_close='failure', check_interval=60.0), echo('b'), hollow('ends'), hollow('ends')
    one.use(dead.endpoint, sound.endpoint)
    address = taken_down(one, dead)
    one.use(other.endpoint, sound.endpoint)
    taken_down(one, other)
    one.use(dead.endpoint, sound.endpoint)
    dead.how = 'answers'
    one.pool.forgive_early_ends(address)
    while address.early is not None:
        with contextlib.closing(one.connect()) as client:
            client.sendall(b'hello\n')
            client.recv(100)
        wait_until('it has ended', lambda: not one.server.sessions)
    assert address.up


@pytest.mark.parametrize('speaks', [True, False])
def test_a_trial_that_outlives_the_second_brings_the_server_back_and_a_byte_clears_it(
        balancer, flaky, echo, monkeypatch, speaks):
    monkeypatch.setattr(early_end, 'EARLY_SECONDS', 0.3)
    one, dying = balancer(early_close='failure', check_interval=0.05), flaky('a')
    one.use(dying.endpoint, echo('b').endpoint)
    dying.is_hollow = True
    address = due_for_a_trial(one, dying)
    dying.is_hollow = False
    with contextlib.closing(one.connect()) as client:
        wait_until('it is tried', lambda: address.active)
        if speaks:
            assert exchange(client) == 'a'
        with contextlib.closing(one.connect()) as other:
            assert exchange(other) == 'b'
            wait_until('it is not back', lambda: address.up)
            assert address.active == 1 and (address.early is None) == speaks
    assert one.server.take == one.pool.take
