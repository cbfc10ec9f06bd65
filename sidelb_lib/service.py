"""The composition root: builds the parts out of settings, starts and ends them, and answers for the whole."""
from __future__ import absolute_import, division, print_function

import os
import random
import resource
import signal
import socket
import sys
import time
import traceback

import gevent
from gevent.event import Event

from . import __version__
from .observe.status_socket import DEFAULT_PATH, StatusServer, socket_paths
from .compat import find_splice, http_server_is_sound, let_traffic_pass, monotonic
from .net.endpoints import endpoint_text, is_loopback, is_wildcard
from .net.listeners import listen_tcp, listen_udp
from .net.own_listener import would_come_back
from .errors import BindError, SidelbError
from .pool.history import History
from .observe.logs import EventLog, LineWriter, timestamp
from .pool.pool import Pool
from .observe.systemd import notify
from .policies.registry import policy_named
from .checks import registry as checks
from .checks.prober import Prober
from .checks.second_chance import SecondChance
from .tcp.relay import RelayResources
from .tcp import server as tcp
from .udp import server as udp

RESTART_SECONDS = 1.0            # between the failure of a background loop and its next start
MEMBERS_AT_ONCE = 16             # of a snapshot, between two pauses


def run(settings, environ=os.environ):
    """Serve until SIGTERM or SIGINT. Returns the exit code; raises BindError when the listener can not be bound."""
    writer = LineWriter(sys.stdout.fileno())
    try:
        log = EventLog(writer, settings.log_level, settings.log_format)
        writer.on_loss = lambda count: log.warning(
            'log_lines_dropped', '{count} log lines were dropped: they could not be written in time', count=count)
        service = Service(settings, log, raise_descriptor_limit(), status_paths(settings, environ))
        listen_to_signals(service)       # first: whoever sees the log say "listening" may stop it at once
        service.start()
        notify('READY=1\nSTATUS=listening on %s' % service.listener, environ)
        service.wait_for_stop()
        notify('STOPPING=1\nSTATUS=draining', environ)
        service.drain()
        service.stop()
    finally:
        writer.close()
    return 0


