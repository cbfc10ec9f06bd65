"""Smooth weighted round-robin: members of different weights take turns as evenly as can be."""
from __future__ import absolute_import, division, print_function

import heapq
from collections import OrderedDict

REMEMBERED = 1024           # credits of members that have left, the last ones
NOISE = 1e-6                # sessions: less than that is no difference


class Credits(object):
    """nginx's algorithm (`ngx_http_upstream_round_robin.c`): at each step every member gains its part of all weights in
    credit, the one with the most (the first among equals) is chosen and pays one session.

    Not step by step: all parts that a weight of 1 has gained since the beginning are one number, `_gained`, and a member
    has `weight * _gained` less what it paid. So among members of one weight nothing changes but for the one that paid, a
    heap for each weight keeps them in order, and choosing compares the heaps' tops: it costs the same with 10 members as
    with 1,000, and more only with more different weights.

    Credit is counted in sessions, where nginx counts in weights: so when a heavy member leaves, the others owe each other
    no more than before. A newcomer begins with the average, or less, see `add`. One that left and returns has what it had:
    flapping gains nothing, and being full for a while loses nothing.

    `members` are in order, and begin with `credits`, see `credits_after`, or without.
    """

    def __init__(self, members, credits=()):
        self._gained = 0.0
        self._total = 0             # of all weights
        self._base = {}             # member -> credit but for what it gained
        self._heaps = {}            # weight -> [(-base, order, member)]; entries that `_base` contradicts are outdated
        self._outdated = 0          # entries
        self._sum = 0.0             # of all credits: a step does not change it
        self._left = OrderedDict()  # order -> credit, of those that have left
        for member, credit in zip(members, credits or len(members) * [0.0]):
            self._take_in(member, credit)

    def add(self, member, start=lambda: 0.0):
        """One of little weight waits long for its first turn: it begins behind the average by up to a session, by what
        `start` gives. If that were nothing, all instances of a fleet would be through with waiting at once."""
        credit = self._left.pop(member.order, None)
        if credit is None and self._base:
            credit = self._sum / len(self._base)
            part = (member.weight or 1) * len(self._base) / self._total
            if part < 1:
                credit -= (1 - part) * start()
        self._take_in(member, credit or 0.0)

    def remove(self, member):
        if len(self._left) >= REMEMBERED:
            self._left.popitem(last=False)
        self._left[member.order] = self._let_go(member, member.weight)

    def reweigh(self, member, former):
        """The member's weight was `former`: its credit stays as it is."""
        self._take_in(member, self._let_go(member, former))

    def _take_in(self, member, credit):
        weight = member.weight or 1
        self._total += weight
        self._sum += credit
        self._push(member, weight, credit - weight * self._gained)
        if self._outdated > 4 * len(self._base) + 64:
            self._sweep()

    def _let_go(self, member, weight):
        weight = weight or 1
        credit = self._base.pop(member) + weight * self._gained
        self._outdated += 1
        self._total -= weight
        self._sum -= credit
        return credit

    def _push(self, member, weight, base):
        self._base[member] = base
        heap = self._heaps.setdefault(weight, [])
        heapq.heappush(heap, (-base, member.order, member))

    def _sweep(self):
        base, self._base, self._heaps, self._outdated = self._base, {}, {}, 0
        for member in base:
            self._push(member, member.weight or 1, base[member])

    def choose(self, excluded):
        """The member whose turn it is and that is not in `excluded`, or None."""
        gained = self._gained + 1.0 / (self._total or 1)
        chosen, chosen_weight, most = None, None, float('-inf')
        for weight in list(self._heaps):
            entry = self._top(weight, excluded)
            if entry:
                credit = weight * gained - entry[0]
                if credit > most + NOISE or credit > most - NOISE and entry[1:] < chosen[1:]:
                    chosen, chosen_weight, most = entry, weight, credit
        if chosen is None:
            return None
        self._gained = gained
        self._outdated += 1
        self._push(chosen[2], chosen_weight, -chosen[0] - 1)
        return chosen[2]

    def _top(self, weight, excluded):
        """The first entry of a heap that is still right and not excluded. Outdated ones are dropped on the way."""
        heap, passed_over, found = self._heaps[weight], [], None
        while heap and found is None:
            base, _, member = heap[0]
            if self._base.get(member) != -base or (member.weight or 1) != weight:
                heapq.heappop(heap)
                self._outdated -= 1
            elif member in excluded:
                passed_over.append(heapq.heappop(heap))
            else:
                found = heap[0]
        for entry in passed_over:
            heapq.heappush(heap, entry)
        if not heap:
            del self._heaps[weight]
        return found


def credits_after(fraction, weights):
    """The credits when this fraction of a round is over, of at least 0 and below 1: each has been chosen as often as its
    weight says, rounded up for those who lack most. With equal weights the first ones have had their turn."""
    total = sum(weights)
    steps = int(fraction * total + NOISE)
    due = [steps * weight / total for weight in weights]
    times = [int(number + NOISE) for number in due]
    by_lack = sorted(range(len(weights)), key=lambda index: round(times[index] - due[index], 6))
    for index in by_lack[:max(0, steps - sum(times))]:
        times[index] += 1
    return [number - count for number, count in zip(due, times)]
