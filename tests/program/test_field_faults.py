"""Faults that users of 1.0.0 met, by the command line alone: each fails there (`SIDELB_TEST_PROGRAM`). The numbers are those
of the list of the first field round."""
from __future__ import absolute_import, division, print_function

import contextlib
import os
import signal
import socket

import gevent
import pytest

from ..support.clients import read_line, reset
from ..support.netns import NetworkNamespace, entered
from ..support.processes import run
from ..support.program import Sidelb
from ..support.requirements import need_namespaces, need_program
from ..support.servers import Server, pattern, servers_on

RING = 'db.test'
KILO = 1000


@pytest.fixture
def namespace():
    need_namespaces()
    with NetworkNamespace() as made:
        yield made


def set_kernel(namespace, setting):
    finished = run([need_program('sysctl', 'procps'), '-qw', setting], namespace=namespace)
    assert finished.returncode == 0, finished


def connect_from(port, sidelb, namespace):
    """A client that needs none of the host's ephemeral ports."""
    with entered(namespace):
        sock = socket.socket()
    sock.settimeout(10)
    sock.bind(('127.0.0.1', port))
    sock.connect(sidelb.address)
    return sock


def addresses_of(sidelb):
    return [address for member in sidelb.status()['members'] for address in member['addresses']]


def slow_reader(sidelb, buffers=16384):
    client = socket.socket()
    client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, buffers)
    client.settimeout(10)
    client.connect(sidelb.address)
    client.sendall(b'?')
    return client


def all_of(client):
    """Everything until the end, or the reset."""
    data = bytearray()
    with contextlib.closing(client):
        while True:
            try:
                chunk = client.recv(20 * KILO)
            except socket.error:
                return bytes(data)
            if not chunk:
                return bytes(data)
            data += chunk


def answer_then_reset(size):
    def behaviour(session):
        session.recv()
        session.send(pattern(0, size))
        gevent.sleep(0.1)
        reset(session.sock)
    return behaviour


def answer_and_wait(size):
    def behaviour(session):
        session.recv()
        session.send(pattern(0, size))
        session.recv()
    return behaviour


# --- 1: what was taken is delivered ------------------------------------------------------------------------------------

def test_1a_a_steady_reader_gets_the_whole_answer_whatever_the_idle_timeout():
    with Server(behaviour=answer_and_wait(900 * KILO)) as server:
        with Sidelb(server, 'idle_timeout=0.3s') as sidelb:
            client = slow_reader(sidelb)
            data = b''
            while len(data) < 900 * KILO:
                data += client.recv(20 * KILO)
                gevent.sleep(0.03)
            assert data == pattern(0, 900 * KILO)
            client.close()


def test_1c_an_answer_is_delivered_before_the_reset_that_followed_it():
    with Server(behaviour=answer_then_reset(700 * KILO)) as server:
        with Sidelb(server) as sidelb:
            client = slow_reader(sidelb)
            gevent.sleep(2.2)                  # 1.0.0 waited for two seconds
            assert len(all_of(client)) == 700 * KILO


def test_1d_a_process_that_stood_still_takes_that_time_for_nobodys_silence():
    def drip(session):
        while True:
            session.send(b'.')
            gevent.sleep(0.1)
    with Server(behaviour=drip) as server:
        with Sidelb(server, 'half_close_timeout=0.6s') as sidelb:
            clients = [sidelb.connect() for _ in range(10)]
            for client in clients:
                assert client.recv(1) == b'.'
                client.shutdown(socket.SHUT_WR)
            gevent.sleep(0.2)
            sidelb.signal(signal.SIGSTOP)
            gevent.sleep(1.5)
            sidelb.signal(signal.SIGCONT)
            gevent.sleep(0.3)
            for client in clients:
                while len(client.recv(4096)) > 4:          # what had come meanwhile
                    pass
                assert client.recv(1) == b'.'
                client.close()


# --- 2: whose fault an error is ----------------------------------------------------------------------------------------

def test_2b_a_server_of_a_family_that_this_host_lacks_is_down(namespace):
    set_kernel(namespace, 'net.ipv6.conf.all.disable_ipv6=1')
    with Server('A', namespace=namespace) as server:
        with Sidelb(server, '[2001:db8::1]:%d' % server.address[1], 'check_interval=0.2s', namespace=namespace) as sidelb:
            sidelb.wait_for_log(r'2001:db8::1\S* .*down')
            assert [sidelb.who() for _ in range(6)] == ['A'] * 6


