"""How a session ends: what was read from one side is delivered to the other, whatever ends the session."""
from __future__ import absolute_import, division, print_function

import contextlib
import errno
import os
import signal
import socket
import struct
import time

import gevent
import pytest
from gevent.event import Event

from sidelb_lib.compat import READ, SocketError, bare_socket, find_splice, monotonic
from sidelb_lib.config.settings import defaults
from sidelb_lib.net import connect as connecting
from sidelb_lib.net import resets
from sidelb_lib.net.listeners import listen_tcp
from sidelb_lib.pool.merging import Group
from sidelb_lib.tcp.ending import Sweeper
from sidelb_lib.tcp.server import TcpServer
from sidelb_lib.tcp.session import Session
from sidelb_lib.tcp.splicing import RelayResources

from ..support.balancing import Balancing
from ..support.clients import tcp_pair
from ..support.program import Sidelb
from ..support.waiting import wait_until

SECONDS = 10
RESET = struct.pack('ii', 1, 0)


class Ends(Balancing):
    """A balancer between `connect()` and the servers' side, `accept()`, both plain sockets that the test holds."""

    def __init__(self, **settings):
        self._limit = settings.pop('max_connections', 1000)
        self.settings = defaults(check='off', connect_timeout=1.0, **settings)
        Balancing.__init__(self, self.settings)
        self._listener = socket.socket()
        self._listener.bind(('127.0.0.1', 0))
        self._listener.listen(1024)
        self._socks = [self._listener]

    def __enter__(self):
        self.begin(TcpServer(listen_tcp('127.0.0.1', 0), self.pool, RelayResources(find_splice()), self.log, monotonic,
                             self.settings, self._limit))
        self.use(self._listener.getsockname())
        return self

    def __exit__(self, *_):
        self.close()
        for sock in self._socks:
            sock.close()

    def pair(self, buffers=None):
        """(client's socket, server's socket) of a new session; `buffers` bounds what the client's kernel takes."""
        client = socket.socket()
        if buffers:
            client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, buffers)
        client.settimeout(SECONDS)
        client.connect(self.server.address[:2])
        peer, _ = self._listener.accept()
        peer.settimeout(SECONDS)
        self._socks += [client, peer]
        return client, peer

    def ended(self, count=1):
        wait_until('the session did not end', lambda: sum(self.server.tally.ended.values()) >= count, SECONDS)
        return dict(self.server.tally.ended)


def reset(sock):
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
    sock.close()


def rest_of(sock):
    """(bytes until the end, how it ends: 'eof' or 'reset')."""
    count = 0
    try:
        while True:
            data = sock.recv(65536)
            if not data:
                return count, 'eof'
            count += len(data)
    except socket.error as error:
        assert error.errno == errno.ECONNRESET, error
        return count, 'reset'


def answer_and_reset(server, size):
    """A server's answer of `size` bytes, and a reset when all of it has left the server."""
    server.sendall(b'a' * size)
    wait_until('the answer does not leave the server', lambda: not resets.unacknowledged(bare_socket(server)), SECONDS)
    reset(server)


# --- a slow reader ---------------------------------------------------------------------------------------------------

def test_a_slow_reader_is_no_silent_one():
    """A server has answered and says nothing more, a client takes the answer bit by bit: neither is idle."""
    with Ends(idle_timeout=0.6) as ends:
        client, server = ends.pair(buffers=4096)
        sending = gevent.spawn(server.sendall, b'a' * 400000)
        count, until = 0, time.time() + 2.4
        while time.time() < until:
            count += len(client.recv(4096))
            gevent.sleep(0.05)
        assert len(ends.server.sessions) == 1, 'cut after %d bytes' % count
        sending.kill()


def test_a_silent_session_ends_by_a_reset_to_both():
    with Ends(idle_timeout=0.3) as ends:
        client, server = ends.pair()
        assert rest_of(client)[1] == rest_of(server)[1] == 'reset'
        assert ends.ended() == {'idle': 1}


def test_a_reader_that_takes_nothing_at_all_is_given_up_in_the_end():
    with Ends(idle_timeout=0.4) as ends:
        client, server = ends.pair(buffers=4096)
        sending = gevent.spawn(server.sendall, b'a' * (8 << 20))
        assert ends.ended() == {'idle': 1}
        sending.kill()
        client.close()


def test_half_closed_and_silent_is_ended_after_its_own_time():
    with Ends(half_close_timeout=0.3) as ends:
        client, server = ends.pair()
        client.shutdown(socket.SHUT_WR)
        assert rest_of(server)[1] in ('eof', 'reset')
        assert rest_of(client)[1] == 'reset'
        assert ends.ended() == {'half_close': 1}


# --- a reset comes after what was read before it ---------------------------------------------------------------------

@pytest.mark.parametrize('size', [200000, 1500000])
def test_a_client_that_pauses_gets_the_whole_answer_of_a_server_that_reset(size):
    with Ends() as ends:
        client, server = ends.pair(buffers=32768)
        sending = gevent.spawn(answer_and_reset, server, size)
        gevent.sleep(1.5)                      # longer than any patience of a second; the client reads nothing
        count, end = rest_of(client)
        sending.get(timeout=SECONDS)
        assert (count, end) == (size, 'reset')
        assert ends.ended() == {'server_reset': 1}


