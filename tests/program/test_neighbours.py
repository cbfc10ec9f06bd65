"""Neighbours of the faults of the first field round: of the same kinds, in other places. Numbers are those of its list."""
from __future__ import absolute_import, division, print_function

import contextlib
import os
import signal
import socket
import sys

import gevent
import pytest
from gevent.event import Event
from gevent.server import StreamServer

from ..support.clients import connect, how_it_ends, read_line
from ..support.nameserver import dead, name_server, until
from ..support.netns import NetworkNamespace, entered
from ..support.processes import Process, run
from ..support.program import COMMAND, Sidelb, clean_environ, run_sidelb
from ..support.requirements import need_namespaces, need_program
from ..support.servers import Server, servers_on
from ..udp.parts import NamedEcho
from .test_field_faults import set_kernel
from .test_signals import BLOCKED

IGNORED = """
import os, signal, sys
for number in (signal.SIGCHLD, signal.SIGTERM, signal.SIGHUP):
    signal.signal(number, signal.SIG_IGN)
os.execv(sys.argv[1], sys.argv[1:])
"""


@pytest.fixture
def one_port():
    """A namespace with one local port, which is also that of a server which is not there."""
    need_namespaces()
    with NetworkNamespace() as namespace:
        set_kernel(namespace, 'net.ipv4.ip_local_port_range=5001 5001')
        yield namespace


# --- 1: how a session ends ---------------------------------------------------------------------------------------------

def test_1d_a_client_that_waits_for_a_server_has_not_lost_the_time_in_which_nobody_could_serve_it():
    with Server('A') as server:
        with Sidelb(server, 'server_wait=1s', 'check=off') as sidelb:
            server.refuse()
            client = sidelb.connect()
            sidelb.wait_for_status('it does not wait', lambda snapshot: snapshot['connections']['waiting'] == 1)
            sidelb.signal(signal.SIGSTOP)
            server.listen()
            gevent.sleep(1.7)
            sidelb.signal(signal.SIGCONT)
            assert read_line(client) == 'A'
            client.close()


@pytest.mark.parametrize('settings', [
    ['ring_domain=db.test:5432', 'connect_timeout=20s'], ['127.0.0.1:1', 'check=off', 'server_wait=20s'],
    ['127.0.0.1:1', 'accept_proxy=127.0.0.1', 'proxy_timeout=20s']], ids=['for DNS', 'for a server', 'for a header'])
def test_1f_a_second_signal_resets_whoever_waits_whatever_for(settings):
    with name_server() as names:
        names.misbehave(dead)
        with Sidelb(*settings, environ={'SIDELB_RESOLVER': '%s:%d' % names.address}) as sidelb:
            clients = [sidelb.connect() for _ in range(3)]
            sidelb.wait_for_status('they do not wait', lambda snapshot: snapshot['connections']['active'] == 3)
            sidelb.signal(signal.SIGTERM)
            sidelb.wait_for_log('draining')
            sidelb.signal(signal.SIGTERM)
            assert [how_it_ends(client) for client in clients] == ['reset'] * 3
            assert sidelb.process.wait(10) == 0
            for client in clients:
                client.close()


# --- 3: verdicts -------------------------------------------------------------------------------------------------------

def test_3k_a_client_never_gets_its_own_datagram_for_an_answer(one_port):
    echo = NamedEcho('A', port=7000, namespace=one_port)
    with Sidelb('127.0.0.1:5001', '127.0.0.1:7000', 'proto=udp', 'check=off', 'session_timeout=0.5s', namespace=one_port,
                listener='127.0.0.1:6000') as sidelb:
        for number in range(4):
            with entered(one_port):
                client = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
            with contextlib.closing(client):
                client.bind(('127.0.0.1', 30000 + number))
                client.settimeout(10)
                client.sendto(b'mine', sidelb.address)
                assert client.recv(100) == b'A mine'
    echo.stop()


def test_3k_a_udp_probe_of_itself_is_a_refusal(one_port):
    with Sidelb('127.0.0.1:5001', 'proto=udp', 'check_interval=0.1s', namespace=one_port,
                listener='127.0.0.1:6000') as sidelb:
        snapshot = sidelb.wait_for_status('it was not probed', lambda snapshot: [
            member for member in snapshot['members'] if member['addresses'][0]['failed_probes'] > 5])
        assert snapshot['members'][0]['addresses'][0]['last_error'] == 'Connection refused'
        assert 'is up again' not in sidelb.log


