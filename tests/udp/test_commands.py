"""Hands on running services of UDP: sessions, close and rebalance, with one service and with two."""
from __future__ import absolute_import, division, print_function

import json
import socket

import gevent
import pytest
from gevent.event import Event

from sidelb_lib import compat
from sidelb_lib.compat import monotonic
from sidelb_lib.config.settings import defaults
from sidelb_lib.limits import Budget
from sidelb_lib.observe import naming, session_list
from sidelb_lib.observe.commands import Commands
from sidelb_lib.service import rebalancing
from sidelb_lib.service.service import Service

from ..support.making import making
from ..support.recording import RecordingLog
from ..support.waiting import wait_until
from .parts import exchange


class Served(object):
    """A Service of UDP with two servers, and clients that end with it."""

    def __init__(self, echo, make_client):
        self.servers = dict((name, '127.0.0.1:%d' % echo(name).endpoint[1]) for name in ('a', 'b'))
        settings = defaults(listener='127.0.0.1:0', proto='udp', check='off', group='off', session_timeout=60.0,
                            backends=', '.join(sorted(self.servers.values())))
        self.service = Service(settings, RecordingLog(), Budget(1000), chance=lambda: 0.0, hosts='/nonexistent',
                               resolv_conf='/nonexistent')
        self.service.bind()
        self.service.start()
        self.port = self.service.server.address[1]
        self._make_client = make_client

    def client(self):
        return self._make_client(self.port)

    def clients_of(self, name, count):
        """So many clients whose sessions are all at one server."""
        drained = [member for member in self.service.pool.members if member.name != self.servers[name]]
        for member in drained:
            self.service.pool.drain(member)
        clients = [self.client() for _ in range(count)]
        assert set(exchange(client) for client in clients) == {name}
        for member in drained:
            self.service.pool.drain(member, False)
        return clients

    def active(self, name):
        return [member.active for member in self.service.pool.members if member.name == self.servers[name]][0]

    def close(self):
        self.service.server.cut_all()
        self.service.stop()


def make_client(port):
    client = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    client.connect(('127.0.0.1', port))
    client.settimeout(10)
    return client


client_sockets = making(make_client, lambda client: client.close())
services = making(Served, Served.close)


@pytest.fixture
def one(echo, client_sockets, services):
    return services(echo, client_sockets)


@pytest.fixture
def two(echo, client_sockets, services):
    return services(echo, client_sockets), services(echo, client_sockets)


def command(served, name, **options):
    """What the services, a Served or a dict of several, answer to a command."""
    several = served if isinstance(served, dict) else {'default': served}
    several = dict((key, one.service) for key, one in several.items())
    hands = Commands(several, RecordingLog(), monotonic, None, None)
    return hands.answer('%s %s' % (name, json.dumps(options)), 'uid 0, pid 1')


def text(client):
    return '%s:%d' % client.getsockname()


def closed(count):
    return {'ok': True, 'closed': count}


# --- one service --------------------------------------------------------------------------------------------------

def test_sessions_are_listed_with_what_they_carry(one):
    client, other = one.clients_of('a', 1)[0], one.clients_of('b', 1)[0]
    answer = command(one, 'sessions')
    assert [(row['session'], row['server'], row['address']) for row in answer['sessions']] == [
        (text(client), one.servers['a'], one.servers['a']), (text(other), one.servers['b'], one.servers['b'])]
    assert [(row['bytes_sent'], row['bytes_received']) for row in answer['sessions']] == [(5, 7), (5, 7)]
    assert all(0 <= row['silent'] <= row['age'] < 10 for row in answer['sessions'])
    only = command(one, 'sessions', server=one.servers['b'])
    assert (only['total'], [row['session'] for row in only['sessions']]) == (1, [text(other)])


def test_of_many_sessions_the_oldest_are_listed(one, monkeypatch):
    monkeypatch.setattr(session_list, 'MAX_LISTED', 2)
    clients = one.clients_of('a', 4)
    answer = command(one, 'sessions')
    assert (answer['total'], [row['session'] for row in answer['sessions']]) == (4, [text(each) for each in clients[:2]])


