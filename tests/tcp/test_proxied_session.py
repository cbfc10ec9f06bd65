"""The PROXY protocol on real sockets: headers from a load balancer before us, and towards servers."""
from __future__ import absolute_import, division, print_function

import contextlib
import socket

import gevent
import pytest

from gevent.server import StreamServer

from sidelb_lib.errors import BAD_HEADER, NO_HEADER, NOT_ALLOWED, NOT_TRUSTED
from sidelb_lib.net.proxy_protocol import Reader, header, local_header

from ..net.test_proxy_protocol import BAD, CLIENT, GOOD, PAYLOAD
from ..support.making import making
from ..support.waiting import wait_until
from .parts import end_of, exchange

V2 = header('v2', CLIENT, ('10.0.0.1', 5432))


class Recorder(object):
    """A server that keeps all that each connection has sent, and greets with a word."""

    def __init__(self):
        self.received = []
        self.server = StreamServer(('127.0.0.1', 0), self._serve)
        self.server.start()
        self.endpoint = self.server.address[:2]

    def _serve(self, sock, _):
        index = len(self.received)
        self.received.append(b'')
        sock.sendall(b'welcome\n')
        while True:
            try:
                data = sock.recv(65536)
            except socket.error:
                return None
            if not data:
                return sock.sendall(b'goodbye\n')
            self.received[index] += data

    def close(self):
        self.server.close()


recorder = making(Recorder, Recorder.close)


@pytest.fixture
def behind(balancer, recorder):
    """A balancer behind a load balancer on this host, and its only server."""
    def make(**options):
        options.setdefault('proxy_timeout', 20.0)
        one, server = balancer(accept_proxy='127.0.0.0/8', **options), recorder()
        one.use(server.endpoint)
        return one, server
    return make


def everything_of(client):
    return b''.join(iter(lambda: client.recv(65536), b''))


def send_bytewise(client, data):
    pieces = [data[position:position + 1] for position in range(min(len(data), 256))]
    pieces += [data[position:position + 64] for position in range(256, len(data), 64)]
    for piece in pieces:
        client.sendall(piece)
        gevent.sleep(0.0001)


def denied(one):
    return one.server.counts()['denied']


# --- from whoever is before us ---------------------------------------------------------------------------------------

@pytest.mark.parametrize('name, data, named', GOOD, ids=[row[0] for row in GOOD])
@pytest.mark.parametrize('send', [socket.socket.sendall, send_bytewise], ids=['glued', 'bytewise'])
def test_no_byte_after_the_header_is_lost(behind, name, data, named, send):
    one, server = behind()
    with contextlib.closing(one.connect()) as client:
        sending = gevent.spawn(lambda: (client.sendall(data + PAYLOAD) if send is not send_bytewise else
                                        (send_bytewise(client, data), client.sendall(PAYLOAD)),
                                        client.shutdown(socket.SHUT_WR)))
        assert client.recv(8) == b'welcome\n'
        session, = one.server.sessions
        assert session.peer[:2] == (named or client.getsockname())
        assert session.via == (client.getsockname() if named else None)
        assert everything_of(client) == b'goodbye\n'
        sending.get()
    assert server.received == [PAYLOAD]


@pytest.mark.parametrize('name, data', BAD, ids=[row[0] for row in BAD])
def test_a_bad_header_reaches_no_server(behind, name, data):
    one, server = behind()
    with contextlib.closing(one.connect()) as client, contextlib.closing(one.connect()) as slow:
        client.sendall(data + b'x' * 4096)
        try:
            send_bytewise(slow, data + b'\n')
        except socket.error:
            pass                           # it was reset before the last byte
        assert end_of(client) == 'reset'
        wait_until('both are denied', lambda: denied(one) == {BAD_HEADER: 2})
    assert not server.received and not one.server.sessions and one.server.counts()['total'] == 0


def test_whoever_is_not_trusted_is_reset_at_once(balancer, recorder):
    one, server = balancer(accept_proxy='127.0.0.8/29'), recorder()
    one.use(server.endpoint)
    with contextlib.closing(one.connect()) as client:
        assert end_of(client) == 'reset'
    assert denied(one) == {NOT_TRUSTED: 1} and not server.received


def test_the_client_that_the_header_names_is_the_one_for_allow_and_deny(behind):
    one, server = behind(deny='192.0.2.0/24', allow='192.0.2.0/23,127.0.0.1')
    with contextlib.closing(one.connect()) as client:
        client.sendall(V2)
        assert end_of(client) == 'reset'
    assert denied(one) == {NOT_ALLOWED: 1}
    assert one.log.events('client_denied') == ['reset 192.0.2.1:56324: address is not allowed']
    with contextlib.closing(one.connect()) as client:
        client.sendall(header('v1', ('192.0.3.1', 1), ('10.0.0.1', 2)))
        assert client.recv(8) == b'welcome\n'