def test_3j_a_client_that_leaves_before_the_first_answer_of_dns_reaches_no_server():
    answer = Event()
    with Server('A') as server, name_server() as names:
        names.zone.set_addresses('db.test', ['127.0.0.1'])
        names.misbehave(until(answer))
        with Sidelb('ring_domain=db.test:%d' % server.address[1], 'check=off',
                    environ={'SIDELB_RESOLVER': '%s:%d' % names.address}) as sidelb:
            for _ in range(5):
                sidelb.connect().close()
            patient = sidelb.connect()
            sidelb.wait_for_status('not all have come', lambda snapshot: snapshot['connections']['active'] == 6)
            answer.set()
            assert read_line(patient) == 'A'
            patient.close()
            assert server.accepted == 1


def test_3j_a_client_that_leaves_while_there_is_no_room_for_it_reaches_no_server():
    with Server('A') as server:
        with Sidelb(server, 'check=off', 'max_connections=1') as sidelb:
            first = sidelb.connect()
            assert read_line(first) == 'A'
            for _ in range(5):
                sidelb.connect().close()
            patient = sidelb.connect()
            first.close()
            assert read_line(patient) == 'A'
            patient.close()
            assert server.accepted == 2


# --- 4: probes ---------------------------------------------------------------------------------------------------------

@pytest.mark.parametrize('ip, settings', [
    ('::1', []), ('127.0.0.1', ['source=127.0.0.2']), ('127.0.0.1', ['proxy=v2']), ('127.0.0.1', ['proto=udp'])],
    ids=['IPv6', 'source', 'proxy', 'a port of its own'])
def test_4a_a_tcp_probe_is_seen_by_no_server_whichever_way_it_comes(ip, settings):
    with Server('A', ip=ip) as server:
        check = 'check=tcp:%d' % server.address[1] if 'proto=udp' in settings else 'check=tcp'
        with Sidelb(server, check, 'check_interval=0.1s', *settings) as sidelb:
            sidelb.wait_until_up(server)
            gevent.sleep(1.0)
            assert server.accepted == 0
            server.refuse()
            sidelb.wait_for_log('is down: Connection refused')          # by a probe, as there is no client


# --- 5: what others have written ---------------------------------------------------------------------------------------

@pytest.mark.parametrize('family, server, listener', [
    ('ip', '127.0.0.9', '127.0.0.1:6000'), ('ip6', 'fd00::9', '[::1]:6000'), ('ip', '127.0.0.9', '0.0.0.0:6000')])
def test_5d_a_rule_that_leads_servers_to_the_listener_makes_no_loop(family, server, listener):
    need_namespaces()
    with NetworkNamespace(['fd00::9']) as namespace:
        for rule in ('add table %s nat', 'add chain %s nat out { type nat hook output priority -100 ; }',
                     'add rule %s nat out %s daddr ' + server + ' tcp dport 7000 redirect to :6000'):
            finished = run([need_program('nft', 'nftables')] + rule.replace('%s', family).split(), namespace=namespace)
            assert finished.returncode == 0, finished
        with Sidelb('[%s]:7000' % server if ':' in server else server + ':7000', 'check=off', 'max_connections=50',
                    namespace=namespace, listener=listener) as sidelb:
            ip = '::1' if family == 'ip6' else '127.0.0.1'
            with contextlib.closing(connect((ip, 6000), namespace=namespace)) as client:
                assert how_it_ends(client) == 'reset'
            sidelb.wait_for_log('warning a connection to the server .*9.*:7000 came back to the listener')
            assert sidelb.status()['connections']['total'] < 5


def test_5e_a_hosts_file_of_windows_names_servers_in_any_case():
    need_namespaces()
    with NetworkNamespace() as namespace:
        namespace.write_hosts('127.0.0.1 localhost\r\n127.0.0.2 DB.test\r\n127.0.0.3 db.test. # x\r\n')
        with servers_on(['127.0.0.2', '127.0.0.3'], ['A', 'B'], port=5000, namespace=namespace):
            with Sidelb('ring_domain=Db.Test.:5000', 'check=off', namespace=namespace) as sidelb:
                assert sorted(sidelb.who() for _ in range(4)) == ['A', 'A', 'B', 'B']


@pytest.mark.parametrize('text', [b'\xef\xbb\xbf%s\n', b'\xef\xbb\xbf# servers\r\n%s\r\n', b'# \xc4\x85 \x85 \xa0\n\n%s'],
                         ids=['mark', 'mark and CRLF', 'bytes of a comment'])
def test_5e_a_list_of_servers_may_come_from_any_editor(tmpdir, text):
    path = tmpdir.join('servers')
    with Server('A') as server:
        path.write_binary(text.replace(b'%s', str(server).encode('ascii')))
        with Sidelb('servers_file=%s' % path) as sidelb:
            assert sidelb.who() == 'A'


