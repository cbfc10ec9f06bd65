"""When loops look again: after a TTL, after a failure, and what they say of an exception."""
from __future__ import absolute_import, division, print_function

import os
import sys
import traceback

from ..resolver.answers import FOUND


class Pace(object):
    """When names are asked again: when the smallest TTL has passed, but not within `shortest` and not later than after
    `longest` seconds; after failures with a growing delay between the two."""

    def __init__(self, shortest, longest, random):
        self.shortest = shortest
        self.longest = longest
        self._random = random
        self._failures = 0

    def after(self, state, families):
        """Seconds to wait after a look-up that ended with `state` and these FamilyStates."""
        pace = self._within(smallest_ttl(families))
        if state == 'ok':
            self._failures = 0
            return pace
        delay = self.back_off()
        if any(family.kind == FOUND for family in families):
            return min(delay, pace)
        # A name that does not exist yet: its zone says how long that is believed (RFC 2308, section 5); who asks a cache
        # earlier gets the same answer.
        negative = [family.negative_ttl for family in families if family.negative_ttl is not None]
        return self._within(min(negative)) if state == 'empty' and negative else delay

    def back_off(self):
        """Seconds to wait after one more failure."""
        self._failures += 1
        return retry_delay(self._failures, self.shortest, self.longest, self._random)

    def _within(self, ttl):
        return self.longest if ttl is None else min(max(ttl, self.shortest), self.longest)


def smallest_ttl(families):
    """The smallest TTL of what is in use, or None."""
    ttls = [family.ttl for family in families if family.ips and family.ttl is not None]
    return min(ttls) if ttls else None


def retry_delay(failures, shortest, longest, random):
    """Seconds to wait after `failures` in a row: `shortest`, doubling to `longest`, less up to a quarter."""
    delay = min(longest, shortest * 2 ** min(failures - 1, 30))
    return max(min(shortest, longest), delay * (1 - 0.25 * random()))


def last_error():
    """The exception being handled, in one line: what it is and where it came from."""
    kind, error, trace = sys.exc_info()
    path, line = traceback.extract_tb(trace)[-1][:2]
    return '%s: %s (%s line %d)' % (kind.__name__, error, os.path.basename(path), line)
