"""Each member in turn, and as often as its weight says."""
from __future__ import absolute_import, division, print_function

from .credits import Credits, credits_after
from .places import Places
from .weights import Weights

KEPT = 1000                 # choices for which credits are kept when weights are equal


class RoundRobin(object):
    """Each member in turn.

    The turn is kept as a place in the order and not as an index: it stays even while members come and go, and one that
    flaps waits for its turn like all others. It is the place of an *address*, so that a server which is given a name, or
    is joined with another, does not move the turn.

    `start` gives a number of at least 0 and below 1: where in the order the first session goes. It is asked again after
    each change until there was a session, for a thousand sidecars must not all begin with the same server, and names are
    learnt later.

    With weights that differ the turn is that of Credits. They are kept for a while when weights do not differ any more: the
    one that made the difference may be full, and will be back. A newcomer whose weight only begins to rise (slow_start) has
    its first turn by `start`, too.
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
        self._newcomers = set()     # since the last choice; with credits there are none
        self._kept = 0              # for how many choices more, when they do not

    def add(self, member):
        self._places.add(member)
        self._weights.count(member.weight, 1)
        self._changed = True
        if self._credits:
            self._credits.add(member, self._start)
        else:
            self._newcomers.add(member)

    def remove(self, member):
        self._places.remove(member)
        self._weights.count(member.weight, -1)
        self._changed = True
        if self._credits:
            self._credits.remove(member)
        self._newcomers.discard(member)

    def recount(self, member):
        """Nothing depends on how many sessions a member has."""

    def reweigh(self, member, former):
        """The member's weight was `former`."""
        self._weights.count(member.weight, 1)
        self._weights.count(former, -1)
        self._changed = True
        if self._credits:
            self._credits.reweigh(member, former)

    def choose(self, excluded, key=None):
        if self._changed:
            self._find_turn()
        if self._credits:
            return self._choose_by_credit(excluded)
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

    def _choose_by_credit(self, excluded):
        member = self._credits.choose(excluded)
        if member:
            self._turn = member
            if not self._weights.differ:
                self._kept -= 1
                if not self._kept:
                    self._credits = None
                    self._changed = True
        return member

    def _find_turn(self):
        self._changed = False
        members = self._members
        if self._turn is not None:
            self._last = self._places.last_up_to(self._turn.place)
        else:
            self._last = int(self._start() * len(members)) - 1
        if self._weights.differ:
            self._kept = KEPT
            if not self._credits:
                self._begin_credits()
        self._newcomers.clear()

    def _begin_credits(self):
        """With the turn as it was while weights were equal. At the very beginning `start` moves it, for otherwise all would
        begin with the heaviest."""
        members = self._members
        if self._turn is None:
            self._credits = Credits(members, credits_after(self._start(), [member.weight or 1 for member in members]))
            return
        before = sum(1 for member in members[:self._last + 1] if member not in self._newcomers)
        others = [member for member in members if member not in self._newcomers]
        self._credits = Credits(others, credits_after(before / len(others) % 1, len(others) * [1]) if others else ())
        for member in members:
            if member in self._newcomers:
                self._credits.add(member, self._start)
