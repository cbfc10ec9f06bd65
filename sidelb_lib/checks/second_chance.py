"""check=off: nothing is sent to servers, so only clients find out that one is dead."""
from __future__ import absolute_import, division, print_function

import gevent

from ..hub import never_waits


class SecondChance(object):
    """Stands in for the prober: an address that clients found dead gets another chance after `interval` seconds. The
    next failure takes it out again."""

    def __init__(self, pool, interval):
        self._pool = pool
        self._interval = interval
        pool.observers.append(self._pool_changed)
        for address in pool.addresses():
            if not address.up:               # another check had put it down
                self._pool_changed('down', address)

    def stop(self):
        self._pool.observers.remove(self._pool_changed)

    def probe_now(self):
        """There is nothing to probe."""

    @never_waits
    def _pool_changed(self, event, subject):
        if event == 'down' or event == 'added' and not subject.up:      # that one left while it was down
            gevent.spawn_later(self._interval, self._pool.restore, subject)
