"""Unix-domain sockets on both sides of a TCP balancer."""
from __future__ import absolute_import, division, print_function

import contextlib
import errno
import os
import socket

import gevent
import pytest
from gevent.server import StreamServer

from sidelb_lib.checks import registry
from sidelb_lib.checks.exchange import Deadline, ProbeFailed
from sidelb_lib.config.settings import defaults
from sidelb_lib.errors import SidelbError
from sidelb_lib.net import unix_socket
from sidelb_lib.net.connect import ConnectError, connect
from sidelb_lib.pool.members import Address

from ..support.waiting import wait_until
from .parts import Balancer, NamedEcho, end_of, exchange

BULK = b'0123456789abcdef' * 65536


@pytest.fixture
def path(tmpdir):
    return str(tmpdir.join('app.sock'))


@pytest.fixture
def unix_echo(tmpdir):
    """A server that says its name, on a socket of that name."""
    servers = []

    def make(name):
        echo = object.__new__(NamedEcho)
        echo.name, echo.sessions = name.encode('ascii'), 0
        echo.path = str(tmpdir.join(name + '.sock'))
        listener = unix_socket.listen(echo.path, 0o600)
        echo.endpoint = echo.path, 0
        echo.server = StreamServer(listener, echo._echo)
        echo.server.start()
        servers.append(echo)
        return echo
    yield make
    for echo in servers:
        echo.stop()


@pytest.fixture
def unix_balancer(path):
    """A balancer whose listener is `path`."""
    made = []

    def make(mode=0o600, **options):
        made.append(Balancer(listener=unix_socket.listen(path, mode), **options))
        return made[-1]
    yield make
    for one in made:
        one.close()


def client_of(path):
    client = socket.socket(socket.AF_UNIX)
    client.settimeout(10)
    client.connect(path)
    return client


def ask(path):
    with contextlib.closing(client_of(path)) as client:
        return exchange(client)


def test_clients_and_servers_may_both_be_on_unix_sockets(unix_balancer, unix_echo, echo, path):
    one = unix_balancer(log_level='debug')
    one.use(unix_echo('A').endpoint, echo('B').endpoint)
    assert sorted(ask(path) for _ in range(4)) == ['A', 'A', 'B', 'B']
    wait_until('the sessions did not end', lambda: not one.server.sessions)
    assert one.log.events('session')[0].startswith('unix:pid %d uid %d to ' % (os.getpid(), os.getuid()))
    assert one.server.counts()['ended'] == {'client_end': 4}
    assert sorted(str(address) for address in one.pool.addresses())[1] == 'unix:' + os.path.join(
        os.path.dirname(path), 'A.sock')


def test_a_session_names_its_client_as_the_log_does(unix_balancer, unix_echo, path):
    one = unix_balancer()
    one.use(unix_echo('A').endpoint)
    with contextlib.closing(client_of(path)) as client:
        assert exchange(client) == 'A'
        assert [session.client_text for session in one.server.living()] == [
            'unix:pid %d uid %d' % (os.getpid(), os.getuid())]


def test_bulk_and_half_closes_pass(unix_balancer, tmpdir, path):
    def turn_round(sock, _):
        data = b''.join(iter(lambda: sock.recv(1 << 20), b''))
        sock.sendall(data[::-1])
    listener = unix_socket.listen(str(tmpdir.join('server.sock')), 0o600)
    server = StreamServer(listener, turn_round)
    server.start()
    one = unix_balancer()
    one.use((listener.file.path, 0))
    with contextlib.closing(client_of(path)) as client:
        sending = gevent.spawn(lambda: (client.sendall(BULK), client.shutdown(socket.SHUT_WR)))
        assert b''.join(iter(lambda: client.recv(1 << 20), b'')) == BULK[::-1]
        sending.get()
    server.stop()


def test_a_server_that_is_not_there_costs_the_client_nothing(unix_balancer, unix_echo, tmpdir, path):
    gone = socket.socket(socket.AF_UNIX)
    gone.bind(str(tmpdir.join('gone')))                 # a stale file
    one = unix_balancer()
    one.use((str(tmpdir.join('gone')), 0), (str(tmpdir.join('never')), 0), unix_echo('A').endpoint)
    assert [ask(path) for _ in range(3)] == ['A'] * 3
    errors = dict((str(address), address.last_error) for address in one.pool.addresses() if not address.up)
    assert sorted(errors.values()) == ['Connection refused', 'No such file or directory']


def test_a_client_waits_for_a_server_whose_queue_is_full(tmpdir):
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(str(tmpdir.join('full')))
    listener.listen(0)
    fillers = [socket.socket(socket.AF_UNIX) for _ in range(3)]
    for filler in fillers:
        filler.setblocking(False)
        filler.connect_ex(str(tmpdir.join('full')))
    address = Address(str(tmpdir.join('full')), 0, 0.0)
    with pytest.raises(ConnectError) as caught:
        connect(address, 0.1)
    assert str(caught.value) == 'Connection timed out' and not caught.value.local
    connecting = gevent.spawn(connect, address, 5.0)
    gevent.sleep(0)
    listener.setblocking(True)
    for _ in range(2):
        listener.accept()
    connecting.get(timeout=5).close()
    for sock in fillers + [listener]:
        sock.close()


