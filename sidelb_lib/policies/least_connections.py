"""The member with the fewest sessions."""
from __future__ import absolute_import, division, print_function

import heapq
import itertools


class LeastConnections(object):
    """The member with the fewest active sessions; among equals whoever has waited longest.

    A heap in which each change of a count adds an entry and outdates the member's former one: choosing costs the same
    with ten members as with a thousand. Outdated entries are passed over when they surface, and swept out when they are
    the majority.
    """

    name = 'least-connections'
    meaning = 'the server with the fewest sessions'

    def __init__(self, random):
        self._random = random
        self._turn = itertools.count()
        self._current = {}      # member -> the turn of its one entry that counts
        self._heap = []         # (active, turn, member)

    def update(self, members):
        start = int(self._random() * len(members))
        newcomers = [member for member in members[start:] + members[:start] if member not in self._current]
        former = self._current
        self._current = dict((member, former[member]) for member in members if member in former)
        self._current.update((member, next(self._turn)) for member in newcomers)
        self._rebuild()

    def choose(self, excluded, key=None):
        heap, current, passed_over = self._heap, self._current, []
        chosen = None
        while heap and chosen is None:
            _, turn, member = heap[0]
            if current.get(member) != turn:
                heapq.heappop(heap)
            elif member in excluded:
                passed_over.append(heapq.heappop(heap))
            else:
                chosen = member
        for entry in passed_over:
            heapq.heappush(heap, entry)
        return chosen

    def recount(self, member):
        if member in self._current:
            self._current[member] = turn = next(self._turn)
            heapq.heappush(self._heap, (member.active, turn, member))
            if len(self._heap) > 4 * len(self._current) + 64:
                self._rebuild()

    def _rebuild(self):
        self._heap = [(member.active, turn, member) for member, turn in self._current.items()]
        heapq.heapify(self._heap)
