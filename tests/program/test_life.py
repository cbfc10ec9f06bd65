"""The life of the real program: start, signals, drain, limits, and the status socket."""
from __future__ import absolute_import, division, print_function

import contextlib
import errno
import os
import re
import signal
import socket
import stat
import sys
import time

import pytest

from ..support.clients import connect, how_it_ends, read_all, read_line
from ..support.netns import NetworkNamespace
from ..support.places import bound_socket
from ..support.processes import Process
from ..support.program import COMMAND, Sidelb, clean_environ, run_sidelb
from ..support.requirements import need_namespaces
from ..support.servers import Server, running, servers_on
from ..support.waiting import wait_until


@pytest.fixture
def server():
    with Server('A') as one:
        yield one


# --- start -----------------------------------------------------------------------------------------------------------

def test_all_settings_may_come_from_the_environment(server):
    with Sidelb(listener=None, environ={'SIDELB_BIND_ADDR': '127.0.0.1:0', 'SIDELB_BACKENDS': str(server),
                                        'SIDELB_MODE': 'least-connections'}) as sidelb:
        assert sidelb.who() == 'A'
        assert sidelb.status()['mode'] == 'least-connections'


def test_a_variable_that_is_no_setting_is_told_and_stops_nothing(server):
    with Sidelb(server, environ={'SIDELB_VERSION': '3.1', 'SIDELB_MOD': 'x'}) as sidelb:
        sidelb.wait_for_log('warning SIDELB_VERSION is ignored: no such setting')
        sidelb.wait_for_log(r'warning SIDELB_MOD is ignored: no such setting: did you mean SIDELB_MODE\?')
        assert sidelb.who() == 'A'


def test_the_path_of_a_status_socket_may_have_any_letters(server, tmpdir):
    here, gone = str(tmpdir) + '/\xc3\xbc.sock', str(tmpdir) + '/\xc3\xb6.sock'
    with Sidelb(server, 'status_socket=' + here):
        for form in [], ['--json']:
            finished = run_sidelb('status', '--socket=' + here, '--socket=' + gone, *form)
            assert finished.returncode == 1
            assert '.sock: No such file or directory' in finished.output and str(server) in finished.output


def test_connections_are_accepted_while_no_name_server_answers(server):
    with contextlib.closing(bound_udp_socket()) as silent:
        with Sidelb(server, 'ring_domain=db.example.com:5432', 'resolver=127.0.0.1:%d' % silent.getsockname()[1]) as sidelb:
            assert [sidelb.who() for _ in range(5)] == ['A'] * 5


def bound_udp_socket():
    sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    sock.bind(('127.0.0.1', 0))
    return sock


def test_a_listener_that_is_taken_is_one_line_and_exit_code_1(server):
    with contextlib.closing(bound_socket('127.0.0.1', 0)) as taken:
        taken.listen(1)
        address = '127.0.0.1:%d' % taken.getsockname()[1]
        finished = run_sidelb(address, server)
    assert finished.returncode == 1
    assert finished.stderr == 'sidelb: cannot listen on %s: %s: ss -lntup shows who has it\n' % (
        address, os.strerror(errno.EADDRINUSE))
    assert finished.stdout == ''


def test_a_wildcard_and_an_address_of_this_host_on_one_port_are_a_loop():
    need_namespaces()
    with NetworkNamespace(['10.0.0.1']) as namespace:
        finished = run_sidelb('0.0.0.0:5432', '10.0.0.1:5432', namespace=namespace)
        assert (finished.returncode, finished.stdout) == (1, '')
        assert '10.0.0.1:5432 is an address of this host' in finished.stderr
        with Sidelb('10.0.0.2:5432', listener='0.0.0.0:5432', namespace=namespace):
            pass


def test_bad_settings_bind_nothing_and_exit_with_2():
    finished = run_sidelb('127.0.0.1:0', 'mode=random')
    assert finished.returncode == 2
    assert 'mode=random' in finished.stderr and 'no server' in finished.stderr
    assert 'listening' not in finished.stdout


def test_udp_is_balanced_too():
    with contextlib.closing(bound_udp_socket()) as server:
        server.settimeout(10)
        with Sidelb('127.0.0.1:%d' % server.getsockname()[1], 'proto=udp', 'check=off') as sidelb:
            with contextlib.closing(bound_udp_socket()) as client:
                client.settimeout(10)
                client.sendto(b'question', sidelb.address)
                question, peer = server.recvfrom(100)
                server.sendto(b'answer', peer)
                assert (question, client.recvfrom(100)) == (b'question', (b'answer', sidelb.address))
            assert sidelb.status()['connections']['datagrams_sent'] == 1


