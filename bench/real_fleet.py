"""A fleet of real processes in a network namespace of its own, beside what `bench.fleet` simulates for the same numbers.

Usage:
  bench.real_fleet [options]

Options:
  --instances=N       Processes of SideLB [default: 20]
  --servers=M         Servers [default: 5]
  --rounds=N          Fleets that begin by chance, of which the mean is shown [default: 3]
  --lifetime=SECONDS  Of a session, while a server is killed and returns; 0: leave that out [default: 12]
  --python=PATH       Interpreter for SideLB; default: the one that runs this
  --help              Show this

Sessions are counted at the servers. Needs unshare (util-linux) and ip (iproute2); whoever is not root needs user namespaces.
Exit code: 0; 1 when a fleet that does not begin by chance is not exactly as simulated, or none could be run; what chance and
time decide is only shown. Less than two minutes on two cores.
"""
from __future__ import absolute_import, division, print_function

import contextlib
import os
import random
import signal
import sys
import tempfile

import docopt
import gevent
import gevent.socket
from gevent.pool import Pool
from gevent.server import StreamServer

import bench.errors
import bench.fleet
import bench.machine
import bench.processes
from bench.fleet import CHANCE, FIRST, ORDINAL, TOLD, loads, peak
from sidelb_lib.demo.zone import NameServer, Zone
from sidelb_lib.errors import SidelbError
from sidelb_lib.observe.status_client import fetch_snapshot
from sidelb_lib.policies.least_connections import LeastConnections
from sidelb_lib.policies.round_robin import RoundRobin

PROGRAM = os.path.join(os.path.dirname(os.path.dirname(os.path.abspath(__file__))), 'sidelb.py')
INSIDE = 'BENCH_FLEET_INSIDE'       # is set for the run within the namespace
PORT, FIRST_LISTENER = 5432, 20000
NAME_SERVER, RING = '127.0.0.53', 'db.example.com'
WAIT_SECONDS = 30
SESSIONS = (1, 2, 3, 5)              # of each instance, as they are counted one after the other
MISSING = 0.1
LONG_SESSIONS = 20                   # of each instance while a server leaves and returns
WARM_UP, AWAY = 0.3, 0.1             # in lifetimes of a session
RETURNS = (('round-robin', RoundRobin, 0.0), ('round-robin, slow_start', RoundRobin, 0.25),
           ('least-connections', LeastConnections, 0.0), ('least-connections, slow_start', LeastConnections, 0.25))


class Server(object):
    """Counts the sessions it has: connections that have brought a byte, as probes do not."""

    def __init__(self, number):
        self.ip = '127.0.1.%d' % (number + 1)
        self.sessions = 0
        self._server = None
        self.open()

    def open(self):
        self._server = StreamServer((self.ip, PORT), self._serve, backlog=1024, spawn=Pool())
        self._server.start()

    def close(self):
        """As if it were killed: its sessions end, and it refuses."""
        self._server.stop(timeout=0)

    def _serve(self, sock, peer):
        with contextlib.suppress(EnvironmentError):
            if sock.recv(1):
                self.sessions += 1
                try:
                    sock.sendall(b'.')
                    sock.recv(1)
                finally:
                    self.sessions -= 1


class Fleet(object):
    """A context manager: `instances` is a list of what each SideLB is started with beside its listener."""

    def __init__(self, python, instances):
        self._python = python
        self._instances = instances
        self._stack = contextlib.ExitStack()
        self.children = []

    def __enter__(self):
        with contextlib.ExitStack() as stack:
            self._directory = stack.enter_context(tempfile.TemporaryDirectory(prefix='sidelb-fleet-'))
            for number, arguments in enumerate(self._instances):
                child = bench.processes.Child(
                    [self._python, PROGRAM, '127.0.0.1:%d' % (FIRST_LISTENER + number),
                     'status_socket=' + self._socket(number)] + arguments, stop_signal=signal.SIGKILL)
                stack.callback(child.stop)
                self.children.append(child)
            self.wait_until(lambda members: members and all(member['state'] == 'up' for member in members))
            self._stack = stack.pop_all()
        return self

    def __exit__(self, *_):
        self._stack.close()

    def wait_until(self, ready):
        """Return when `ready(members)` is true in every instance."""
        with gevent.Timeout(WAIT_SECONDS, bench.errors.BenchError('the fleet was not ready in time')):
            for number, child in enumerate(self.children):
                while not ready(self._members(number)):
                    child.check()
                    gevent.sleep(0.05)

    def _members(self, number):
        try:
            return fetch_snapshot(self._socket(number))['members']
        except SidelbError:           # it has only begun
            return []

    def _socket(self, number):
        return os.path.join(self._directory, '%d.sock' % number)

    def session(self, number):
        """A new session through one instance, which a server has counted."""
        sock = gevent.socket.create_connection(('127.0.0.1', FIRST_LISTENER + number), WAIT_SECONDS)
        sock.sendall(b'.')
        if sock.recv(1) != b'.':
            raise ConnectionResetError('instance %d ended a session' % number)
        return sock


