"""Each member in turn."""
from __future__ import absolute_import, division, print_function

import bisect


class RoundRobin(object):
    """Each member in turn.

    It remembers whom it chose last by that member's place in the order, not by an index: the turn stays even while
    members come and go. It begins at random, for a thousand sidecars must not all begin with the same server.
    """

    name = 'round-robin'
    meaning = 'each server in turn'

    def __init__(self, random):
        self._random = random
        self._members = []
        self._places = []
        self._last = None       # index of the member chosen last

    def update(self, members):
        last_place = self._places[self._last] if self._places else None
        self._members = list(members)
        self._places = [member.order for member in members]
        if last_place is not None:
            self._last = bisect.bisect_right(self._places, last_place) - 1
        else:
            self._last = int(self._random() * len(members)) - 1

    def choose(self, excluded, key=None):
        members = self._members
        for _ in members:
            self._last = (self._last + 1) % len(members)
            if members[self._last] not in excluded:
                return members[self._last]
        return None

    def recount(self, member):
        pass
