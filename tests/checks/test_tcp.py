"""check=tcp: can a connection be opened?"""
from __future__ import absolute_import, division, print_function

import errno
import os
import resource
import socket

import pytest

from sidelb_lib.checks.exchange import Deadline, ProbeFailed
from sidelb_lib.checks.tcp import probe
from sidelb_lib.net.connect import ConnectError
from sidelb_lib.compat import SocketError
from sidelb_lib.pool.members import Address

from ..support.clients import connect, read_line
from ..support.mariadb import MariaServer
from ..support.netns import NetworkNamespace, entered, in_namespace
from ..support.postgres import PostgresCluster
from ..support.processes import run
from ..support.requirements import need_namespaces, need_program
from ..support.servers import Server


def tcp_probe(port, host='127.0.0.1', seconds=1.0):
    return probe(Address(host, port, 0.0), Deadline(seconds))


def test_tcp_probe_passes_where_somebody_listens():
    listener = socket.socket()
    listener.bind(('127.0.0.1', 0))
    listener.listen(5)
    tcp_probe(listener.getsockname()[1])
    listener.close()


def test_tcp_probe_fails_where_nobody_listens():
    reserved = socket.socket()
    reserved.bind(('127.0.0.1', 0))
    with pytest.raises(ProbeFailed) as raised:
        tcp_probe(reserved.getsockname()[1])
    assert str(raised.value) == os.strerror(errno.ECONNREFUSED)
    reserved.close()


def test_tcp_probe_of_ipv6():
    listener = socket.socket(socket.AF_INET6)
    listener.bind(('::1', 0))
    listener.listen(5)
    tcp_probe(listener.getsockname()[1], '::1')
    listener.close()


def test_running_out_of_descriptors_is_told_from_a_dead_server():
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    highest = max(int(name) for name in os.listdir('/proc/self/fd'))
    blockers = []
    resource.setrlimit(resource.RLIMIT_NOFILE, (highest + 2, hard))
    try:
        while True:
            blockers.append(os.dup(0))
    except OSError:
        with pytest.raises(ConnectError) as raised:
            tcp_probe(1)
        assert raised.value.local and raised.value.code == errno.EMFILE
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
        for blocker in blockers:
            os.close(blocker)


@pytest.mark.parametrize('host', ['127.0.0.1', '::1'])
def test_a_server_that_greets_never_sees_a_tcp_probe(host):
    with Server(ip=host) as server:
        for _ in range(50):
            tcp_probe(server.address[1], host)
        read_line(connect(server.address))        # it has accepted whatever came before
        assert server.accepted == 1


def test_a_full_accept_queue_is_a_failure():
    with Server() as server:
        server.black_hole()
        with pytest.raises(ProbeFailed) as raised:
            tcp_probe(server.address[1], seconds=0.05)
        assert str(raised.value) == os.strerror(errno.ETIMEDOUT)


def test_postgresql_logs_nothing_of_tcp_probes():
    with PostgresCluster(['127.0.0.11']) as cluster:
        server, = cluster.servers
        cluster.query(server.address, 'select 1')
        before = server.log
        for _ in range(50):
            tcp_probe(server.address[1], server.address[0])
        cluster.query(server.address, 'select 1')
        assert server.log[len(before):].count('connection received') == 1


def test_mariadb_holds_nothing_against_a_host_that_probes_it(monkeypatch):
    """It counts connections that end before a login, and locks the host out at 100 of them: seen from an address other
    than 127.0.0.1, with name resolution on, both as usual."""
    need_namespaces()
    with NetworkNamespace(['10.9.0.1']) as namespace:
        monkeypatch.setattr('sidelb_lib.checks.exchange.new_socket', in_namespace(namespace))
        with MariaServer('10.9.0.1', namespace) as server:
            for _ in range(150):
                tcp_probe(server.address[1], '10.9.0.1')
            assert (server.status('Aborted_connects'), server.connect_errors()) == (0, 0)
            assert 'Aborted' not in server.log


def test_a_server_whose_family_this_host_does_not_have_is_down_and_the_probe_no_fault_of_the_host():
    need_namespaces()
    with NetworkNamespace() as namespace:
        finished = run([need_program('sysctl', 'procps'), '-qw', 'net.ipv6.conf.all.disable_ipv6=1'], namespace=namespace)
        assert finished.returncode == 0, finished
        with entered(namespace), pytest.raises(ProbeFailed) as caught:
            probe(Address('2001:db8::1', 9, 0), Deadline(1.0))
    assert str(caught.value) == 'Network is unreachable'


def test_a_probe_that_gets_no_descriptor_is_a_fault_of_the_host(monkeypatch):
    def none_left(family, kind):
        raise SocketError(errno.EMFILE, os.strerror(errno.EMFILE))
    monkeypatch.setattr('sidelb_lib.checks.exchange.new_socket', none_left)
    with pytest.raises(ConnectError) as caught:
        probe(Address('127.0.0.1', 9, 0), Deadline(1.0))
    assert caught.value.local
