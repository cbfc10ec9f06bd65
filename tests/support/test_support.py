"""The tests' own helpers keep their promises."""
from __future__ import absolute_import, division, print_function

import errno
import os
import select
import signal
import socket
import sys

import pytest

from ..support import requirements, servers
from ..support.clients import (
    connect, how_connecting_ends, how_it_ends, read_all, read_exactly, read_line, reset)
from ..support.netns import NetworkNamespace, entered
from ..support.places import Reservation, endpoint
from ..support.processes import Process, ProcessEnded, run
from ..support.program import PROJECT
from ..support.servers import Server, running, servers_on
from ..support.waiting import wait_until

PYTHON = sys.executable


# --- reservations -------------------------------------------------------------------------------------------

def test_a_reserved_port_refuses_clients_and_takes_a_listener():
    with Reservation(['127.0.0.1']) as reservation:
        assert how_connecting_ends(reservation.addresses[0]) == 'refused'
        with Server(port=reservation.port) as server:
            assert server.address == reservation.addresses[0]


def test_a_reservation_holds_one_port_on_several_addresses():
    with Reservation(['127.0.0.2', '127.0.0.3']) as reservation:
        assert reservation.addresses == [('127.0.0.2', reservation.port), ('127.0.0.3', reservation.port)]
        for address in reservation.addresses:
            sock = socket.socket()
            try:
                with pytest.raises(EnvironmentError) as caught:
                    sock.bind(address)
                assert caught.value.errno == errno.EADDRINUSE
            finally:
                sock.close()


def test_a_released_port_is_free():
    with Reservation(['127.0.0.2']) as reservation:
        pass
    sock = socket.socket()
    sock.bind(reservation.addresses[0])
    sock.close()


def test_endpoints_are_written_as_arguments():
    assert endpoint('127.0.0.1', 80) == '127.0.0.1:80'
    assert endpoint('::1', 80) == '[::1]:80'


# --- servers ------------------------------------------------------------------------------------------------

@pytest.fixture
def server():
    with Server('one') as one:
        yield one


@pytest.fixture
def dial(server):
    """A function that connects to the server; the connections are closed after the test."""
    socks = []

    def connect_to_server(timeout=5.0):
        socks.append(connect(server.address, timeout))
        return socks[-1]
    yield connect_to_server
    for sock in socks:
        sock.close()


@pytest.fixture
def client(dial):
    return dial()


def test_a_server_greets_and_echoes_and_counts(server, client):
    assert read_line(client) == 'one'
    client.sendall(b'hello')
    assert read_exactly(client, 5) == b'hello'
    client.shutdown(socket.SHUT_WR)
    assert read_all(client) == b''
    assert (server.accepted, server.served) == (1, 1)
    wait_until('the session did not end', lambda: not server.open_sessions)
    assert server.sessions[0].ended == 'eof'


def test_a_client_that_sends_nothing_is_accepted_but_not_served(server, client):
    assert read_line(client) == 'one'
    client.close()
    wait_until('the session did not end', lambda: not server.open_sessions)
    assert (server.accepted, server.served) == (1, 0)


def test_a_server_that_refuses_keeps_its_sessions_and_comes_back_on_its_address(server, client, dial):
    assert read_line(client) == 'one'
    server.refuse()
    assert how_connecting_ends(server.address) == 'refused'
    client.sendall(b'still there')
    assert read_exactly(client, 11) == b'still there'
    server.listen()
    assert read_line(dial()) == 'one'


def test_a_dead_server_resets_its_sessions(server, client):
    assert read_line(client) == 'one'
    server.die()
    assert how_it_ends(client) == 'reset'
    assert how_connecting_ends(server.address) == 'refused'
    assert not server.open_sessions


def test_a_server_can_close_its_sessions(server, client):
    assert read_line(client) == 'one'
    server.close_sessions()
    assert how_it_ends(client) == 'eof'


