"""A backend given by name: one server, with all the addresses of the name."""
from __future__ import absolute_import, division, print_function

from ..pool.merging import Group
from .domain import Domain


class NamedServer(Domain):
    """A backend given by name: one server, with all its addresses. `options` are its merging.Options or None. Further
    arguments: those of Domain."""

    kind = 'backend'

    def __init__(self, name, port, pool, book, log, options=None, **timing):
        Domain.__init__(self, name, port, pool, book, log, **timing)
        self._options = options

    def _publish(self, endpoints, names):
        self._pool.update(self.source, [Group(self.name, endpoints, self._options)] if endpoints else [])
