"""What the servers are called: PTR names, confirmed by looking them up in turn, cached for their TTL."""
from __future__ import absolute_import, division, print_function

import heapq
import random as random_module
import re
from collections import namedtuple

import gevent
from gevent.event import AsyncResult
from gevent.pool import Pool as Workers

from .. import compat
from ..net.endpoints import canonical_ip, is_ipv6
from ..resolver import answers
from .grouping import FAILED, NO_PTR, RING_NAME, UNCONFIRMED, Naming, Why
from .pace import retry_delay

_MAX_NAMES = 8               # of one address
_MAX_ENTRIES = 8192          # beyond that, what no source follows is forgotten
_MAX_SHOWN = 80              # characters of a name that is not used
_DEADLINE = 2                 # so many `timeout`s may all names of an address take together
_SHARED_SECONDS = 5.0         # how long one look-up of a name serves all addresses that claim it

#: Letters, digits, hyphens (RFC 1123) and the underscore that people use. A PTR name is what its owner likes;
#: only what can do no harm in a log, a terminal or a page becomes a server's name.
_HOST_NAME = re.compile(r'[a-z0-9_]([a-z0-9_.-]{0,251}[a-z0-9_])?\Z')

_Entry = namedtuple('_Entry', 'naming due failures')
_NOTHING = _Entry(Naming((), None), 0, 0)