def test_a_black_hole_answers_no_connection_attempt_and_comes_back(server, dial):
    server.black_hole()
    assert [how_connecting_ends(server.address, timeout=0.1) for _ in range(3)] == ['timeout'] * 3
    server.listen()
    assert read_line(dial()) == 'one'


def test_a_black_hole_on_ipv6():
    with Server(ip='::1') as server:
        server.black_hole()
        assert how_connecting_ends(server.address, timeout=0.1) == 'timeout'


def test_a_server_that_stops_accepting_lets_clients_connect_and_hang(server, dial):
    server.stop_accepting()
    client = dial(timeout=0.1)
    with pytest.raises(socket.timeout):
        client.recv(1)
    assert server.accepted == 0
    server.listen()
    client.settimeout(5)
    assert read_line(client) == 'one'


def test_a_paused_server_makes_the_sender_wait(server, dial):
    server.behaviour = servers.swallow
    server.pause_reading()
    client = dial()
    client.setblocking(False)
    sent = 0
    try:
        while sent < 64 * 1024 * 1024:
            sent += client.send(b'x' * 65536)
    except EnvironmentError as error:
        assert error.errno in (errno.EAGAIN, errno.EWOULDBLOCK)
    assert 0 < sent < 64 * 1024 * 1024
    server.resume_reading()
    client.settimeout(5)
    client.shutdown(socket.SHUT_WR)
    assert read_all(client) == b''
    assert server.sessions[0].received == sent


def test_a_session_tells_a_reset_from_an_end(server, client):
    assert read_line(client) == 'one'
    reset(client)
    wait_until('the reset was not seen', lambda: server.sessions[0].ended == 'reset')
    wait_until('the session did not end', lambda: not server.open_sessions)


def test_a_server_can_answer_after_the_clients_end(server, dial):
    server.behaviour = servers.answer_after_end
    client = dial()
    client.sendall(b'12345')
    client.shutdown(socket.SHUT_WR)
    assert read_all(client) == b'5\n'


def test_a_server_can_end_first(server, dial):
    server.behaviour = servers.end_first
    client = dial()
    assert read_all(client) == b'bye\n'
    client.sendall(b'late')
    client.shutdown(socket.SHUT_WR)
    wait_until('the late bytes did not come', lambda: server.sessions[0].received == 4)


def test_poured_bytes_can_be_checked(server, dial):
    size = 3 * 65536 + 17
    server.behaviour = servers.pour(size)
    assert read_all(dial()) == servers.pattern(0, size)
    assert servers.pattern(100, 500) == servers.pattern(0, 600)[100:]


@pytest.mark.parametrize('behaviour, end', [
    (servers.hang_up_after(4), 'eof'), (servers.reset_after(4), 'reset')])
def test_a_server_can_end_midway(server, dial, behaviour, end):
    server.behaviour = behaviour
    client = dial()
    client.sendall(b'1234')
    assert how_it_ends(client) == end


def test_servers_on_several_addresses_share_a_port():
    with servers_on(['127.0.0.2', '127.0.0.3'], names=['a', 'b']) as (one, two):
        assert one.address[1] == two.address[1]
        assert [read_line(connect(each.address)) for each in (one, two)] == ['a', 'b']


def test_running_servers_end_with_the_block():
    with running(Server('a'), Server('b')) as pair:
        assert [how_connecting_ends(each.address, timeout=0.05) for each in pair] == ['timeout', 'timeout']
    assert [how_connecting_ends(each.address) for each in pair] == ['refused', 'refused']


# --- processes ----------------------------------------------------------------------------------------------

def python(code, **options):
    return Process([PYTHON, '-c', code], **options)


def test_a_process_ends_with_its_code_and_all_its_output():
    code = 'import sys; sys.stdout.write("out"); sys.stderr.write("err"); sys.exit(3)'
    finished = run([PYTHON, '-c', code])
    assert (finished.returncode, finished.stdout, finished.stderr) == (3, 'out', 'err')


def test_waiting_for_output_gives_the_match():
    with python('import sys, time; print("port 17"); sys.stdout.flush(); time.sleep(60)') as process:
        assert process.wait_for_output(r'port (\d+)').group(1) == '17'
        assert process.stop() == -signal.SIGTERM


