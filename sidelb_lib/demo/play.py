"""`sidelb demo`: a name server, servers, a real balancer in front of them and clients, all in one process, to be
watched for a while.

What is shown is measured: every figure counts replies that a client has got through the balancer.
"""
from __future__ import absolute_import, division, print_function

import collections
import errno
import signal
import socket
import time

import gevent
from gevent.event import Event
from gevent.server import StreamServer

from ..compat import monotonic
from ..config import settings
from ..errors import SidelbError
from ..limits import Budget, raise_descriptor_limit
from ..observe.commands import Commands
from ..observe.logs import EventLog
from ..service.service import Service
from .zone import NameServer, Zone

RING = 'db.example.com'
SERVERS = collections.OrderedDict([            # two of them have two addresses
    ('db1.example.com', ['127.0.1.1', '127.0.2.1']),
    ('db2.example.com', ['127.0.1.2']),
    ('db3.example.com', ['127.0.1.3', '127.0.2.3']),
])
CLIENTS = 8
CLIENT_PAUSE = 0.01                # seconds between two requests of one client
CLIENT_TIMEOUT = 5.0
RECENT_SECONDS = 1.0               # the window of the bars
REDRAW_SECONDS = 0.25
BAR_WIDTH = 30
WIDTH = 78
DNS_TTL = 1

#: When (seconds), what is said, and the method that does it.
SCRIPT = [
    (0.0, 'Three servers behind %s, two with two addresses. Each gets a third.' % RING, None),
    (4.0, 'db2 is stopped. Its clients go to the others, without an error.', 'stop_db2'),
    (8.0, 'db2 is back. It gets its share as soon as its probes succeed.', 'start_db2'),
    (11.5, 'db3 is taken out of DNS. It gets nobody new once the answer is refreshed.', 'remove_db3'),
    (15.0, 'Somebody gives the command sidelb drain db2: nobody new is sent there.', 'drain_db2'),
    (18.5, 'A reload: the configuration names db3, which is back. db2 goes on draining.', 'reload_with_db3'),
]
END = 22.0


def run(keep, stdout):
    """Show the demo on `stdout`; with `keep` go on until SIGINT or SIGTERM. Returns the exit code: 0 if no request
    failed.

    A signal sets an event, since a KeyboardInterrupt could strike any greenlet.
    """
    stop = Event()
    for number in signal.SIGINT, signal.SIGTERM:
        gevent.signal_handler(number, stop.set)
    demo = Demo(raise_descriptor_limit())
    demo.start()
    screen = Screen(stdout)
    try:
        _play(demo, screen, keep, stop)
    finally:
        demo.stop()
    screen.summary(demo)
    return 1 if demo.failures else 0


def _play(demo, screen, keep, stop):
    began = time.time()
    if keep:
        screen.say('Connect to %s, for example: nc %s' % (demo.listener, demo.listener.replace(':', ' ')))
    waiting = list(SCRIPT)
    while not stop.is_set() and (keep or time.time() - began < END):
        while waiting and time.time() - began >= waiting[0][0]:
            _, text, action = waiting.pop(0)
            screen.say(text)
            if action:
                getattr(demo, action)()
        screen.draw(demo, time.time() - began)
        stop.wait(REDRAW_SECONDS)


class EchoServer(object):
    """A server of all its addresses: answers each line with its name and the line."""

    def __init__(self, name, hosts, port):
        self.name = name
        self._endpoints = [(host, port) for host in hosts]
        self._servers = []

    def start(self):
        """Raises EnvironmentError when an address cannot be bound."""
        try:
            for endpoint in self._endpoints:
                server = StreamServer(endpoint, self._echo)
                server.start()
                self._servers.append(server)
        except EnvironmentError:
            self.stop()
            raise

    def stop(self):
        """From now on connections are refused. Who waits in the listener's queue is served: closing it would be a reset for
        a client whose request is on its way there."""
        for server in self._servers:
            for accepted in iter(server.do_read, None):
                server.do_handle(*accepted)
            server.close()
        self._servers = []

    def _echo(self, sock, peer):
        lines = sock.makefile('rb')
        try:
            for line in iter(lambda: lines.readline(4096), b''):
                sock.sendall(self.name.encode('ascii') + b' ' + line)
        except EnvironmentError:
            pass
        finally:
            lines.close()
            sock.close()


