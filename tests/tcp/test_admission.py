"""Who is let in by address, on real sockets."""
from __future__ import absolute_import, division, print_function

import contextlib
import socket

from sidelb_lib.compat import bare_socket
from sidelb_lib.errors import NOT_ALLOWED

from ..support.waiting import wait_until
from .parts import SECONDS, end_of, exchange


def connect_from(one, ip):
    client = socket.socket(socket.AF_INET6 if ':' in ip else socket.AF_INET)
    client.settimeout(SECONDS)
    client.bind((ip, 0))
    bare_socket(client).connect_ex(one.server.address[:2])      # gevent's would meet the reset itself
    return client


def how_it_ends_from(one, ip):
    with contextlib.closing(connect_from(one, ip)) as client:
        return end_of(client)


def name_told_to(one, ip):
    with contextlib.closing(connect_from(one, ip)) as client:
        return exchange(client)


def test_clients_out_of_allow_and_not_of_deny_are_served(balancer, echo):
    one = balancer(allow='127.0.0.0/28', deny='127.0.0.2')
    server = echo('A')
    one.use(server.endpoint)
    assert name_told_to(one, '127.0.0.1') == name_told_to(one, '127.0.0.15') == 'A'
    assert [how_it_ends_from(one, ip) for ip in ('127.0.0.2', '127.0.0.16')] == ['reset', 'reset']


def test_a_denied_client_costs_no_server_and_no_place_and_is_told(balancer, echo):
    one = balancer(deny='127.0.0.2', max_connections=1)
    server = echo('A')
    one.use(server.endpoint)
    with contextlib.closing(connect_from(one, '127.0.0.2')) as client:
        port = client.getsockname()[1]
        assert end_of(client) == 'reset'
    counts = one.server.counts()
    assert (counts['total'], counts['active'], counts['refused'], counts['ended']) == (0, 0, {}, {})
    assert counts['denied'] == {NOT_ALLOWED: 1}
    assert server.sessions == 0 and one.pool.members[0].active == 0
    assert one.log.events('client_denied') == ['reset 127.0.0.2:%d: address is not allowed' % port]


def test_clients_over_ipv6_are_told_apart(balancer, echo):
    one = balancer(socket.AF_INET6, allow='::1')
    one.use(echo('A').endpoint)
    assert name_told_to(one, '::1') == 'A'
    one.server.change(one.server.settings._replace(allow=(), deny=one.server.settings.allow), 10)
    assert how_it_ends_from(one, '::1') == 'reset'


def test_a_change_is_for_new_clients_and_what_is_off_is_not_in_the_way(balancer, echo):
    one = balancer()
    one.use(echo('A').endpoint)
    plain = one.server.do_handle
    with contextlib.closing(one.connect()) as client:
        assert exchange(client) == 'A'
        denying = balancer(deny='127.0.0.0/8').server.settings
        one.server.change(denying, 10)
        assert one.server.do_handle != plain and how_it_ends_from(one, '127.0.0.1') == 'reset'
        assert exchange(client) == 'A'
    one.server.change(denying._replace(deny=()), 10)
    assert one.server.do_handle == plain and one.ask() == 'A'


def test_those_who_wait_in_the_queue_at_a_drain_are_told_apart(balancer, echo):
    one = balancer(deny='127.0.0.2')
    one.use(echo('A').endpoint)
    one.server.stop_accepting()
    with contextlib.closing(connect_from(one, '127.0.0.1')) as good, contextlib.closing(
            connect_from(one, '127.0.0.2')) as bad:
        good.sendall(b'hello\n')
        wait_until('the drain has not ended', lambda: one.server.drain(0.3) is not None)
        assert good.recv(100) == b'A hello\n'
        assert end_of(bad) == 'reset'