def test_waiting_for_output_fails_at_once_when_the_process_ends():
    with python('print("nothing of interest")') as process:
        with pytest.raises(ProcessEnded) as caught:
            process.wait_for_output('port', timeout=60)
    assert 'nothing of interest' in str(caught.value)


def test_waiting_for_output_shows_the_output_when_it_fails():
    with python('import sys, time; print("not it"); sys.stdout.flush(); time.sleep(60)') as process:
        process.wait_for_output('not it')
        with pytest.raises(AssertionError) as caught:
            process.wait_for_output('this', timeout=0.05)
    assert 'not it' in str(caught.value)


def test_a_stubborn_process_is_killed_and_the_test_fails():
    with python('import signal, time; signal.signal(15, signal.SIG_IGN); print("deaf"); time.sleep(60)',
                environ=dict(os.environ, PYTHONUNBUFFERED='1')) as process:
        process.wait_for_output('deaf')
        with pytest.raises(AssertionError):
            process.stop(timeout=0.1)
        assert process.returncode == -signal.SIGKILL


def test_a_process_does_not_outlive_the_test_run():
    requirements.need_program('setpriv', 'util-linux')
    with python('from tests.support.processes import Process\n'
                'import os, sys, time\n'
                'child = Process([sys.executable, "-c", "print(1); import time; time.sleep(60)"])\n'
                'child.wait_for_output("1")\n'
                'print("child %d." % child.pid); time.sleep(60)\n',
                environ=dict(os.environ, PYTHONUNBUFFERED='1'), cwd=PROJECT) as parent:
        child = int(parent.wait_for_output(r'child (\d+)\.').group(1))
        assert is_alive(child)
        parent.kill()
        wait_until('the child lives on', lambda: not is_alive(child))


def is_alive(pid):
    """Neither gone nor a zombie that nobody has waited for."""
    try:
        with open('/proc/%d/stat' % pid) as stream:
            return stream.read().rpartition(')')[2].split()[0] != 'Z'
    except EnvironmentError:
        return False


def test_a_process_can_have_few_descriptors():
    requirements.need_program('prlimit', 'util-linux')
    code = 'import resource; print(resource.getrlimit(resource.RLIMIT_NOFILE))'
    assert run([PYTHON, '-c', code], nofile=(64, 128)).stdout == '(64, 128)\n'


def test_a_process_tells_what_it_uses():
    requirements.need('/proc is of Linux', os.path.exists('/proc/self/stat'))
    with python('print("up"); import sys, time; sys.stdout.flush(); time.sleep(60)') as process:
        process.wait_for_output('up')
        assert 1 << 20 < process.resident_bytes() < 1 << 28
        assert 3 <= process.descriptors() < 20
        assert 0 <= process.cpu_seconds() < 60


def test_a_hung_run_is_ended_with_the_stacks_of_all_greenlets():
    code = ('from gevent import monkey; monkey.patch_all()\n'
            'import gevent, gevent.event\n'
            'from tests.support.watchdog import Watchdog\n'
            'def waits_for_ever():\n'
            '    gevent.event.Event().wait()\n'
            'Watchdog(60, 2).arm("the test", 1)\n'
            'gevent.spawn(waits_for_ever).join(60)\n')
    finished = run([PYTHON, '-c', code], cwd=PROJECT)
    assert finished.returncode == 3
    assert 'the test has not ended after 1 s' in finished.stderr
    assert 'waits_for_ever' in finished.stderr


def test_a_busy_loop_is_ended_too():
    code = ('from gevent import monkey; monkey.patch_all()\n'
            'from tests.support.watchdog import Watchdog\n'
            'def spins():\n'
            '    while True: pass\n'
            'Watchdog(1, 2).arm("the test")\n'
            'spins()\n')
    finished = run([PYTHON, '-c', code], cwd=PROJECT)
    assert finished.returncode == 3
    assert 'in spins' in finished.stderr