class World(object):
    """The servers, and a name server that knows them as the ring RING, with or without their own names."""

    def __init__(self, servers, python):
        self.python = python
        self.servers = [Server(number) for number in range(servers)]
        self._zone = Zone(ttl=1)
        NameServer(self._zone, NAME_SERVER, 53).start()

    def counts(self):
        return [server.sessions for server in self.servers]

    def addresses(self):
        """What to start an instance with that is given the servers."""
        return ['%s:%d' % (server.ip, PORT) for server in self.servers]

    def ring(self):
        """What to start an instance with that finds them by DNS; from now on they have no names."""
        self._zone.set_addresses(RING, [server.ip for server in self.servers])
        for server in self.servers:
            self._zone.remove_pointer(server.ip)
        return ['ring_domain=%s:%d' % (RING, PORT), 'resolver=' + NAME_SERVER, 'refresh=1s']

    def name(self):
        """Name them, in another order than that of their addresses."""
        for number, server in enumerate(reversed(self.servers)):
            self._zone.set_server('db%d.example.com' % number, [server.ip])

    def peaks(self, instances, named_before=None):
        """The busiest server's part of the mean for each of SESSIONS; servers get their names before that session."""
        found, held = [], []
        with Fleet(self.python, instances) as fleet:
            for session in range(1, max(SESSIONS) + 1):
                if session == named_before:
                    self.name()
                    fleet.wait_until(lambda members: all(member['name'].startswith('db') for member in members))
                held += [fleet.session(number) for number in range(len(instances))]
                if session in SESSIONS:
                    found.append(peak(self.counts()))
        for sock in held:
            sock.close()
        while any(self.counts()):
            gevent.sleep(0.01)
        return found

    def shares(self, instances, lifetime):
        """A server is killed and returns, while sessions end and are opened again: the busiest one's part of the mean of
        the others then, and its own part of its share at TOLD."""
        with Fleet(self.python, instances) as fleet:
            clients = [gevent.spawn(self._client, fleet, number, lifetime)
                       for number in range(len(instances)) for _ in range(LONG_SESSIONS)]
            gevent.sleep(WARM_UP * lifetime)
            self.servers[0].close()
            gevent.sleep(AWAY * lifetime)
            found = [peak(self.counts()[1:])]
            self.servers[0].open()
            fleet.wait_until(lambda members: all(member['state'] == 'up' for member in members))
            passed = 0.0
            for moment in TOLD:
                gevent.sleep((moment - passed) * lifetime)
                passed = moment
                found.append(self.servers[0].sessions * len(self.servers) / float(sum(self.counts())))
            gevent.killall(clients)
        return found

    def _client(self, fleet, number, lifetime):
        """Always has a session, as old as any at first. It ends one as a database's client does: the server closes first, so
        that SideLB has counted it out before the next one comes."""
        life = random.random()
        while True:
            with contextlib.suppress(EnvironmentError), fleet.session(number) as sock:
                sock.settimeout(life * lifetime)
                life = random.uniform(0.9, 1.1)
                with contextlib.suppress(gevent.socket.timeout):
                    sock.recv(1)
                sock.settimeout(WAIT_SECONDS)
                sock.shutdown(gevent.socket.SHUT_WR)
                sock.recv(1)


