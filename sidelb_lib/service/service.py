"""One balancer: builds its parts out of settings, starts and ends them, and answers for the whole."""
from __future__ import absolute_import, division, print_function

import random
import socket

import gevent

from ..checks import registry as checks
from ..checks.prober import Prober
from ..checks.second_chance import SecondChance
from ..compat import find_splice, let_traffic_pass, monotonic
from ..config.changes import differing
from ..config.live import LiveSettings
from ..config.table import BY_KEY
from ..errors import BindError
from ..limits import TCP_DESCRIPTORS, UDP_DESCRIPTORS
from ..net.endpoints import endpoint_text
from ..observe import snapshot
from ..observe.changes import Changes
from ..observe.servers_log import ServersLog
from ..observe.timeline import STEP_SECONDS, Timeline
from ..policies.registry import may_limit, policy_of
from ..pool.history import History
from ..pool.pool import Pool
from . import access_log, first_words
from .feed import Feed
from .listener import bind_listener
from .loops import Loops
from .session_limit import session_limit

#: Settings of which the policy is made, and who is told to it; see `may_limit`, too. A new one knows of no turn, and of no
#: tier that is only just back.
CHOOSING = frozenset(['mode', 'instance', 'slow_start', 'spill', 'tier_return', 'prefer', 'check'])


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
        self._access_log = None
        self._share = None
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
        self._loops = Loops(log)
        self._feed = Feed(self.settings, self.pool, log, clock, chance, self._loops, self.changes.observe_lookup,
                          self._own_endpoint, hosts, resolv_conf)
        self._given = settings           # what `self.settings` are made of
        self._prober = None              # or a SecondChance
        self._ticker = None              # the greenlet of slow start

    # --- life -------------------------------------------------------------------------------------------------------

    def bind(self):
        """Bind the listener: clients wait in the kernel's queue from now on. Raises BindError."""
        self._access_log = access_log.opened(self.settings, self.log)
        try:
            listener = bind_listener(self.settings)
        except BindError:
            self._close_access_log()
            raise
        self._socket_file = getattr(listener, 'file', None)
        self.server = self._make_server(listener)

    def start(self):
        """Accept, then begin to look up and to probe: clients may come before DNS has answered."""
        first_words.tell_listening(self)
        first_words.tell_doubts(self)
        self._feed.start()
        self.server.start()
        self.state = 'running'
        self._loops.start('silence', self.server.watch_silence)
        self._loops.start('timeline', self._keep_timeline)
        self._start_prober()
        self._loops.start('discovery', self._feed.look_up)
        self._start_ticking()
        self._loops.start('first verdict', self._tell_first_verdict)

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
        if self._share is not None:
            self._share.leaving = True
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
        self._loops.kill()
        self._remove_socket_file()
        self._servers_log.close()
        self.server.close()
        self._close_access_log()
        if self._share is not None:
            self._share.close()

    def _remove_socket_file(self):
        """Of a unix-domain listener: nobody new comes, who has connected is served."""
        if self._socket_file is not None:
            self._socket_file.remove()

    def refresh(self):
        """Look up and probe now."""
        self._feed.refresh()
        self._prober.probe_now()

    def bind_beside(self, settings):
        """The bound listener that `settings` ask for, beside the one in force; the caller owns it. None where it is the
        same. Raises BindError, also for an access log that can't be written."""
        keys = differing(self._given, settings)
        if 'access_log' in keys:
            access_log.try_out(settings, self.log)
        return bind_listener(settings) if 'listener' in keys else None

    def reopen_access_log(self):
        """Returns whether there is one in a file."""
        return self._access_log is not None and self._access_log.reopen()

    def change(self, settings, listener=None):
        """Serve by other settings from now on; sessions go on. `listener` is what `bind_beside` gave, None to keep the old.

        What is read where it acts is in force by itself; here is what has to be done beside.
        """
        former, self._given = self._given, settings
        keys = differing(former, settings)
        self.settings.become(settings)
        if listener is not None:
            self._remove_socket_file()
            self._socket_file = getattr(listener, 'file', None)
            self.server.move(listener)
            first_words.tell_listening(self)
        if 'access_log' in keys:
            if self._access_log is not None:
                gevent.spawn(self._access_log.close)       # it may wait for the reader of a FIFO
            self._access_log = access_log.opened_again(self.settings, self.log)
        self.server.change(self.settings, self._session_limit(), self._access_log)
        wants_policy = CHOOSING.intersection(keys) or may_limit(former) != may_limit(settings)
        self.pool.change(settings, self._make_policy(settings) if wants_policy else None)
        self._start_ticking()
        if any(BY_KEY[key].group == 'Health' for key in keys):
            self._prober.stop()
            self._start_prober()
        self._feed.change(keys)

    def rebalance(self, per_second, silent):
        """Begin to close silent sessions of servers that have more than their share; the last one must have ended. Returns
        the Rebalancing."""
        from .rebalancing import Rebalancing
        self.rebalancing = Rebalancing(self.pool, self.server, self.log, self._clock, self.settings, per_second, silent)
        self._loops.start('rebalancing', self.rebalancing.run)
        return self.rebalancing

    # --- parts ------------------------------------------------------------------------------------------------------

    @property
    def listener(self):
        """The bound address as text: the real port where the settings say 0."""
        return endpoint_text(*self._own_endpoint())

    @property
    def sources(self):
        """Of which servers are looked up; those given by address are among them."""
        return self._feed.sources

    def _own_endpoint(self):
        """The bound address as an (ip, port), or (path, 0)."""
        address = self.server.address
        return address[:2] if isinstance(address, tuple) else self.settings.listener

    def _make_policy(self, settings):
        return policy_of(settings, socket.gethostname(), self._chance, self._clock,
                         lambda member: self.pool.note_room(member))

    def _make_server(self, listener):
        """Only one of the two protocols is loaded where all services have the same."""
        settings = self.settings
        self._share = self._budget.share(UDP_DESCRIPTORS if settings.proto == 'udp' else TCP_DESCRIPTORS)
        if settings.proto == 'udp':
            from ..udp.server import UdpServer
            return UdpServer(listener, self.pool, self.log, self._clock, settings, self._session_limit(), self._access_log,
                             self._share)
        from ..tcp.server import TcpServer
        from ..tcp.splicing import RelayResources
        return TcpServer(listener, self.pool, RelayResources(find_splice(), self._budget.pipes), self.log, self._clock,
                         settings, self._session_limit(), self._access_log, self._share)

    def _close_access_log(self):
        if self._access_log is not None:
            self._access_log.close()
            self._access_log = None

    def _session_limit(self):
        return session_limit(self.settings, self._budget, self._share, self.log)

    def _start_prober(self):
        settings = self.settings
        if settings.check.name == 'off':
            self._prober = SecondChance(self.pool, settings.check_interval)
            return
        probe = checks.make(settings.check, checks.Context(settings, self._clock))
        self._prober = Prober(self.pool, probe, self.log, self._clock, self._chance,
                              settings.check_interval, settings.check_timeout, self._probe_places)
        self._loops.start('prober', self._prober.run)

    def _keep_timeline(self):
        while True:
            counts = self.server.counts()
            self.timeline.add(self._clock(), self.pool.members + self.pool.departing, counts['active'], counts['total'])
            gevent.sleep(STEP_SECONDS)

    def _start_ticking(self):
        if self.settings.slow_start and self._ticker is None:
            self._ticker = self._loops.start('slow start', self._tick)

    def _tick(self):
        while True:
            gevent.sleep(1)
            self.pool.tick()

    def _tell_first_verdict(self):
        first_words.tell_first_verdict(self, self._servers_log, self._clock)

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
        is_full = self.settings.proto == 'tcp' and len(self.server.sessions) >= self.server.most
        return self.state == 'running' and self.healthy() and not is_full

    def snapshot(self, with_history=False):
        """All that can be seen of it from outside, see `observe.snapshot`."""
        return snapshot.of_service(self, self._clock(), with_history)
