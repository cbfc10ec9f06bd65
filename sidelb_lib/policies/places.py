"""Members in their order, for those that come and go one by one."""
from __future__ import absolute_import, division, print_function

import bisect


class Places(object):
    """A list of members sorted by `order`. A change costs a search and a shift in a list, not a look at all of them."""

    __slots__ = ('members', '_orders')

    def __init__(self):
        self.members = []
        self._orders = []

    def __len__(self):
        return len(self.members)

    def add(self, member):
        position = bisect.bisect_left(self._orders, member.order)
        self._orders.insert(position, member.order)
        self.members.insert(position, member)

    def remove(self, member):
        position = bisect.bisect_left(self._orders, member.order)
        while self.members[position] is not member:      # one that takes its place is there already
            position += 1
        del self._orders[position]
        del self.members[position]

    def last_up_to(self, order):
        """The index of the last member at `order` or before it, -1 when all come after it."""
        return bisect.bisect_right(self._orders, order) - 1
