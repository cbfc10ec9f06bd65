"""Errors of UDP sockets that say nothing of the server: it stays up, the session stays with it, and nothing is lost."""
from __future__ import absolute_import, division, print_function

import contextlib
import errno
import os
import resource
import select
import shlex

import pytest

from sidelb_lib.compat import SocketError

from ..support.netns import NetworkNamespace
from ..support.processes import run
from ..support.requirements import need_namespaces, need_program
from ..support.waiting import wait_until
from .parts import exchange

HOST_WITH_FEW_PORTS = 'sysctl -qw "net.ipv4.ip_local_port_range=40000 40099"'


@pytest.fixture
def namespace():
    need_namespaces()
    with NetworkNamespace() as made:
        yield made


def in_namespace(namespace, *commands):
    """Run each command line inside."""
    for command in commands:
        words = shlex.split(command)
        package = {'nft': 'nftables', 'sysctl': 'procps', 'ip': 'iproute2'}[words[0]]
        program = need_program(words[0], package)
        finished = run([program] + words[1:], namespace=namespace)
        assert finished.returncode == 0, finished


def nobody_is_blamed(one):
    return all(address.up and not address.failed for address in one.pool.addresses())


# --- no free local port ------------------------------------------------------------------------------------------------

@pytest.mark.parametrize('taken', [0, 40])
def test_when_local_ports_run_out_the_session_idle_longest_makes_room(namespace, balancer, echo, taken):
    """Whether sessions have taken the ports, or other programs have before."""
    in_namespace(namespace, HOST_WITH_FEW_PORTS)
    one = balancer(namespace=namespace)
    servers = [echo(name, port=5000 + number, namespace=namespace) for number, name in enumerate('ABC')]
    one.use(*[server.endpoint for server in servers])
    others = [one.client(bound='127.0.0.1') for _ in range(taken)]
    clients = [one.client(port=20000 + number) for number in range(120)]
    answers = [exchange(client) for client in clients]
    assert sorted(set(answers)) == ['A', 'B', 'C']
    assert nobody_is_blamed(one), [address.last_error for address in one.pool.addresses()]
    assert one.server.table.drops['session_evicted'] == 120 - len(one.server.sessions)
    assert len(one.server.sessions) <= min(one.server.table.limit, 100 - len(others))


def test_there_are_at_most_as_many_sessions_as_local_ports(namespace, balancer):
    in_namespace(namespace, HOST_WITH_FEW_PORTS)
    one = balancer(namespace=namespace, max_sessions=5000)
    assert one.server.counts()['most'] == 88             # an eighth is left to others
    assert one.log.events('few_ports')


# --- a path with a small MTU -------------------------------------------------------------------------------------------

@contextlib.contextmanager
def far_away(ip, router_ips, far_ips):
    """Two namespaces, with these IPs, and a router between them whose link to the second carries 1300 bytes at most."""
    version, length, alone = ('-6', '/64 nodad', '/128') if ':' in ip else ('-4', '/24', '/32')
    with NetworkNamespace() as here, NetworkNamespace() as router, NetworkNamespace() as there:
        in_namespace(router, 'sysctl -qw net.ipv4.ip_forward=1 net.ipv6.conf.all.forwarding=1',
                     'ip link add near type veth peer name uplink netns ' + here.name,
                     'ip link add far type veth peer name uplink netns ' + there.name)
        for namespace, name, mtu, address in ((here, 'uplink', 1500, ip), (router, 'near', 1500, router_ips[0]),
                                              (router, 'far', 1300, router_ips[1]), (there, 'uplink', 1300, far_ips[0])):
            in_namespace(namespace, 'ip link set %s mtu %d up' % (name, mtu),
                         'ip address add %s%s dev %s' % (address, length.split()[0], name) + length[3:])
        in_namespace(here, 'ip %s route add default via %s' % (version, router_ips[0]))
        in_namespace(there, 'ip %s route add default via %s' % (version, router_ips[1]),
                     'ip address add %s%s dev lo' % (far_ips[1], alone))
        in_namespace(router, 'ip %s route add %s via %s' % (version, far_ips[1], far_ips[0]))
        yield here, there


PATHS = [('10.1.0.1', ['10.1.0.9', '10.2.0.9'], ['10.2.0.1', '10.3.0.1']),
         ('fd00:1::1', ['fd00:1::9', 'fd00:2::9'], ['fd00:2::1', 'fd00:3::1'])]


@pytest.mark.slow
@pytest.mark.parametrize('path', PATHS)
@pytest.mark.parametrize('waits', [True, False])
def test_a_datagram_too_long_for_the_path_stays_with_its_server_and_arrives(balancer, echo, path, waits):
    """Whether the client waits for each reply, or sends on at once, so that the next datagram meets the error."""
    need_namespaces()
    with far_away(*path) as (here, there):
        servers = [echo('s', ip, 7000, namespace=there) for ip in path[2]]
        one = balancer(namespace=here)
        one.use(*[server.endpoint for server in servers])
        client = one.client()
        exchange(client)
        first, = [server for server in servers if server.received]
        for size in (1200, 1200, 1400, 1200):
            client.send(b'x' * size)
            if waits:
                assert len(client.recv(2000)) == size + 2
        wanted = [5, 1200, 1200, 1400, 1200]
        wait_until('not all have arrived', lambda: sorted(map(len, first.received)) == sorted(wanted))
        assert not any(server.received for server in servers if server is not first)
        assert nobody_is_blamed(one) and one.server.table.retries == 0