class ServerNames(object):
    """The names of addresses, for all sources of a service.

    `group` is 'confirmed' (a PTR name counts if its own A/AAAA records have the address), 'ptr' (it counts as it is) or
    'off' (nothing is asked). At most `at_once` addresses are looked up at the same time, each question may take
    `timeout` seconds. What was learnt is kept for `longest` seconds, whatever its TTL: servers are not renamed every
    second, and names with TTL 0 would be asked for without end. After failures it is asked for again after `shortest`
    seconds, and after twice as long each time.

    `observers` are called without arguments when a look-up has ended, and when the names of rings have changed.
    """

    def __init__(self, resolver, group='confirmed', longest=60.0, shortest=1.0, timeout=2.0, at_once=16,
                 clock=compat.monotonic, random=random_module.random):
        self.observers = []
        self.enabled = group != 'off'
        self._resolver = resolver
        self._confirm = group != 'ptr'
        self._longest = longest
        self._shortest = min(shortest, longest)
        self._timeout = timeout
        self._clock = clock
        self._random = random
        self._workers = Workers(at_once)
        self._confirmers = Workers(2 * at_once)
        self._entries = {}           # ip -> _Entry
        self._running = {}           # ip -> the greenlet that looks it up
        self._forward = {}           # (name, type) -> (when asked, AsyncResult of the Answer)
        self._followed = {}          # source -> its IPs
        self._ring_names = {}        # source -> names that are a ring's

    @property
    def ring_names(self):
        """The ring domains and all that they are aliases of: names of services, and of no server."""
        return frozenset().union(*self._ring_names.values())

    def follow(self, source, ips, ring_names=()):
        """Tell which IPs `source` has now, and which names are not a server's but its own."""
        before = self.ring_names
        self._followed[source] = frozenset(ips)
        self._ring_names[source] = frozenset(name.rstrip('.').lower() for name in ring_names)
        if len(self._entries) > _MAX_ENTRIES:
            wanted = frozenset().union(*self._followed.values())
            self._entries = dict((ip, entry) for ip, entry in self._entries.items() if ip in wanted)
        if self.ring_names != before:
            self._notify()

    def forget(self, source):
        """`source` is no more."""
        self._followed.pop(source, None)
        self._ring_names.pop(source, None)

    def namings(self, ips):
        """What is known: {ip: Naming}, without those that have never been looked up. Immediate."""
        return dict((ip, self._entries[ip].naming) for ip in ips if ip in self._entries)

    def most_due(self, ips, count):
        """At most `count` of the IPs that need a look-up now, those never looked up first."""
        now = self._clock()
        due = heapq.nsmallest(count, ((self._entries.get(ip, _NOTHING).due, ip) for ip in ips if ip not in self._running))
        return [ip for when, ip in due if when <= now]

    def due_in(self, ips):
        """Seconds until the first of the IPs needs a look-up, those aside that are being looked up; None when there is
        none."""
        dues = [self._entries.get(ip, _NOTHING).due for ip in ips if ip not in self._running]
        return max(0, min(dues) - self._clock()) if dues else None

    def expire(self, ips):
        """Make all of the IPs due now. What is known of them stays until then."""
        self._forward = {}
        for ip in ips:
            if ip in self._entries:
                self._entries[ip] = self._entries[ip]._replace(due=0)

    def look_up(self, ips):
        """Look the IPs up; return when all are done."""
        gevent.joinall(self.begin(ips))

    def begin(self, ips):
        """Begin to look the IPs up, as soon as there are free workers; returns the greenlets. One that is being looked up is
        not asked twice."""
        jobs = []
        for ip in ips:
            self._workers.wait_available()
            if ip not in self._running:
                self._running[ip] = self._workers.spawn(self._look_up_contained, ip)
            jobs.append(self._running[ip])
        return jobs

    def _look_up_contained(self, ip):
        former = self._entries.get(ip, _NOTHING)
        try:
            entry = self._look_up_one(ip, former)
        except Exception as error:    # a fault of ours or of the library costs this address its name, no more
            entry = self._postponed(former, 'unexpected %s: %s' % (type(error).__name__, error))
        finally:
            self._running.pop(ip, None)
        self._entries[ip] = entry
        self._notify()

    def _notify(self):
        for observer in self.observers:
            observer()

    def _look_up_one(self, ip, former):
        """The new _Entry of `ip`."""
        answer = self._resolver.pointers(ip, self._timeout)
        if answer.kind == answers.FAILED:
            return self._postponed(former, 'its PTR look-up failed: %s' % answer.reason)
        if answer.kind == answers.EMPTY:
            return self._entry(Naming((), Why(NO_PTR, 'it has no PTR name')))
        names = [name for name in answer.values if _HOST_NAME.match(name) and not canonical_ip(name)]
        names = names[:_MAX_NAMES]
        if not names:
            text = 'its PTR name %s is no host name' % answer.values[0][:_MAX_SHOWN]
            return self._entry(Naming((), Why(UNCONFIRMED, text)))
        if not self._confirm:
            return self._entry(Naming(tuple(sorted(names)), None))
        return self._confirmed(ip, names, former)

    def _confirmed(self, ip, names, former):
        """The _Entry of an IP with these PTR names, of which those count that resolve back to it.

        A name that was confirmed before stays so while its own look-up fails: a name server's trouble must not regroup
        servers. Names of a ring are not asked for: they are no server's name, whatever they resolve to.
        """
        usable, uncertain = [], None
        asked = [name for name in names if name not in self.ring_names]
        for name, answer in self._addresses_of_all(asked, 'AAAA' if is_ipv6(ip) else 'A'):
            if answer.kind == answers.FAILED:
                uncertain = 'its PTR name %s could not be confirmed: %s' % (name[:_MAX_SHOWN], answer.reason)
                if name in former.naming.names:
                    usable.append(name)
            elif answer.kind == answers.FOUND and ip.split('%')[0] in answer.values:
                usable.append(name)
        naming = Naming(tuple(sorted(usable)), None)
        if uncertain:
            return self._postponed(former._replace(naming=naming), uncertain)
        if not asked:
            naming = Naming((), Why(RING_NAME, 'its PTR name %s is that of a ring' % names[0]))
        elif not usable:
            text = 'its PTR name %s does not resolve back to it' % asked[0][:_MAX_SHOWN]
            naming = Naming((), Why(UNCONFIRMED, text))
        return self._entry(naming)

    def _addresses_of_all(self, names, rdtype):
        """[(name, Answer)] of all names, asked at the same time: eight that nobody answers for take as long as one. An
        address has a deadline, whoever else is asked for."""
        if not names:
            return []
        jobs = [gevent.spawn(self._confirmers.apply, self._addresses_of, (name, rdtype)) for name in names]
        gevent.joinall(jobs, timeout=_DEADLINE * self._timeout)
        late = answers.failed('no answer within %g s' % (_DEADLINE * self._timeout))
        found = [(name, job.value if job.successful() else late) for name, job in zip(names, jobs)]
        gevent.killall(jobs, block=False)
        return found

    def _addresses_of(self, name, rdtype):
        """The Answer for a PTR name, shared by all who ask within seconds: many may claim one name."""
        now = self._clock()
        asked, result = self._forward.get((name, rdtype), (None, None))
        if asked is None or asked + min(_SHARED_SECONDS, self._longest / 2) < now:
            if len(self._forward) > _MAX_ENTRIES:
                self._forward = {}
            result = AsyncResult()
            self._forward[name, rdtype] = now, result
            answer = answers.failed('the look-up was interrupted')
            try:
                answer = self._resolver.ask(name + '.', rdtype, self._timeout)
            finally:
                result.set(answer)
        return result.get()

    def _entry(self, naming):
        return _Entry(naming, self._clock() + self._longest, 0)

    def _postponed(self, former, reason):
        """After a failure: what was known stays, and the next attempt comes after a delay that doubles."""
        failures = former.failures + 1
        delay = retry_delay(failures, self._shortest, self._longest, self._random)
        naming = former.naming
        if not naming.names and not naming.why:
            naming = Naming((), Why(FAILED, reason))
        return _Entry(naming, self._clock() + delay, failures)
