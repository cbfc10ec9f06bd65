"""Policies: each chooses a member out of those that may be chosen. No I/O, no clock; chance is passed in.

A policy is told by `update(members)` who may be chosen (sorted, in stable order), asked by `choose(excluded)` for the
next one, or None, and told by `recount(member)` that the member's `active` has changed.
"""
from __future__ import absolute_import, division, print_function

import bisect
import heapq
import itertools

from ..errors import SettingsError


class RoundRobin(object):
    """Each member in turn.

    It remembers whom it chose last by that member's place in the order, not by an index: the turn stays even while
    members come and go. It begins at random, for a thousand sidecars must not all begin with the same server.
    """

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

    def choose(self, excluded):
        members = self._members
        for _ in members:
            self._last = (self._last + 1) % len(members)
            if members[self._last] not in excluded:
                return members[self._last]
        return None

    def recount(self, member):
        pass


class LeastConnections(object):
    """The member with the fewest active sessions; among equals whoever has waited longest.

    A heap in which each change of a count adds an entry and outdates the member's former one: choosing costs the same
    with ten members as with a thousand. Outdated entries are passed over when they surface, and swept out when they are
    the majority.
    """

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

    def choose(self, excluded):
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


POLICIES = {
    'round-robin': RoundRobin,
    'least-connections': LeastConnections,
}


def policy_named(name, random):
    """A new policy. `random` gives a number of at least 0 and below 1."""
    try:
        return POLICIES[name](random)
    except KeyError:
        raise SettingsError(['mode=%s is not known; it is one of %s' % (name, ', '.join(sorted(POLICIES)))])
