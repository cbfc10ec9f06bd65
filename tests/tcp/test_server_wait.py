"""How long clients wait for a server, and how soon it is seen that one of them has left."""
from __future__ import absolute_import, division, print_function

import collections
import socket

import pytest

from sidelb_lib.compat import monotonic
from sidelb_lib.config.settings import defaults
from sidelb_lib.tcp import queue
from sidelb_lib.tcp.queue import seconds_to_wait

from ..support.waiting import wait_until
from .parts import exchange

Members = collections.namedtuple('Members', 'expected has_limits')


@pytest.mark.parametrize('settings, expected, has_limits, seconds', [
    ({}, (), False, 0), ({}, (), True, 3), ({}, (1,), False, 3), ({'check': 'redis/primary'}, (), False, 60),
    ({'check': 'redis/primary', 'connect_timeout': '90s'}, (), False, 60),
    ({'check': 'redis/primary', 'connect_timeout': '90s'}, (), True, 90),
    ({'check': 'redis/primary', 'connect_timeout': '90s'}, (1,), False, 90),
    ({'check': 'redis/primary', 'server_wait': '1s'}, (), True, 1), ({'server_wait': '1s'}, (1,), False, 3),
    ({'server_wait': '5s'}, (1,), True, 5), ({'server_wait': '0'}, (), True, 0)])
def test_how_long_a_client_waits(settings, expected, has_limits, seconds):
    settings = defaults(**dict({'connect_timeout': '3s'}, **settings))
    assert seconds_to_wait(settings, Members(expected, has_limits)) == seconds


def test_a_client_that_leaves_while_it_waits_is_seen_at_once(balancer, monkeypatch):
    monkeypatch.setattr(queue, 'LOOK_SECONDS', 60.0)
    one = balancer(server_wait=60.0, connect_timeout=0.1)
    client = one.connect()
    wait_until('it waits', lambda: len(one.server.queue) == 1)
    client.close()
    wait_until('it has left', lambda: not one.server.queue)


def test_a_client_that_has_asked_and_ended_is_waited_for_no_longer_than_a_connect_may_take(balancer, monkeypatch):
    monkeypatch.setattr(queue, 'LOOK_SECONDS', 0.05)
    one, began = balancer(server_wait=60.0, connect_timeout=0.2), monotonic()
    client = one.connect()                       # waits so long for an answer of DNS, and then in the queue
    client.sendall(b'hello\n')
    client.shutdown(socket.SHUT_WR)
    wait_until('it waits', lambda: len(one.server.queue) == 1)
    wait_until('it is still waited for', lambda: not one.server.queue)
    assert monotonic() - began > 0.35 and one.log.events('session_failed') == []
    client.close()


def test_when_the_first_in_the_queue_leaves_the_next_one_tries_at_once(balancer, echo, monkeypatch):
    """All servers had failed, so there may never be news."""
    monkeypatch.setattr(queue, 'LOOK_SECONDS', 60.0)
    one, server = balancer(server_wait=60.0), echo('a')
    server.stop()
    one.use(server.endpoint)
    first = one.connect()
    wait_until('the first waits', lambda: len(one.server.queue) == 1)
    second = one.connect()
    wait_until('both wait', lambda: len(one.server.queue) == 2)
    server.server = type(server.server)(server.endpoint, server._echo)
    server.server.start()
    first.close()
    assert exchange(second) == 'a'
    second.close()
