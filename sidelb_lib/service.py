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
from .config.changes import differing
from .config.live import LiveSettings
from .config.table import BY_KEY
from .errors import BindError, SidelbError
from .net import unix_socket
from .net.endpoints import endpoint_text, is_local, is_loopback, is_unix, is_wildcard
from .net.listeners import listen_tcp, listen_udp
from .net.own_listener import would_come_back
from .observe import snapshot
from .observe.changes import Changes
from .observe.servers_log import ServersLog
from .observe.timeline import STEP_SECONDS, Timeline
from .policies.registry import policy_of
from .pool.history import History
from .pool.merging import Group, tier_of
from .pool.pool import Pool
from .rebalancing import Rebalancing
from .tcp import server as tcp
from .tcp.splicing import RelayResources
from .udp import server as udp

FIRST_VERDICT_SECONDS = 5.0
LOOK_SECONDS = 0.1
MAX_TOLD = 3                     # servers and names in the first line of the log
RESTART_SECONDS = 1.0            # between the failure of a background loop and its next start

#: Settings of which the policy is made, and who is told to it; options of servers count, too.
CHOOSING = frozenset(['mode', 'instance', 'slow_start', 'spill', 'tier_return', 'prefer', 'check',
                      'servers_file'])


def has_options(settings):
    return any(server.options for server in settings.backends + settings.ring_domains)