def test_the_session_of_a_client_is_closed_and_no_other_one(one):
    client, other = one.clients_of('a', 2)
    assert command(one, 'close', server=text(client)) == closed(1)
    assert [session.client_text for session in one.service.server.living()] == [text(other)]
    assert one.active('a') == 1
    again = command(one, 'close', server=text(client))
    assert not again['ok'] and 'there is no session or server ' + text(client) in again['error']
    assert exchange(client) in ('a', 'b')                   # who goes on has a new one
    assert len(one.service.server.living()) == 2


def test_the_sessions_of_a_server_are_closed(one):
    one.clients_of('a', 3)
    stays, = one.clients_of('b', 1)
    assert command(one, 'close', server=one.servers['a']) == closed(3)
    assert [session.client_text for session in one.service.server.living()] == [text(stays)]


def test_the_sessions_of_a_server_that_has_left_are_closed(one):
    one.clients_of('a', 2)
    left, = [member for member in one.service.pool.members if member.name == one.servers['a']]
    stays = [(None, [member.addresses[0].endpoint]) for member in one.service.pool.members if member is not left]
    one.service.pool.update('backends', stays)
    assert command(one, 'sessions', server=one.servers['a'])['total'] == 2
    assert command(one, 'close', server=one.servers['a']) == closed(2)
    assert not one.service.pool.departing


def test_a_session_that_ends_while_others_are_looked_at_is_not_counted(one, monkeypatch):
    client, _ = one.clients_of('a', 2)
    session, = [each for each in one.service.server.living() if each.client_text == text(client)]
    monkeypatch.setattr(session_list, 'AT_ONCE', 1)
    monkeypatch.setattr(compat, 'let_traffic_pass', lambda: one.service.server.cut_one(session, 'the test ends it'))
    assert command(one, 'close', server=text(client)) == closed(0)


def test_near_names_are_found_among_many_with_pauses(one, monkeypatch):
    pauses = []
    monkeypatch.setattr(naming, 'let_traffic_pass', lambda: pauses.append(1))
    names = ['db%d' % number for number in range(3 * naming.NAMES_AT_ONCE)] + ['web.example.com']
    assert naming.near_names('wbe.example.com', names) == ['web.example.com']
    assert len(pauses) == 4


def test_a_name_that_two_servers_have_closes_nothing(one):
    one.clients_of('a', 1)
    answer = command(one, 'close', server='127.0.0.1')
    assert not answer['ok'] and answer['error'].endswith(': say which')
    assert len(one.service.server.living()) == 1


def test_what_is_nested_is_refused_however_deeply(one):
    hands = Commands({'default': one.service}, RecordingLog(), monotonic, None, None)
    for depth in range(1, 1000):
        answer = hands.answer('close {"server": %s%s}' % ('[' * depth, ']' * depth), 'uid 0, pid 1')
        assert answer['error'] in ('server: a list or an object is no text', 'the options of close are no JSON object')


def test_a_name_as_long_as_dns_has_them_is_not_cut(one):
    name = '.'.join(['x' * 60] * 4)
    endpoint = one.service.pool.members[0].addresses[0].endpoint
    one.service.pool.update('backends', [(name, [endpoint])])
    assert command(one, 'sessions', server=name)['ok']


def test_rebalancing_closes_what_is_above_the_share_and_silent(one):
    clients = one.clients_of('a', 12)
    answer = command(one, 'rebalance', per_second=100, silent=0, wait=True)
    assert answer == {'ok': True, 'services': [{'excess': 6, 'closed': 6, 'ended': True}]}
    assert sorted(session.client_text for session in one.service.server.living()) == sorted(map(text, clients[6:]))
    for client in clients[:6]:                              # the oldest come again
        exchange(client)
    assert one.active('a') + one.active('b') == 12 and one.active('b') >= 3