def test_its_mode_says_who_may_connect_and_a_stale_file_is_replaced(path):
    with contextlib.closing(unix_socket.listen(path, 0o660)) as listener:
        assert os.stat(path).st_mode & 0o777 == 0o660
        with pytest.raises(SidelbError) as caught:
            unix_socket.listen(path, 0o600)
        assert str(caught.value) == 'another instance answers there'
        listener.file = None                            # as if it had been killed
    assert os.path.exists(path)
    with contextlib.closing(unix_socket.listen(path, 0o600)):
        assert os.stat(path).st_mode & 0o777 == 0o600
    assert not os.path.exists(path)


def test_a_file_that_is_no_socket_stays(path):
    with open(path, 'w') as text:
        text.write('precious')
    with pytest.raises(SidelbError) as caught:
        unix_socket.listen(path, 0o600)
    assert str(caught.value) == 'there is a file which is no socket'
    with open(path) as text:
        assert text.read() == 'precious'


def test_the_file_of_whoever_came_next_is_not_removed(path):
    former = unix_socket.listen(path, 0o600)
    os.unlink(path)
    with contextlib.closing(unix_socket.listen(path, 0o600)):
        former.close()
        assert os.path.exists(path)


def test_a_listener_moves_between_a_path_and_a_port(unix_balancer, unix_echo, path, tmpdir):
    one, other = unix_balancer(), str(tmpdir.join('other.sock'))
    one.use(unix_echo('A').endpoint)
    with contextlib.closing(client_of(path)) as client:
        assert exchange(client) == 'A'
        one.server.move(unix_socket.listen(other, 0o600))
        assert ask(other) == exchange(client) == 'A'


def test_a_client_that_waits_in_the_queue_is_noticed_when_it_leaves(unix_balancer, path):
    one = unix_balancer(server_wait=30.0, connect_timeout=0.1)
    with contextlib.closing(client_of(path)) as client:
        client.sendall(b'x')
        wait_until('it does not wait', lambda: len(one.server.queue) or len(one.server.sessions))
    wait_until('it waits still', lambda: not one.server.sessions, 10)


@pytest.mark.parametrize('version, begins', [('v1', b'A PROXY UNKNOWN\r\n'), ('v2', b'A \r\n')])
def test_a_client_without_an_ip_is_named_to_no_server(unix_balancer, unix_echo, path, version, begins):
    one = unix_balancer(proxy=version)
    one.use(unix_echo('A').endpoint)
    with contextlib.closing(client_of(path)) as client:
        client.sendall(b'\n')
        assert client.recv(100).startswith(begins)


def test_nobody_there_ends_the_connection(unix_balancer, path):
    one = unix_balancer()
    one.use((path + '.never', 0))
    with contextlib.closing(client_of(path)) as client:
        assert end_of(client) in ('eof', 'reset')
    assert one.log.events('refused')


@pytest.mark.parametrize('check, passes', [('tcp', True), (r'ask:hello\n,want:A hello', True), ('redis', False)])
def test_checks_reach_servers_on_unix_sockets(unix_echo, check, passes, tmpdir):
    probe = registry.make(registry.parse(check), registry.Context(defaults(), None))
    address = Address(unix_echo('A').path, 0, 0.0)
    if passes:
        assert probe(address, Deadline(2.0)).state == 'up'
    else:
        with pytest.raises(ProbeFailed):
            probe(address, Deadline(2.0))
    with pytest.raises(ProbeFailed) as caught:
        probe(Address(str(tmpdir.join('never')), 0, 0.0), Deadline(1.0))
    assert str(caught.value) == 'No such file or directory'


def test_a_name_without_a_file_serves_and_is_served(unix_echo, echo):
    name = '@sidelb-test-%d' % os.getpid()
    server = StreamServer(unix_socket.listen(name + '-db', 0o600), lambda sock, _: (sock.sendall(b'greeting'), sock.close()))
    server.start()
    one = Balancer(listener=unix_socket.listen(name, 0o600))
    try:
        one.use((name + '-db', 0))
        with contextlib.closing(client_of('\0' + name[1:])) as client:
            assert client.recv(100) == b'greeting'
        assert [str(address) for address in one.pool.addresses()] == ['unix:%s-db' % name]
        with pytest.raises(SidelbError) as caught:
            unix_socket.listen(name, 0o600)
        assert str(caught.value) == 'Address already in use'
    finally:
        one.close()
        server.close()
    assert unix_socket.connect_code(name) == errno.ECONNREFUSED
