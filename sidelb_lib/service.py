"""One balancer: builds its parts out of settings, starts and ends them, and answers for the whole."""
from __future__ import absolute_import, division, print_function

import random
import socket
import traceback

import gevent

from . import __version__
from .checks import registry as checks
from .checks.prober import Prober
from .checks.second_chance import SecondChance
from .compat import find_splice, let_traffic_pass, monotonic
from .errors import BindError
from .net.endpoints import endpoint_text, is_loopback, is_wildcard
from .net.listeners import listen_tcp, listen_udp
from .net.own_listener import would_come_back
from .observe import snapshot
from .policies.registry import policy_of
from .pool.history import History
from .pool.merging import Group
from .pool.pool import Pool
from .tcp import server as tcp
from .tcp.relay import RelayResources
from .udp import server as udp

RESTART_SECONDS = 1.0            # between the failure of a background loop and its next start


class Service(object):
    """One balancer. `bind()`, `start()`, then `drain()` and `stop()`; `refresh()` at any time.

    `budget` says how many descriptors it may use, see `limits.Budget`.
    """

    def __init__(self, settings, log, budget, clock=monotonic, chance=random.random, hosts='/etc/hosts',
                 resolv_conf='/etc/resolv.conf'):
        self.settings = settings
        self.log = log
        self.state = 'starting'
        self.server = None
        self.sources = []
        self.history = History(clock)
        policy = policy_of(settings, socket.gethostname(), chance, clock,
                           lambda event, subject: self.pool.hear(event, subject))
        self.pool = Pool(policy, log, clock, settings, let_traffic_pass)
        self.pool.observers.append(self.history.observe)
        self._budget = budget
        self._clock = clock
        self._chance = chance
        self._hosts = hosts
        self._resolv_conf = resolv_conf
        self._loops = []
        self._prober = None

    # --- life -------------------------------------------------------------------------------------------------------

    def bind(self):
        """Bind the listener: clients wait in the kernel's queue from now on. Raises BindError."""
        self.server = self._make_server(self._bind())

    def start(self):
        """Accept, then begin to look up and to probe: clients may come before DNS has answered."""
        self.log.info('listening', 'listening on {listener}', listener=self.listener, mode=self.settings.mode,
                      version=__version__)
        if self.settings.mode == 'source' and is_loopback(self.settings.listener[0]) and (
                not is_wildcard(self.settings.listener[0])):
            self.log.warning('source_is_one_client', 'mode=source on the loopback listener {listener}: all clients have '
                             'the IP of this host, so one server gets all sessions', listener=self.listener)
        self._publish_static_backends()
        self.server.start()
        self.state = 'running'
        self._prober = self._make_prober()
        self._loop('silence', self.server.watch_silence)
        if self._prober:
            self._loop('prober', self._prober.run)
        self._loop('discovery', self._start_discovery)
        if self.settings.slow_start:
            self._loop('slow start', self._tick)

    def drain(self, hurry):
        """No new sessions; existing ones run to their end, or to `drain_timeout`, or until the Event `hurry` is set."""
        self.state = 'draining'
        active = len(self.server.sessions)
        self.log.info('draining', 'draining: {active} sessions, {seconds:g} s at most', active=active,
                      seconds=self.settings.drain_timeout)
        draining = gevent.spawn(self.server.drain, self.settings.drain_timeout)
        hurried = gevent.spawn(hurry.wait)
        gevent.wait([draining, hurried], count=1)
        cut = draining.value if draining.ready() else self.server.cut_all('a second signal came')
        hurried.kill()
        draining.kill()
        self.log.info('stopped', 'stopped: {cut} sessions cut', cut=cut)

    def stop(self):
        """End everything at once."""
        self.state = 'stopped'
        gevent.killall(self._loops, block=False)
        self.server.close()

    def refresh(self):
        """Look up and probe now."""
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

    def _make_server(self, listener):
        settings = self.settings
        if settings.proto == 'udp':
            return udp.UdpServer(listener, self.pool, self.log, self._clock, settings,
                                 self._affordable('max_sessions', self._budget.sessions))
        return tcp.TcpServer(
            listener, self.pool, RelayResources(find_splice(), self._budget.pipes), self.log, self._clock,
            max_connections=self._affordable('max_connections', self._budget.connections),
            connect_timeout=settings.connect_timeout, idle_timeout=settings.idle_timeout,
            half_close_timeout=settings.half_close_timeout, on_down=settings.on_down, on_removed=settings.on_removed,
            log_sessions=settings.log_level == 'debug')

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

    def _publish_static_backends(self):
        """Servers that are known by address take clients at once, before any name has been looked up."""
        groups = [Group(None, list(backend.addresses), backend.options)
                  for backend in self.settings.backends if backend.addresses]
        if groups:
            self.pool.update('backends', groups)

    def _start_discovery(self):
        """Build the sources and start their loops. Their modules bring dnspython, which takes longer to load than all
        else."""
        from .discovery.sources import Sources
        self.sources = Sources(self.settings, self.pool, self.log, self._clock, self._chance,
                               self.server.address[:2], self._hosts, self._resolv_conf).all()
        for source in self.sources:
            self._loop(source.source, source.run)

    def _tick(self):
        while True:
            gevent.sleep(1)
            self.pool.tick()

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
        states = [member.state for member in self.pool.members]
        up, unchecked, known = states.count('up'), states.count('unchecked'), len(states)
        if self.state != 'running':
            return False, 'not ready: %s' % self.state
        if not self.healthy():
            return False, 'not ready: no server is up, %d known' % known
        if self.settings.proto == 'tcp' and len(self.server.sessions) >= self.server.max_connections:
            return False, 'not ready: max_connections=%d reached' % self.server.max_connections
        return True, 'ready: %d of %d servers up%s' % (up, known, ', %d unchecked' % unchecked if unchecked else '')

    def snapshot(self):
        """All that can be seen of it from outside, see `observe.snapshot`."""
        return snapshot.of_service(self, self._clock())
