"""early_close=failure before a real proxy that goes on accepting when the program behind it is dead."""
from __future__ import absolute_import, division, print_function

import contextlib
import os

import pytest

from ..support.clients import connect
from ..support.places import Reservation
from ..support.processes import Process
from ..support.program import Sidelb
from ..support.requirements import need_program
from ..support.servers import Server
from ..support.waiting import wait_until


@contextlib.contextmanager
def stunnel_to(server, directory):
    """Runs stunnel before `server`; where it listens, as text."""
    with Reservation(['127.0.0.1']) as place:
        address, path = '127.0.0.1:%d' % place.port, os.path.join(str(directory), 'stunnel.conf')
        with open(path, 'w') as stream:
            stream.write('foreground = yes\npid =\n[x]\nclient = yes\naccept = %s\nconnect = %s\n' % (address, server))
        process = Process([need_program('stunnel', 'stunnel4'), path])
        try:
            wait_until('stunnel does not listen', lambda: accepts(place.addresses[0]))
            yield address
        finally:
            process.stop()
            process.close()


def accepts(address):
    try:
        connect(address).close()
    except EnvironmentError:
        return False
    return True


@pytest.fixture
def dead(tmpdir):
    """The address of a stunnel whose server refuses all connections."""
    with Server('behind') as server, stunnel_to(server, tmpdir) as address:
        server.refuse()
        yield address


def test_clients_notice_nothing_of_a_stunnel_that_only_accepts(dead):
    with Server('A') as alive, Sidelb(alive, dead, 'early_close=failure', 'check_interval=1h') as balancer:
        assert [balancer.who() for _ in range(10)] == ['A'] * 10
        # A reset may come so soon that it is the connect that fails.
        balancer.wait_for_log('%s is down: (ends sessions at once|Connection reset by peer), 1 of 2 up' % dead)


def ends_at_once(session):
    """Says nothing."""


def test_a_server_that_ends_at_once_is_down_and_says_why():
    with Server('A') as alive, Server('B', behaviour=ends_at_once) as broken:
        with Sidelb(alive, broken, 'early_close=failure', 'check_interval=1h') as balancer:
            assert [balancer.who() for _ in range(10)] == ['A'] * 10
            balancer.wait_for_log('%s is down: ends sessions at once, 1 of 2 up' % broken)
            member = balancer.members()[str(broken)]
            assert (member['state'], member['note'], member['total']) == ('down', 'ends sessions at once', 2)
            assert balancer.status()['connections']['retries'] == 2


def test_by_default_every_second_client_meets_it():
    with Server('A') as alive, Server('B', behaviour=ends_at_once) as broken:
        with Sidelb(alive, broken, 'check_interval=1h') as balancer:
            assert sorted(balancer.who() for _ in range(10)) == [''] * 5 + ['A'] * 5
            assert 'is down' not in balancer.log


def test_it_is_back_when_one_client_that_was_sent_there_got_a_byte():
    with Server('A') as alive, Server('B', behaviour=ends_at_once) as broken:
        with Sidelb(alive, broken, 'early_close=failure', 'check_interval=200ms') as balancer:
            assert [balancer.who() for _ in range(4)] == ['A'] * 4
            balancer.wait_for_log('%s is down: ends sessions at once' % broken)
            broken.behaviour = alive.behaviour
            wait_until('nobody is sent there', lambda: balancer.who() == 'B')
            balancer.wait_for_log('%s is up again' % broken)
            assert sorted(balancer.who() for _ in range(4)) == ['A', 'A', 'B', 'B']
