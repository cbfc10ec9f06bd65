"""The member with the fewest sessions for its weight."""
from __future__ import absolute_import, division, print_function

from heapq import heappop, heappush
from operator import attrgetter

from .weights import Weights


class LeastConnections(object):
    """The member with the smallest (active + part) / weight; among equals the one that has waited longest.

    Not active / weight: with all idle that would ignore the weights. If the part were 1 everywhere, a weight of 3 beside 1
    would get the first two sessions of each instance in a fleet, and a weight that rises would be worth a session in all of
    them at the same moment. So it is any number up to 1, by `start`.

    A heap in which each change of a count adds an entry and outdates the member's former one: choosing costs the same with
    ten members as with a thousand. Outdated entries are passed over when they surface, and swept out when they are the
    majority.

    `start` gives a number of at least 0 and below 1: where in the order of members the first of equals is. It is asked
    again after each change until there was a session. A member that replaces others (it got a name, say) inherits the
    turn of the one that has waited longest: its `turn` is set before it comes.
    """

    name = 'least-connections'
    meaning = 'the server with the fewest sessions for its weight'

    def __init__(self, start):
        self._start = start
        self._part = part_at(start())
        self._turns = 0
        self._current = {}      # member -> its one entry that counts
        self._heap = []         # (load, turn, member)
        self._newcomers = set()   # have no turn yet
        self._begun = False     # has there been a session?
        self._weights = Weights()
        self._weighted = False  # do weights differ?

    def add(self, member):
        self._weigh(member.weight, 1)
        if member.turn is not None and self._begun:
            self._push(member)
        else:
            self._newcomers.add(member)

    def remove(self, member):
        self._weigh(member.weight, -1)
        if self._current.pop(member, None) is None:
            self._newcomers.remove(member)

    def reweigh(self, member, former):
        """The member's weight was `former`."""
        self._weigh(member.weight, 1)
        self._weigh(former, -1)
        if member in self._current:
            self._push(member)

    def recount(self, member):
        current = self._current
        if member in current:
            self._turns = member.turn = turn = self._turns + 1
            # What follows is `_push`: a session comes here twice.
            load = member.active if not self._weighted else (member.active + self._part) / (member.weight or 1)
            current[member] = entry = load, turn, member
            heap = self._heap
            heappush(heap, entry)
            if len(heap) > 4 * len(current) + 64:
                self._rebuild()

    def choose(self, excluded, key=None):
        if self._newcomers:
            self._seat_newcomers()
        heap, current, passed_over = self._heap, self._current, []
        chosen = None
        while heap and chosen is None:
            member = heap[0][2]
            if current.get(member) is not heap[0]:
                heappop(heap)
            elif member in excluded:
                passed_over.append(heappop(heap))
            else:
                chosen = member
        for entry in passed_over:
            heappush(heap, entry)
        return chosen

    # --- turns ------------------------------------------------------------------------------------------------------

    def _seat_newcomers(self):
        """Give turns to those that came, in their order, from `start` on."""
        newcomers = sorted(self._newcomers, key=attrgetter('order'))
        self._newcomers = set()
        self._begun = True
        first = int(self._start() * len(newcomers))
        for member in newcomers[first:] + newcomers[:first]:
            self._turns = member.turn = self._turns + 1
            self._push(member)

    def _push(self, member):
        load = member.active if not self._weighted else (member.active + self._part) / (member.weight or 1)
        self._current[member] = entry = load, member.turn, member
        heappush(self._heap, entry)
        if len(self._heap) > 4 * len(self._current) + 64:
            self._rebuild()

    def _weigh(self, weight, change):
        self._weights.count(weight, change)
        if self._weights.differ and not self._weighted:
            self._rebuild()

    def _rebuild(self):
        """Without outdated entries. Where weights do not differ any more they are left out again here, and not at once: the
        one that made the difference may be full, and will be back."""
        self._weighted = self._weights.differ
        self._heap, members = [], list(self._current)
        for member in members:
            self._push(member)


def part_at(fraction):
    """The part of a session, above 0 and up to 1, that an instance counts on top, which starts at this fraction; who is
    first is decided by the fraction, so this is another number."""
    return 1 - fraction * 97 % 1
