"""Each member in turn, and as often as its weight says."""
from __future__ import absolute_import, division, print_function

from .credits import Credits
from .places import Places
from .weights import Weights


class RoundRobin(object):
    """Each member in turn.

    The turn is kept as a place in the order and not as an index: it stays even while members come and go, and one that
    flaps waits for its turn like all others. It is the place of an *address*, so that a server which is given a name, or
    is joined with another, does not move the turn.

    `start` gives a number of at least 0 and below 1: where in the order the first session goes. It is asked again after
    each change until there was a session, for a thousand sidecars must not all begin with the same server, and names are
    learnt later.

    With weights that differ the turn is that of Credits.
    """

    name = 'round-robin'
    meaning = 'each server in turn, as often as its weight says'

    def __init__(self, start):
        self._start = start
        self._places = Places()
        self._members = self._places.members
        self._last = -1             # index of the member that was chosen last...
        self._turn = None           # ...and that member
        self._changed = True        # `_last` has to be found anew, and whether there are credits
        self._weights = Weights()
        self._credits = None        # while weights differ

    def add(self, member):
        self._places.add(member)
        self._changed = True
        self._weigh(member.weight, 1)
        if self._credits:
            self._credits.add(member)

    def remove(self, member):
        self._places.remove(member)
        self._changed = True
        self._weigh(member.weight, -1)
        if self._credits:
            self._credits.remove(member)
        if not self._members:
            self._turn = None

    def recount(self, member):
        """Nothing depends on how many sessions a member has."""

    def reweigh(self, member, former):
        """The member's weight was `former`."""
        self._changed = True
        self._weigh(member.weight, 1)
        self._weigh(former, -1)
        if self._credits:
            self._credits.reweigh(member, former)

    def _weigh(self, weight, change):
        self._weights.count(weight, change)
        if not self._weights.differ:
            self._credits = None

    def choose(self, excluded, key=None):
        if self._changed:
            self._find_turn()
        if self._credits:
            member = self._credits.choose(excluded)
            self._turn = member or self._turn
            return member
        members, last = self._members, self._last
        for _ in members:
            last += 1
            if last >= len(members):
                last = 0
            member = members[last]
            if member not in excluded:
                self._last = last
                self._turn = member
                return member
        return None

    def _find_turn(self):
        self._changed = False
        if self._turn is not None:
            self._last = self._places.last_up_to(self._turn.place)
        else:
            self._last = int(self._start() * len(self._members)) - 1
        if self._weights.differ and not self._credits:
            self._credits = Credits(self._members)
            if self._turn is None:
                self._credits.skip(self._start())