class Service(object):
    """One balancer. `bind()`, `start()`, then `drain()` and `stop()`; `refresh()` at any time.

    `budget` says how many descriptors it may use, see `limits.Budget`; `probe_places` are shared with other services, see
    `checks.prober.Places`.
    """

    def __init__(self, settings, log, budget, clock=monotonic, chance=random.random, hosts='/etc/hosts',
                 resolv_conf='/etc/resolv.conf', probe_places=None):
        self.settings = LiveSettings(settings)
        self.log = log
        self.state = 'starting'
        self.server = None
        self._socket_file = None
        self.sources = []
        self.rebalancing = None          # the last one
        self.history = History(clock)
        self.changes = Changes(clock)
        self.timeline = Timeline()
        self.drained_by = {}             # name of a member that a person has drained -> `uid 1000`
        self._budget = budget
        self._probe_places = probe_places
        self._clock = clock
        self._chance = chance
        self.pool = Pool(self._make_policy(settings), log, clock, settings, let_traffic_pass)
        self._servers_log = ServersLog(log, self.pool)
        self.pool.observers += [self.history.observe, self.changes.observe, self._servers_log.observe]
        self._hosts = hosts
        self._resolv_conf = resolv_conf
        self._given = settings           # what `self.settings` are made of
        self._loops = []
        self._prober = None              # or a SecondChance
        self._ticker = None              # the greenlet of slow start
        self._sources = None             # discovery.sources.Sources, once its modules are loaded
        self._source_loops = {}          # source -> the greenlet of its loop

    # --- life -------------------------------------------------------------------------------------------------------

    def bind(self):
        """Bind the listener: clients wait in the kernel's queue from now on. Raises BindError."""
        listener = self._bind(self.settings)
        self._socket_file = getattr(listener, 'file', None)
        self.server = self._make_server(listener)

    def start(self):
        """Accept, then begin to look up and to probe: clients may come before DNS has answered."""
        self._log_listening()
        host = self.settings.listener[0]
        if self.settings.mode == 'source' and (is_unix(host) or is_loopback(host) and not is_wildcard(host)):
            self.log.warning('source_is_one_client', 'mode=source on the listener {listener}: all clients have '
                             'the IP of this host, so one server gets all sessions', listener=self.listener)
        for ip in self.settings.source:
            if not is_local(ip):
                self.log.warning('source_is_elsewhere', 'source={ip} is no address of this host: no server can be reached '
                                 'from it', ip=ip)
        self._publish_static_backends()
        self._expect_first_answers()
        self.server.start()
        self.state = 'running'
        self._loop('silence', self.server.watch_silence)
        self._loop('timeline', self._keep_timeline)
        self._start_prober()
        self._loop('discovery', self._start_discovery)
        self._start_ticking()
        self._loop('first verdict', self._log_first_verdict)

    def set_by_people(self):
        """({name of a drained server: who}, {name: (weight, the written one)}), for `restore` after a restart."""
        drained, weights = self.pool.set_by_people()
        return dict((name, self.drained_by.get(name, '')) for name in drained), weights

    def restore(self, drained, weights):
        """Before `start`."""
        self.drained_by.update((name, who) for name, who in drained.items() if who)
        self.pool.take_up(drained, weights)

    def drain(self, hurry):
        """No new sessions; existing ones run to their end, or to `drain_timeout`, or until the Event `hurry` is set."""
        self.state = 'draining'
        self._remove_socket_file()
        if self.rebalancing is not None:
            self.rebalancing.stopped = True        # whom it closed could not come back
        active = len(self.server.sessions)
        self.log.info('draining', 'draining: {active} session(s), {seconds:g} s at most', active=active,
                      seconds=self.settings.drain_timeout)
        draining = gevent.spawn(self.server.drain, self.settings.drain_timeout)
        hurried = gevent.spawn(hurry.wait)
        gevent.wait([draining, hurried], count=1)
        hurried.kill()
        cut = draining.value
        if not draining.ready():
            draining.kill()                # first: it would go on accepting
            cut = self.server.cut_all()
        self.log.info('stopped', 'stopped: {cut} session(s) cut', cut=cut)

    def stop(self):
        """End everything at once."""
        self.state = 'stopped'
        gevent.killall(self._loops, block=False)
        self._remove_socket_file()
        self._servers_log.close()
        self.server.close()

    def _remove_socket_file(self):
        """Of a unix-domain listener: nobody new comes, who has connected is served."""
        if self._socket_file is not None:
            self._socket_file.remove()

    def refresh(self):
        """Look up and probe now."""
        for source in self.sources:
            source.refresh_now()
        self._prober.probe_now()

    def bind_beside(self, settings):
        """The bound listener that `settings` ask for, beside the one in force; the caller owns it. Raises BindError."""
        return self._bind(settings)

    def change(self, settings, budget, listener=None):
        """Serve by other settings from now on; sessions go on. `listener` is what `bind_beside` gave, None to keep the old.

        What is read where it acts is in force by itself; here is what has to be done beside.
        """
        former, self._given = self._given, settings
        keys = differing(former, settings)
        self._budget = budget
        self.settings.become(settings)
        if listener is not None:
            self._remove_socket_file()
            self._socket_file = getattr(listener, 'file', None)
            self.server.move(listener)
            self._log_listening()
        self.server.change(self.settings, self._session_limit())
        wants_policy = CHOOSING.intersection(keys) or has_options(former) or has_options(settings)
        self.pool.change(settings, self._make_policy(settings) if wants_policy else None)
        self._start_ticking()
        if any(BY_KEY[key].group == 'Health' for key in keys):
            self._prober.stop()
            self._start_prober()
        self._change_sources(keys)

    def rebalance(self, per_second, silent):
        """Begin to close silent sessions of servers that have more than their share; the last one must have ended. Returns
        the Rebalancing."""
        self.rebalancing = Rebalancing(self.pool, self.server, self.log, self._clock, self.settings, per_second, silent)
        self._loop('rebalancing', self.rebalancing.run)
        return self.rebalancing

    # --- parts ------------------------------------------------------------------------------------------------------

    @property
    def listener(self):
        """The bound address as text: the real port where the settings say 0."""
        return endpoint_text(*self._own_endpoint())

    def _own_endpoint(self):
        """The bound address as an (ip, port), or (path, 0)."""
        address = self.server.address
        return address[:2] if isinstance(address, tuple) else (address, 0)

    def _make_policy(self, settings):
        return policy_of(settings, socket.gethostname(), self._chance, self._clock,
                         lambda event, subject: self.pool.hear(event, subject))

    def _bind(self, settings):
        host, port = settings.listener
        self._refuse_loops(settings, host, port)
        try:
            if is_unix(host):
                return unix_socket.listen(host, settings.listener_mode)
            listen = listen_udp if settings.proto == 'udp' else listen_tcp
            return listen(host, port, settings.reuse_port)
        except (EnvironmentError, SidelbError) as error:
            raise BindError('cannot listen on %s: %s' % (
                endpoint_text(host, port), getattr(error, 'strerror', None) or error))

    def _refuse_loops(self, settings, host, port):
        """A wildcard has every address of this host, which only the host itself can tell. Raises BindError."""
        addresses = [address for backend in settings.backends for address in backend.addresses]
        for address in addresses:
            if would_come_back(address, (host, port)):
                raise BindError('%s is an address of this host, and so the listener %s itself, a loop: name the address '
                                'of the server' % (endpoint_text(*address), endpoint_text(host, port)))

    def _make_server(self, listener):
        settings = self.settings
        if settings.proto == 'udp':
            return udp.UdpServer(listener, self.pool, self.log, self._clock, settings, self._session_limit())
        return tcp.TcpServer(listener, self.pool, RelayResources(find_splice(), self._budget.pipes), self.log, self._clock,
                             settings, self._session_limit())

    def _session_limit(self):
        if self.settings.proto == 'udp':
            return self._affordable('max_sessions', self._budget.sessions)
        return self._affordable('max_connections', self._budget.connections)

    def _affordable(self, key, most):
        """The setting `key`, or as much of it as the limit of open files allows: a session that was accepted but gets
        no descriptor towards its server would be reset, one that waits in the kernel's queue is merely late."""
        wanted = getattr(self.settings, key) or most
        if wanted > most:
            self.log.warning('few_descriptors', '{key}={wanted} needs more open files than the limit allows: it is '
                             '{most}', key=key, wanted=wanted, most=most)
        return min(wanted, most)

    def _start_prober(self):
        settings = self.settings
        if settings.check.name == 'off':
            self._prober = SecondChance(self.pool, settings.check_interval)
            return
        probe = checks.make(settings.check, checks.Context(settings, self._clock))
        self._prober = Prober(self.pool, probe, self.log, self._clock, self._chance,
                              settings.check_interval, settings.check_timeout, self._probe_places)
        self._loop('prober', self._prober.run)

    def _publish_static_backends(self):
        """Servers that are known by address take clients at once, before any name has been looked up."""
        groups = [Group(None, list(backend.addresses), backend.options)
                  for backend in self.settings.backends if backend.addresses]
        if groups:
            self.pool.update('backends', groups)

    def _expect_first_answers(self):
        """Clients wait for the first answers of better tiers than what there is, but no longer than for a connect."""
        settings = self.settings
        looked_up = [backend for backend in settings.backends if not backend.addresses] + list(settings.ring_domains)
        tiers = [tier_of(source.options) for source in looked_up]
        self.pool.expect(tiers + [1] if settings.servers_file else tiers)
        self._loops.append(gevent.spawn_later(settings.connect_timeout, self.pool.expect, ()))

    def _looked_up(self, source, former):
        """`source` is in another state than `former`."""
        self.changes.observe_lookup(source, former)
        if former == 'pending':
            self.pool.expect(self.pool.expected.intersection(
                other.tier for other in self.sources if not other.settled))

    def _start_discovery(self):
        """Build the sources and start their loops. Their modules bring dnspython, which takes longer to load than all
        else."""
        from .discovery.sources import Sources
        self._sources = Sources(self.settings, self.pool, self.log, self._clock, self._chance,
                                self._own_endpoint(), self._hosts, self._resolv_conf)
        self._exchange([], self._sources.change(self.settings)[1])

    def _change_sources(self, keys):
        """Servers and rings that stay keep their sources, and so what these know."""
        if self._sources is None:        # they are about to be made
            return
        if any(BY_KEY[key].group == 'Discovery' for key in keys):
            gone = list(self.sources)
            self._sources.close()
            self._start_discovery()
            self._exchange(gone, [])
        else:
            self._sources.listener_moved(self._own_endpoint())
            self._exchange(*self._sources.change(self.settings))

    def _exchange(self, gone, new):
        """End sources and begin others. What a source had said goes with it, unless another of its name goes on."""
        for source in gone:
            self._source_loops.pop(source).kill(block=False)
        self.sources = [source for source in self.sources if source not in gone] + new
        for source in new:
            source.on_change = self._looked_up
            self._source_loops[source] = self._loop(source.source, source.run)
        for source in gone:
            if source.source not in [one.source for one in self.sources]:
                self.pool.update(source.source, [])

    def _keep_timeline(self):
        while True:
            counts = self.server.counts()
            self.timeline.add(self._clock(), self.pool.members + self.pool.departing, counts['active'], counts['total'])
            gevent.sleep(STEP_SECONDS)

    def _start_ticking(self):
        if self.settings.slow_start and self._ticker is None:
            self._ticker = self._loop('slow start', self._tick)

    def _tick(self):
        while True:
            gevent.sleep(1)
            self.pool.tick()

    def _loop(self, name, function):
        """Run a background loop for ever: a failure of it is told once and does not end it. Returns its greenlet."""
        self._loops = [loop for loop in self._loops if not loop.dead]
        self._loops.append(gevent.spawn(self._run_loop, name, function))
        return self._loops[-1]

    def _run_loop(self, name, function):
        while True:
            try:
                return function()
            except Exception:
                self.log.error('loop_failed', 'unexpected error in the background loop {loop}, which starts again: '
                               '{trace}', loop=name, trace=traceback.format_exc())
                gevent.sleep(RESTART_SECONDS)

    # --- what it tells at the start ---------------------------------------------------------------------------------

    def _log_listening(self):
        settings = self.settings
        names = [str(one) for one in settings.ring_domains + settings.backends]
        names += [settings.servers_file.path] if settings.servers_file else []
        self.log.info('listening', 'listening on {listener} ({proto}, {mode}, check {check}; servers from {servers}; SideLB '
                      '{version})', listener=self.listener, proto=settings.proto, mode=settings.mode,
                      check=str(settings.check), servers=', '.join(names[:MAX_TOLD]) + (
                          ' and %d more' % (len(names) - MAX_TOLD) if len(names) > MAX_TOLD else ''), version=__version__)

    def _log_first_verdict(self):
        """When every server has been checked, or after FIRST_VERDICT_SECONDS."""
        deadline = self._clock() + FIRST_VERDICT_SECONDS
        while self._clock() < deadline and self.state == 'running' and not self._is_checked():
            gevent.sleep(LOOK_SECONDS)
        if self.state != 'running':
            return
        self._servers_log.tell()
        verdict = snapshot.verdict_of(self)
        if verdict['level'] == 'bad':
            self.log.warning('checked', 'checked: {verdict}', verdict=verdict['text'])
        else:
            self.log.info('checked', 'checked: {verdict}', verdict=verdict['text'])

    def _is_checked(self):
        return self.startup()[0] and not any(member.state == 'unchecked' for member in self.pool.members)

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

    def ready(self):
        """Should new clients be sent here? The verdict, `observe.snapshot.verdict_of`, says why not."""
        is_full = self.settings.proto == 'tcp' and len(self.server.sessions) >= self.server.max_connections
        return self.state == 'running' and self.healthy() and not is_full

    def snapshot(self, with_history=False):
        """All that can be seen of it from outside, see `observe.snapshot`."""
        return snapshot.of_service(self, self._clock(), with_history)
