"""Servers that end a session at once without a byte: something that accepts, and a dead program behind it.

With `early_close=failure` that is a failure like a refused connect. A client that had sent nothing by then is given another
server and never notices.
"""
from __future__ import absolute_import, division, print_function

import gevent

from ..hub import never_waits

EARLY_SECONDS = 1.0               # after the attempt to connect began
MAX_DOUBLINGS = 5                 # of the time until a server that went down by this gets another session


class EarlyEnds(object):
    """Tells `pool` of them, and gives a server that went down by them another chance after the interval of checks, which
    is doubled each time until one of its sessions has got a byte."""

    def __init__(self, pool, clock, server):
        self._pool = pool
        self._clock = clock
        self._server = server         # for its settings, which may change
        self._times = {}              # Address -> how often it went down by this

    @property
    def wanted(self):
        return self._server.settings.early_close == 'failure'

    @never_waits
    def noticed(self, session):
        """The server of `session` has ended it before the client did, and without a byte. Returns whether that counts."""
        if self._clock() - session.lease.began >= EARLY_SECONDS:
            return False
        address = session.address
        if self._pool.report_early_end(address):
            times = self._times.get(address, 0)
            self._times[address] = min(times + 1, MAX_DOUBLINGS)
            gevent.spawn_later(self._server.settings.check_interval * 2 ** times, self._pool.forgive_early_ends, address)
        return True

    @never_waits
    def disproved(self, address):
        """A session of the address has got a byte."""
        if address.early is not None:
            self._times.pop(address, None)
            self._pool.report_byte(address)