def test_a_server_gets_all_that_a_client_said_before_it_was_reset():
    with Ends() as ends:
        client, server = ends.pair()
        client.sendall(b'q' * 300000)
        wait_until('it is not read', lambda: [one for one in ends.server.sessions if one.relay.outbound.moved])
        reset(client)
        count, end = rest_of(server)
        assert end == 'reset' and count > 0
        assert ends.ended() == {'client_reset': 1}


def test_a_peer_that_takes_nothing_does_not_hold_the_session_for_ever(monkeypatch):
    monkeypatch.setattr('sidelb_lib.tcp.ending.PATIENCE', 0.4)
    monkeypatch.setattr('sidelb_lib.tcp.ending.SLOWEST_SWEEP', 0.1)
    with Ends() as ends:
        client, server = ends.pair(buffers=4096)
        server.setblocking(False)
        with ignoring_socket_errors():
            while True:
                server.send(b'a' * 65536)
                gevent.sleep(0)
        reset(server)
        assert ends.ended() == {'server_reset': 1}
        client.close()


class Watched(object):
    """What the sweeper looks at."""

    relay = True
    silence = None        # asked for when the machine is so busy that a sweep comes late


def test_traffic_passes_while_very_many_sessions_are_looked_at(monkeypatch):
    sessions, looks, heard = set(Watched() for _ in range(4000)), [], []
    one, other = tcp_pair()

    def look(sweeper, session):
        looks.append(session)
        if len(looks) == 100:
            one.send(b'a')
    monkeypatch.setattr('sidelb_lib.tcp.ending.Sweeper._look', look)
    monkeypatch.setattr('sidelb_lib.tcp.ending.SLOWEST_SWEEP', 0.01)
    with contextlib.closing(one), contextlib.closing(other), Ends() as ends:
        watcher = gevent.get_hub().loop.io(other.fileno(), READ)
        watcher.start(lambda: (heard.append(len(looks)), watcher.stop()))
        sweeping = gevent.spawn(Sweeper(sessions, monotonic, ends.server).run)
        wait_until('the sweep has not ended', lambda: len(looks) >= len(sessions))
        sweeping.kill()
    assert heard[0] < 1000


@contextlib.contextmanager
def ignoring_socket_errors():
    try:
        yield
    except socket.error:
        pass


@pytest.mark.parametrize('setting, reason', [('on_down', 'down'), ('on_removed', 'removed')])
def test_what_a_server_said_before_it_went_is_delivered_before_the_reset(setting, reason):
    with Ends(**{setting: 'close'}) as ends:
        client, server = ends.pair(buffers=32768)
        server.sendall(b'a' * 200000)
        wait_until('it is not read', lambda: [one for one in ends.server.sessions if one.relay.inbound.moved > 100000])
        moved, = [one.relay.inbound.moved + one.relay.inbound.held for one in ends.server.sessions]
        if setting == 'on_down':
            for _ in range(2):
                ends.pool.report_failure(ends.pool.addresses()[0], 'test')
        else:
            ends.pool.update('test', [])
        gevent.sleep(0.2)
        count, end = rest_of(client)
        assert count >= moved and end == 'reset'
        assert ends.ended() == {reason: 1}


def test_the_second_reset_of_many_slow_readers_holds_up_nobody_else(monkeypatch):
    """One server drops many clients that read slowly: the others go on as before."""
    with Ends() as ends:
        pairs = [ends.pair(buffers=4096) for _ in range(200)]
        for _, server in pairs:
            server.setblocking(False)
            with ignoring_socket_errors():
                while True:
                    server.send(b'a' * 65536)
                    gevent.sleep(0)
        looks = []
        real = Session.owed
        monkeypatch.setattr(Session, 'owed', lambda session: (looks.append(1), real(session))[1])
        for _, server in pairs:
            reset(server)
        gevent.sleep(1.0)
        assert len(looks) < 200 * 20, 'each session is looked at all the time'
        for client, _ in pairs:
            client.close()


# --- a process that stood still --------------------------------------------------------------------------------------

def test_sessions_of_a_process_that_stood_still_go_on():
    """SIGSTOP, a paused container, a moved machine: both peers were active all the time."""
    listener = socket.socket()
    listener.bind(('127.0.0.1', 0))
    listener.listen(64)
    with Sidelb('127.0.0.1:%d' % listener.getsockname()[1], 'idle_timeout=1s', 'check=off') as balancer:
        clients, servers = [], []
        for _ in range(10):
            client = balancer.connect()
            client.sendall(b'1')
            server, _ = listener.accept()
            server.settimeout(SECONDS)
            assert server.recv(1) == b'1'
            clients.append(client)
            servers.append(server)
        balancer.signal(signal.SIGSTOP)
        for client in clients:
            client.sendall(b'2')
        gevent.sleep(3.0)
        balancer.signal(signal.SIGCONT)
        assert [server.recv(1) for server in servers] == [b'2'] * 10
        for server in servers:
            server.sendall(b'3')
        assert [client.recv(1) for client in clients] == [b'3'] * 10
        for sock in clients + servers + [listener]:
            sock.close()