def test_a_header_that_does_not_end_in_time_is_cut_and_holds_up_nobody(behind):
    one, server = behind(proxy_timeout=0.7)
    slow = []
    for number in range(100):
        slow.append(one.connect())
        slow[-1].sendall(V2[:number % len(V2)])
    with contextlib.closing(one.connect()) as client:
        client.sendall(V2)
        assert client.recv(8) == b'welcome\n'
    assert [end_of(client) for client in slow] == ['reset'] * 100
    assert denied(one) == {NO_HEADER: 100} and len(server.received) == 1
    for client in slow:
        client.close()


@pytest.mark.parametrize('greeting', [b'', local_header('v1'), local_header('v2')])
def test_a_health_check_of_whoever_is_before_us_is_no_session(behind, greeting):
    one, server = behind(log_level='debug')
    with contextlib.closing(one.connect()) as client:
        client.sendall(greeting)
    wait_until('it was told', lambda: one.log.events('probed'))
    counts = one.server.counts()
    assert (counts['total'], counts['active'], counts['ended'], counts['denied']) == (0, 0, {}, {})
    assert not server.received


@pytest.mark.parametrize('version', ['v1', 'v2'])
def test_a_check_that_waits_for_the_servers_word_gets_it(behind, version):
    one, _ = behind()
    with contextlib.closing(one.connect()) as client:
        client.sendall(local_header(version))
        assert client.recv(8) == b'welcome\n'


def test_those_who_have_not_said_a_header_yet_are_cut_with_the_others(behind):
    one, _ = behind()
    with contextlib.closing(one.connect()) as client:
        client.sendall(V2[:20])
        wait_until('it has come', lambda: one.server.sessions)
        assert one.server.cut_all() == 1
        assert end_of(client) == 'reset'


def test_a_connection_that_ends_within_the_header_is_told(behind):
    one, server = behind()
    with contextlib.closing(one.connect()) as client:
        client.sendall(V2[:20])
        client.shutdown(socket.SHUT_WR)
        assert end_of(client) == 'reset'
    assert one.log.events('client_denied')[0].endswith('the connection ends within the PROXY header')


# --- towards servers -------------------------------------------------------------------------------------------------

@pytest.mark.parametrize('version', ['v1', 'v2'])
@pytest.mark.parametrize('family', [socket.AF_INET, socket.AF_INET6])
def test_a_server_is_told_of_the_client_before_its_first_byte(balancer, recorder, version, family):
    one, server = balancer(family, proxy=version), recorder()
    one.use(server.endpoint)
    with contextlib.closing(one.connect()) as client:
        assert client.recv(8) == b'welcome\n'          # a server that speaks first knows the client already
        client.sendall(b'payload')
        client.shutdown(socket.SHUT_WR)
        assert everything_of(client) == b'goodbye\n'
        assert server.received == [header(version, client.getsockname()[:2], one.server.address[:2]) + b'payload']


def test_the_client_that_was_named_to_us_is_named_on(behind):
    one, server = behind(proxy='v2')
    with contextlib.closing(one.connect()) as client:
        client.sendall(header('v1', ('2001:db8::1', 56324), ('2001:db8::2', 5432)) + b'payload')
        client.shutdown(socket.SHUT_WR)
        assert everything_of(client) == b'welcome\ngoodbye\n'
    reader, data = Reader(), server.received[0]
    assert data[reader.take(data):] == b'payload' and reader.client == ('2001:db8::1', 56324)


def test_a_session_that_begins_again_at_another_server_says_its_header_there(balancer, recorder):
    dead = StreamServer(('127.0.0.1', 0), lambda sock, _: sock.close())
    dead.start()
    one, server = balancer(proxy='v1', early_close='failure'), recorder()
    one.use(dead.address[:2], server.endpoint)
    for _ in range(2):
        with contextlib.closing(one.connect()) as client:
            assert client.recv(8) == b'welcome\n'
            assert server.received[-1] == header('v1', client.getsockname()[:2], one.server.address[:2])
    dead.close()


def test_headers_come_and_go_with_the_settings(balancer, echo):
    one = balancer()
    one.use(echo('A').endpoint)
    plain = one.server.settings
    with contextlib.closing(one.connect()) as client:
        assert exchange(client) == 'A'
        one.server.change(plain._replace(proxy='v1'), 10)
        assert exchange(client) == 'A'
        with contextlib.closing(one.connect()) as newcomer:
            assert newcomer.recv(100).startswith(b'A PROXY TCP4 127.0.0.1 127.0.0.1 ')
    one.server.change(plain, 10)
    assert one.ask() == 'A'
