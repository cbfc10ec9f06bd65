"""Active health checks: when each address is probed, and what follows.

What a result changes is the pool's to say (`Pool.report_result`), because failed connects of clients count as well.
"""
from __future__ import absolute_import, division, print_function

import heapq
import itertools

import gevent
from gevent.event import Event
from gevent.pool import Pool as GreenletPool

from ..hub import never_waits
from .exchange import Deadline, Misconfigured, ProbeFailed, Result

FIRST_SECONDS = 1.0               # within which an address is probed for the first time
QUICK_SECONDS = 1.0               # while a state may be changing the next probe comes within this time
MAX_AT_ONCE = 64
MAX_DOUBTFUL_AT_ONCE = 32         # of addresses that are down or were never probed: they may well be silent
MAX_IN_A_ROW = 16                 # of servers that answer at once; then others get their turn
GATHER_SECONDS = 0.1              # probes that fall due within this time run together: waking up costs more than a probe


class Prober(object):
    """Probes each address of a pool again and again.

    `probe(address, deadline)` is a check's (see `registry`), and ends by itself. Each address is first probed
    at a random moment of the first second, later with a jitter of a tenth, so that a fleet of balancers doesn't strike
    all servers in step. At most MAX_AT_ONCE probes run at a time. Of these, silent servers can hold MAX_DOUBTFUL_AT_ONCE
    and no more: with 1,000 of them in 64 places the death of another server was found after 33 s. The probers of one
    process share these `places`.

    One greenlet holds heaps of due times instead of a sleeping greenlet for each address, and what is due within
    GATHER_SECONDS runs together: a thousand members at an interval of 5 s took 4.6 % of a core when each probe woke the
    process, and take 1.9 % this way.
    """

    def __init__(self, pool, probe, log, clock, random, interval=5.0, timeout=2.0, places=None):
        self._pool = pool
        self._probe = probe
        self._log = log
        self._clock = clock
        self._random = random
        self._interval = interval
        self._timeout = timeout
        self._gather = min(GATHER_SECONDS, interval / 10)
        self._turn = itertools.count()
        places = places or Places()
        self._sound = _Lane(places.sound)
        self._doubtful = _Lane(places.doubtful)
        self._current = {}                # address -> turn of its entry that counts, or None while it is being probed
        self._planned = {}                # address -> when that entry is due
        self._changed = Event()
        self._hurried = Event()           # a probe is due that waits for no others to run with
        self._doubted = {}                # address -> when it was last probed for an end of its sessions
        self._complaints = {}             # address -> what the log was told of a check that is misconfigured
        self._noises = set()              # what it was told of servers that keep a record of each check
        self._stopped = False
        self._greenlets = places.greenlets
        for address in pool.addresses():
            self._schedule(address, random() * self._first)
        pool.observers.append(self._pool_changed)

    def run(self):
        """Probe for ever, in a greenlet of its own."""
        while not self._stopped:
            lanes = [lane for lane in (self._sound, self._doubtful) if lane.due]
            free = [lane for lane in lanes if lane.place.is_free]
            lane = min(free, key=lambda lane: lane.due[0]) if free else None
            if lane is None or lane.due[0][0] > self._clock():
                self._changed.clear()
                for full in lanes:
                    full.place.tell_when_free(self._changed)
                self._changed.wait(lane and lane.due[0][0] - self._clock())
                self._hurried.wait(self._gather)
                self._hurried.clear()
                continue
            lane.place.take()
            try:
                self._greenlets.spawn(self._check_some, lane)  # waits while MAX_AT_ONCE run
            except BaseException:                              # this greenlet was ended meanwhile
                lane.place.give_back()
                raise
            gevent.sleep(0)                                    # it goes on until it has to wait for a server

    def _check_some(self, lane):
        """Probe what is due, one after another. A greenlet for each would cost 10 % more (Python 3.11, 2026)."""
        try:
            for _ in range(MAX_IN_A_ROW):
                if not lane.due or lane.due[0][0] > self._clock():
                    return
                _, turn, address = heapq.heappop(lane.due)
                if self._current.get(address) == turn:
                    self._current[address] = None
                    self._check(address)
        finally:
            lane.place.give_back()
            self._changed.set()

    def stop(self):
        """Probe no more. The greenlet of `run` ends by itself, and so do probes under way, of which nothing is reported."""
        self._pool.observers.remove(self._pool_changed)
        self._stopped = True
        self._current.clear()
        self._changed.set()

    def probe_now(self):
        """Probe everyone as soon as may be (SIGHUP)."""
        for address, turn in list(self._current.items()):
            if turn is not None:
                self._schedule(address, 0)

    @never_waits
    def _pool_changed(self, event, subject):
        """The pool's observer."""
        if event == 'added':
            self._schedule(subject, self._random() * self._first)
        elif event == 'removed':
            self._current.pop(subject, None)
            self._planned.pop(subject, None)
            self._complaints.pop(subject, None)
            self._doubted.pop(subject, None)
        elif event == 'doubted' and self._current.get(subject) is not None:
            self._look_again(subject)
        elif event == 'failed' and self._current.get(subject) is not None and subject.streak:
            self._hasten(subject)                # a client found it dead: look again soon
        elif event == 'role':
            self._ask_siblings(subject)          # another may have it now
        elif event in ('down', 'demoted') and self._pool.needs_role:
            self._ask_siblings(subject)

    def _ask_siblings(self, subject):
        """Probe all others, at once but for those that were probed just now: two whose roles flap must not keep all busy."""
        recently = self._clock() - self._quick
        for address, turn in list(self._current.items()):
            if turn is not None and address is not subject:
                if address.last_probe is None or address.last_probe < recently:
                    self._schedule(address, 0)
                else:
                    self._hasten(address)

    def _hasten(self, address):
        """Probe within QUICK_SECONDS. Further failures must not put off what is due so soon already."""
        if self._planned[address] > self._clock() + self._quick:
            self._schedule(address, self._random() * self._quick)

    def _look_again(self, address):
        """Its server has ended a session, perhaps for it stops: probe it at once, so that no more clients meet that. Some
        servers always end first: no more than four times a second."""
        now, last = self._clock(), self._doubted.get(address)
        due = now if last is None else max(now, last + self._quick / 4)
        if self._planned[address] > due:
            self._doubted[address] = due
            self._schedule(address, due - now)
            self._hurried.set()

    def _schedule(self, address, seconds):
        self._planned[address] = self._clock() + seconds
        self._current[address] = turn = next(self._turn)
        lane = self._sound if address.up and address.last_probe is not None else self._doubtful
        heapq.heappush(lane.due, (self._clock() + seconds, turn, address))
        if lane.due[0][1] == turn:
            self._changed.set()

    @property
    def _first(self):
        return min(FIRST_SECONDS, self._interval)

    @property
    def _quick(self):
        return min(QUICK_SECONDS, self._interval)

    def _check(self, address):
        """One probe of one address; then plan the next."""
        try:
            self._probe_once(address)
        except Exception as error:        # a fault of this host, or of ours: it says nothing about the server
            self._log.warning('probe_error', 'cannot probe {address}: {error}',
                              address=str(address), error=str(error) or repr(error))
        finally:
            if address in self._current:
                self._schedule(address, self._pause(address))

    def _probe_once(self, address):
        began = self._clock()
        try:
            result = self._probe(address, Deadline(self._timeout, self._clock))
            address.probe_seconds = self._clock() - began
        except ProbeFailed as failure:
            result = Result('down', None, str(failure), failure.facts)
        except Misconfigured as mistake:
            self._complain(address, str(mistake))
            return
        self._complaints.pop(address, None)
        if result.facts and 'noisy' in result.facts:
            self._advise(address, result.facts['noisy'])
        if not self._stopped:
            self._pool.report_result(address, result, began)

    def _advise(self, address, text):
        """Once for all servers: they will be alike in this."""
        if text not in self._noises:
            self._noises.add(text)
            self._log.warning('check_noisy', '{address} {text}', address=str(address), text=text)

    def _complain(self, address, mistake):
        """The check can't be made as it is set up: say so once, not at each probe."""
        if self._complaints.get(address) != mistake:
            self._complaints[address] = mistake
            self._log.warning('check_misconfigured', 'cannot check {address}: {error}', address=str(address),
                              error=mistake)
        if not self._stopped:
            self._pool.report_unknown(address)

    def _pause(self, address):
        """Seconds until the next probe of `address`: few while results contradict its state, or the role that is wanted
        is nobody's."""
        if address.streak or self._pool.needs_role:
            return self._quick * (0.8 + 0.2 * self._random())
        return self._interval * (0.9 + 0.2 * self._random())


class Places(object):
    """What the probers of one process share: how many probes may run at once."""

    def __init__(self):
        self.sound = _Place(MAX_AT_ONCE)
        self.doubtful = _Place(MAX_DOUBTFUL_AT_ONCE)
        self.greenlets = GreenletPool(MAX_AT_ONCE)


class _Place(object):
    """A number of places for probes, and the events of those who wait for one."""

    __slots__ = ('_limit', '_taken', '_waiting')

    def __init__(self, limit):
        self._limit = limit
        self._taken = 0
        self._waiting = set()

    @property
    def is_free(self):
        return self._taken < self._limit

    def take(self):
        self._taken += 1

    def give_back(self):
        self._taken -= 1
        for event in self._waiting:
            event.set()
        self._waiting.clear()

    def tell_when_free(self, event):
        """Set `event` at the next place that becomes free, if none is now."""
        if not self.is_free:
            self._waiting.add(event)


class _Lane(object):
    """Addresses that take the same kind of places."""

    __slots__ = ('place', 'due')

    def __init__(self, place):
        self.place = place
        self.due = []                     # heap of (when, turn, address)
