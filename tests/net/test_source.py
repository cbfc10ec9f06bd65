"""Servers are reached from the address that `source` names: by sessions of both protocols, and by checks."""
from __future__ import absolute_import, division, print_function

import contextlib
import socket

import gevent
import pytest
from gevent.server import DatagramServer, StreamServer

from sidelb_lib.checks import registry
from sidelb_lib.checks.exchange import Deadline
from sidelb_lib.config.settings import defaults
from sidelb_lib.net.connect import ConnectError
from sidelb_lib.net.source import Source
from sidelb_lib.pool.members import Address

from ..support.making import making
from ..tcp import parts as tcp
from ..udp import parts as udp

ELSEWHERE = '192.0.2.1'                   # an address of nobody, RFC 5737

balancer = making(tcp.Balancer, tcp.Balancer.close)
udp_balancer = making(udp.Balancer, udp.Balancer.close)


@pytest.fixture
def peers():
    """Makes a server that notes from which IP its clients come: (endpoint, [IP])."""
    servers = []

    def make(host='127.0.0.1', kind=StreamServer):
        seen = []

        def note(sock, peer):
            seen.append(peer[0])
            if kind is StreamServer:
                sock.sendall(b'A hello\n')
                sock.recv(100)
            else:
                servers[-1].sendto(b'A hello', peer)
        servers.append(kind((host, 0), note))
        servers[-1].start()
        return servers[-1].address[:2], seen
    yield make
    for server in servers:
        server.stop()


@pytest.mark.parametrize('host, seen_as', [('127.0.0.1', '127.0.0.5'), ('::1', '::1')])
def test_sessions_come_from_it(balancer, peers, host, seen_as):
    one, (endpoint, seen) = balancer(source='127.0.0.5,::1'), peers(host)
    one.use(endpoint)
    assert one.ask() == 'A' and seen == [seen_as]


def test_a_change_is_for_new_sessions(balancer, peers):
    one, (endpoint, seen) = balancer(source='127.0.0.5'), peers()
    one.use(endpoint)
    with_source = one.server.settings
    assert one.ask() == 'A'
    for source in ((), ('127.0.0.6',)):
        one.server.change(with_source._replace(source=source), 10)
        assert one.ask() == 'A'
    assert seen == ['127.0.0.5', '127.0.0.1', '127.0.0.6']


def test_an_address_that_this_host_lacks_takes_no_server_down(balancer, udp_balancer, peers):
    one, (endpoint, _) = balancer(source=ELSEWHERE, check_fall=1), peers()
    one.use(endpoint)
    with contextlib.closing(one.connect()) as client:
        assert tcp.end_of(client) == 'reset'
    assert one.pool.addresses()[0].up and 'annot assign requested address' in one.log.events('refused')[0]
    other, (endpoint, _) = udp_balancer(source=ELSEWHERE), peers(kind=DatagramServer)
    other.use(endpoint)
    with contextlib.closing(other.client()) as client:
        client.send(b'x')
        while not other.server.counts()['drops']:
            gevent.sleep(0.001)
    assert other.server.counts()['drops'] == {'no_server': 1} and other.pool.addresses()[0].up
    assert other.log.events('no_server') == ['a datagram of a new client was dropped: source= is no address of this host']


@pytest.mark.parametrize('host, seen_as', [('127.0.0.1', '127.0.0.5'), ('::1', '::1')])
def test_datagrams_come_from_it(udp_balancer, peers, host, seen_as):
    one, (endpoint, seen) = udp_balancer(source='127.0.0.5,::1'), peers(host, DatagramServer)
    one.use(endpoint)
    with_source = one.server.table._settings
    assert one.ask() == 'A'
    one.server.change(with_source._replace(source=()), 10)
    assert one.ask() == 'A'
    assert seen == [seen_as, host]


@pytest.mark.parametrize('check, kind', [('tcp', StreamServer), ('want:A,ask:x', StreamServer), ('tcp:%d', StreamServer),
                                         ('udp', DatagramServer)])
def test_checks_come_from_it(peers, check, kind):
    endpoint, seen = peers(kind=kind)
    choice = registry.parse(check % endpoint[1] if '%' in check else check)

    def run(source):
        settings = defaults(source=source, proto='udp' if kind is DatagramServer else 'tcp')
        return registry.make(choice, registry.Context(settings, None))(Address(endpoint[0], endpoint[1], 0.0), Deadline(2.0))
    assert run('127.0.0.5').state == 'up'
    assert check.startswith('tcp') or seen == ['127.0.0.5']        # check=tcp is not seen
    with pytest.raises(ConnectError) as caught:
        run(ELSEWHERE)
    assert caught.value.local


def test_each_server_has_all_local_ports():
    with contextlib.closing(Source(['127.0.0.5']).new_socket(socket.AF_INET, socket.SOCK_STREAM)) as sock:
        assert sock.getsockname() == ('127.0.0.5', 0)
    with contextlib.closing(Source(['127.0.0.5']).new_socket(socket.AF_UNIX, socket.SOCK_STREAM)) as sock:
        assert not sock.getsockname()