def test_2f_a_client_waits_out_a_moment_without_local_ports(namespace):
    set_kernel(namespace, 'net.ipv4.ip_local_port_range=40000 40003')
    with Server('A', port=5000, namespace=namespace) as server:
        with Sidelb(server, 'check=off', namespace=namespace, listener='127.0.0.1:6000') as sidelb:
            clients = [connect_from(30001 + number, sidelb, namespace) for number in range(4)]
            for client in clients:
                assert read_line(client) == 'A'
            late = connect_from(30000, sidelb, namespace)
            gevent.sleep(0.3)
            set_kernel(namespace, 'net.ipv4.ip_local_port_range=40000 40099')
            assert read_line(late) == 'A'
            for client in clients + [late]:
                client.close()


# --- 3: verdicts -------------------------------------------------------------------------------------------------------

def test_3k_a_connection_to_itself_is_a_refusal_whatever_the_ephemeral_ports_are(namespace):
    set_kernel(namespace, 'net.ipv4.ip_local_port_range=5000 5003')
    with Server('A', port=7000, namespace=namespace) as server:
        with Sidelb('127.0.0.1:5001', server, 'check=off', namespace=namespace, listener='127.0.0.1:6000') as sidelb:
            for number in range(24):
                client = connect_from(30000 + number, sidelb, namespace)
                with contextlib.closing(client):
                    client.sendall(b'mine')
                    assert read_line(client) == 'A'


# --- 4: probes ---------------------------------------------------------------------------------------------------------

def test_4a_a_server_never_sees_a_tcp_probe():
    with Server('A') as server:
        with Sidelb(server, 'check_interval=0.1s') as sidelb:
            gevent.sleep(1.0)
            assert server.accepted == 0
            assert sidelb.who() == 'A'


# --- 5: what hosts and DNS say -----------------------------------------------------------------------------------------

@pytest.mark.parametrize('ip, port', [('::ffff:127.0.0.1', 5000), ('::ffff:0.0.0.0', 5000), ('0.0.0.0', 6000), ('::', 6000),
                                      ('ff02::1', 6000), ('::ffff:224.0.0.1', 6000), ('255.255.255.255', 6000)])
def test_5a_5b_addresses_that_are_no_servers_are_none(namespace, ip, port):
    """They would lead to ourselves, or to a local service that listens on the port."""
    namespace.write_hosts('127.0.0.1 localhost\n%s %s\n127.0.0.2 %s\n' % (ip, RING, RING))
    with Server('A', ip='127.0.0.2', port=5000, namespace=namespace):
        with Sidelb('ring_domain=%s:5000' % RING, 'check=off', namespace=namespace,
                    listener='127.0.0.1:%d' % port) as sidelb:
            assert [sidelb.who() for _ in range(4)] == ['A'] * 4
            assert [address['address'] for address in addresses_of(sidelb)] == ['127.0.0.2:5000']


def test_5e_a_byte_of_a_comment_ends_no_line_of_the_hosts_file(namespace):
    text = u'127.0.0.1 localhost\n127.0.0.2 %s # \u0105 \u0105\u0085 127.0.0.3 %s\n' % (RING, RING)
    path = os.path.join('/etc/netns', namespace.name, 'hosts')
    with open(path, 'wb') as stream:
        stream.write(text.encode('utf-8').replace(b'\xc2\x85', b'\x85'))
    with servers_on(['127.0.0.2', '127.0.0.3'], ['A', 'B'], port=5000, namespace=namespace):
        with Sidelb('ring_domain=%s:5000' % RING, 'check=off', namespace=namespace) as sidelb:
            assert [sidelb.who() for _ in range(4)] == ['A'] * 4


# --- 9: status ---------------------------------------------------------------------------------------------------------

def test_9i_clients_that_say_nothing_do_not_hold_up_the_status():
    with Server('A') as server:
        with Sidelb(server) as sidelb:
            silent = []
            for _ in range(40):
                sock = socket.socket(socket.AF_UNIX)
                sock.connect(sidelb.status_path)
                silent.append(sock)
            with gevent.Timeout(3):
                assert sidelb.status()
            for sock in silent:
                sock.close()
