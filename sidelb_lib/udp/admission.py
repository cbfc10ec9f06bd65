"""Whose datagrams are taken, where the settings ask for that: it stands before `Forwarding.forward`, and is loaded then
alone."""
from __future__ import absolute_import, division, print_function

from ..errors import NOT_ALLOWED
from ..hub import never_waits
from ..net.access import is_allowed
from ..net.endpoints import endpoint_text


class Admission(object):
    """Lets new clients of `forwarding` in by their address; those that have a session in `table` keep it."""

    def __init__(self, forwarding, table, settings):
        self._table = table
        self._settings = settings
        self._let_in = forwarding.forward

    @never_waits
    def forward(self, key, client, client_socket, data):
        """Stands for the one of Forwarding."""
        if key in self._table.by_key or is_allowed(client[0], self._settings.allow, self._settings.deny):
            return self._let_in(key, client, client_socket, data)
        self._table.drop('client_denied', 'dropped a datagram of {client}: {reason}', client=endpoint_text(*client[:2]),
                         reason=NOT_ALLOWED.replace('_', ' '))