class Demo(object):
    """All the parts, and what the clients have counted. `replies` is (time, server name) of each reply."""

    def __init__(self, descriptor_limit):
        self.listener = None
        self.failures = 0
        self.last_failure = None
        self.totals = collections.Counter()
        self._recent = collections.deque()
        self._greenlets = []
        self.echo_servers, port = start_echo_servers()
        self._zone = Zone(ttl=DNS_TTL)
        for name, hosts in SERVERS.items():
            self._zone.set_server(name, hosts)
        self._set_ring(SERVERS)
        self._name_server = NameServer(self._zone)
        self._name_server.start()
        self._port = port
        self._arguments = ['127.0.0.1:0', 'ring_domain=%s:%d' % (RING, port),
                           'resolver=127.0.0.1:%d' % self._name_server.address[1], 'check_interval=1s', 'refresh=1s',
                           'status_socket=off', 'drain_timeout=1s']
        self._log = EventLog(self._forget_line)
        self.service = Service(settings.parse(self._arguments, {}), self._log, Budget(descriptor_limit), hosts=None)

    def start(self):
        self.service.bind()
        self.service.start()
        self.listener = self.service.listener
        self._greenlets = [gevent.spawn(self._client) for _ in range(CLIENTS)]

    def stop(self):
        gevent.killall(self._greenlets)
        self.service.drain(Event())
        self.service.stop()
        self._name_server.stop()
        for server in self.echo_servers.values():
            server.stop()

    def stop_db2(self):
        self.echo_servers['db2.example.com'].stop()

    def start_db2(self):
        self.echo_servers['db2.example.com'].start()

    def remove_db3(self):
        self._set_ring(['db1.example.com', 'db2.example.com'])

    def drain_db2(self):
        commands = Commands({'default': self.service}, self._log, monotonic, reload=None, keep=lambda: None)
        return commands.answer('drain {"server": "db2"}', 'you')

    def reload_with_db3(self):
        """What the process has each of its services do."""
        named = 'backends=db3.example.com:%d' % self._port
        self.service.change(settings.parse(self._arguments + [named], {}))

    def _set_ring(self, names):
        self._zone.set_addresses(RING, [host for name in names for host in SERVERS[name]])

    def _forget_line(self, line):
        """The screen shows the state itself; the log's lines would tear it."""

    def _client(self):
        """One client: a connection for each request, for ever."""
        host, port = self.listener.rsplit(':', 1)
        while True:
            try:
                name = ask((host, int(port)))
            except (EnvironmentError, ValueError) as error:
                self.failures += 1
                self.last_failure = str(error)
            else:
                self.totals[name] += 1
                self._recent.append((time.time(), name))
            gevent.sleep(CLIENT_PAUSE)

    def recent(self):
        """Replies of each server within the last RECENT_SECONDS."""
        while self._recent and self._recent[0][0] < time.time() - RECENT_SECONDS:
            self._recent.popleft()
        return collections.Counter(name for _, name in self._recent)


def start_echo_servers():
    """All servers, on one port that is free on each of their addresses: (name -> EchoServer, port)."""
    for _ in range(50):
        probe = socket.socket()
        probe.bind(('127.0.0.1', 0))
        port = probe.getsockname()[1]
        probe.close()
        servers = collections.OrderedDict((name, EchoServer(name, hosts, port)) for name, hosts in SERVERS.items())
        try:
            for server in servers.values():
                server.start()
            return servers, port
        except EnvironmentError as error:
            for server in servers.values():
                server.stop()
            if error.errno != errno.EADDRINUSE:
                raise SidelbError('the demo needs the addresses 127.0.1.1 to 127.0.2.3 of loopback: %s' % error)
    raise SidelbError('the demo found no port that is free on all its addresses')


def ask(endpoint):
    """One request through the balancer: the name of the server that answered. Raises EnvironmentError or ValueError."""
    sock = socket.create_connection(endpoint, CLIENT_TIMEOUT)
    try:
        sock.sendall(b'hello\n')
        reply = b''
        while not reply.endswith(b'\n'):
            received = sock.recv(4096)
            if not received:
                raise ValueError('the connection ended before the reply')
            reply += received
    finally:
        sock.close()
    return reply.split()[0].decode('ascii')


class Screen(object):
    """Draws on a terminal in place; writes a plain line a second elsewhere."""

    def __init__(self, stdout):
        self._stdout = stdout
        self._in_place = stdout.isatty()
        self._drawn = 0                  # lines of the last picture
        self._last_line = -1             # the second of the last plain line

    def say(self, text):
        self._write([text, ''] if self._in_place else ['', '== ' + text])
        self._drawn = 0

    def draw(self, demo, seconds):
        if self._in_place:
            if self._drawn:
                self._stdout.write('\x1b[%dA' % self._drawn)
            lines = self._picture(demo, seconds)
            self._write('\x1b[2K' + line for line in lines)
            self._drawn = len(lines)
        elif int(seconds) > self._last_line:
            self._last_line = int(seconds)
            recent = demo.recent()
            shares = ', '.join('%s %d' % (name.split('.')[0], recent[name]) for name in SERVERS)
            self._write(['%4d s  replies in the last second: %s; failed: %d' % (seconds, shares, demo.failures)])

    def _picture(self, demo, seconds):
        recent = demo.recent()
        most = max(list(recent.values()) + [1])
        states = dict((member.name, member.state) for member in demo.service.pool.members)
        lines = ['%-16s %-9s %-*s %7s %8s' % (
            'server', 'state', BAR_WIDTH, 'connections in the last second', '', 'in all')]
        for name, hosts in SERVERS.items():
            bar = '#' * int(round(BAR_WIDTH * recent[name] / float(most)))
            lines.append('%-16s %-9s %-*s %7d %8d' % (
                name, states.get(name, 'gone'), BAR_WIDTH, bar, recent[name], demo.totals[name]))
            lines.append('  ' + ', '.join(hosts))
        lines.append('%.1f s, %d requests, %d failed' % (seconds, sum(demo.totals.values()), demo.failures))
        return [line[:WIDTH] for line in lines] + ['']

    def summary(self, demo):
        lines = ['%d requests through %s, %d failed' % (sum(demo.totals.values()), demo.listener, demo.failures)]
        lines += ['  %s: %d' % (name, demo.totals[name]) for name in SERVERS]
        if demo.last_failure:
            lines.append('  the last failure: %s' % demo.last_failure)
        self._write(lines)

    def _write(self, lines):
        self._stdout.write(''.join(line + '\n' for line in lines))
        self._stdout.flush()
