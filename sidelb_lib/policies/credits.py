"""Smooth weighted round-robin: members of different weights take turns as evenly as can be."""
from __future__ import absolute_import, division, print_function

import heapq
from collections import OrderedDict

REMEMBERED = 1024           # credits of members that have left, the last ones
MANY = 16                   # servers that have failed one client
NOISE = 1e-6                # sessions: less than that is no difference


class Credits(object):
    """nginx's algorithm (`ngx_http_upstream_round_robin.c`): at each step every member gains its part of all weights in
    credit, the one with the most (the first among equals) is chosen and pays one session.

    Not step by step: all parts that a weight of 1 has gained since the beginning are one number, `_gained`, and a member
    has `weight * _gained` less what it `paid`. So among members of one weight nothing changes but for the one that paid, a
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
        self._current = {}          # member -> its one entry that counts
        self._heaps = {}            # weight -> [(paid, order, member)], of which some entries are outdated
        self._outdated = 0          # entries
        self._sum = 0.0             # of all credits: a step does not change it
        self._left = OrderedDict()  # order -> (credit, weight), of those that have left
        for member, credit in zip(members, credits or len(members) * [0.0]):
            self._take_in(member, credit)

    def add(self, member, start=lambda: 0.0):
        """One of little weight waits long for its first turn: it begins behind the average by up to a session, by what
        `start` gives. If that were nothing, all instances of a fleet would be through with waiting at once."""
        credit, former = self._left.pop(member.order, (None, None))
        if credit is not None:
            credit += self._part(member.weight) / 2 - self._part(former) / 2
        elif self._current:
            part = self._part(member.weight)
            credit = self._sum / len(self._current) - ((1 - part) * start() if part < 1 else 0)
        self._take_in(member, credit or 0.0)

    def remove(self, member):
        if len(self._left) >= REMEMBERED:
            self._left.popitem(last=False)
        self._left[member.order] = self._let_go(member, member.weight), member.weight

    def reweigh(self, member, former):
        """The member's weight was `former`. Its credit stays, but for this: between two turns it has gained half of its part
        on average. Without, one whose weight rises would be late for good, by half a session."""
        credit = self._let_go(member, former)
        self._take_in(member, credit + self._part(member.weight) / 2 - self._part(former) / 2)

    def _part(self, weight):
        """What one that is not among the members now, of this weight, would gain in a round, in which each has one turn on
        average: at most a session."""
        weight = weight or 1
        return min(1.0, weight * (len(self._current) + 1) / (self._total + weight))

    def _take_in(self, member, credit):
        weight = member.weight or 1
        self._total += weight
        self._sum += credit
        self._push(member, weight, weight * self._gained - credit)
        if self._outdated > 4 * len(self._current) + 64:
            self._sweep()

    def _let_go(self, member, weight):
        weight = weight or 1
        credit = weight * self._gained - self._current.pop(member)[0]
        self._outdated += 1
        self._total -= weight
        self._sum -= credit
        return credit

    def _push(self, member, weight, paid):
        self._current[member] = entry = paid, member.order, member
        heapq.heappush(self._heaps.setdefault(weight, []), entry)

    def _sweep(self):
        self._heaps, self._outdated = {}, 0
        for member, entry in list(self._current.items()):
            self._push(member, member.weight or 1, entry[0])

    def choose(self, excluded):
        """The member whose turn it is and that is not in `excluded`, or None.

        The excluded keep their credit and gain nothing: in an outage, where all are tried in vain, the heavy ones would
        gather what they then get at once. Where they are MANY nobody gains or pays.
        """
        current, total, tried = self._current, self._total, ()
        if excluded:
            tried = [member for member in excluded if member in current]
            total -= sum(member.weight or 1 for member in tried)
        part = 1.0 / (total or 1)
        gained = self._gained + part
        chosen, chosen_weight, most = None, None, float('-inf')
        for weight, heap in list(self._heaps.items()):
            entry = heap[0]
            if current.get(entry[2]) is not entry or entry[2] in excluded:
                entry = self._first(weight, excluded)
                if entry is None:
                    continue
            credit = weight * gained - entry[0]
            if credit > most + NOISE or credit > most - NOISE and entry[1:] < chosen[1:]:
                chosen, chosen_weight, most = entry, weight, credit
        if chosen is None:
            return None
        if len(tried) < MANY:
            self._gained = gained
            self._pay(chosen, chosen_weight)
            for member in tried:
                weight = member.weight or 1
                self._outdated += 1
                self._push(member, weight, current[member][0] + weight * part)
        return chosen[2]

    def _pay(self, entry, weight):
        paid, order, member = entry
        heap = self._heaps[weight]
        if heap[0] is entry:                # as nearly always
            self._current[member] = entry = paid + 1, order, member
            heapq.heapreplace(heap, entry)
        else:
            self._outdated += 1
            self._push(member, weight, paid + 1)

    def _first(self, weight, excluded):
        """The first entry of a heap that is not outdated and not excluded, or None. Outdated ones are dropped on the way."""
        heap, passed_over, found = self._heaps[weight], [], None
        while heap and found is None:
            member = heap[0][2]
            if self._current.get(member) is not heap[0]:
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
