"""A backend given by name: one server, with all the addresses of the name."""
from __future__ import absolute_import, division, print_function

from ..pool.merging import Group
from .domain import Domain


class NamedServer(Domain):
    """A backend given by name: one server, with all its addresses. Arguments: those of Domain."""

    kind = 'backend'

    def _publish(self, endpoints, names):
        self._pool.update(self.source, [Group(self.name, endpoints, self._options)] if endpoints else [])
