"""Active health checks: when each address is probed, and what follows.

Rise and fall are the pool's (`Pool.report_success`, `Pool.report_failure`), because failed connects of clients count as
well.
"""
from __future__ import absolute_import, division, print_function

import heapq
import itertools

import gevent
from gevent.event import Event
from gevent.pool import Pool as GreenletPool

from .exchange import Deadline, ProbeFailed

QUICK_SECONDS = 1.0               # while a state may be changing the next probe comes within this time
MAX_AT_ONCE = 64
MAX_IN_A_ROW = 16                # of servers that answer at once; then others get their turn
GATHER_SECONDS = 0.1              # probes that fall due within this time run together: waking up costs more than a probe


class Prober(object):
    """Probes each address of a pool again and again.

    `probe(address, deadline)` is a check's (see `registry`), and ends by itself. Each address is first probed
    at a random moment of the first interval, later with a jitter of a tenth, so that a fleet of balancers doesn't
    strike all servers in step. At most MAX_AT_ONCE probes run at a time.

    One greenlet holds a heap of due times instead of a sleeping greenlet for each address, and what is due within
    GATHER_SECONDS runs together: a thousand members at an interval of 5 s took 4.6 % of a core when each probe woke the
    process, and take 1.9 % this way.
    """

    def __init__(self, pool, probe, log, clock, random, interval=5.0, timeout=2.0):
        self._pool = pool
        self._probe = probe
        self._log = log
        self._clock = clock
        self._random = random
        self._interval = interval
        self._timeout = timeout
        self._gather = min(GATHER_SECONDS, interval / 10)
        self._turn = itertools.count()
        self._due = []                    # heap of (when, turn, address)
        self._current = {}                # address -> turn of its entry that counts, or None while it is being probed
        self._planned = {}                # address -> when that entry is due
        self._changed = Event()
        self._greenlets = GreenletPool(MAX_AT_ONCE)
        for address in pool.addresses():
            self._schedule(address, random() * interval)
        pool.observers.append(self._pool_changed)

    def run(self):
        """Probe for ever, in a greenlet of its own."""
        while True:
            wait = self._due[0][0] - self._clock() if self._due else None
            if wait is None or wait > 0:
                self._changed.clear()
                self._changed.wait(wait)
                gevent.sleep(self._gather)
                continue
            self._greenlets.spawn(self._check_some)      # waits while MAX_AT_ONCE run
            gevent.sleep(0)                              # it goes on until it has to wait for a server

    def _check_some(self):
        """Probe what is due, one after another. A greenlet for each would cost a tenth more, on Python 3.11 and newer."""
        for _ in range(MAX_IN_A_ROW):
            if not self._due or self._due[0][0] > self._clock():
                return
            _, turn, address = heapq.heappop(self._due)
            if self._current.get(address) == turn:
                self._current[address] = None
                self._check(address)

    def probe_now(self):
        """Probe everyone as soon as may be (SIGHUP)."""
        for address, turn in list(self._current.items()):
            if turn is not None:
                self._schedule(address, 0)

    def _pool_changed(self, event, subject):
        """The pool's observer."""
        if event == 'added':
            self._schedule(subject, self._random() * self._interval)
        elif event == 'removed':
            self._current.pop(subject, None)
            self._planned.pop(subject, None)
        elif event == 'failed' and self._current.get(subject) is not None and subject.streak:
            self._hasten(subject)                # a client found it dead: look again soon

    def _hasten(self, address):
        """Probe within QUICK_SECONDS. Further failures must not put off what is due so soon already."""
        if self._planned[address] > self._clock() + self._quick:
            self._schedule(address, self._random() * self._quick)

    def _schedule(self, address, seconds):
        self._planned[address] = self._clock() + seconds
        self._current[address] = turn = next(self._turn)
        heapq.heappush(self._due, (self._clock() + seconds, turn, address))
        if self._due[0][1] == turn:
            self._changed.set()

    @property
    def _quick(self):
        return min(QUICK_SECONDS, self._interval)

    def _check(self, address):
        """One probe of one address; then plan the next."""
        try:
            self._probe_once(address)
        except Exception as error:        # a fault of this host, or of ours: it says nothing about the server
            self._log.warning('probe_error', 'can not probe {address}: {error}',
                              address=str(address), error=str(error) or repr(error))
        finally:
            if address in self._current:
                self._schedule(address, self._pause(address))

    def _probe_once(self, address):
        began = self._clock()
        try:
            self._probe(address, Deadline(self._timeout, self._clock))
        except ProbeFailed as failure:
            self._pool.report_failure(address, str(failure), by_probe=True)
        else:
            address.probe_seconds = self._clock() - began
            self._pool.report_success(address)
        address.last_probe = self._clock()

    def _pause(self, address):
        """Seconds until the next probe of `address`: few while results contradict its state."""
        if address.streak:
            return self._quick * (0.8 + 0.2 * self._random())
        return self._interval * (0.9 + 0.2 * self._random())
