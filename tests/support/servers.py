"""TCP servers that behave as a test wants, and that can go, hang and come back on their address."""
from __future__ import absolute_import, division, print_function

import contextlib
import errno
import select
import socket

import gevent
from gevent.event import Event

from .clients import connect, reset
from .places import Reservation, bound_socket, endpoint

CHUNK = 65536
RESETS = (errno.ECONNRESET, errno.EPIPE)


class Server(object):
    """A server on one address; `str()` of it is `ip:port`, as SideLB's arguments want it. A context manager.

    `behaviour(session)` is called in a greenlet for each connection; the connection is closed when it
    returns. `accepted` counts connections (probes are some too), `served` those in which the client sent
    something, `sessions` lists all of them, `open_sessions` those that go on.
    """

    def __init__(self, name='server', ip='127.0.0.1', port=0, behaviour=None, namespace=None):
        self.name = name
        self.behaviour = behaviour or greet_and_echo
        self.sessions = []
        self.reading = Event()           # cleared, no behaviour reads on
        self.reading.set()
        self._namespace = namespace
        self._reservation = Reservation([ip], port, namespace)
        self._listener = None
        self._acceptor = None
        self._fillers = []
        self.address = self._reservation.addresses[0]

    def __str__(self):
        return endpoint(*self.address)

    def __enter__(self):
        self.listen()
        return self

    def __exit__(self, *_):
        self.stop()

    # --- counters -------------------------------------------------------------------------------------------

    @property
    def accepted(self):
        return len(self.sessions)

    @property
    def served(self):
        return sum(1 for session in self.sessions if session.received)

    @property
    def open_sessions(self):
        return [session for session in self.sessions if session.open]

    # --- how it meets new clients ---------------------------------------------------------------------------

    def listen(self, backlog=128):
        """Listen and accept. Comes back from `refuse`, `black_hole` and `stop_accepting`."""
        if self._listener is None or self._fillers:
            self._listen(backlog)
        if self._acceptor is None:
            self._acceptor = gevent.spawn(self._accept)

    def refuse(self):
        """New connections are refused (those that were not accepted yet are reset); accepted ones go on."""
        self.stop_accepting()
        for filler in self._fillers:
            filler.close()
        self._fillers = []
        if self._listener is not None:
            self._listener.close()
            self._listener = None

    def stop_accepting(self):
        """The kernel accepts new connections, nobody serves them: a server that hangs."""
        if self._acceptor is not None:
            self._acceptor.kill()
            self._acceptor = None

    def black_hole(self):
        """New connection attempts get no answer at all, as from a host that is gone.

        The kernel drops a SYN when the accept queue is full, listen(2). A backlog of 0 is full with one.
        """
        self.refuse()
        self._listen(backlog=0)
        self._fillers.append(connect(self.address, namespace=self._namespace))
        select.select([self._listener], [], [], 5.0)      # now the filler is in the queue

    def _listen(self, backlog):
        self.refuse()
        self._listener = bound_socket(self.address[0], self.address[1], self._namespace)
        self._listener.listen(backlog)

    def _accept(self):
        while True:
            sock, peer = self._listener.accept()
            session = Session(self, sock, peer)
            self.sessions.append(session)
            session.greenlet = gevent.spawn(session.run)

    # --- how it treats those it has -------------------------------------------------------------------------

    def pause_reading(self):
        """No session reads on until `resume_reading`; what the client sends piles up on its way."""
        self.reading.clear()

    def resume_reading(self):
        self.reading.set()

    def close_sessions(self):
        """End all open sessions, as a server does that stops in good order."""
        for session in self.open_sessions:
            session.end(by_reset=False)

    def reset_sessions(self):
        """End all open sessions, as a server does that is killed with data unread."""
        for session in self.open_sessions:
            session.end(by_reset=True)

    def die(self):
        """Refuse new connections and reset the open ones: the process is gone. `listen()` brings it back."""
        self.refuse()
        self.reset_sessions()

    def stop(self):
        """End everything and give the address back."""
        self.refuse()
        self.close_sessions()
        self._reservation.release()


class Session(object):
    """One connection that a Server accepted. It owns the socket.

    `received` counts the client's bytes, `ended` is None while the client may still send, then 'eof' or
    'reset'.
    """

    def __init__(self, server, sock, peer):
        self.server = server
        self.sock = sock
        self.peer = peer
        self.received = 0
        self.ended = None
        self.open = True
        self.greenlet = None

    def run(self):
        try:
            self.server.behaviour(self)
        except EnvironmentError as error:
            if error.errno not in RESETS:
                raise
            self.ended = 'reset'
        finally:
            self.open = False
            self.sock.close()

    def end(self, by_reset):
        self.greenlet.kill(block=False)
        self.open = False
        if by_reset:
            reset(self.sock)
        self.sock.close()

    def recv(self, size=CHUNK):
        """The next bytes; b'' at the end. Waits while the server pauses."""
        self.server.reading.wait()
        data = self.sock.recv(size)
        self.received += len(data)
        if not data:
            self.ended = 'eof'
        return data

    def send(self, data):
        self.sock.sendall(data)


# --- behaviours ---------------------------------------------------------------------------------------------

def greet_and_echo(session):
    """Say our name in a line, then echo until the client has ended. The default."""
    session.send(session.server.name.encode('utf-8') + b'\n')
    echo(session)


def echo(session):
    """Echo until the client has ended."""
    while True:
        data = session.recv()
        if not data:
            return
        session.send(data)


def swallow(session):
    """Read to the end, say nothing."""
    while session.recv():
        pass


def answer_after_end(session):
    """Read to the end, then say how many bytes came, in a line: the client half-closes first."""
    swallow(session)
    session.send(('%d\n' % session.received).encode('ascii'))


def end_first(session):
    """Say 'bye', half-close, then read to the end: the server half-closes first."""
    session.send(b'bye\n')
    session.sock.shutdown(socket.SHUT_WR)
    swallow(session)


def pour(size):
    """Send `size` bytes as fast as they go, then close. Byte number n is n % 251: any gap or swap shows."""
    def behaviour(session):
        for start in range(0, size, CHUNK):
            session.send(pattern(start, min(CHUNK, size - start)))
    return behaviour


def hang_up_after(size):
    """Read `size` bytes, then close."""
    def behaviour(session):
        while session.received < size and session.recv():
            pass
    return behaviour


def reset_after(size):
    """Read `size` bytes, then reset the connection."""
    def behaviour(session):
        while session.received < size and session.recv():
            pass
        reset(session.sock)
    return behaviour


def pattern(start, size):
    """`size` bytes of the stream whose byte number n is n % 251, from number `start`."""
    cycle = bytes(bytearray(range(251)))
    offset = start % 251
    return (cycle * (size // 251 + 2))[offset:offset + size]


# --- several ------------------------------------------------------------------------------------------------

@contextlib.contextmanager
def servers_on(ips, names=None, port=0, behaviour=None, namespace=None):
    """Servers on the same port of each of `ips`, running inside the `with`; named by `names` or `ips`."""
    servers = []
    with Reservation(ips, port, namespace) as reservation:
        try:
            for ip, name in zip(ips, names or ips):
                servers.append(Server(name, ip, reservation.port, behaviour, namespace))
                servers[-1].listen()
            yield servers
        finally:
            for server in servers:
                server.stop()


@contextlib.contextmanager
def running(*servers):
    """Run several Servers inside the `with`."""
    try:
        for server in servers:
            server.listen()
        yield servers
    finally:
        for server in servers:
            server.stop()
