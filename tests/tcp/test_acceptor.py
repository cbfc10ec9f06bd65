"""Clients wait in the kernel's queue while other services have the descriptors that they would take."""
from __future__ import absolute_import, division, print_function

import contextlib

import gevent
import pytest

from sidelb_lib.tcp import acceptor

from ..support.waiting import wait_until
from .parts import SECONDS, exchange


class Others(object):
    """A Share of which others leave so many sessions."""

    sessions = ()

    def __init__(self, room):
        self.room = room

    def has_room(self):
        return self.left() > 0

    def left(self):
        return max(0, self.room - len(self.sessions))


@pytest.fixture
def others():
    return Others(3)


@pytest.fixture
def one(balancer, echo, others):
    one = balancer(share=others)
    one.use(echo('A').endpoint)
    return one


def test_a_client_waits_until_others_have_left_room(one, others):
    with contextlib.closing(one.connect()) as first, contextlib.closing(one.connect()) as second:
        assert exchange(first) == exchange(second) == 'A'
        others.room = 2
        asking = gevent.spawn(one.ask)
        wait_until('the client is taken', lambda: one.server._paused)
        assert len(one.server.sessions) == one.server.most == 2
        others.room = 3
        assert asking.get(timeout=SECONDS) == 'A'


def test_however_many_sessions_end_one_look_for_room_is_ahead(one, others, monkeypatch):
    looks = []
    monkeypatch.setattr(acceptor.gevent, 'spawn_later', lambda seconds, look: looks.append(look) or look)
    clients = [one.connect() for _ in range(3)]
    assert [exchange(client) for client in clients] == ['A'] * 3
    others.room = 0
    waiting = one.connect()
    wait_until('it does not pause', lambda: looks)
    for client in clients:
        client.close()
    wait_until('they do not end', lambda: not one.server.sessions and one.server._paused)
    assert len(looks) == 1
    others.room = 1
    looks[0]()
    assert exchange(waiting) == 'A'
    waiting.close()


def test_at_the_end_the_queue_is_served_as_soon_as_others_have_left_room(one, others):
    others.room = 0
    asking = gevent.spawn(one.ask)
    wait_until('it does not pause', lambda: one.server._paused)
    draining = gevent.spawn(one.server.drain, 2 * SECONDS)
    wait_until('it does not drain', lambda: one.server._draining)
    others.room = 1
    assert asking.get(timeout=SECONDS) == 'A'
    assert draining.get(timeout=SECONDS) == 0