def test_rebalancing_spares_who_is_not_silent(one):
    one.clients_of('a', 4)
    answer = command(one, 'rebalance', per_second=100, silent=30, wait=True)
    assert answer == {'ok': True, 'services': [{'excess': 2, 'closed': 0, 'ended': True}]}
    assert one.active('a') == 4


def test_who_speaks_while_others_are_looked_at_is_not_closed(one, monkeypatch):
    clients = one.clients_of('a', 4)
    sessions = one.service.server.living()
    first = sessions[0]                                     # the first to be looked at, and to be closed
    first.opened -= 1
    speaker, = [client for client in clients if text(client) == first.client_text]
    for session in sessions:
        session.last_used -= 100

    def speak():
        speaker.send(b'busy')
        wait_until('it was not heard', lambda: first.bytes_sent > 5)

    monkeypatch.setattr(rebalancing, 'AT_ONCE', len(clients))          # one pause, before the last one
    monkeypatch.setattr(compat, 'let_traffic_pass', speak)
    command(one, 'rebalance', per_second=1, silent=30, wait=True, seconds=0.1)
    assert not first.ended and first.bytes_sent > 5


def test_who_could_not_come_back_is_not_closed(one, monkeypatch):
    monkeypatch.setattr(rebalancing, 'ROUND_SECONDS', 0.2)
    one.clients_of('a', 12)
    assert command(one, 'rebalance', silent=0)['ok']
    run, hurry = one.service.rebalancing, Event()
    wait_until('no session was closed', lambda: run.closed)
    draining = gevent.spawn(one.service.drain, hurry)
    wait_until('it goes on', lambda: run.ended)
    assert run.closed < run.excess and len(one.service.server.living()) == 12 - run.closed
    assert 'takes no new sessions' in command(one, 'rebalance', silent=0)['error']
    hurry.set()
    draining.join(5)


# --- two services -------------------------------------------------------------------------------------------------

def test_a_command_acts_on_the_service_that_is_chosen(two):
    first, second = two
    both = {'dns': first, 'syslog': second}
    client, other = first.clients_of('a', 1)[0], second.clients_of('b', 1)[0]
    everything = command(both, 'sessions')
    assert sorted((row['service'], row['session']) for row in everything['sessions']) == [
        ('dns', text(client)), ('syslog', text(other))]
    only = command(both, 'sessions', service='syslog')
    assert ([row['session'] for row in only['sessions']], only['services']) == ([text(other)], 2)
    assert not command(both, 'close', server=text(client), service='syslog')['ok']
    assert not command(both, 'close', server=first.servers['a'], service='syslog')['ok']
    assert len(first.service.server.living()) == 1
    assert command(both, 'close', server=text(client), service='dns') == closed(1)
    assert not first.service.server.living() and len(second.service.server.living()) == 1
    assert command(both, 'sessions', service='ntp')['error'].startswith('there is no service ntp: there is ')


def test_rebalancing_goes_on_in_the_service_that_is_chosen(two):
    first, second = two
    for served in two:
        served.clients_of('a', 4)
    answer = command({'dns': first, 'syslog': second}, 'rebalance', service='syslog', per_second=9, silent=0, wait=True)
    assert answer == {'ok': True, 'services': [{'service': 'syslog', 'excess': 2, 'closed': 2, 'ended': True}]}
    assert (first.active('a'), second.active('a')) == (4, 2)


@pytest.mark.parametrize('busy', [0, 1])
def test_where_one_service_rebalances_already_the_other_one_does_not_begin(two, busy):
    both = {'dns': two[0], 'syslog': two[1]}
    for served in two:
        served.clients_of('a', 6)
    assert command(both, 'rebalance', service=('dns', 'syslog')[busy], silent=0)['ok']
    answer = command(both, 'rebalance', silent=0)
    assert 'is going on already' in answer['error']
    assert two[1 - busy].service.rebalancing is None
    assert not two[1 - busy].service.log.events('admin')
