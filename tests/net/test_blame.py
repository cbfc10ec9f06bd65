from __future__ import absolute_import, division, print_function

import contextlib
import errno
import socket

import pytest

from sidelb_lib.compat import SocketError, new_socket
from sidelb_lib.net.blame import HOST, LATER, SERVER, blame
from sidelb_lib.net.connect import ConnectError, connect
from sidelb_lib.pool.members import Address
from ..support.netns import NetworkNamespace, entered
from ..support.processes import run
from ..support.requirements import need_namespaces, need_program


@pytest.mark.parametrize('protocol', ['tcp', 'udp'])
@pytest.mark.parametrize('call', ['socket', 'bind', 'connect', 'send', 'receive', 'accept'])
@pytest.mark.parametrize('code', [errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM])
def test_a_shortage_of_this_host_is_never_the_servers_fault(code, call, protocol):
    assert blame(code, call, protocol) == HOST


@pytest.mark.parametrize('protocol', ['tcp', 'udp'])
@pytest.mark.parametrize('call', ['connect', 'send', 'receive'])
@pytest.mark.parametrize('code', [errno.EPERM, errno.EACCES])
def test_a_packet_filter_of_this_host_is_never_the_servers_fault(code, call, protocol):
    assert blame(code, call, protocol) == HOST


@pytest.mark.parametrize('call', ['connect', 'send', 'receive'])
@pytest.mark.parametrize('code', [errno.ECONNREFUSED, errno.EHOSTUNREACH, errno.ENETUNREACH, errno.ETIMEDOUT,
                                  errno.EPROTO, errno.ENOPROTOOPT, errno.EHOSTDOWN])
def test_a_refusal_and_an_unreachable_server_are_its_own_fault(code, call):
    assert blame(code, call, 'tcp') == blame(code, call, 'udp') == SERVER


@pytest.mark.parametrize('code, call, protocol, fault', [
    (errno.EADDRNOTAVAIL, 'connect', 'tcp', HOST),       # no local port is free
    (errno.EADDRNOTAVAIL, 'connect', 'udp', SERVER),     # no address of its family: it is out of reach
    (errno.EAGAIN, 'connect', 'udp', HOST),              # no local port is free
    (errno.EADDRNOTAVAIL, 'bind', 'tcp', HOST),
    (errno.EADDRINUSE, 'bind', 'udp', HOST),
    (errno.EAFNOSUPPORT, 'socket', 'tcp', SERVER),       # a kernel without IPv6: it is out of reach
    (errno.EMSGSIZE, 'send', 'udp', LATER),
    (errno.EMSGSIZE, 'receive', 'udp', LATER),
    (errno.EAGAIN, 'send', 'udp', LATER),
    (errno.EINTR, 'receive', 'udp', LATER),
    (errno.ECONNABORTED, 'accept', 'tcp', LATER),
    (errno.EHOSTUNREACH, 'accept', 'tcp', LATER),
    (errno.EPERM, 'accept', 'tcp', LATER),
])
def test_what_else_an_error_says_depends_on_the_call(code, call, protocol, fault):
    assert blame(code, call, protocol) == fault


# --- what the kernel really says -------------------------------------------------------------------------------------

@contextlib.contextmanager
def host_with(*settings):
    """Inside: a network namespace with these kernel settings."""
    need_namespaces()
    sysctl = need_program('sysctl', 'procps')
    with NetworkNamespace() as namespace:
        for setting in settings:
            finished = run([sysctl, '-qw', setting], namespace=namespace)
            assert finished.returncode == 0, finished
        with entered(namespace):
            yield namespace


def connect_error(kind, ip, port=9):
    sock = new_socket(socket.AF_INET6 if ':' in ip else socket.AF_INET, kind)
    try:
        return sock.connect_ex((ip, port))
    finally:
        sock.close()


def test_a_server_whose_family_this_host_does_not_have_is_out_of_reach():
    with host_with('net.ipv6.conf.all.disable_ipv6=1'):
        assert connect_error(socket.SOCK_DGRAM, '2001:db8::1') == errno.EADDRNOTAVAIL
        with pytest.raises(ConnectError) as caught:
            connect(Address('2001:db8::1', 9, 0), 1.0)
    assert not caught.value.local and str(caught.value) == 'Network is unreachable'


def test_a_host_without_a_free_port_is_short_of_something_and_the_server_is_not_to_blame():
    with host_with('net.ipv4.ip_local_port_range=40000 40003'):
        listener = socket.socket()
        listener.bind(('127.0.0.1', 5000))
        listener.listen(16)
        address = Address('127.0.0.1', 5000, 0)
        connections = [connect(address, 1.0) for _ in range(4)]
        with pytest.raises(ConnectError) as caught:
            connect(address, 1.0)
        datagrams = [new_socket(socket.AF_INET, socket.SOCK_DGRAM) for _ in range(5)]
        codes = [sock.connect_ex(('127.0.0.1', 5000)) for sock in datagrams]
        for sock in [listener] + connections + datagrams:
            sock.close()
    assert caught.value.local and caught.value.code == errno.EADDRNOTAVAIL
    assert codes == [0, 0, 0, 0, errno.EAGAIN]


def test_a_datagram_that_a_filter_of_this_host_drops_is_not_the_servers_fault():
    nft = need_program('nft', 'nftables')
    with host_with() as namespace:
        for command in ('add table ip filter', 'add chain ip filter out { type filter hook output priority 0 ; }',
                        'add rule ip filter out ip daddr 127.0.0.9 drop'):
            finished = run([nft] + command.split(), namespace=namespace)
            assert finished.returncode == 0, finished
        sock = new_socket(socket.AF_INET, socket.SOCK_DGRAM)
        sock.connect(('127.0.0.9', 9))
        with pytest.raises(SocketError) as caught:
            sock.send(b'x')
        sock.close()
    assert blame(caught.value.errno, 'send', 'udp') == HOST
