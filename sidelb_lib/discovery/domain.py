"""The loop that looks a name up again and again, and what becomes of the answers."""
from __future__ import absolute_import, division, print_function

import random as random_module

from gevent.event import Event

from .. import compat
from ..hub import never_waits
from ..net.endpoints import Endpoint, endpoint_key
from ..pool.merging import tier_of
from ..resolver.answers import FOUND
from .family import FamilyState, state_of_lookup
from .looked_up import LookedUp
from .pace import Pace, last_error, smallest_ttl

MAX_ADDRESSES = 4096         # of one ring


class Domain(LookedUp):
    """The loop that looks a name up, at the pace of its TTL, and hands its addresses to `_publish`.

    `name` and `port` say what, `book` (an AddressBook) says where. It looks again after the smallest TTL, but not
    within `shortest` and not later than after `refresh` seconds; after failures with a growing delay between the two.
    Empty answers are distrusted for `hold` seconds, and an address that answers have no more is kept for `obsolete`.
    `settled` is true once the first look-up has ended, whatever its outcome; `tier` is that of the best servers it may
    find, as `options` (merging.Options or None) say. While no server of the name is up, which
    `pool.is_up(endpoint)` tells, who needs one may have it looked up at once, at most every `shortest` seconds.
    """

    kind = None

    def __init__(self, name, port, pool, book, log, options=None, refresh=60.0, hold=30.0, obsolete=0.0, shortest=1.0,
                 clock=compat.monotonic, random=random_module.random):
        LookedUp.__init__(self, clock)  # its states are the keys of _REPORTS
        self.name = name.rstrip('.').lower()
        self.port = port
        self.source = '%s %s' % (self.kind, self.name if port is None else '%s:%d' % (self.name, port))
        self.tier = tier_of(options)
        self.query = name
        self._pool = pool
        self._options = options
        self._book = book
        self._log = log
        self._hold = hold
        self._obsolete = obsolete
        self._new_pace = lambda: Pace(min(shortest, refresh), refresh, random)
        self._pace = self._new_pace()
        self._families = {'A': FamilyState(), 'AAAA': FamilyState()}
        self._published = None
        self._endpoints = []            # of all families, sorted
        self._endpoint_set = frozenset()
        self._wake = Event()
        self._began = None              # when the last look-up began
        self._is_needed = False         # has somebody missed a server within `shortest` of that?

    def __repr__(self):
        return '<%s %s %s %r>' % (type(self).__name__, self.source, self.state, self.endpoints())

    def go_on_from(self, former):
        """Know what `former` knew: answers that fail, are empty or have not come yet must not empty the pool."""
        self._families = dict(former._families)
        self._endpoints, self._endpoint_set = former._endpoints, former._endpoint_set
        self._answered = former._answered

    def run(self):
        """Look up for ever. An unexpected exception is logged once, counts as a failure and ends nothing."""
        while True:
            self._wake.clear()
            self._began, self._is_needed = self._clock(), False
            try:
                delay = self.look_up()
            except Exception:
                delay = self._unexpected(last_error())
            self._lookups[self.state] += 1
            self._rest(delay)

    def _rest(self, delay):
        """Wait for `delay` seconds, for `refresh_now`, or until a server is needed."""
        first = min(delay, max(0, self._began + self._pace.shortest - self._clock()))
        if not self._wake.wait(first) and not (self._is_needed and not self._is_served()):
            self._wake.wait(delay - first)

    def close(self):
        """The source is named no more. Its `run` is ended by the caller."""

    @never_waits
    def refresh_now(self):
        """Look up at once; when a look-up is under way, again right after it."""
        self._wake.set()

    @never_waits
    def need(self, endpoint=None):
        """A server is needed: none is known, or `endpoint` has failed. When no server of this name is up, look it up."""
        if endpoint is not None and endpoint not in self._endpoint_set:
            return
        if self._began is not None and self._clock() - self._began < self._pace.shortest:
            self._is_needed = True
        elif not self._is_served():
            self._wake.set()

    def _is_served(self):
        return any(self._pool.is_up(endpoint) for endpoint in self._endpoints)

    def endpoints(self):
        """The addresses known now, sorted: [(ip, port), ...]."""
        return self._endpoints

    @property
    def asks_dns(self):
        """False while the hosts file answers, whose addresses have no TTL."""
        return not all(family.kind == FOUND and family.ttl is None for family in self._families.values())

    def look_up(self):
        """One look-up: publishes each family as soon as it is there. Returns the seconds until the next."""
        for rdtype, answer in self._book.answers(self.query, self.port):
            now = self._clock()
            self._families[rdtype].take(answer, now, self._hold, self._obsolete)
            if answer.kind == FOUND:
                self._answered = now
            self._publish_changes()
        state, self._error = state_of_lookup(self._families)
        self._change_state(state)
        return self._delay()

    def _publish_changes(self):
        known = set(Endpoint(ip, self.port) for family in self._families.values() for ip in family.ips)
        if known != self._endpoint_set:
            self._endpoints = sorted(known, key=endpoint_key)[:MAX_ADDRESSES]
            self._endpoint_set = known
        endpoints = self._endpoints
        names = frozenset(name for family in self._families.values() for name in family.names)
        if (endpoints, names) != self._published:
            self._publish(endpoints, names)
            self._published = endpoints, names

    def _publish(self, endpoints, names):
        raise NotImplementedError

    def _change_state(self, state):
        former = self.state
        self._enter(state)
        if state != former:
            level, event, template = _REPORTS[state]
            if state == 'empty' and former == 'holding':
                level, event, template = _LET_GO
            getattr(self._log, level)(event, template, source=self.source, error=self._error, hold=self._hold,
                                      count=len(self.endpoints()))

    def _delay(self):
        """Seconds to wait for the next look-up."""
        return min([self._pace.after(self.state, self._families.values())] + self._ends(self._families))

    def _ends(self, families):
        """[seconds until addresses go that the last answers did not have]."""
        ends = [family.forgets_in(self._clock(), self._hold, self._obsolete) for family in families.values()]
        return [end for end in ends if end is not None]

    def _ttl(self):
        return smallest_ttl(self._families.values())

    def _unexpected(self, error):
        if error != self._error:
            self._log.error('discovery_crashed', '{source}: unexpected {error}; it goes on',
                            source=self.source, error=error)
        self._error = error
        self._enter('failing')
        return self._pace.back_off()


#: state -> (level, event, template) of the line in the log when it begins.
_REPORTS = {
    'ok': ('info', 'dns_resolved', '{source} has {count} address(es)'),
    'partial': ('warning', 'dns_failing', '{source}: {error}; addresses known before are kept'),
    'doubtful': ('warning', 'dns_failing',
                 '{source}: {error}; what the next name of the search list has is used until then'),
    'failing': ('warning', 'dns_failing',
                '{source} cannot be looked up: {error}; what is known stays: {count} address(es)'),
    'holding': ('warning', 'dns_empty', '{source}: {error}; addresses known before are kept for {hold:g} s'),
    'empty': ('warning', 'dns_empty', '{source} has no addresses: {error}'),
}
_LET_GO = ('warning', 'dns_let_go', '{source} has had no addresses for {hold:g} s: its servers are let go')
