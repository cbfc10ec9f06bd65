"""Descriptors: raise the limit of the process, and share it out among what needs them."""
from __future__ import absolute_import, division, print_function

import resource

MAX_RESERVED = 400               # pipes of bulk transfers (128), probes (64), DNS (64), status and HTTP (32 each), the rest
MAX_PIPES = 64                   # each has two descriptors
TCP_DESCRIPTORS, UDP_DESCRIPTORS = 2, 1      # of a session


def raise_descriptor_limit():
    """Raise the soft limit of open files to the hard one. Returns the limit in force."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard == resource.RLIM_INFINITY:
        hard = 1 << 20                   # fs.nr_open's default: no process gets more
    if soft == resource.RLIM_INFINITY or soft >= hard:
        return hard
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, resource.getrlimit(resource.RLIMIT_NOFILE)[1]))
    except ValueError:
        return soft
    return hard


class Budget(object):
    """How many descriptors go where, out of the `limit` of the process.

    `connections` is the number of TCP, `sessions` that of UDP sessions of a service that has all to itself. With `services`,
    the number of those that have all in common, each takes a `share`.
    """

    def __init__(self, limit, services=None):
        reserved = min(MAX_RESERVED, limit // 2)
        self.services = services
        self.total = limit - reserved
        self._all_pipes = min(MAX_PIPES, reserved // 4)
        self.connections = self.total // TCP_DESCRIPTORS
        self.sessions = self.total // UDP_DESCRIPTORS
        self._shares = []

    @property
    def pipes(self):
        """How many a service may have that is made now. With a reload there are more than `services`, which it changes when
        all are bound."""
        return self._all_pipes // max(self.services or 1, len(self._shares))

    def share(self, each):
        """The Share of another service, whose sessions have `each` descriptors; None where nobody shares."""
        if self.services is None:
            return None
        self._shares.append(Share(self, each))
        return self._shares[-1]

    def forget(self, share):
        """Idempotent."""
        if share in self._shares:
            self._shares.remove(share)

    @property
    def floor(self):
        """What no service is denied, in descriptors: a quarter of the even part."""
        return self.total // self.services // 4

    def taken_beside(self, share):
        """What others have, or must be able to have."""
        others, floor = [other for other in self._shares if other is not share], self.floor
        staying = sum(1 for other in others if not other.leaving)
        to_come = max(0, self.services - 1 - staying)
        return to_come * floor + sum(max(other.taken, 0 if other.leaving else floor) for other in others)


class Share(object):
    """What one of several services may take out of `budget`: all that others have not, who keep their floors.

    `sessions` is a container of those that it has; `leaving`: it takes no more, and needs no floor.
    """

    def __init__(self, budget, each):
        self.sessions = ()
        self.leaving = False
        self._budget = budget
        self._each = each

    @property
    def taken(self):
        return self._each * len(self.sessions)

    @property
    def most(self):
        """How many sessions it can have at most, when nobody else has more than the floor."""
        budget = self._budget
        return max(1, (budget.total - (budget.services - 1) * budget.floor) // self._each)

    def has_room(self):
        """Whether it may take one more session: asked for each, and nearly always answered by the floor, however many others
        there are."""
        return len(self.sessions) < self._budget.floor // self._each or self.left() > 0

    def left(self):
        """How many more sessions it may take now."""
        budget = self._budget
        least = max(1, budget.floor // self._each) - len(self.sessions)
        return max(0, least, (budget.total - budget.taken_beside(self) - self.taken) // self._each)

    def close(self):
        """It has no sessions any more. Idempotent."""
        self._budget.forget(self)


def most_within(limit, share):
    """How many sessions there can be now: `limit`, or fewer where others have taken what a Share would need."""
    return limit if share is None else min(limit, len(share.sessions) + share.left())