def test_the_log_may_be_json(server):
    import json
    with Sidelb(server, 'log_format=json', started='"listening"') as sidelb:
        sidelb.wait_for_log('"servers_changed"')
        events = [json.loads(line)['event'] for line in sidelb.log.splitlines()]
        assert 'listening' in events


# --- health ----------------------------------------------------------------------------------------------------------

ANSWERING_SERVER = '''
import socket, sys
listener = socket.socket()
listener.bind(('127.0.0.1', 0))
listener.listen(100)
print(listener.getsockname()[1])
sys.stdout.flush()
while True:
    client = listener.accept()[0]
    if client.recv(100):
        client.sendall(b'+PONG\\r\\n')
    client.close()
'''


@pytest.mark.parametrize('check, state', [('tcp', 'up'), ('ask:PING\\r\\n,want:+PONG', 'down')])
def test_a_server_that_is_stopped_still_accepts_and_only_a_question_finds_it(check, state):
    with Process([sys.executable, '-c', ANSWERING_SERVER]) as stopped:
        port = stopped.wait_for_output(r'(\d+)').group(1)
        with Sidelb('127.0.0.1:' + port, 'check=' + check, 'check_interval=200ms', 'check_timeout=200ms') as sidelb:
            sidelb.wait_until_up('127.0.0.1:' + port)
            stopped.signal(signal.SIGSTOP)
            moments = set()

            def has_judged(status):
                member = status['members'][0]
                moments.add(member['addresses'][0]['last_probe'])
                return member['state'] == 'down' or len(moments) > 6
            found = sidelb.wait_for_status('not probed often enough', has_judged)
            assert found['members'][0]['state'] == state
            stopped.signal(signal.SIGCONT)


def test_a_server_that_dies_is_noticed_and_comes_back_and_no_client_fails():
    with servers_on(['127.0.0.1', '127.0.0.2'], ['A', 'B']) as (one, two):
        with Sidelb(one, two, 'check_interval=200ms') as sidelb:
            assert sorted(sidelb.who() for _ in range(4)) == ['A', 'A', 'B', 'B']
            one.die()
            assert [sidelb.who() for _ in range(10)] == ['B'] * 10
            sidelb.wait_for_log('%s is down' % re.escape(str(one)))
            one.listen()
            sidelb.wait_for_log('%s is up' % re.escape(str(one)))
            assert sorted(sidelb.who() for _ in range(4)) == ['A', 'A', 'B', 'B']


def test_a_server_that_accepts_nothing_is_noticed():
    with servers_on(['127.0.0.1', '127.0.0.2'], ['A', 'B']) as (one, two):
        one.black_hole()
        with Sidelb(one, two, 'check_interval=200ms', 'check_timeout=200ms', 'connect_timeout=500ms') as sidelb:
            assert [sidelb.who() for _ in range(4)] == ['B'] * 4
            sidelb.wait_for_log('is down: %s' % os.strerror(errno.ETIMEDOUT))


def test_without_checks_nothing_is_probed_and_clients_find_out():
    with servers_on(['127.0.0.1', '127.0.0.2'], ['A', 'B']) as (one, two):
        with Sidelb(one, two, 'check=off', 'check_interval=300ms') as sidelb:
            one.die()
            assert [sidelb.who() for _ in range(6)] == ['B'] * 6
            sidelb.wait_for_log('is down')
            one.listen()
            wait_until('it got no other chance', lambda: sidelb.who() == 'A')
            assert two.accepted == two.served + sum(1 for session in two.sessions if not session.received)


def test_hangup_signal_probes_now(server):
    with Server('B', '127.0.0.2') as other:
        other.refuse()
        with Sidelb(server, other, 'check_interval=1h', 'check_fall=1') as sidelb:
            sidelb.signal(signal.SIGHUP)
            sidelb.wait_for_log('%s is down' % re.escape(str(other)), timeout=5)


# --- the end ---------------------------------------------------------------------------------------------------------

def test_sigterm_lets_sessions_end_and_exits_with_0(server):
    with Sidelb(server) as sidelb:
        with contextlib.closing(sidelb.connect()) as client:
            assert read_line(client) == 'A'
            sidelb.signal(signal.SIGTERM)
            sidelb.wait_for_log('draining: 1 session')
            wait_until('new clients are still accepted', lambda: refuses(sidelb.address))
            client.sendall(b'still there?\n')
            assert read_line(client) == 'still there?'
        assert sidelb.process.wait() == 0
        assert 'stopped: 0 sessions cut' in sidelb.log


def refuses(address):
    try:
        connect(address).close()
    except socket.error as error:
        assert error.errno == errno.ECONNREFUSED
        return True
    return False


