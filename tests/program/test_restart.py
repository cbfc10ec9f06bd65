"""Several instances on one listener (reuse_port=on), and replacing one without losing a client."""
from __future__ import absolute_import, division, print_function

import contextlib
import itertools
import json
import signal
import socket

import gevent
import pytest

from sidelb_lib.net import reuse_port
from sidelb_lib.net.listeners import listen_tcp, listen_udp
from sidelb_lib.observe import render as status

from ..support.clients import connect, how_connecting_ends, read_line
from ..support.link import SlowLink
from ..support.load import ClientLoop
from ..support.netns import NetworkNamespace
from ..support.program import Sidelb, run_sidelb
from ..support.requirements import need_namespaces
from ..support.servers import Server
from ..support.waiting import wait_until
from ..tcp.parts import Balancer

RESTARTS = 20              # under load, in all


@pytest.fixture
def server():
    with Server('A') as one:
        yield one


class Instances(object):
    """Instances of the program that share one listener, inside the `with`; each must end well, as Sidelb says."""

    def __init__(self, *arguments, **options):
        self._arguments = arguments + ('reuse_port=on',)
        self._options = options
        self.listener = options.pop('listener', '127.0.0.1:0')
        self.all = []

    def start(self):
        """Start another one, and wait until it could take over: the steps that the guide tells."""
        instance = Sidelb(*self._arguments, listener=self.listener, **self._options)
        instance.__enter__()
        self.all.append(instance)
        self.listener = instance.listener
        wait_until('the new instance is not healthy', lambda: instance.ask(b'Q') == b'HEALTHY\n')
        return instance

    def stop(self, instance):
        instance.signal(signal.SIGTERM)

    def codes(self):
        """The exit code of each, None of those that run."""
        return [instance.process.returncode for instance in self.all]

    def replace(self, instance):
        new = self.start()
        self.stop(instance)
        return new

    def __enter__(self):
        return self

    def __exit__(self, *exception):
        for instance in self.all:
            if not exception[0] and instance.process.returncode is None:
                instance.end_at_once()
            instance.__exit__(*exception)


# --- what the kernel does for a group of sockets ---------------------------------------------------------------------

ADDRESSES = ['127.0.0.1', '::1', '0.0.0.0', '::']


@contextlib.contextmanager
def group(ip, count):
    """So many TCP listeners on one address, in the order in which the kernel numbers them, and where to connect."""
    listeners = []
    try:
        for _ in range(count):
            port = listeners[0].getsockname()[1] if listeners else 0
            listeners.append(listen_tcp(ip, port, reuse_port=True))
        to = {'0.0.0.0': '127.0.0.1', '::': '::1'}.get(ip, ip)
        yield listeners, (to, listeners[0].getsockname()[1])
    finally:
        for listener in listeners:
            listener.close()


def shares(listeners, address, clients=24):
    """How many of so many new clients each listener gets; a connection of `send_clients_to_others` may be among them."""
    connected = [connect(address) for _ in range(clients)]
    counts = [accept_all(listener) for listener in listeners]
    for sock in connected:
        sock.close()
    return counts


def accept_all(listener):
    """Accept and close whoever waits. Returns how many they were."""
    listener.settimeout(0.05)
    count = 0
    while True:
        try:
            listener.accept()[0].close()
        except socket.timeout:
            return count
        count += 1


@pytest.mark.parametrize('ip', ADDRESSES)
@pytest.mark.parametrize('count, leaving', [(2, 0), (2, 1), (3, 0), (3, 1), (3, 2)])
def test_new_clients_go_to_the_others_whichever_number_we_have(ip, count, leaving):
    with group(ip, count) as (listeners, address):
        before = shares(listeners, address)
        assert before[leaving] and sum(before) == 24
        reuse_port.send_clients_to_others(listeners[leaving])
        after = shares(listeners, address)
        assert after[leaving] == 0 and sum(after) in (24, 25)


def test_the_others_share_evenly_again_after_one_has_left():
    with group('127.0.0.1', 3) as (listeners, address):
        reuse_port.send_clients_to_others(listeners[0])
        reuse_port.drop_new_handshakes(listeners[0])
        reuse_port.close_and_rebalance(listeners[0])
        counts = shares(listeners[1:], address, 60)
        assert min(counts) > 10 and sum(counts) == 60