def test_5f_a_fifo_in_place_of_a_password_blocks_nobody(tmpdir):
    path = str(tmpdir.join('fifo'))
    os.mkfifo(path)
    with Server('A') as server:
        with Sidelb(server, 'check_interval=0.2s', 'check=redis', 'check_password_file=' + path) as sidelb:
            sidelb.wait_for_log('it is no regular file')
            assert sidelb.who() == 'A'


@pytest.mark.parametrize('made, error', [
    (os.mkfifo, 'it is no regular file'), (lambda path: None, 'No such file or directory')], ids=['FIFO', 'nothing'])
def test_5f_certificates_that_can_not_be_read_are_a_mistake_before_anything_is_bound(tmpdir, made, error):
    path = str(tmpdir.join('file'))
    made(path)
    finished = run_sidelb('127.0.0.1:0', '127.0.0.1:1', 'check=tls', 'check_ca=' + path)
    assert finished.returncode == 2 and finished.stdout == ''
    assert finished.stderr.startswith('sidelb: check_ca=%s: %s\n' % (path, error))


# --- 9: the process ----------------------------------------------------------------------------------------------------

@pytest.mark.parametrize('left_by_the_parent', [BLOCKED, IGNORED], ids=['blocked', 'ignored'])
def test_9c_the_end_of_a_checks_program_is_heard_of_whatever_a_parent_has_left(tmpdir, left_by_the_parent):
    path = tmpdir.join('check')
    path.write('#!/bin/sh\nexit 5\n')
    path.chmod(0o755)
    with Server('A') as server:
        with Process([sys.executable, '-c', left_by_the_parent] + COMMAND + [
                '127.0.0.1:0', str(server), 'status_socket=off', 'check=run/%s' % path, 'check_interval=0.2s'],
                environ=clean_environ()) as process:
            process.wait_for_output('exit code 5')
            os.kill(process.pid, signal.SIGTERM)
            assert process.wait(10) == 0


@pytest.mark.parametrize('number', [signal.SIGQUIT, signal.SIGPWR])
def test_9d_other_signals_that_ask_for_the_end_drain_too(number):
    with Server('A') as server, Sidelb(server) as sidelb:
        client = sidelb.connect()
        assert read_line(client) == 'A'
        sidelb.signal(number)
        sidelb.wait_for_log('draining: 1 session')
        client.sendall(b'more\n')
        assert read_line(client) == 'more'
        client.close()
        assert sidelb.process.wait(10) == 0


@contextlib.contextmanager
def somebody_who_answers(path, answer):
    """In place of an instance. `answer` is called with each connection."""
    with contextlib.closing(socket.socket(socket.AF_UNIX)) as listener:
        listener.bind(path)
        listener.listen(8)
        server = StreamServer(listener, lambda sock, _: answer(sock))
        server.start()
        yield
        server.stop()


def saying(data):
    def answer(sock):
        sock.recv(4096)
        sock.sendall(data)
    return answer


@pytest.mark.parametrize('command, data, error', [
    ('events', b'', 'this instance is too old'),
    ('events', b'x' * 3000000, 'this instance is too old'),
    ('events --follow', b'{"ok": true}\n{"message": "hello"}\n', 'SideLB has ended'),
    ('events', b'{"ok": false, "error": "no \\u001b[2J\\u00e4"}\n', r'no \x1b[2J\xe4'),
    ('sessions', b'[' * 100000, 'this instance is too old'),
    ('drain x', b'{"ok": false, "error": ["\\u009b2J"]}', r'2J'),
    ('reload', b'{"ok": false, "mistakes": ["\\u001b[2J"], "error": "wrong"}', r'\x1b[2J'),
    ('reload', b'{"ok": false, "mistakes": 5}', 'no reason was given'),
], ids=['nothing', 'no end', 'an end', 'escapes', 'nested', 'no text', 'mistakes', 'no mistakes'])
def test_9j_whatever_answers_a_command_the_error_is_a_plain_line(tmpdir, command, data, error):
    path = str(tmpdir.join('socket'))
    with somebody_who_answers(path, saying(data)):
        finished = run_sidelb(*command.split() + ['--socket=' + path])
    assert finished.returncode == 1 and error in finished.stderr
    assert all(line.startswith('sidelb: ') for line in finished.stderr.splitlines()) and 'unexpected' not in finished.stderr
    assert not set('\x1b\x9b') & set(finished.stderr)


def test_9j_an_answer_that_drips_does_not_hold_up_a_command(tmpdir):
    def drip(sock):
        try:
            while True:
                sock.sendall(b'x')
                gevent.sleep(0.3)
        except socket.error:                 # the command has given up
            pass
    path = str(tmpdir.join('socket'))
    with somebody_who_answers(path, drip):
        finished = run_sidelb('events', '--socket=' + path, timeout=20)
    assert finished.returncode == 1 and 'no answer within 5 seconds' in finished.stderr
