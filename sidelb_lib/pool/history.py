"""What has happened to the servers lately, for people who look at the status."""
from __future__ import absolute_import, division, print_function

import collections

from ..hub import never_waits

MAX_EVENTS = 50


class History(object):
    """Remembers the last MAX_EVENTS changes of a pool. `observe` is one of its observers (see `members.Pool`), `clock`
    its clock."""

    def __init__(self, clock):
        self._clock = clock
        self._events = collections.deque(maxlen=MAX_EVENTS)

    @never_waits
    def observe(self, event, subject):
        if event in ('up', 'down', 'added', 'removed'):
            error = subject.last_error if event == 'down' else None
            self._events.append((self._clock(), event, subject.member.name, str(subject), error))

    def events(self):
        """(when, event, name of the member, address, error or None), the oldest first."""
        return list(self._events)
