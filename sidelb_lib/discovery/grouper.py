"""Keeps one source's addresses grouped into servers while their names are learnt and change."""
from __future__ import absolute_import, division, print_function

import gevent
from gevent.event import Event

from ..compat import let_traffic_pass, monotonic
from ..hub import never_waits
from ..net.endpoints import endpoint_text, is_unix
from ..pool.merging import merge_options
from .grouping import group_addresses
from .pace import last_error

_BATCH = 64                   # look-ups that are begun between two looks at what is due
_GATHERING = 0.1              # seconds between two updates: results that come in together make one
MAX_TOLD = 3                  # addresses in a line of the log; the level debug has them all
_REST = 4                     # an update of thousands takes long: then so many times as long is between two


class Grouper(object):
    """Keeps the pool's view of one source's addresses grouped, while names of them are learnt and change.

    `options_of(endpoint)` gives the merging.Options of an address, or None. The addresses are in the pool at once;
    names follow. What stands alone is logged, again only for another reason; not for reasons of the kinds in `unsaid`.
    """

    def __init__(self, source, pool, names, log, options_of, unsaid=(), retry=10.0, clock=monotonic):
        self._source = source
        self._pool = pool
        self._names = names
        self._log = log
        self._options_of = options_of
        self._unsaid = unsaid
        self._clock = clock
        self._retry = retry           # seconds after an unexpected exception
        self._units = []
        self._logged = {}             # endpoint -> kind of the Why that was logged
        self.alone = {}               # endpoint -> Why: addresses that no name makes part of a server
        self._crash = None            # the unexpected exception that was logged last
        self._wake = Event()          # there is something new to group by
        self._is_due = Event()        # a name may be due earlier than was thought
        self._updates = 0
        names.observers.append(self._hear)

    @never_waits
    def _hear(self):
        self._wake.set()
        self._is_due.set()

    def publish(self, units, ring_names=()):
        """Take these addresses, [[(ip, port), ...], ...], and the names of a ring that no server has."""
        self._units = units
        self._names.follow(self._source, self._ips(), ring_names)
        self._update()
        self._hear()

    def close(self):
        """The source is named no more: its names are its own no more."""
        self._names.observers.remove(self._hear)
        self._names.forget(self._source)

    def refresh_now(self):
        """Look all names up again."""
        self._names.expire(self._ips())
        self._hear()

    def run(self):
        """Look names up for ever: whatever is due, and group anew as results come in, not only when all are there."""
        if not self._names.enabled:
            return
        beginner = gevent.spawn(self._begin_for_ever)
        try:
            while True:
                self._wake.wait()
                self._wake.clear()
                began, delay = self._clock(), _GATHERING
                try:
                    self._update()
                except Exception:
                    delay = self._unexpected(last_error())
                gevent.sleep(max(delay, _REST * (self._clock() - began)))
        finally:
            beginner.kill(block=False)

    def _begin_for_ever(self):
        """Begin look-ups as they become due."""
        while True:
            self._is_due.clear()
            try:
                batch = self._names.most_due(self._ips(), _BATCH)
                self._names.begin(batch)
                delay = 0 if batch else self._names.due_in(self._ips())
            except Exception:
                delay = self._unexpected(last_error())
            self._is_due.wait(delay)

    def learn(self):
        """Look names up, once, until none is due any more."""
        while self._names.enabled:
            batch = self._names.most_due(self._ips(), _BATCH)
            if not batch:
                break
            self._names.look_up(batch)
            self._update()

    def _with_options(self, group):
        written = [options for options in map(self._options_of, group.endpoints) if options]
        return group._replace(options=merge_options(written)) if written else group

    def _ips(self):
        return set(ip for unit in self._units for ip, _ in unit if not is_unix(ip))

    def _update(self):
        """Group the addresses by what is known now. Traffic passes meanwhile, and with it may come what makes this
        outdated: then it ends, for a later update does it all."""
        self._updates += 1
        this = self._updates
        groups, alone = group_addresses(
            self._units, self._names.namings(self._ips()), self._names.ring_names, let_traffic_pass)
        groups = [self._with_options(group) for group in groups]
        if this != self._updates:
            return
        self.alone = alone
        self._pool.update(self._source, groups)
        news = [(endpoint, why) for endpoint, why in sorted(self.alone.items())
                if self._logged.get(endpoint) != why.kind and why.kind not in self._unsaid]
        self._logged = dict((endpoint, why.kind) for endpoint, why in self.alone.items())
        for endpoint, why in news:
            self._log.debug('address_alone', '{address} stands alone: {reason}',
                            address=endpoint_text(*endpoint), reason=why.text)
        if news:
            texts = ['%s (%s)' % (endpoint_text(*endpoint), why.text) for endpoint, why in news[:MAX_TOLD]]
            self._log.info('addresses_alone', '{count} address(es) of {source} not grouped by name: {addresses}',
                           count=len(news), source=self._source,
                           addresses=', '.join(texts) + (' and more' if len(news) > MAX_TOLD else ''))

    def _unexpected(self, error):
        if error != self._crash:
            self._crash = error
            self._log.error('discovery_crashed', '{source}: unexpected {error}; it goes on',
                            source=self._source, error=error)
        return self._retry