def raise_descriptor_limit():
    """Raise the soft limit of open files to the hard one. Returns the limit in force."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard == resource.RLIM_INFINITY:
        hard = 1 << 20                   # fs.nr_open's default: no process gets more
    if soft == resource.RLIM_INFINITY or soft >= hard:
        return hard
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, resource.getrlimit(resource.RLIMIT_NOFILE)[1]))
    except ValueError:
        return soft
    return hard


def status_paths(settings, environ):
    """Where to make the status socket: the places to try, in order."""
    if not settings.status_socket:
        return []
    if settings.origins['status_socket'] == 'default':
        return socket_paths(environ, os.getuid())
    return [settings.status_socket]


def listen_to_signals(service):
    """SIGTERM and SIGINT drain, a second one ends at once, SIGHUP looks up and probes now.

    gevent runs each handler in a greenlet of its own, where an exception would end the program: none of them waits or
    fails.
    """
    gevent.signal_handler(signal.SIGTERM, service.request_stop)
    gevent.signal_handler(signal.SIGINT, service.request_stop)
    gevent.signal_handler(signal.SIGHUP, service.refresh)


class Budget(object):
    """How many descriptors go where, out of `limit`."""

    def __init__(self, limit):
        # Pipes of bulk transfers (128), probes (64), DNS (64), the clients of status and HTTP (32 each), and the rest.
        reserved = min(400, limit // 2)
        self.pipes = min(64, reserved // 4)          # each has two
        self.connections = (limit - reserved) // 2   # each has two sockets
        self.sessions = limit - reserved             # of UDP: each has one


class Service(object):
    """One balancer. `start()`, then `wait_for_stop()`, `drain()`, `stop()`; `request_stop()` and `refresh()` from
    outside.

    `descriptor_limit` is the number of files that may be open, `status_sockets` the places to try for the status
    socket.
    """

    def __init__(self, settings, log, descriptor_limit, status_sockets=(), clock=monotonic, chance=random.random,
                 hosts='/etc/hosts', resolv_conf='/etc/resolv.conf'):
        self.settings = settings
        self.log = log
        self.state = 'starting'
        self.server = None
        self.sources = []
        self._status_sockets = status_sockets
        self._clock = clock
        self._chance = chance
        self._hosts = hosts
        self._resolv_conf = resolv_conf
        self._started = clock()
        self._stop = Event()
        self._stop_now = Event()
        self._loops = []
        self._prober = None
        self._status_server = StatusServer(self.healthy, self.snapshot)
        self._http_server = None
        self._budget = Budget(descriptor_limit)
        self._history = History(clock)
        self.pool = Pool(policy_named(settings.mode, chance), log, clock, settings.check_fall, settings.check_rise)
        self.pool.observers.append(self._history.observe)

    # --- life -------------------------------------------------------------------------------------------------------

    def start(self):
        """Bind and accept, then begin to look up and to probe: clients may come before DNS has answered."""
        settings = self.settings
        self.server = self._make_server(self._bind())
        http_listener = self._bind_http()
        self._start_status_server()
        self.log.info('listening', 'listening on {listener}', listener=self.listener, mode=settings.mode,
                      version=__version__)
        self._publish_static_backends()
        self.server.start()
        self.state = 'running'
        self._prober = self._make_prober()
        self._loop('silence', self.server.watch_silence)
        if self._prober:
            self._loop('prober', self._prober.run)
        self._loop('discovery', self._start_discovery)
        if http_listener:
            gevent.spawn(self._start_http, http_listener)

    def request_stop(self):
        """The first call begins the drain, the second ends it."""
        (self._stop_now if self._stop.is_set() else self._stop).set()

    def wait_for_stop(self):
        self._stop.wait()

    def drain(self):
        """No new sessions; existing ones run to their end, or to `drain_timeout`, or to the second signal."""
        self.state = 'draining'
        active = len(self.server.sessions)
        self.log.info('draining', 'draining: {active} sessions, {seconds:g} s at most', active=active,
                      seconds=self.settings.drain_timeout)
        if self._http_server:
            gevent.spawn(self._http_server.hand_over)
        draining = gevent.spawn(self.server.drain, self.settings.drain_timeout)
        hurry = gevent.spawn(self._stop_now.wait)
        gevent.wait([draining, hurry], count=1)
        cut = draining.value if draining.ready() else self.server.cut_all('a second signal came')
        hurry.kill()
        draining.kill()
        self.log.info('stopped', 'stopped: {cut} sessions cut', cut=cut)

    def stop(self):
        """End everything at once."""
        self.state = 'stopped'
        gevent.killall(self._loops, block=False)
        self._status_server.stop()
        if self._http_server:
            self._http_server.close()
        self.server.close()

    def refresh(self):
        """Look up and probe now (SIGHUP)."""
        self.log.info('refreshing', 'looking up and probing now')
        for source in self.sources:
            source.refresh_now()
        if self._prober:
            self._prober.probe_now()

    # --- parts ------------------------------------------------------------------------------------------------------

    @property
    def listener(self):
        """The bound address as text: the real port where the settings say 0."""
        return endpoint_text(*self.server.address[:2])

    def _bind(self):
        host, port = self.settings.listener
        self._refuse_loops(host, port)
        try:
            listen = listen_udp if self.settings.proto == 'udp' else listen_tcp
            return listen(host, port, self.settings.reuse_port)
        except EnvironmentError as error:
            raise BindError('cannot listen on %s: %s' % (endpoint_text(host, port), error.strerror or error))

    def _refuse_loops(self, host, port):
        """A wildcard has every address of this host, which only the host itself can tell. Raises BindError."""
        addresses = [address for backend in self.settings.backends for address in backend.addresses]
        for address in addresses:
            if would_come_back(address, (host, port)):
                raise BindError('%s is an address of this host, and so the listener %s itself, a loop: name the address '
                                'of the server' % (endpoint_text(*address), endpoint_text(host, port)))

    def _bind_http(self):
        """The bound listener for HTTP, None where it is off. Raises BindError."""
        if not self.settings.http:
            return None
        host, port = self.settings.http
        where = 'http=%s' % endpoint_text(host, port)
        if not http_server_is_sound() and (is_wildcard(host) or not is_loopback(host)):
            raise BindError('%s: the HTTP server of gevent %s can be misled by crafted requests, fixed in 25.4.1: '
                            'bind it to loopback, like http=127.0.0.1:%d, or use a newer gevent' % (
                                where, gevent.__version__, port or 8404))
        try:
            return listen_tcp(host, port, self.settings.reuse_port)
        except EnvironmentError as error:
            raise BindError('cannot listen on %s: %s' % (where, error.strerror or error))

    def _start_http(self, listener):
        """Its modules are only loaded for those who want it, and after the balancer accepts."""
        from .observe.http import Application, HttpServer
        versions = {'version': __version__, 'python': sys.version.split()[0], 'gevent': gevent.__version__}
        application = Application(self.startup, self.readiness, self.snapshot, versions, self.log, time.time,
                                  socket.gethostname())
        self._http_server = HttpServer(listener, application, self.log)
        self._http_server.start()
        self.log.info('http', 'health, metrics and status page at http://{address}/',
                      address=endpoint_text(*self._http_server.address[:2]))

    def _make_server(self, listener):
        settings = self.settings
        common = dict(on_down=settings.on_down, on_removed=settings.on_removed,
                      log_sessions=settings.log_level == 'debug')
        if settings.proto == 'udp':
            return udp.UdpServer(
                listener, self.pool, self.log, self._clock,
                max_sessions=self._affordable('max_sessions', self._budget.sessions),
                session_timeout=settings.session_timeout, responses=settings.responses,
                replies_vouch=settings.check.name in ('udp', 'off'), **common)
        return tcp.TcpServer(
            listener, self.pool, RelayResources(find_splice(), self._budget.pipes), self.log, self._clock,
            max_connections=self._affordable('max_connections', self._budget.connections),
            connect_timeout=settings.connect_timeout, idle_timeout=settings.idle_timeout,
            half_close_timeout=settings.half_close_timeout, **common)

    def _affordable(self, key, most):
        """The setting `key`, or as much of it as the limit of open files allows: a session that was accepted but gets
        no descriptor towards its server would be reset, one that waits in the kernel's queue is merely late."""
        wanted = getattr(self.settings, key) or most
        if wanted > most:
            self.log.warning('few_descriptors', '{key}={wanted} needs more open files than the limit allows: it is '
                             '{most}', key=key, wanted=wanted, most=most)
        return min(wanted, most)

    def _make_prober(self):
        settings = self.settings
        if settings.check.name == 'off':
            SecondChance(self.pool, settings.check_interval)
            return None
        probe = checks.make(settings.check, checks.Context(settings, self._clock))
        return Prober(self.pool, probe, self.log, self._clock, self._chance,
                      settings.check_interval, settings.check_timeout)

    def _start_status_server(self):
        failures = []
        for path in self._status_sockets:
            try:
                self._status_server.start(path)
            except SidelbError as error:
                failures.append('%s: %s' % (path, error))
                continue
            if failures:
                self.log.info('status_socket', 'status socket {path} ({reason})', path=path, reason='; '.join(failures))
            elif path != DEFAULT_PATH:
                self.log.info('status_socket', 'status socket {path}', path=path)
            return
        if failures:
            self.log.warning('no_status_socket', 'no status socket at {reason}; name another place with '
                             'status_socket=, or turn it off with status_socket=off', reason='; nor at '.join(failures))

    def _publish_static_backends(self):
        """Servers that are known by address take clients at once, before any name has been looked up."""
        groups = [(None, list(backend.addresses)) for backend in self.settings.backends if backend.addresses]
        if groups:
            self.pool.update('backends', groups)

    def _start_discovery(self):
        """Build the sources and start their loops. Their modules bring dnspython, which takes longer to load than all
        else."""
        from .discovery.sources import make_sources
        self.sources = make_sources(self.settings, self.pool, self.log, self._clock, self._chance,
                                    self.server.address[:2], self._hosts, self._resolv_conf)
        for source in self.sources:
            self._loop(source.source, source.run)

    def _loop(self, name, function):
        """Run a background loop for ever: a failure of it is told once and does not end it."""
        self._loops.append(gevent.spawn(self._run_loop, name, function))

    def _run_loop(self, name, function):
        while True:
            try:
                return function()
            except Exception:
                self.log.error('loop_failed', 'unexpected error in the background loop {loop}, which starts again: '
                               '{trace}', loop=name, trace=traceback.format_exc())
                gevent.sleep(RESTART_SECONDS)

    # --- what it looks like -----------------------------------------------------------------------------------------

    def healthy(self):
        """Can a new client be served?"""
        return self.pool.healthy

    def startup(self):
        """(has the first discovery ended?, a sentence that says why)."""
        waiting = [source.source for source in self.sources if not source.settled]
        if waiting or not self.sources:
            return False, 'starting: waiting for the first look-up of %s' % (', '.join(waiting) or 'names')
        return True, 'started: listening on %s, and every name has been looked up' % self.listener

    def readiness(self):
        """(should new clients be sent here?, a sentence that says why)."""
        up, known = sum(1 for member in self.pool.members if member.up), len(self.pool.members)
        if self.state != 'running':
            return False, 'not ready: %s' % self.state
        if not up:
            return False, 'not ready: no server is up, %d known' % known
        if self.settings.proto == 'tcp' and len(self.server.sessions) >= self.server.max_connections:
            return False, 'not ready: max_connections=%d reached' % self.server.max_connections
        return True, 'ready: %d of %d servers up' % (up, known)

    def snapshot(self):
        """All that can be seen from outside, as a plain dict of JSON's types. Times are RFC 3339, durations seconds.

        For the greenlets of those who ask: with many members it lets traffic pass in between.
        """
        ready, readiness = self.readiness()
        snapshot = {
            'version': __version__,
            'pid': os.getpid(),
            'host': socket.gethostname(),
            'uptime': round(self._clock() - self._started, 3),
            'state': self.state,
            'healthy': self.healthy(),
            'ready': ready,
            'readiness': readiness,
            'listener': self.listener,
            'mode': self.settings.mode,
            'proto': self.settings.proto,
            'connections': self.server.counts(),
            'members': [],
            'rings': [source.snapshot() for source in self.sources if source.kind != 'static'],
            'events': [self._event_snapshot(*event) for event in self._history.events()],
        }
        members = self.pool.members + self.pool.departing
        carried = self._bytes_carried(members)
        for position, member in enumerate(members):
            if position % MEMBERS_AT_ONCE == MEMBERS_AT_ONCE - 1:
                let_traffic_pass()
            snapshot['members'].append(self._member_snapshot(member, carried))
        return snapshot

    def _bytes_carried(self, members):
        """address -> (sent, received), of ended sessions and living ones.

        All at one moment: a session that ended between the two would count twice, and the next time once, and whoever
        watches would take that for a counter that went back.
        """
        moving = self.server.bytes_in_flight()
        carried = {}
        for member in members:
            for address in member.addresses:
                sent, received = moving.get(address, (0, 0))
                carried[address] = address.sent + sent, address.received + received
        return carried

    def _member_snapshot(self, member, carried):
        addresses = [self._address_snapshot(address, carried) for address in member.addresses if address in carried]
        return {
            'name': member.name,
            'state': 'departing' if member.departing else 'up' if member.up else 'down',
            'active': member.active,
            'total': sum(address['total'] for address in addresses),
            'failed': sum(address['failed'] for address in addresses),
            'bytes_sent': sum(address['bytes_sent'] for address in addresses),
            'bytes_received': sum(address['bytes_received'] for address in addresses),
            'addresses': addresses,
        }

    def _address_snapshot(self, address, carried):
        sent, received = carried[address]
        return {
            'address': str(address),
            'state': 'up' if address.up else 'down',
            'since': self._wall_time(address.since),
            'state_seconds': round(self._clock() - address.since, 3),
            'changes': address.changes,
            'last_probe': self._wall_time(address.last_probe),
            'probe_seconds': address.probe_seconds,
            'last_error': address.last_error,
            'active': address.active,
            'total': address.total,
            'failed': address.failed,
            'failed_probes': address.failed_probes,
            'bytes_sent': sent,
            'bytes_received': received,
        }

    def _event_snapshot(self, when, event, member, address, error):
        return {'time': self._wall_time(when), 'event': event, 'member': member, 'address': address, 'error': error}

    def _wall_time(self, moment):
        """A moment of our clock as a timestamp."""
        return None if moment is None else timestamp(time.time() - (self._clock() - moment))
