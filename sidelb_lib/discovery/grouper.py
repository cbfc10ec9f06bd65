"""Keeps one source's addresses grouped into servers while their names are learnt and change."""
from __future__ import absolute_import, division, print_function

from gevent.event import Event

from ..compat import let_traffic_pass
from ..net.endpoints import endpoint_text
from ..pool.merging import merge_options
from .grouping import group_addresses
from .pace import last_error

_BATCH = 64                   # names looked up between two looks at the grouping


class Grouper(object):
    """Keeps the pool's view of one source's addresses grouped, while names of them are learnt and change.

    `options_of(endpoint)` gives the merging.Options of an address, or None. The addresses are in the pool at once;
    names follow. What stands alone is logged, again only for another reason.
    """

    def __init__(self, source, pool, names, log, options_of, retry=10.0):
        self._source = source
        self._pool = pool
        self._names = names
        self._log = log
        self._options_of = options_of
        self._retry = retry           # seconds after an unexpected exception
        self._units = []
        self._logged = {}               # endpoint -> kind of the Why that was logged
        self.alone = {}               # endpoint -> Why: addresses that no name makes part of a server
        self._crash = None            # the unexpected exception that was logged last
        self._wake = Event()
        names.observers.append(self._wake.set)

    def publish(self, units, ring_names=()):
        """Take these addresses, [[(ip, port), ...], ...], and the names of a ring that no server has."""
        self._units = units
        self._names.follow(self._source, self._ips(), ring_names)
        self._update()
        self._wake.set()

    def close(self):
        """The source is named no more: its names are its own no more."""
        self._names.observers.remove(self._wake.set)
        self._names.forget(self._source)

    def refresh_now(self):
        """Look all names up again."""
        self._names.expire(self._ips())
        self._wake.set()

    def run(self):
        """Look names up for ever: whatever is due, a batch at a time, and group anew after each."""
        while self._names.enabled:
            self._wake.clear()
            try:
                batch = self._names.most_due(self._ips(), _BATCH)
                self._names.look_up(batch)
                self._update()
                delay = self._names.due_in(self._ips())
            except Exception:
                delay = self._unexpected(last_error())
            self._wake.wait(delay)

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
        return set(ip for unit in self._units for ip, _ in unit)

    def _update(self):
        units = None
        while units is not self._units:       # they may change while traffic passes
            units = self._units
            groups, self.alone = group_addresses(
                units, self._names.namings(self._ips()), self._names.ring_names, let_traffic_pass)
        self._pool.update(self._source, [self._with_options(group) for group in groups])
        news = [(endpoint, why) for endpoint, why in sorted(self.alone.items())
                if self._logged.get(endpoint) != why.kind]
        self._logged = dict((endpoint, why.kind) for endpoint, why in self.alone.items())
        for endpoint, why in news:
            self._log.info('address_alone', '{address} stands alone: {reason}',
                           address=endpoint_text(*endpoint), reason=why.text)

    def _unexpected(self, error):
        if error != self._crash:
            self._crash = error
            self._log.error('discovery_crashed', '{source}: unexpected {error}; it goes on',
                            source=self._source, error=error)
        return self._retry
