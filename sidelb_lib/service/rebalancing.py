"""Closes sessions of servers that have more than their share, so that their clients come again and find another one."""
from __future__ import absolute_import, division, print_function

import heapq

import gevent

from ..compat import paced
from ..errors import REBALANCE

ROUND_SECONDS = 1.0
AT_ONCE = 256                    # sessions looked at between two pauses


class Rebalancing(object):
    """One run over a service. Of each server at most `per_second` sessions are closed a second, the oldest first, and of
    those alone that have been silent for `silent` seconds; never more than it had too many at the beginning.

    It ends when all is even, nobody who is silent is left, or `stopped` is set. `excess` is how many are to be closed,
    `closed` how many are.
    """

    def __init__(self, pool, server, log, clock, settings, per_second, silent):
        self._pool = pool
        self._server = server
        self._log = log
        self._clock = clock
        self._settings = settings
        self._per_second = per_second
        self._silent = silent
        self._left = self._excesses()        # member -> how many may still be closed
        self._chosen = set()
        self.excess = sum(self._left.values())
        self.closed = 0
        self.stopped = False                 # may be set: no further round
        self.ended = False

    def run(self):
        """In a greenlet of its own."""
        try:
            while not self.stopped and self._close_some():
                gevent.sleep(ROUND_SECONDS)
        finally:
            self.ended = True
        self._log.info('rebalanced', '{closed} of {excess} sessions were closed that servers had above their share',
                       closed=self.closed, excess=self.excess)

    def _excesses(self):
        return self._pool.excesses(bool(self._settings.spill))

    def _close_some(self):
        """Returns whether there may be more to be closed a second later."""
        numbers = dict((member, min(self._per_second, self._left[member], count))
                       for member, count in self._excesses().items() if self._left.get(member))
        silent = self._silent_sessions(numbers) if numbers else {}
        for member, sessions in silent.items():
            for session in heapq.nsmallest(numbers[member], sessions, key=lambda session: session.opened):
                if self._is_silent_one_of(session, (member,)):       # still, after the pauses
                    self._server.cut_one(session, REBALANCE)
                    self._chosen.add(session)
                    self._left[member] -= 1
                    self.closed += 1
        return any(self._left[member] for member in silent)

    def _silent_sessions(self, members):
        """{member: its sessions that may be closed}."""
        found = {}
        for session in paced(self._server.living(), AT_ONCE):
            if self._is_silent_one_of(session, members):
                found.setdefault(session.address.member, []).append(session)
        return found

    def _is_silent_one_of(self, session, members):
        address = session.address
        return (address is not None and address.member in members and session not in self._chosen and
                not session.ended and session.silent_seconds(self._clock()) >= self._silent)