@pytest.mark.parametrize('number', [signal.SIGTERM, signal.SIGINT])
def test_what_is_left_at_drain_timeout_is_cut_and_counted(server, number):
    with Sidelb(server, 'drain_timeout=300ms') as sidelb:
        with contextlib.closing(sidelb.connect()) as client:
            assert read_line(client) == 'A'
            sidelb.signal(number)
            assert how_it_ends(client) == 'reset'
        assert sidelb.process.wait() == 0
        assert 'stopped: 1 session cut' in sidelb.log


def test_a_second_signal_ends_it_at_once(server):
    with Sidelb(server, 'drain_timeout=1h') as sidelb:
        with contextlib.closing(sidelb.connect()) as client:
            assert read_line(client) == 'A'
            sidelb.signal(signal.SIGTERM)
            sidelb.wait_for_log('draining')
            sidelb.signal(signal.SIGTERM)
            assert sidelb.process.wait(5.0) == 0
            assert how_it_ends(client) == 'reset'
        assert 'stopped: 1 session cut' in sidelb.log


def test_who_waits_in_the_accept_queue_is_served_before_the_listener_closes(server):
    with Sidelb(server, 'max_connections=2') as sidelb:
        held = [sidelb.connect() for _ in range(2)]
        assert [read_line(client) for client in held] == ['A', 'A']
        queued = [sidelb.connect() for _ in range(10)]
        sidelb.signal(signal.SIGTERM)
        sidelb.wait_for_log('draining')
        for client in held + queued:
            assert client in held or read_line(client) == 'A'
            client.close()                 # makes room for the next
        assert sidelb.process.wait() == 0
        assert 'stopped: 0 sessions cut' in sidelb.log


def test_idle_and_busy_sessions_survive_a_drain_that_gives_them_time(server):
    with Sidelb(server, 'drain_timeout=20s') as sidelb:
        clients = [sidelb.connect() for _ in range(5)]
        assert [read_line(client) for client in clients] == ['A'] * 5
        sidelb.signal(signal.SIGTERM)
        sidelb.wait_for_log('draining: 5 sessions')
        for number, client in enumerate(clients):
            client.sendall(b'%d\n' % number)
            assert read_line(client) == str(number)
            client.close()
        assert sidelb.process.wait() == 0


# --- limits ----------------------------------------------------------------------------------------------------------

def test_the_soft_limit_of_descriptors_is_raised_to_the_hard_one(server):
    with Sidelb(server, nofile=(64, 800)) as sidelb:
        clients = [sidelb.connect() for _ in range(150)]
        assert [read_line(client) for client in clients] == ['A'] * 150
        for client in clients:
            client.close()


def test_running_out_of_descriptors_makes_clients_wait_marks_nobody_down_and_does_not_spin(server):
    with Sidelb(server, 'max_connections=1000', nofile=(60, 60)) as sidelb:
        clients = [sidelb.connect() for _ in range(80)]
        wait_until('nobody is served', lambda: server.open_sessions)
        before = sidelb.process.cpu_seconds()
        time.sleep(1.0)                    # what is looked for is work that should not be there
        assert sidelb.process.cpu_seconds() - before < 0.3
        assert 5 < len(server.open_sessions) < 30
        for client in clients:
            client.close()
        wait_until('it did not recover', lambda: sidelb.who() == 'A')
        assert 'is down' not in sidelb.log and 'reset' not in sidelb.log


# --- status socket ---------------------------------------------------------------------------------------------------

def test_the_status_socket_is_for_its_owner_alone(server):
    with Sidelb(server) as sidelb:
        mode = os.stat(sidelb.status_path).st_mode
        assert stat.S_ISSOCK(mode) and stat.S_IMODE(mode) == 0o600


@pytest.mark.parametrize('request_bytes', [b'', b'Q', b's', b'anything at all'])
def test_a_byte_or_just_the_end_gets_the_health(server, request_bytes):
    with Sidelb(server) as sidelb:
        assert sidelb.ask(request_bytes) == b'HEALTHY\n'


def test_one_byte_without_an_end_is_answered_too(server):
    with Sidelb(server) as sidelb:
        with contextlib.closing(socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)) as client:
            client.settimeout(5)
            client.connect(sidelb.status_path)
            client.sendall(b's')
            assert read_all(client) == b'HEALTHY\n'


def test_no_server_up_is_unhealthy():
    with Server() as server:
        server.refuse()
        with Sidelb(server, 'check_interval=100ms') as sidelb:
            wait_until('it is healthy', lambda: sidelb.ask(b'Q') == b'UNHEALTHY\n')
            checked = run_sidelb('--health-check-uds', '--socket=' + sidelb.status_path)
            assert (checked.returncode, checked.stdout) == (1, '')
            assert 'no server is up' in checked.stderr


