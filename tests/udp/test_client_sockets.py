"""A wildcard listener answers from the address that was asked, whichever and however many there are."""
from __future__ import absolute_import, division, print_function

import contextlib
import socket

import pytest

from sidelb_lib.udp import client_sockets

from ..support.waiting import wait_until
from .parts import SECONDS, exchange


def test_more_local_addresses_than_there_may_be_sockets_are_answered_from_the_right_one(balancer, echo):
    one = balancer(host='0.0.0.0')
    one.use(echo('A').endpoint)
    for number in range(client_sockets.MAX_SOCKETS + 40):
        with contextlib.closing(one.client('127.9.%d.%d' % divmod(number + 1, 256))) as client:
            assert exchange(client) == 'A'
    assert len(one.server._client_sockets._by_local) == client_sockets.MAX_SOCKETS


@pytest.mark.parametrize('bind, addresses', [('0.0.0.0', ['127.0.0.1', '127.0.0.2']), ('::', ['::1'])])
@pytest.mark.parametrize('size', [0, 1, 60000])
def test_an_address_without_a_socket_of_its_own_replies_with_datagrams_of_any_size(
        balancer, echo, monkeypatch, bind, addresses, size):
    monkeypatch.setattr(client_sockets, 'MAX_SOCKETS', 0)
    one = balancer(host=bind)
    one.use(echo('', '::1' if bind == '::' else '127.0.0.1').endpoint)
    for address in addresses * 2:
        with contextlib.closing(one.client(address)) as client:
            client.send(b'x' * size)
            assert client.recv(65536).lstrip() == b'x' * size


def test_one_client_of_two_addresses_without_sockets_gets_each_reply_from_the_right_one(balancer, echo, monkeypatch):
    monkeypatch.setattr(client_sockets, 'MAX_SOCKETS', 1)
    one = balancer(host='0.0.0.0')
    one.use(echo('A').endpoint)
    with contextlib.closing(socket.socket(socket.AF_INET, socket.SOCK_DGRAM)) as client:
        client.bind(('127.0.0.1', 0))
        client.settimeout(SECONDS)
        for host in ['127.0.0.1', '127.0.0.2', '127.0.0.3'] * 2:
            client.sendto(b'x', (host, one.port))
            assert client.recvfrom(100) == (b'A x', (host, one.port))


def test_no_descriptors_for_another_socket_do_not_change_the_address_of_a_reply(balancer, echo, monkeypatch):
    one = balancer(host='0.0.0.0')
    one.use(echo('A').endpoint)

    def no_socket(*arguments, **options):
        raise EnvironmentError(24, 'Too many open files')
    monkeypatch.setattr(client_sockets, 'listen_udp', no_socket)
    assert one.ask('127.0.0.5') == 'A'
    monkeypatch.undo()
    assert one.ask('127.0.0.5') == 'A'
    assert list(one.server._client_sockets._by_local) == ['127.0.0.5']      # the next datagram tries again


def test_a_socket_that_no_session_uses_is_closed_and_its_address_goes_on_answering(balancer, echo, monkeypatch):
    monkeypatch.setattr(client_sockets, 'SECONDS_UNUSED', 0.05)
    one = balancer(host='0.0.0.0', session_timeout='400ms')
    one.use(echo('A').endpoint)
    sockets = one.server._client_sockets
    busy = one.client('127.0.0.2')
    for host in '127.0.0.3', '127.0.0.4':
        one.ask(host)
    closed = [known.socket for local, known in sockets._by_local.items()]

    def only_the_busy_one_is_left():
        assert exchange(busy) == 'A'
        return list(sockets._by_local) == ['127.0.0.2'] and [each.fileno() for each in closed] == [-1, -1]
    wait_until('sockets that nobody uses stay open', only_the_busy_one_is_left)
    for host in '127.0.0.3', '127.0.0.4':
        assert one.ask(host) == 'A'


def test_a_datagram_that_comes_while_its_socket_is_let_go_is_answered(balancer, echo, monkeypatch):
    monkeypatch.setattr(client_sockets, 'SECONDS_UNUSED', 0)
    one = balancer(host='0.0.0.0', responses=1)
    one.use(echo('A').endpoint)
    one.ask('127.0.0.3')
    wait_until('a session is left', lambda: not one.server.sessions)
    sockets = one.server._client_sockets
    early, late = one.client('127.0.0.3'), one.client('127.0.0.3')
    early.send(b'it waits in the socket')
    sockets.close_unused(set())
    sockets.close_unused(set())
    assert not sockets._by_local
    late.send(b'it comes to the wildcard')
    assert [early.recv(100), late.recv(100)] == [b'A it waits in the socket', b'A it comes to the wildcard']