def test_a_new_instance_undoes_what_a_killed_one_has_left():
    with group('127.0.0.1', 2) as (listeners, address):
        reuse_port.send_clients_to_others(listeners[0])
        with contextlib.closing(listen_tcp('127.0.0.1', address[1], reuse_port=True)) as third:
            counts = shares(listeners + [third], address, 60)
            assert min(counts) > 5


def test_a_handshake_that_begins_too_late_is_neither_answered_nor_refused_and_one_that_has_begun_ends():
    with group('127.0.0.1', 1) as (listeners, address):
        with contextlib.closing(connect(address)) as queued:
            reuse_port.drop_new_handshakes(listeners[0])
            with pytest.raises(socket.timeout):
                connect(address, 0.2)
            accepted, _ = listeners[0].accept()
            queued.sendall(b'hello\n')
            assert read_line(accepted) == 'hello'
            accepted.close()


@pytest.mark.parametrize('ip', ADDRESSES)
@pytest.mark.parametrize('open_one', [listen_tcp, listen_udp])
def test_company_is_another_shared_socket_with_the_same_address(ip, open_one):
    with contextlib.closing(open_one(ip, 0, reuse_port=True)) as one:
        assert not reuse_port.has_siblings(one)
        port = one.getsockname()[1]
        with contextlib.closing(open_one(ip, port, reuse_port=True)) as other:
            assert reuse_port.has_siblings(one) and reuse_port.has_siblings(other)
        assert not reuse_port.has_siblings(one)
    with contextlib.closing(open_one(ip, 0)) as one:
        assert not reuse_port.has_siblings(one)


def test_connections_are_no_company():
    address, other = [reuse_port.proc_address(socket.AF_INET, '127.0.0.1', port) for port in (5432, 5433)]
    rows = ['  sl  local_address rem_address   st'] + ['   0: %s %s %s 0' % row for row in [
        (address, '00000000:0000', '0A'), (other, '00000000:0000', '0A'), (address, '00000000:0000', '0A'),
        (address, other, '01'), (address, '00000000:0000', '0A')]]
    assert reuse_port.count_sockets(rows, address, reuse_port.LISTENING) == 2
    assert reuse_port.count_sockets(rows, other, reuse_port.LISTENING) == 1


# --- replacing an instance, TCP --------------------------------------------------------------------------------------

