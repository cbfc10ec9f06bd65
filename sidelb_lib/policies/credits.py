"""Smooth weighted round-robin: members of different weights take turns as evenly as can be."""
from __future__ import absolute_import, division, print_function

import heapq

REMEMBERED = 1024           # credits of members that have left
MAX_SKIPPED = 1024          # steps


class Credits(object):
    """nginx's algorithm (`ngx_http_upstream_round_robin.c`): at each step every member gains its weight in credit, the
    one with the most (the first among equals) is chosen and pays what all have gained.

    Not step by step: after `t` steps a member that was chosen `k` times has `weight * t - total * k`. So among members of
    one weight nothing changes but for the one that paid, a heap for each weight keeps them in order, and choosing compares
    the heaps' tops: it costs the same with 10 members as with 1,000, and more only with more different weights.

    A newcomer begins with the average credit. One that left and returns has what it had, so flapping gains nothing.
    """

    def __init__(self, members=()):
        self._steps = 0
        self._total = 0             # of all weights
        self._base = {}             # member -> credit that it would have had at step 0
        self._heaps = {}            # weight -> [(-base, order, member)]; entries that `_base` contradicts are outdated
        self._sum = 0               # of all credits: a step does not change it
        self._left = {}             # order -> credit above the average, of those that have left
        for member in members:
            self.add(member)

    def add(self, member):
        average = self._sum / float(len(self._base)) if self._base and self._sum else 0
        self._take_in(member, average + self._left.pop(member.order, 0))

    def remove(self, member):
        credit = self._let_go(member, member.weight)
        if self._base and len(self._left) < REMEMBERED:
            self._left[member.order] = min(member.weight, credit - self._sum / float(len(self._base)))

    def reweigh(self, member, former):
        """The member's weight was `former`: its credit stays as it is."""
        self._take_in(member, self._let_go(member, former))

    def _take_in(self, member, credit):
        weight = member.weight or 1
        self._total += weight
        self._sum += credit
        self._push(member, weight, credit - weight * self._steps)

    def _let_go(self, member, weight):
        weight = weight or 1
        credit = self._base.pop(member) + weight * self._steps
        self._total -= weight
        self._sum -= credit
        return credit

    def _push(self, member, weight, base):
        self._base[member] = base
        heap = self._heaps.setdefault(weight, [])
        heapq.heappush(heap, (-base, member.order, member))

    def skip(self, fraction):
        """Begin at this fraction of a round, of at least 0 and below 1: without it all would begin with the heaviest."""
        for _ in range(int(fraction * min(self._total, MAX_SKIPPED))):
            self.choose(())

    def choose(self, excluded):
        """The member whose turn it is and that is not in `excluded`, or None."""
        best = None
        for weight in list(self._heaps):
            entry = self._top(weight, excluded)
            if entry:
                candidate = entry[0] - weight * (self._steps + 1), entry[1], entry[2], weight
                if best is None or candidate < best:
                    best = candidate
        if best is None:
            return None
        self._steps += 1
        _, _, member, weight = best
        self._push(member, weight, self._base[member] - self._total)
        return member

    def _top(self, weight, excluded):
        """The first entry of a heap that is still right and not excluded. Outdated ones are dropped on the way."""
        heap, passed_over, found = self._heaps[weight], [], None
        while heap and found is None:
            base, _, member = heap[0]
            if self._base.get(member) != -base or (member.weight or 1) != weight:
                heapq.heappop(heap)
            elif member in excluded:
                passed_over.append(heapq.heappop(heap))
            else:
                found = heap[0]
        for entry in passed_over:
            heapq.heappush(heap, entry)
        if not heap:
            del self._heaps[weight]
        return found
