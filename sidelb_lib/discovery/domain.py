"""The loop that looks a name up again and again, and what becomes of the answers."""
from __future__ import absolute_import, division, print_function

import collections
import random as random_module

from gevent.event import Event

from .. import compat
from ..net.endpoints import endpoint_key, endpoint_text
from ..resolver.answers import FOUND
from .family import FamilyState, state_of_lookup
from .pace import last_error, retry_delay

_MAX_ADDRESSES = 4096         # of one ring


class Domain(object):
    """The loop that looks a name up, at the pace of its TTL, and hands its addresses to `_publish`.

    `name` and `port` say what, `book` (an AddressBook) says where. It looks again after the smallest TTL, but not
    within `shortest` and not later than after `refresh` seconds; after failures with a growing delay between the two.
    Empty answers are distrusted for `hold` seconds. `settled` is true once the first look-up has ended, however.
    """

    kind = None

    def __init__(self, name, port, book, log, refresh=60.0, hold=30.0, shortest=1.0,
                 clock=compat.monotonic, random=random_module.random):
        self.name = name.rstrip('.').lower()
        self.port = port
        self.source = '%s %s:%d' % (self.kind, self.name, port)
        self.settled = False
        self.state = 'pending'          # until the first look-up has ended; then a key of _REPORTS
        self.query = name
        self._book = book
        self._log = log
        self._refresh = refresh
        self._hold = hold
        self._shortest = min(shortest, refresh)
        self._clock = clock
        self._random = random
        self._families = {'A': FamilyState(), 'AAAA': FamilyState()}
        self._failures = 0
        self._answered = None           # when the last good answer came
        self._error = None
        self._published = None
        self._lookups = collections.Counter()     # state -> how many look-ups ended with it
        self._wake = Event()

    def __repr__(self):
        return '<%s %s %s %r>' % (type(self).__name__, self.source, self.state, self.endpoints())

    def run(self):
        """Look up for ever. An unexpected exception is logged once, counts as a failure and ends nothing."""
        while True:
            self._wake.clear()
            try:
                delay = self.look_up()
            except Exception:
                delay = self._unexpected(last_error())
            self.settled = True
            self._lookups[self.state] += 1
            self._wake.wait(delay)

    def refresh_now(self):
        """Look up at once; when a look-up is under way, again right after it."""
        self._wake.set()

    def endpoints(self):
        """The addresses known now, sorted: [(ip, port), ...]."""
        known = [(ip, self.port) for family in self._families.values() for ip in family.ips]
        return sorted(known, key=endpoint_key)[:_MAX_ADDRESSES]

    def snapshot(self):
        """What there is to know, as a plain dict; `age` and `ttl` in seconds, None before an answer."""
        return {
            'kind': self.kind,
            'name': self.name,
            'port': self.port,
            'addresses': [endpoint_text(*endpoint) for endpoint in self.endpoints()],
            'age': None if self._answered is None else self._clock() - self._answered,
            'ttl': self._ttl(),
            'error': self._error,
            'state': self.state,
            'lookups': dict(self._lookups),
        }

    @property
    def asks_dns(self):
        """False while the hosts file answers, whose addresses have no TTL."""
        return not all(family.kind == FOUND and family.ttl is None for family in self._families.values())

    def look_up(self):
        """One look-up: publishes each family as soon as it is there. Returns the seconds until the next."""
        for rdtype, answer in self._book.answers(self.query, self.port):
            now = self._clock()
            family = self._families[rdtype]
            family.take(answer, now, self._hold)
            if answer.kind == FOUND:
                self._answered = now
            self._publish_changes()
        state, self._error = state_of_lookup(self._families)
        self._change_state(state)
        return self._delay()

    def _publish_changes(self):
        endpoints = self.endpoints()
        names = frozenset(name for family in self._families.values() for name in family.names)
        if (endpoints, names) != self._published:
            self._publish(endpoints, names)
            self._published = endpoints, names

    def _publish(self, endpoints, names):
        raise NotImplementedError

    def _change_state(self, state):
        former, self.state = self.state, state
        if state != former:
            level, event, template = _REPORTS[state]
            if state == 'empty' and former == 'holding':
                level, event, template = _LET_GO
            getattr(self._log, level)(event, template, source=self.source, error=self._error, hold=self._hold,
                                      count=len(self.endpoints()))

    def _delay(self):
        """Seconds to wait for the next look-up."""
        pace = self._ttl()
        pace = self._refresh if pace is None else min(max(pace, self._shortest), self._refresh)
        if self.state == 'ok':
            self._failures = 0
            return pace
        delay = self._back_off()
        if any(family.kind == FOUND for family in self._families.values()):
            delay = min(delay, pace)
        for family in self._families.values():
            if family.held:
                delay = min(delay, max(family.empty_since + self._hold - self._clock(), 0.01))
        return delay

    def _ttl(self):
        """The smallest TTL of what is in use, or None."""
        ttls = [family.ttl for family in self._families.values() if family.ips and family.ttl is not None]
        return min(ttls) if ttls else None

    def _back_off(self):
        self._failures += 1
        return retry_delay(self._failures, self._shortest, self._refresh, self._random)

    def _unexpected(self, error):
        if error != self._error:
            self._log.error('discovery_crashed', '{source}: unexpected {error}; it goes on',
                            source=self.source, error=error)
        self.state, self._error = 'failing', error
        return self._back_off()


#: state -> (level, event, template) of the line in the log when it begins.
_REPORTS = {
    'ok': ('info', 'dns_resolved', '{source} has {count} addresses'),
    'partial': ('warning', 'dns_failing', '{source}: {error}; addresses known before are kept'),
    'failing': ('warning', 'dns_failing',
                '{source} cannot be looked up: {error}; its {count} known addresses are kept'),
    'holding': ('warning', 'dns_empty', '{source}: {error}; addresses known before are kept for {hold:g} s'),
    'empty': ('warning', 'dns_empty', '{source} has no addresses: {error}'),
}
_LET_GO = ('warning', 'dns_let_go', '{source} has had no addresses for {hold:g} s: its servers are let go')