def test_no_client_fails_while_an_instance_is_replaced_again_and_again(server):
    with Instances(server) as instances:
        current = instances.start()
        with ClientLoop(current.address, clients=4, pause=0.005) as load:
            for _ in range(RESTARTS // 2):
                current = instances.replace(current)
                be_used(load)
        assert not load.failures
        wait_until('an old one goes on', lambda: instances.codes() == [0] * (RESTARTS // 2) + [None])


def test_no_client_fails_while_each_of_two_instances_is_replaced_in_turn(server):
    with Instances(server) as instances:
        pair = [instances.start(), instances.start()]
        with ClientLoop(pair[0].address, clients=4, pause=0.005) as load:
            for number in range(RESTARTS // 2):
                pair[number % 2] = instances.replace(pair[number % 2])
                be_used(load)
        assert not load.failures
        wait_until('an old one goes on', lambda: instances.codes() == [0] * (RESTARTS // 2) + [None] * 2)


def be_used(load):
    served = load.served
    wait_until('nobody is served', lambda: load.served > served + 20)


def test_clients_in_the_middle_of_their_handshake_are_served_by_the_instance_that_leaves():
    need_namespaces()
    with NetworkNamespace(['10.0.0.1']) as here, NetworkNamespace() as far_away:
        with Server('A', '10.0.0.1', namespace=here) as server, SlowLink((here, far_away), delay=0.15):
            with Instances(server, listener='10.99.0.1:0', namespace=here) as instances:
                old = instances.start()
                new = instances.start()
                clients = [gevent.spawn(connect, old.address, 10.0, far_away) for _ in range(12)]
                gevent.joinall(clients)
                # To a client it is over when the server's part of it has come; its own part is still on its way.
                instances.stop(old)
                assert [read_line(client.value) for client in clients] == ['A'] * 12
                totals = [one.wait_for_status('no session', lambda found: found['connections']['total'])['connections']
                          for one in (old, new)]
                assert totals[0]['total'] and totals[1]['total']
                for client in clients:
                    client.value.close()


def test_who_waits_in_the_queue_of_a_full_instance_is_served_by_it(server):
    with Instances(server, 'max_connections=1', 'drain_timeout=30s') as instances:
        old = instances.start()
        instances.start()
        clients = [old.connect() for _ in range(16)]
        instances.stop(old)
        readers = [gevent.spawn(read_and_close, client) for client in clients]
        assert [reader.get() for reader in readers] == ['A'] * 16
        assert old.process.wait() == 0 and 'stopped: 0 sessions cut' in old.log


def read_and_close(client):
    with contextlib.closing(client):
        return read_line(client)


@pytest.mark.parametrize('leaving', [0, 1, 2])
def test_after_a_second_signal_the_others_share_evenly(monkeypatch, leaving):
    """It ends the drain while all clients are being sent to one of the others, which must not go on for ever."""
    monkeypatch.setattr(reuse_port, 'HANDSHAKE_SECONDS', 30)
    with group('127.0.0.1', 3) as (listeners, address):
        balancer = Balancer(listener=listeners.pop(leaving))
        draining = gevent.spawn(balancer.server.drain, 60)
        wait_until('clients still come', lambda: 24 in shares(listeners, address))
        draining.kill()
        assert min(shares(listeners, address, 60)) > 10
        balancer.close()


def test_an_instance_alone_drains_as_without_reuse_port(server):
    with Instances(server) as instances:
        alone = instances.start()
        with contextlib.closing(alone.connect()) as client:
            assert read_line(client) == 'A'
            instances.stop(alone)
            alone.wait_for_log('draining')
            wait_until('it still listens', lambda: how_connecting_ends(alone.address, 0.2) == 'refused')
            client.sendall(b'still there?\n')
            assert read_line(client) == 'still there?'
        assert alone.process.wait() == 0


def test_without_reuse_port_a_second_instance_is_refused(server):
    with Sidelb(server, 'reuse_port=on') as first:
        finished = run_sidelb(first.listener, server)
        assert finished.returncode == 1 and 'cannot listen on %s' % first.listener in finished.stderr


# --- replacing an instance, UDP --------------------------------------------------------------------------------------

class UdpEcho(object):
    """Answers each datagram but `ignore this` with itself, `delay` seconds later, inside the `with`; `str()` of it is its
    address."""

    def __init__(self, delay=0.0):
        self._delay = delay
        self._sock = bound_udp()
        self._greenlet = gevent.spawn(self._run)

    def _run(self):
        while True:
            data, client = self._sock.recvfrom(100)
            if data != b'ignore this':
                gevent.spawn_later(self._delay, self._sock.sendto, data, client)

    def __str__(self):
        return '%s:%d' % self._sock.getsockname()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self._greenlet.kill()
        self._sock.close()


def bound_udp(timeout=10.0):
    sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    sock.bind(('127.0.0.1', 0))
    sock.settimeout(timeout)
    return sock


def query(address):
    """Ask from a port of our own."""
    with contextlib.closing(bound_udp()) as sock:
        return ask(sock, address)


def ask(sock, address):
    """A connected socket takes a reply from the right address alone."""
    sock.connect(address)
    sock.send(b'question')
    return sock.recv(100)


def test_no_query_is_lost_while_an_instance_is_replaced():
    answers = []
    settings = ['proto=udp', 'responses=1', 'check=off', 'drain_timeout=500ms']
    with UdpEcho(0.02) as server, contextlib.closing(bound_udp()) as unlucky, Instances(server, *settings) as instances:
        current = instances.start()
        going_on = [True]

        def ask():
            while going_on:
                answers.append(query(current.address))
        askers = [gevent.spawn(ask) for _ in range(8)]
        for _ in range(5):
            so_far = len(answers)
            unlucky.sendto(b'ignore this', current.address)      # a session that does not end, and prolongs the drain
            current = instances.replace(current)
            wait_until('nobody is answered', lambda: len(answers) > so_far + 50)
        going_on.pop()
        for asker in askers:
            asker.get()
        assert set(answers) == set([b'question'])
        wait_until('an old one goes on', lambda: instances.codes() == [0] * 5 + [None])


def test_instances_share_the_udp_clients_of_a_wildcard_and_reply_from_the_right_address():
    with UdpEcho() as server, Instances(server, 'proto=udp', 'check=off', listener='0.0.0.0:0') as instances:
        both = [instances.start(), instances.start()]
        clients = [bound_udp() for _ in range(48)]      # all open at once: no two have the same port
        for client, address in zip(clients, itertools.cycle(['127.0.0.1', '127.0.0.2'])):
            assert ask(client, (address, both[0].port)) == b'question'
            client.close()
        counts = [one.status()['connections'] for one in both]
        assert min(count['total'] for count in counts) > 8
        assert sum(count['total'] for count in counts) == 48
        assert not any(count['drops'] for count in counts)


def test_a_udp_instance_alone_keeps_its_sessions_while_it_drains():
    with UdpEcho() as server, Instances(server, 'proto=udp', 'check=off') as instances:
        alone = instances.start()
        with contextlib.closing(bound_udp()) as client:
            client.connect(alone.address)
            for data in (b'one', b'two'):
                client.send(data)
                assert client.recv(100) == data
                if data == b'one':
                    instances.stop(alone)
                    alone.wait_for_log('draining: 1 session')


# --- more than one core ----------------------------------------------------------------------------------------------

def test_status_adds_up_instances_that_share_a_listener(server):
    with Instances(server) as instances, Sidelb(server) as unrelated:
        both = [instances.start(), instances.start()]
        for _ in range(24):
            assert both[0].who() == 'A'
        wait_until('not all are counted', lambda: sum(member_of(one)['total'] for one in both) == 24)
        wait_until('some go on', lambda: not sum(member_of(one)['active'] for one in both))
        wait_until('a check is missing', lambda: all(member_of(one)['state'] == 'up' for one in both))
        assert all(member_of(one)['total'] for one in both)
        sockets = ['--socket=' + one.status_path for one in both + [unrelated]]
        finished = run_sidelb('status', *sockets)
        assert finished.returncode == 0
        tables = finished.stdout.split('\n\n')
        assert sum(table.startswith('SideLB ') for table in tables) == 3
        assert tables[-2].startswith('2 instances on %s  the only server is up' % both[0].listener)
        titles, row = [line.split() for line in tables[-1].splitlines()]
        shown = dict(zip(titles, row))
        assert [shown[title] for title in ('STATE', 'SERVER', 'SESSIONS', 'TOTAL')] == ['up', str(server), '0', '24']


def member_of(instance):
    member, = instance.status()['members']
    return member


def test_an_instance_that_is_missing_is_named_and_the_others_are_shown(server, tmpdir):
    missing = str(tmpdir.join('none'))
    with Sidelb(server) as one:
        finished = run_sidelb('status', '--socket=' + missing, '--socket=' + one.status_path)
        assert finished.returncode == 1
        assert missing + ': ' in finished.stdout and one.listener in finished.stdout
        as_json = run_sidelb('status', '--json', '--socket=' + missing, '--socket=' + one.status_path)
        assert as_json.returncode == 1
        error, found = [json.loads(line) for line in as_json.stdout.splitlines()]
        assert missing in error['error'] and found['listener'] == one.listener


def snapshot(listener='127.0.0.1:5432', state='up', healthy=True, active=1, refused=()):
    member = {'name': 'db1', 'state': state, 'active': active, 'total': 10, 'failed': 2, 'bytes_sent': 5,
              'bytes_received': 7, 'since': 5, 'weight': 1, 'tier': 1, 'addresses': [{'address': '10.0.0.1:5432'}]}
    return {'state': 'running', 'check': 'tcp', 'mode': 'round-robin', 'listener': listener, 'proto': 'tcp',
            'healthy': healthy, 'rings': [], 'members': [member],
            'connections': {'active': active, 'total': 10, 'retries': 1, 'refused': dict(refused)}}


def test_a_sum_adds_what_each_member_carries():
    other = snapshot(active=3, refused={'no server': 4})
    other['members'].append(dict(other['members'][0], name='db2'))
    total = status.summed([snapshot(), other])
    assert total['connections'] == {'active': 4, 'total': 20, 'retries': 2, 'refused': {'no server': 4}}
    one, two = total['members']
    assert (one['name'], one['active'], one['total'], one['failed'], one['bytes_sent'], one['bytes_received']) == (
        'db1', 4, 20, 4, 10, 14)
    assert (two['name'], two['total']) == ('db2', 10)


def test_a_sum_tells_where_instances_disagree():
    total = status.summed([snapshot(), snapshot(state='down', healthy=False)])
    assert total['members'][0]['state'] == '1/2 up' and not total['healthy']


def test_only_instances_with_one_listener_are_added_up():
    assert status.totals([snapshot(), snapshot(listener='127.0.0.1:6379')]) == []
    total, = status.totals([snapshot(), snapshot(listener='127.0.0.1:6379'), snapshot()])
    assert (total['listener'], total['instances']) == ('127.0.0.1:5432', 2)
