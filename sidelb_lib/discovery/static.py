"""Backends given by address."""
from __future__ import absolute_import, division, print_function

from ..hub import never_waits
from .grouper import Grouper
from .grouping import OF_ADDRESS


class Static(object):
    """Backends given by address: [[(ip, port), ...], ...], several in one list where joined by hand.

    `options` are those of each address that has some: {endpoint: merging.Options or None}. They never change, but
    their names are looked up, so that a server that is in a ring as well is one member.
    """

    kind = 'static'
    settled = True

    def __init__(self, units, pool, names, log, options=None, source='backends'):
        self.source = source
        self._units = [list(unit) for unit in units]
        self.grouper = Grouper(source, pool, names, log, (options or {}).get, OF_ADDRESS)

    def go_on_from(self, former):
        """Take the place of `former`: of that there is nothing to know."""

    def publish(self):
        """Give the addresses to the pool now, grouped as far as names are known. Does not block."""
        self.grouper.publish(self._units)

    def run(self):
        """As `publish`, then look names up for ever; returns when names are off."""
        self.publish()
        self.grouper.run()

    @never_waits
    def need(self, endpoint=None):
        """There is nothing to look up."""

    def close(self):
        """The source is named no more."""
        self.grouper.close()

    def refresh_now(self):
        self.grouper.refresh_now()
