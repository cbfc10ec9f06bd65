"""What feeds the pool of one service: servers that are given by address, and sources, each in a loop of its own."""
from __future__ import absolute_import, division, print_function

import gevent

from ..config.table import BY_KEY
from ..pool.merging import Group, tier_of


class Feed(object):
    """`observe(source, former state)` hears of each look-up that changes a source's state. `own_endpoint()` is the bound
    listener's address. `hosts` and `resolv_conf` are paths."""

    def __init__(self, settings, pool, log, clock, chance, loops, observe, own_endpoint, hosts, resolv_conf):
        self.sources = []
        self._settings = settings
        self._pool = pool
        self._log = log
        self._clock = clock
        self._chance = chance
        self._loops = loops
        self._observe = observe
        self._own_endpoint = own_endpoint
        self._hosts = hosts
        self._resolv_conf = resolv_conf
        self._made = None                # discovery.sources.Sources, once its modules are loaded
        self._source_loops = {}          # source -> the greenlet of its loop

    def start(self):
        """Before clients are accepted: servers that are known by address take them at once, whatever DNS does."""
        settings = self._settings
        groups = [Group(None, list(backend.addresses), backend.options)
                  for backend in settings.backends if backend.addresses]
        self._expect_first_answers(settings)
        if groups:
            self._pool.update('backends', groups)

    def _expect_first_answers(self, settings):
        """Clients wait for the first answers of better tiers than what there is, but no longer than for a connect."""
        looked_up = [backend for backend in settings.backends if not backend.addresses] + list(settings.ring_domains)
        tiers = [tier_of(source.options) for source in looked_up]
        self._pool.expect(tiers + [1] if settings.servers_file else tiers)
        self._loops.later(settings.connect_timeout, self._pool.expect, ())

    def look_up(self):
        """Build the sources and start their loops. Their modules bring dnspython, which takes longer to load than all
        else."""
        from ..discovery.sources import Sources
        self._made = Sources(self._settings, self._pool, self._log, self._clock, self._chance,
                             self._own_endpoint(), self._hosts, self._resolv_conf)
        self._exchange([], self._made.change(self._settings)[1])

    def change(self, keys):
        """The settings `keys` have changed. Servers and rings that stay keep their sources, and so what these know."""
        if self._made is None:           # they are about to be made
            return
        former = list(self.sources)
        if any(BY_KEY[key].group == 'Discovery' for key in keys):
            self._made.close()
            self.look_up()
            self._exchange(former, [])
        else:
            self._made.listener_moved(self._own_endpoint())
            self._exchange(*self._made.change(self._settings))
        for source in self.sources:
            if source.kind == 'static' and source not in former:
                source.publish()         # nobody has to be asked: it is in force when the reload says that it is done

    def refresh(self):
        """Look up now."""
        for source in self.sources:
            source.refresh_now()

    def _exchange(self, gone, new):
        """End sources and begin others. What a source had said goes with it, unless another of its name goes on from it."""
        gevent.killall([self._source_loops.pop(source) for source in gone])      # and wait: one may be updating the pool
        known = dict((source.source, source) for source in self.sources)
        self.sources = [source for source in self.sources if source not in gone] + new
        for source in new:
            if source.source in known:
                source.go_on_from(known[source.source])
            source.on_change = self._looked_up
            self._source_loops[source] = self._loops.start(source.source, source.run)
        for source in gone:
            if source.source not in [one.source for one in self.sources]:
                self._pool.update(source.source, [])

    def _looked_up(self, source, former):
        """`source` is in another state than `former`."""
        self._observe(source, former)
        if former == 'pending':
            self._pool.expect(self._pool.expected.intersection(
                other.tier for other in self.sources if not other.settled))