# --- requirements -------------------------------------------------------------------------------------------

def test_a_missing_server_skips_for_a_user(monkeypatch):
    monkeypatch.delenv('SIDELB_TEST_ALL', raising=False)
    with pytest.raises(pytest.skip.Exception) as caught:
        requirements.need_program('no-such-server', 'no-such-package')
    assert 'apt install no-such-package' in str(caught.value)


def test_a_missing_server_fails_where_all_must_run(monkeypatch):
    monkeypatch.setenv('SIDELB_TEST_ALL', '1')
    with pytest.raises(pytest.fail.Exception) as caught:
        requirements.need_program('no-such-server', 'no-such-package')
    assert 'no-such-server is not installed' in str(caught.value)


def test_a_program_off_the_path_is_found(tmpdir, monkeypatch):
    program = tmpdir.join('15').mkdir().join('no-such-server')
    program.write('')
    program.chmod(0o755)
    assert requirements.find_program('no-such-server') is None
    pattern = str(tmpdir.join('*', 'no-such-server'))
    assert requirements.find_program('no-such-server', [pattern]) == str(program)


# --- network namespaces -------------------------------------------------------------------------------------

@pytest.fixture
def namespace():
    requirements.need_namespaces()
    with NetworkNamespace(['fd00:51de::11']) as its:
        yield its


def test_a_namespace_has_addresses_of_its_own(namespace):
    with Server('inside', 'fd00:51de::11', namespace=namespace) as server:
        client = connect(server.address, namespace=namespace)
        assert read_line(client) == 'inside'
        client.close()
        assert run([PYTHON, '-c', 'import socket; socket.create_connection(%r)' % (server.address,)],
                   namespace=namespace).returncode == 0


def test_a_namespace_has_a_hosts_file_and_a_resolv_conf_of_its_own(namespace):
    namespace.write_hosts('192.0.2.1 db.example.com\n')
    namespace.write_resolv_conf('nameserver 192.0.2.2\n')
    assert run(['cat', '/etc/hosts', '/etc/resolv.conf'], namespace=namespace).stdout == (
        '192.0.2.1 db.example.com\nnameserver 192.0.2.2\n')


def test_a_running_process_sees_a_changed_resolv_conf(namespace):
    code = ('import time\n'
            'while True:\n'
            '    print(open("/etc/resolv.conf").read()); time.sleep(0.01)\n')
    with python(code, namespace=namespace, environ=dict(os.environ, PYTHONUNBUFFERED='1')) as process:
        process.wait_for_output('nameserver')
        namespace.write_resolv_conf('nameserver 192.0.2.3\n')
        process.wait_for_output('192.0.2.3')


def test_sockets_made_after_a_visit_are_ours_again(namespace):
    with entered(namespace):
        inside = socket.socket()
    inside.bind(('127.0.0.1', 0))
    inside.listen(1)
    assert how_connecting_ends(inside.getsockname()) == 'refused'
    client = connect(inside.getsockname(), namespace=namespace)
    assert select.select([inside], [], [], 5)[0]
    client.close()
    inside.close()


def test_a_namespace_goes_with_the_block():
    requirements.need_namespaces()
    with NetworkNamespace() as namespace:
        assert os.path.exists('/run/netns/' + namespace.name)
    assert not os.path.exists('/run/netns/' + namespace.name)
    assert not os.path.exists('/etc/netns/' + namespace.name)


def test_the_namespace_of_a_killed_run_is_removed_by_the_next():
    requirements.need_namespaces()
    with python('from tests.support.netns import NetworkNamespace\n'
                'import time\n'
                'NetworkNamespace().__enter__(); print("made"); time.sleep(60)\n',
                environ=dict(os.environ, PYTHONUNBUFFERED='1'), cwd=PROJECT) as process:
        process.wait_for_output('made')
        leftover = '/run/netns/sidelb-test-%d-1' % process.pid
        assert os.path.exists(leftover)
        process.kill()
    with NetworkNamespace():
        assert not os.path.exists(leftover)
