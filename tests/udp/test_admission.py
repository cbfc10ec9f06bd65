"""Whose datagrams are taken, on real sockets."""
from __future__ import absolute_import, division, print_function

import contextlib

from ..support.waiting import wait_until
from .parts import exchange


def drops(one):
    return one.server.counts()['drops'].get('client_denied', 0)


def test_datagrams_of_denied_clients_are_dropped_before_anything_is_spent(balancer, echo):
    one, server = balancer(deny='127.0.0.2'), echo('A')
    one.use(server.endpoint)
    with contextlib.closing(one.client(bound='127.0.0.2')) as denied, contextlib.closing(one.client()) as client:
        denied.send(b'x')
        wait_until('it was not dropped', lambda: drops(one) == 1)
        assert exchange(client) == 'A'
    assert one.server.counts()['total'] == 1 and server.received == [b'hello']
    assert len(one.log.events('client_denied')) == 1


def test_a_client_that_is_denied_later_keeps_its_session(balancer, echo):
    one = balancer()
    one.use(echo('A').endpoint)
    denying = one.server.table._settings._replace(deny=balancer(deny='127.0.0.0/8').server.table._settings.deny)
    with contextlib.closing(one.client()) as client, contextlib.closing(one.client()) as newcomer:
        assert exchange(client) == 'A'
        one.server.change(denying, 100)
        assert exchange(client) == 'A'
        newcomer.send(b'x')
        wait_until('it was not dropped', lambda: drops(one) == 1)
        one.server.change(denying._replace(deny=()), 100)
        assert exchange(newcomer) == 'A'


def test_before_the_first_answer_of_dns_the_denied_do_not_wait(balancer, echo):
    one, server = balancer(allow='127.0.0.1'), echo('A')
    with contextlib.closing(one.client(bound='127.0.0.2')) as denied, contextlib.closing(one.client()) as client:
        denied.send(b'denied')
        client.send(b'hello')
        wait_until('it was not dropped', lambda: drops(one) == 1)
        one.use(server.endpoint)
        assert client.recv(100) == b'A hello'
    assert server.received == [b'hello']