# --- a packet filter, and shortages ------------------------------------------------------------------------------------

def test_what_a_packet_filter_of_this_host_drops_takes_no_server_down(namespace, balancer, echo):
    one = balancer(namespace=namespace)
    servers = [echo(name, '127.0.0.%d' % number, 7000, namespace=namespace) for number, name in ((2, 'A'), (3, 'B'))]
    one.use(*[server.endpoint for server in servers])
    clients = [one.client() for _ in range(4)]
    before = [exchange(client) for client in clients]
    in_namespace(namespace, 'nft add table ip filter',
                 'nft add chain ip filter out { type filter hook output priority 0 ; }',
                 'nft add rule ip filter out ip daddr 127.0.0.2 drop')
    for _ in range(3):
        for client in clients:
            client.send(b'dropped')
    wait_until('they were not dropped', lambda: one.server.table.drops['send_failed'] == 6)
    assert nobody_is_blamed(one)
    in_namespace(namespace, 'nft flush ruleset')
    for client in clients:
        while client in readable(clients):
            client.recv(100)
    assert [exchange(client) for client in clients] == before


def readable(socks):
    return select.select(socks, [], [], 0.05)[0]


class Stumbling(object):
    """A socket whose next `recv` or `send` fails once with `code`."""

    def __init__(self, sock, call, code):
        self._sock = sock
        self._code = {call: code}

    def __getattr__(self, name):
        code = self._code.pop(name, None)
        if code:
            raise SocketError(code, os.strerror(code))
        return getattr(self._sock, name)


@pytest.mark.parametrize('call', ['recv', 'send'])
@pytest.mark.parametrize('code', [errno.ENOMEM, errno.ENOBUFS, errno.EPERM, errno.EACCES])
def test_a_shortage_or_rule_of_this_host_takes_no_server_down_whichever_call_meets_it(balancer, echo, call, code):
    one = balancer(check_fall=1)
    one.use(echo('A').endpoint, echo('B').endpoint)
    client = one.client()
    first = exchange(client)
    session, = one.server.sessions.values()
    session.upstream = Stumbling(session.upstream, call, code)
    client.send(b'x')
    if call == 'send':
        wait_until('it was not counted', lambda: one.server.table.drops['send_failed'] == 1)
    else:
        assert client.recv(100) == first.encode('ascii') + b' x'
    assert exchange(client) == first
    assert nobody_is_blamed(one) and one.server.table.retries == 0


@contextlib.contextmanager
def no_descriptors_left():
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    lowest_free = os.dup(0)
    os.close(lowest_free)
    resource.setrlimit(resource.RLIMIT_NOFILE, (lowest_free, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def go_down(one, name, servers):
    address, = [address for address in one.pool.addresses() if address.port == servers[name].endpoint[1]]
    for _ in range(2):
        one.pool.report_failure(address, 'test')
    servers[name].delay = None                 # it answers nothing any more


def test_a_shortage_while_a_session_moves_is_made_up_for_at_the_next_datagram(balancer, echo):
    one = balancer()
    servers = dict((name, echo(name)) for name in 'AB')
    one.use(*[server.endpoint for server in servers.values()])
    client = one.client()
    first = exchange(client)
    go_down(one, first, servers)
    other, = set('AB') - set(first)
    with no_descriptors_left():
        client.send(b'to the dead server')      # no other session can make room
        wait_until('it was not sent', lambda: servers[first].received[-1:] == [b'to the dead server'])
    assert exchange(client) == other
    assert not one.log.events('session_failed')


def test_sessions_of_a_dead_server_are_served_though_descriptors_have_run_out(balancer, echo):
    one = balancer()
    servers = dict((name, echo(name)) for name in 'AB')
    one.use(*[server.endpoint for server in servers.values()])
    clients = [one.client() for _ in range(30)]
    for client in clients:
        exchange(client)
    go_down(one, 'A', servers)
    with no_descriptors_left():
        assert [exchange(client) for client in clients] == ['B'] * 30
    assert not one.log.events('session_failed')


def test_a_new_client_is_served_though_descriptors_have_run_out(balancer, echo):
    one = balancer()
    one.use(echo('A').endpoint)
    exchange(one.client())
    newcomer = one.client()
    with no_descriptors_left():
        assert exchange(newcomer) == 'A'
    assert one.server.table.drops['session_evicted'] == 1 and len(one.server.sessions) == 1
    assert nobody_is_blamed(one)