# --- a second signal, and an option that fails -----------------------------------------------------------------------

def test_a_second_signal_resets_those_who_wait_in_the_queue_as_well():
    listener = socket.socket()
    listener.bind(('127.0.0.1', 0))
    listener.listen(64)
    with Sidelb('127.0.0.1:%d' % listener.getsockname()[1], 'max_connections=2', 'check=off') as balancer:
        clients = [balancer.connect() for _ in range(8)]
        balancer.signal(signal.SIGTERM)
        balancer.wait_for_log('draining')
        balancer.signal(signal.SIGTERM)
        assert [rest_of(client)[1] for client in clients] == ['reset'] * 8
        assert balancer.process.wait(SECONDS) == 0
    listener.close()


def test_a_cut_answer_never_ends_politely_although_the_option_for_a_reset_can_not_be_set(monkeypatch):
    class Stubborn(object):
        """A socket whose setsockopt fails."""

        def __init__(self, sock):
            self._sock = sock

        def setsockopt(self, *_):
            raise SocketError(errno.ENOBUFS, os.strerror(errno.ENOBUFS))

        def fileno(self):
            return self._sock.fileno()
    one, other = tcp_pair()
    resets.abort(Stubborn(one))
    one.close()
    assert rest_of(other)[1] == 'reset'
    other.close()


def test_a_session_that_fails_in_the_sweep_ends_alone(monkeypatch):
    monkeypatch.setattr('sidelb_lib.tcp.ending.SLOWEST_SWEEP', 0.1)
    with Ends() as ends:
        ends.pair()
        (victim,) = ends.server.sessions
        real = Session.keep_alive
        monkeypatch.setattr(Session, 'keep_alive', lambda session: 1 / 0 if session is victim else real(session))
        client, server = ends.pair()
        assert ends.ended() == {'failed': 1}
        client.sendall(b'x')
        assert server.recv(1) == b'x' and len(ends.log.events('session_failed')) == 1


def test_an_exception_in_a_callback_ends_that_session_alone(monkeypatch):
    with Ends() as ends:
        client, server = ends.pair()
        other_client, other_server = ends.pair()
        session = [one for one in ends.server.sessions if one.peer == client.getsockname()][0]
        session.relay.outbound._buffer = None
        client.sendall(b'x')
        assert ends.ended() == {'failed': 1}
        assert rest_of(client)[1] == 'reset'
        other_client.sendall(b'y')
        assert other_server.recv(1) == b'y'
        assert 'session of 127.0.0.1' in ends.log.events('session_failed')[0]


# --- looking for a server --------------------------------------------------------------------------------------------

def test_a_passing_shortage_of_descriptors_is_waited_for(monkeypatch):
    real, calls = connecting.new_socket, []

    def scarce(family, kind):
        calls.append(kind)
        if len(calls) < 4:
            raise SocketError(errno.EMFILE, os.strerror(errno.EMFILE))
        return real(family, kind)
    monkeypatch.setattr(connecting, 'new_socket', scarce)
    with Ends() as ends:
        client, server = ends.pair()
        client.sendall(b'x')
        assert server.recv(1) == b'x' and ends.pool.addresses()[0].failed == 0


def test_a_client_that_leaves_while_its_connect_waits_is_noticed(monkeypatch):
    started = Event()

    def silent(sock, timeout, client=None):
        started.set()
        return real(sock, timeout, client)
    real = connecting.finish_connect
    hole = socket.socket()
    hole.bind(('127.0.0.1', 0))
    hole.listen(0)
    fillers = [socket.socket() for _ in range(2)]
    for filler in fillers:
        filler.setblocking(False)
        filler.connect_ex(hole.getsockname())
    monkeypatch.setattr(connecting, 'finish_connect', silent)
    with Ends() as ends:
        ends.pool.update('test', [Group(None, [hole.getsockname()])])
        client = socket.create_connection(ends.server.address[:2], SECONDS)
        assert started.wait(SECONDS)
        began = time.time()
        client.close()
        assert ends.ended() == {'left': 1}
        assert time.time() - began < 0.9, 'it was noticed by the time-out of the connect'
        assert ends.pool.addresses()[0].failed == 0
    for sock in fillers + [hole]:
        sock.close()


def test_a_connection_to_ourselves_is_noticed_and_reset():
    """A name that leads to our own listener in a form that nobody recognised."""
    with Ends() as ends:
        ends.pool.update('test', [Group(None, [ends.server.address[:2]])])
        client = socket.create_connection(ends.server.address[:2], SECONDS)
        assert rest_of(client)[1] == 'reset'
        client.close()
        wait_until('sessions are left', lambda: not ends.server.sessions)
        assert ends.log.events('loop') and ends.server.tally.accepted == 2
