"""What sources have in common that are looked up again and again: a state, who hears of it, and a place in the status."""
from __future__ import absolute_import, division, print_function

import collections

from ..net.endpoints import endpoint_text


class LookedUp(object):
    """`state` is 'pending' until the first look-up has ended; `on_change(source, former state)` hears when it changes.

    A subclass has `kind`, `name`, `port`, `endpoints()` and `error`.
    """

    def __init__(self, clock):
        self.state = 'pending'
        self.on_change = None
        self._clock = clock
        self._answered = None                     # when the last good answer came
        self._error = None
        self._lookups = collections.Counter()     # state -> how many look-ups ended with it

    def go_on_from(self, former):
        """Take the place of `former`, a source of the same name that a reload ends; before `run`."""

    @property
    def settled(self):
        """Whether the first look-up has ended, whatever its outcome."""
        return self.state != 'pending'

    @property
    def error(self):
        """What was wrong with the last look-up, or None."""
        return self._error

    def snapshot(self):
        """What there is to know, as a plain dict; `age` and `ttl` in seconds, None before an answer."""
        return {
            'kind': self.kind,
            'name': self.name,
            'port': self.port,
            'addresses': [endpoint_text(*endpoint) for endpoint in self.endpoints()],
            'age': None if self._answered is None else self._clock() - self._answered,
            'ttl': self._ttl(),
            'error': self.error,
            'state': self.state,
            'lookups': dict(self._lookups),
        }

    def _ttl(self):
        """None for what has none."""
        return None

    def _enter(self, state):
        former, self.state = self.state, state
        if state != former and self.on_change:
            self.on_change(self, former)