def compare_starts(world, instances, rounds):
    """Prints how even fleets are that begin in different ways; returns whether all is as simulated."""
    servers = len(world.servers)
    given, every = world.addresses(), range(instances)
    some = bench.fleet.numbers_of(instances, random.Random(1), MISSING)

    def simulated(start, **how):
        return [peak(loads(instances, servers, sessions, start=start, **how)) for sessions in SESSIONS]

    def real(numbers, arguments=given, **how):
        return world.peaks([arguments + ['instance=%s' % number] for number in numbers], **how)
    print(row('The busiest server, in parts of the mean', 'sessions', *SESSIONS))
    show_pair('%s, mean of %d' % (CHANCE, rounds), mean([real(['off'] * instances) for _ in range(rounds)]),
              mean([simulated(CHANCE, seed=seed) for seed in range(200)]))
    model = simulated(ORDINAL)
    return all([
        show_pair(FIRST, real([0] * instances), simulated(FIRST)),
        show_pair(ORDINAL, real(every), model),
        show_pair(ORDINAL + ', names before the first session', real(every, world.ring(), named_before=1), model),
        show_pair(ORDINAL + ', names after the first session', real(every, world.ring(), named_before=2), model),
        show_pair('%s, %d %% missing' % (ORDINAL, 100 * MISSING), real(some), simulated(ORDINAL, missing=MISSING))])


def compare_returns(world, instances, lifetime):
    """Prints how soon a server that was killed has its share again, by policy."""
    how = dict(moments=TOLD, lifetime=lifetime, warm_up=WARM_UP, away=AWAY, instances=instances,
               servers=len(world.servers), sessions=LONG_SESSIONS)
    print(row('\nA server is killed: the busiest other; returns: it', '', 'killed', *TOLD))
    for name, policy, part in RETURNS:
        slow_start = part * lifetime
        arguments = world.addresses() + [
            'mode=' + policy.name, 'instance=off', 'slow_start=%g' % slow_start, 'check_interval=0.2s']
        lives = [bench.fleet.life_with_a_return(policy, slow_start=slow_start, seed=seed, **how) for seed in range(20)]
        show_pair(name, world.shares([arguments] * instances, lifetime),
                  mean([[life.busiest] + life.shares for life in lives]))


def row(what, kind, *columns):
    return '%-44s %-10s' % (what, kind) + ''.join('%8s' % column for column in columns)


def mean(rows):
    return [sum(column) / float(len(rows)) for column in zip(*rows)]


def show_pair(what, real, simulated):
    """Prints both; returns whether they are the same as far as they are shown."""
    texts = [tuple('%.2f' % value for value in values) for values in (real, simulated)]
    for title, kind, text in (what, 'real', texts[0]), ('', 'simulated', texts[1]):
        print(row(title, kind, *text))
    sys.stdout.flush()
    return texts[0] == texts[1]


def main(arguments):
    options = docopt.docopt(__doc__, arguments)
    try:
        if not os.environ.get(INSIDE):
            enter(arguments)
        bench.machine.raise_descriptor_limit()
        instances, servers, rounds = [int(options['--' + name]) for name in ('instances', 'servers', 'rounds')]
        lifetime = float(options['--lifetime'])
        world = World(servers, options['--python'] or sys.executable)
        as_simulated = compare_starts(world, instances, rounds)
        if lifetime:
            compare_returns(world, instances, lifetime)
    except (bench.errors.BenchError, EnvironmentError) as error:
        sys.stderr.write('bench: %s\n' % error)
        return 1
    print('\nall but chance: %s as simulated' % ('exactly' if as_simulated else 'NOT'))
    return int(not as_simulated)


def enter(arguments):
    """Begin again in a network namespace that ends with this process."""
    unshare, ip = bench.processes.find('unshare', 'util-linux'), bench.processes.find('ip', 'iproute2')
    rights = [] if os.geteuid() == 0 else ['--user', '--map-root-user']
    os.execve(unshare, [unshare, '--net'] + rights + [
        'sh', '-c', '"$0" link set lo up && exec "$@"', ip, sys.executable, '-m', 'bench.real_fleet'] + arguments,
        dict(os.environ, **{INSIDE: 'yes'}))


if __name__ == '__main__':
    sys.exit(main(sys.argv[1:]))
