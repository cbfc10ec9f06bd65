"""Servers that end at once now and then, clients of all manners, settings that change meanwhile: nothing is left behind."""
from __future__ import absolute_import, division, print_function

import random
import socket
import time

import gevent
import pytest
from gevent.server import StreamServer

from sidelb_lib.pool.merging import Group, Options
from sidelb_lib.tcp import early_end

from ..support.clients import reset
from ..support.waiting import wait_until

SECONDS = 6.0
MANNERS = ('ends', 'resets', 'takes a byte', 'answers', 'echoes', 'echoes', 'is late', 'is slow')


class Moody(object):
    def __init__(self, chance):
        self.manner = 'echoes'
        self._chance = chance
        self.server = StreamServer(('127.0.0.1', 0), self._serve)
        self.server.start()
        self.endpoint = self.server.address[:2]

    def _serve(self, sock, _):
        manner = self.manner
        try:
            if manner == 'takes a byte':
                sock.recv(1)
            elif manner == 'answers':
                sock.sendall(b'x')
            elif manner.startswith('is'):
                gevent.sleep(0.05 if manner == 'is late' else 0.5)
            elif manner == 'echoes':
                for data in iter(lambda: sock.recv(100), b''):
                    sock.sendall(data)
            (reset if manner == 'resets' or self._chance.random() < 0.2 else socket.socket.close)(sock)
        except EnvironmentError:
            pass
        finally:
            sock.close()


def client_of(one, chance):
    sock = one.connect()
    kind = chance.random()
    try:
        if kind < 0.1:
            return reset(sock)
        if 0.2 < kind < 0.7:
            gevent.sleep(chance.choice((0, 0.001, 0.01, 0.2)))
            sock.sendall(b'hello')
        if kind > 0.9:
            sock.shutdown(socket.SHUT_WR)
        sock.settimeout(chance.choice((0.05, 0.5, 5)))
        if kind > 0.2:
            sock.recv(100)
    except EnvironmentError:
        pass
    finally:
        sock.close()


@pytest.mark.slow
@pytest.mark.parametrize('options', [
    dict(server_wait=1.0, proxy='v1'),
    dict(mode='least-connections', http=('127.0.0.1', 0), max_session_age=1.0),
    dict(servers_file='/nonexistent', server_wait=1.0)])
def test_whatever_happens_all_sessions_end_and_are_counted_and_who_is_up_is_taken(balancer, monkeypatch, options):
    monkeypatch.setattr(early_end, 'EARLY_SECONDS', 0.3)
    errors = []
    monkeypatch.setattr(gevent.get_hub(), 'handle_error', lambda context, *error: errors.append(error))
    chance, clients = random.Random(repr(sorted(options))), []
    one = balancer(early_close='failure', check_interval=0.1, connect_timeout=0.5, **options)
    servers = [Moody(chance) for _ in range(4)]

    def use(count):
        limit = Options(None, None, 3) if options.get('servers_file') else None
        one.pool.update('test', [Group(None, [each.endpoint], limit) for each in chance.sample(servers, count)])
    use(4)
    end = time.time() + SECONDS
    while time.time() < end:
        if chance.random() < 0.05:
            chance.choice(servers).manner = chance.choice(MANNERS)
        if chance.random() < 0.01:
            use(chance.choice((2, 3, 4)))
        if chance.random() < 0.005:
            early_close = chance.choice(('ignore', 'failure', 'failure'))
            one.server.change(one.server.settings._replace(early_close=early_close), 1000)
        if chance.random() < 0.005:
            for session in list(one.server.sessions)[:2]:
                one.server.cut_one(session, 'admin')
        clients.append(gevent.spawn(client_of, one, chance))
        gevent.sleep(0.004)
    gevent.joinall(clients, timeout=20)
    assert all(client.successful() for client in clients)
    wait_until('all have ended', lambda: not one.server.sessions)
    assert errors == []
    assert not one.server.own_ends and not one.server.queue and not one.log.events('session_failed')
    assert [address.active for address in one.pool.addresses()] == [0] * len(one.pool.members)
    for server in servers:
        server.manner = 'answers'
    one.server.change(one.server.settings._replace(early_close='ignore'), 1000)
    wait_until('all are up', lambda: one.connect().close() or all(address.up for address in one.pool.addresses()))
    for server in servers:
        server.server.close()