def test_health_check_prints_healthy(server):
    with Sidelb(server) as sidelb:
        checked = run_sidelb('--health-check-uds', environ={'SIDELB_STATUS_SOCKET': sidelb.status_path})
        assert (checked.returncode, checked.stdout, checked.stderr) == (0, 'Healthy\n', '')


def test_health_check_of_nobody_says_why(tmpdir):
    checked = run_sidelb('--health-check-uds', '--socket=%s' % tmpdir.join('none'))
    assert checked.returncode == 1 and checked.stdout == ''
    assert os.strerror(errno.ENOENT) in checked.stderr and len(checked.stderr.splitlines()) == 1


def test_the_status_tells_all_of_a_member(server):
    with Sidelb(server, 'check_interval=100ms') as sidelb:
        with contextlib.closing(sidelb.connect()) as client:
            assert read_line(client) == 'A'
            client.sendall(b'12345\n')
            assert read_line(client) == '12345'
            sidelb.wait_for_status('it was never probed', lambda found: found['members'][0]['addresses'][0]['last_probe'])
            snapshot = sidelb.status()
            member, = snapshot['members']
            address, = member['addresses']
            assert (member['state'], member['active'], member['total'], member['failed']) == ('up', 1, 1, 0)
            assert (member['bytes_sent'], member['bytes_received']) == (6, 8)
            assert address['address'] == str(server) and address['state'] == 'up' and address['last_error'] is None
            assert snapshot['listener'] == sidelb.listener and snapshot['mode'] == 'round-robin'
            assert snapshot['uptime'] > 0 and snapshot['state'] == 'running' and snapshot['healthy'] is True


def test_status_into_a_pipe_has_whole_names_and_every_column(server):
    with Sidelb(server) as sidelb:
        sidelb.wait_until_up(server)
        finished = run_sidelb('status', '--socket=' + sidelb.status_path)
        assert finished.returncode == 0
        assert '  the only server is up  tcp, round-robin, check tcp' in finished.stdout.splitlines()[0]
        row, = [line.split() for line in finished.stdout.splitlines() if line.startswith('up ')]
        assert row[1] == str(server) and '\x1b' not in finished.stdout


def test_a_stale_socket_file_is_replaced(server, tmpdir):
    path = str(tmpdir.join('status.sock'))
    with contextlib.closing(socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)) as stale:
        stale.bind(path)
    with Sidelb(server, 'status_socket=' + path):
        assert run_sidelb('--health-check-uds', '--socket=' + path).returncode == 0
    assert not os.path.exists(path)


def test_a_living_instances_socket_is_never_stolen(server):
    with Sidelb(server) as first:
        with Sidelb(server, 'status_socket=' + first.status_path) as second:
            second.wait_for_log('no status socket at .*another instance answers there; .*status_socket=')
            assert second.who() == 'A'
        assert first.status()['listener'] == first.listener


def test_a_file_that_is_no_socket_is_left_alone(server, tmpdir):
    path = tmpdir.join('precious')
    path.write('data')
    with Sidelb(server, 'status_socket=%s' % path) as sidelb:
        sidelb.wait_for_log('no status socket at')
        assert sidelb.who() == 'A'
    assert path.read() == 'data'


def test_the_status_is_answered_while_the_relay_is_busy(server):
    with Sidelb(server) as sidelb:
        clients = [sidelb.connect() for _ in range(50)]
        began = time.time()
        assert sidelb.ask(b'Q') == b'HEALTHY\n'
        assert time.time() - began < 1.0
        for client in clients:
            client.close()


def test_members_that_hold_sessions_are_shown_while_they_leave(server):
    with running(Server('B', '127.0.0.2')) as (other,):
        with Sidelb(server, other) as sidelb:
            with contextlib.closing(connect(sidelb.address)) as client:
                name = read_line(client)
                active = [member['active'] for member in sidelb.status()['members']]
                assert sorted(active) == [0, 1] and name in 'AB'


def test_watching_the_status_goes_on_through_a_restart(server, tmpdir):
    path = str(tmpdir.join('status.sock'))
    environ = {'SIDELB_STATUS_SOCKET': path}
    with Sidelb(server, environ=environ) as first:
        watch = Process(COMMAND + ['status', '--watch', '--json', '--socket=' + path], environ=clean_environ())
        with watch:
            watch.wait_for_output('"serving"|"state"')
            first.end_at_once()
            watch.wait_for_output('is SideLB running')
            with Sidelb(server, 'mode=least-connections', environ=environ):
                watch.wait_for_output('least-connections')
