"""Each member in turn."""
from __future__ import absolute_import, division, print_function

import bisect


class RoundRobin(object):
    """Remembers the place in the order of the member that was chosen last, and goes on behind it: the turn stays even
    while members come and go, also that one itself. The place moves with the member's first address when look-ups give
    members other names, and so another order.

    It begins at random, for a thousand sidecars must not all begin with the same server; and anew at each change until
    somebody has been chosen, for the names that come after the addresses would put all of them back to the first one.
    """

    name = 'round-robin'
    meaning = 'each server in turn'

    def __init__(self, random):
        self._random = random
        self._members = []
        self._orders = []
        self._last = None         # the order of the member chosen last...
        self._address = None      # ...and one of its addresses
        self._next = 0

    def update(self, members):
        self._members = list(members)
        self._orders = [member.order for member in members]
        if self._address is None:
            self._next = int(self._random() * len(members))
            return
        member = self._address.member
        if not member.departing and member.order is not None:
            self._last = member.order
        self._next = bisect.bisect_right(self._orders, self._last)

    def choose(self, excluded, key=None):
        members = self._members
        for _ in members:
            position = self._next if self._next < len(members) else 0
            self._next = position + 1
            member = members[position]
            if member not in excluded:
                self._last, self._address = member.order, member.addresses[0]
                return member
        return None

    def recount(self, member):
        pass
