"""A ring domain: a name whose addresses are the servers of one service."""
from __future__ import absolute_import, division, print_function

import gevent

from .domain import Domain
from .grouper import Grouper


class Ring(Domain):
    """A ring domain: each of its addresses is a server of its own, except those whose names say they are one.

    It registers with `names` (a ServerNames) when it is made, so that no source takes the ring's name for a server's.
    `options` (merging.Options or None) are those of each of its servers. Further arguments are those of Domain:
    refresh, hold, obsolete, shortest, clock, random.
    """

    kind = 'ring'

    def __init__(self, name, port, pool, names, book, log, options=None, **timing):
        Domain.__init__(self, name, port, pool, book, log, options, **timing)
        self.grouper = Grouper(self.source, pool, names, log, lambda endpoint: options)
        names.follow(self.source, (), [self.name])

    def run(self):
        grouping = gevent.spawn(self.grouper.run)
        try:
            Domain.run(self)
        finally:
            grouping.kill()                  # and wait: it may be updating the pool

    def close(self):
        self.grouper.close()

    def refresh_now(self):
        Domain.refresh_now(self)
        self.grouper.refresh_now()

    def _publish(self, endpoints, names):
        self.grouper.publish([[endpoint] for endpoint in endpoints], names | frozenset([self.name]))
