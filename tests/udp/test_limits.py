"""What bounds sessions: room, silence, closing; and that one client's flood costs the others little."""
from __future__ import absolute_import, division, print_function

import socket

import gevent
import pytest
from gevent import monkey

from ..support.making import making
from ..support.waiting import wait_until
from .parts import NamedEcho, exchange

#: `time.sleep` itself: everything in this process stands still.
stand_still = monkey.get_original('time', 'sleep')


# --- room --------------------------------------------------------------------------------------------------------------

class Choosy(NamedEcho):
    """Answers nothing but b'hello'."""

    def _reply(self, data, peer):
        if data == b'hello':
            NamedEcho._reply(self, data, peer)


choosy = making(Choosy, Choosy.stop)


def keys(one):
    return set(one.server.sessions)


def test_a_flood_of_new_sources_leaves_sessions_that_had_a_reply_alone(balancer, choosy):
    one = balancer(max_sessions=64)
    one.use(choosy('A').endpoint)
    answered = [one.client() for _ in range(32)]
    for client in answered:
        exchange(client)
    before = one.server.table.opened
    invented = [one.client() for _ in range(400)]
    for client in invented:
        client.send(b'flood')
    wait_until('the flood was not read', lambda: one.server.table.opened == before + len(invented))
    assert set(client.getsockname() for client in answered) <= keys(one)
    assert len(one.server.sessions) == 64


def test_in_a_full_table_of_answered_sessions_newcomers_are_not_each_others_victims(balancer, choosy):
    """A new client has no reply yet: it must keep its place long enough to get one."""
    one = balancer(max_sessions=64)
    one.use(choosy('A').endpoint)
    answered = [one.client() for _ in range(64)]      # kept open: a newcomer must not get the port of one
    for client in answered:
        exchange(client)
    newcomers = [one.client() for _ in range(16)]
    for client in newcomers:
        client.send(b'later')
    wait_until('they were not read', lambda: one.server.table.opened == 80)
    assert set(client.getsockname() for client in newcomers) <= keys(one)


def test_where_nobody_ever_gets_a_reply_the_one_idle_longest_makes_room(balancer, choosy):
    one = balancer(max_sessions=8)
    one.use(choosy('A').endpoint)
    clients = [one.client() for _ in range(12)]
    for count, client in enumerate(clients, 1):
        client.send(b'to a one-way service')
        wait_until('it was not read', lambda: one.server.table.opened == count)
    assert keys(one) == set(client.getsockname() for client in clients[4:])


# --- silence -----------------------------------------------------------------------------------------------------------

@pytest.mark.parametrize('whose', ['clients', 'servers'])
def test_a_process_that_stood_still_does_not_take_waiting_datagrams_for_silence(balancer, whose):
    one = balancer(session_timeout='1s')
    server = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    server.bind(('127.0.0.1', 0))
    server.settimeout(10)
    one.use(server.getsockname())
    clients = [one.client() for _ in range(70)]      # more than are read at once
    peers = []
    for client in clients:
        client.send(b'x')
        peers.append(server.recvfrom(10)[1])
    before = list(one.server.sessions.values())
    stand_still(1.3)
    for client, peer in zip(clients, peers):          # nothing else of this process runs before the end of this loop
        if whose == 'clients':
            client.send(b'y')
        else:
            server.sendto(b'y', peer)
    counted = 'datagrams_sent' if whose == 'clients' else 'datagrams_received'
    wait_until('not all was read', lambda: sum(getattr(session, counted) for session in before) >= (
        140 if whose == 'clients' else 70))
    assert list(one.server.sessions.values()) == before
    wait_until('they never expire', lambda: not one.server.sessions)
    server.close()


# --- closing -----------------------------------------------------------------------------------------------------------

def end_by_down(one):
    for _ in range(2):
        one.pool.report_failure(one.pool.addresses()[0], 'test')


def end_by_removal(one):
    one.use()


def end_by_drain(one):
    one.server.drain(0)


@pytest.mark.parametrize('end, reason', [
    (end_by_down, 'down'), (end_by_removal, 'removed'), (end_by_drain, 'drain')])
def test_a_session_that_is_cut_is_told(balancer, echo, end, reason):
    one = balancer(on_down='close', on_removed='close', log_level='debug')
    one.use(echo('A').endpoint)
    client = one.client()
    exchange(client)
    end(one)
    assert [(fields['client'], fields['reason']) for _, event, _, fields in one.log.lines if event == 'session'] == [
        ('127.0.0.1:%d' % client.getsockname()[1], reason)]


class Unread(dict):
    """A table of sessions that must not be gone through."""

    def values(self):
        raise AssertionError('all sessions were looked at')
    items = __iter__ = values


@pytest.mark.parametrize('on_removed', ['keep', 'close'])
def test_servers_that_leave_cost_nothing_but_their_own_sessions(balancer, echo, on_removed):
    """With every session looked at for each address, 500 of them and 8,000 sessions cost 0.5 s."""
    one = balancer(on_removed=on_removed)
    stays = echo('A').endpoint
    one.use(stays)
    clients = [one.client() for _ in range(2)]
    assert [exchange(client) for client in clients] == ['A', 'A']
    one.use(stays, *[('127.0.0.1', port) for port in range(1, 101)])
    sessions, one.server.table.by_key = one.server.sessions, Unread(one.server.sessions)
    try:
        one.use(stays)
    finally:
        one.server.table.by_key = sessions
    assert [exchange(client) for client in clients] == ['A', 'A']


# --- fairness ----------------------------------------------------------------------------------------------------------

def test_what_waits_in_the_listener_before_a_polite_client_is_bounded(balancer, echo):
    """With a receive buffer of 8 MiB a greedy client had 20,000 datagrams before everybody's, which cost 0.2 s. Nobody
    who may not pass net.core.rmem_max ever had so much."""
    one = balancer()
    server = echo('A', delay=None)
    one.use(server.endpoint)
    greedy = one.client()
    for _ in range(12000):
        greedy.send(b'x')                              # nobody reads meanwhile
    polite = one.client()

    def the_polite_one_is_served():
        polite.send(b'polite')                         # is lost as long as the buffer is full
        gevent.sleep(0.01)
        return b'polite' in server.received
    wait_until('it was not carried', the_polite_one_is_served)
    assert one.server.counts()['datagrams_sent'] <= 4096
