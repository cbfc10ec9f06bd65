"""Addresses that left while they were down: a dead server that leaves DNS and returns must not count as sound."""
from __future__ import absolute_import, division, print_function

import collections

KEPT_SECONDS = 600.0
MAX_KEPT = 1024                  # the oldest are forgotten


class Memory(object):
    """Keeps addresses for KEPT_SECONDS of `clock`."""

    def __init__(self, clock):
        self._clock = clock
        self._kept = collections.OrderedDict()      # endpoint -> (when, Address), the oldest first

    def keep(self, address):
        self._kept.pop(address.endpoint, None)
        self._kept[address.endpoint] = self._clock(), address
        while len(self._kept) > MAX_KEPT:
            self._kept.popitem(last=False)

    def recall(self, endpoint):
        """The address as it left, which is not kept any longer; or None."""
        when, address = self._kept.pop(endpoint, (None, None))
        return address if address and self._clock() - when <= KEPT_SECONDS else None
