"""Members that take so many sessions at once and no more: `/max=N`."""
from __future__ import absolute_import, division, print_function


class Limited(object):
    """Wraps a policy, which does not see a member while it is full. `on_room(member)` is called when one has room again."""

    def __init__(self, policy, on_room):
        self._policy = policy
        self._on_room = on_room
        self._full = set()
        self._members = set()
        self.choose = policy.choose

    def add(self, member):
        self._members.add(member)
        if member.is_full:
            self._full.add(member)
        else:
            self._policy.add(member)

    def remove(self, member):
        self._members.remove(member)
        if member in self._full:
            self._full.remove(member)
        else:
            self._policy.remove(member)

    def reweigh(self, member, former):
        if member not in self._full:
            self._policy.reweigh(member, former)

    def recount(self, member):
        if member not in self._members:
            return
        full = member.is_full
        if full and member not in self._full:
            self._full.add(member)
            self._policy.remove(member)
        elif member in self._full and not full:
            self._full.remove(member)
            self._policy.add(member)
            self._on_room(member)
        if not full:
            self._policy.recount(member)
