"""Sources of members: what is looked up again and again, and what becomes of the answers.

`Ring` (each address a server, grouped by name), `NamedServer` (one server, all its addresses) and `Static` (addresses
that never change, but whose names are looked up). Each has `run()`, which the service spawns as a greenlet and ends by
killing it, `refresh_now()`, and writes to the pool by `Pool.update(source, groups)` alone.
"""
from __future__ import absolute_import, division, print_function

import collections
import os
import random as random_module
import sys
import traceback

import gevent
from gevent.event import Event

from .. import compat
from ..net.endpoints import endpoint_key, endpoint_text
from ..pool.merging import Group
from .grouping import group_addresses
from ..resolver.client import EMPTY, FAILED, FOUND, retry_delay

_MOST_ADDRESSES = 4096        # of one ring
_BATCH = 64                   # names looked up between two looks at the grouping


class FamilyState(object):
    """The addresses of one family, and how answers change them. Times are of the caller's clock."""

    def __init__(self):
        self.ips = ()
        self.names = ()
        self.ttl = None             # of the last good answer
        self.kind = None            # of the last answer
        self.reason = None          # why the last answer was no good
        self.empty_since = None     # when the answers began to be empty

    def take(self, answer, now, hold):
        """A good answer replaces what is known, an empty one after `hold` seconds, a failure never."""
        self.kind, self.reason = answer.kind, answer.reason
        if answer.kind == FOUND:
            self.ips, self.names, self.ttl, self.empty_since = answer.values, answer.names, answer.ttl, None
        elif answer.kind == EMPTY:
            if self.empty_since is None:
                self.empty_since = now
            if now - self.empty_since >= hold:
                self.ips = ()

    @property
    def held(self):
        """Are there addresses that the last answer did not have?"""
        return self.kind == EMPTY and bool(self.ips)


class _Domain(object):
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
        self._query = name
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
                delay = self._unexpected(_last_error())
            self.settled = True
            self._lookups[self.state] += 1
            self._wake.wait(delay)

    def refresh_now(self):
        """Look up at once; when a look-up is under way, again right after it."""
        self._wake.set()

    def endpoints(self):
        """The addresses known now, sorted: [(ip, port), ...]."""
        known = [(ip, self.port) for family in self._families.values() for ip in family.ips]
        return sorted(known, key=endpoint_key)[:_MOST_ADDRESSES]

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

    def look_up(self):
        """One look-up: publishes each family as soon as it is there. Returns the seconds until the next."""
        for rdtype, answer in self._book.answers(self._query, self.port):
            now = self._clock()
            family = self._families[rdtype]
            family.take(answer, now, self._hold)
            if answer.kind == FOUND:
                self._answered = now
            self._publish_changes()
        state, self._error = judge(self._families)
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


def judge(families):
    """(state, error text or None) of a look-up, from {'A': FamilyState, 'AAAA': FamilyState}."""
    kinds = [family.kind for family in families.values()]
    if FAILED in kinds:
        state = 'partial' if FOUND in kinds else 'failing'
    elif any(family.held for family in families.values()):
        state = 'holding'
    else:
        state = 'ok' if FOUND in kinds else 'empty'
    reasons = [(rdtype, family.reason) for rdtype, family in sorted(families.items())
               if family.kind == FAILED or family.held or FAILED not in kinds and FOUND not in kinds]
    if len(reasons) > 1 and len(set(reason for _, reason in reasons)) == 1:
        return state, reasons[0][1]
    return state, '; '.join('%s: %s' % pair for pair in reasons) or None


class Ring(_Domain):
    """A ring domain: each of its addresses is a server of its own, except those whose names say they are one.

    It registers with `names` (a ServerNames) when it is made, so that no source takes the ring's name for a server's.
    Further arguments are those of _Domain: refresh, hold, shortest, clock, random.
    """

    kind = 'ring'

    def __init__(self, name, port, pool, names, book, log, **timing):
        _Domain.__init__(self, name, port, book, log, **timing)
        self._grouper = Grouper(self.source, pool, names, log)
        names.follow(self.source, (), [self.name])

    def run(self):
        grouping = gevent.spawn(self._grouper.run)
        try:
            _Domain.run(self)
        finally:
            grouping.kill(block=False)

    def refresh_now(self):
        _Domain.refresh_now(self)
        self._grouper.refresh_now()

    def _publish(self, endpoints, names):
        self._grouper.publish([[endpoint] for endpoint in endpoints], names | frozenset([self.name]))


class NamedServer(_Domain):
    """A backend given by name: one server, with all its addresses. Further arguments: those of _Domain."""

    kind = 'backend'

    def __init__(self, name, port, pool, book, log, **timing):
        _Domain.__init__(self, name, port, book, log, **timing)
        self._pool = pool

    def _publish(self, endpoints, names):
        self._pool.update(self.source, [Group(self.name, endpoints)] if endpoints else [])


class Static(object):
    """Backends given by address: [[(ip, port), ...], ...], several in one list where joined by hand.

    They never change, but their names are looked up, so that a server that is in a ring as well is one member.
    """

    kind = 'static'
    settled = True

    def __init__(self, units, pool, names, log, source='backends'):
        self.source = source
        self._units = [list(unit) for unit in units]
        self._grouper = Grouper(source, pool, names, log)

    def publish(self):
        """Give the addresses to the pool now, grouped as far as names are known. Does not block."""
        self._grouper.publish(self._units)

    def run(self):
        """As `publish`, then look names up for ever; returns when names are off."""
        self.publish()
        self._grouper.run()

    def refresh_now(self):
        self._grouper.refresh_now()


class Grouper(object):
    """Keeps the pool's view of one source's addresses grouped, while names of them are learnt and change.

    The addresses are in the pool at once; names follow. What stands alone is logged, again only for another reason.
    """

    def __init__(self, source, pool, names, log, retry=10.0):
        self._source = source
        self._pool = pool
        self._names = names
        self._log = log
        self._retry = retry           # seconds after an unexpected exception
        self._units = []
        self._told = {}               # endpoint -> kind of the Why that was logged
        self._crash = None            # the unexpected exception that was logged last
        self._wake = Event()
        names.observers.append(self._wake.set)

    def publish(self, units, ring_names=()):
        """Take these addresses, [[(ip, port), ...], ...], and the names of a ring that no server has."""
        self._units = units
        self._names.follow(self._source, self._ips(), ring_names)
        self._update()
        self._wake.set()

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
                delay = self._unexpected(_last_error())
            self._wake.wait(delay)

    def _ips(self):
        return set(ip for unit in self._units for ip, _ in unit)

    def _update(self):
        ips = self._ips()
        groups, alone = group_addresses(self._units, self._names.namings(ips), self._names.ring_names)
        self._pool.update(self._source, groups)
        news = [(endpoint, why) for endpoint, why in sorted(alone.items())
                if self._told.get(endpoint) != why.kind]
        self._told = dict((endpoint, why.kind) for endpoint, why in alone.items())
        for endpoint, why in news:
            self._log.info('address_alone', '{address} stands alone: {reason}',
                           address=endpoint_text(*endpoint), reason=why.text)

    def _unexpected(self, error):
        if error != self._crash:
            self._crash = error
            self._log.error('discovery_crashed', '{source}: unexpected {error}; it goes on',
                            source=self._source, error=error)
        return self._retry


def _last_error():
    """The exception being handled, in one line: what it is and where it came from."""
    kind, error, trace = sys.exc_info()
    path, line = traceback.extract_tb(trace)[-1][:2]
    return '%s: %s (%s line %d)' % (kind.__name__, error, os.path.basename(path), line)
