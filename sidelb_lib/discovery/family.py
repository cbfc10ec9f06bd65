"""The addresses of one family, and how answers change them. Pure: times are the caller's."""
from __future__ import absolute_import, division, print_function

from ..resolver.answers import EMPTY, FAILED, FOUND


class FamilyState(object):
    """The addresses of one family, and how answers change them. Times are of the caller's clock."""

    def __init__(self):
        self.ips = ()
        self.names = ()
        self.ttl = None             # of the last good answer
        self.negative_ttl = None    # how long the last answer may be believed, if it was empty
        self.kind = None            # of the last answer
        self.reason = None          # why the last answer was no good
        self.doubt = None           # why the last answer, though good, may be of another name
        self.empty_since = None     # when the answers began to be empty
        self._missing = {}          # ip that the last good answers did not have -> since when

    def take(self, answer, now, hold, obsolete=0):
        """A good answer replaces what is known, an empty one after `hold` seconds, a failure never. An address that a good
        answer does not have any more is kept for `obsolete` seconds: some name servers give a part of them each time."""
        self.kind, self.reason, self.doubt, self.negative_ttl = answer.kind, answer.reason, answer.doubt, None
        if answer.kind == FOUND:
            self._replace(answer, now, obsolete)
            self.names, self.ttl, self.empty_since = answer.names, answer.ttl, None
        elif answer.kind == EMPTY:
            self.negative_ttl = answer.ttl
            if self.empty_since is None:
                self.empty_since = now
            if now - self.empty_since >= hold:
                self.ips, self._missing = (), {}

    def _replace(self, answer, now, obsolete):
        missing = {}
        if answer.values and answer.ttl is not None:       # else it is the hosts file, which has all of them
            since = dict.fromkeys(self.ips, now)
            since.update(self._missing)
            present = frozenset(answer.values)
            missing = dict((ip, when) for ip, when in since.items() if ip not in present and now - when < obsolete)
        self._missing = missing
        self.ips = answer.values + tuple(sorted(self._missing))

    @property
    def held(self):
        """Are there addresses although the last answer was empty?"""
        return self.kind == EMPTY and bool(self.ips)

    def forgets_in(self, now, hold, obsolete):
        """Seconds until an address goes for want of an answer that has it, or None. While answers fail none goes."""
        if self.kind == FAILED:
            return None
        ends = [self.empty_since + hold] if self.held else [since + obsolete for since in self._missing.values()]
        return max(min(ends) - now, 0.01) if ends else None


def state_of_lookup(families):
    """(state, error text or None) of a look-up, from {type: FamilyState}."""
    kinds = [family.kind for family in families.values()]
    doubts = [family.doubt for family in families.values() if family.doubt]
    if FAILED in kinds:
        state = 'partial' if FOUND in kinds else 'failing'
    elif any(family.held for family in families.values()):
        state = 'holding'
    else:
        state = 'ok' if FOUND in kinds else 'empty'
    if state == 'ok' and doubts:
        return 'doubtful', doubts[0]
    reasons = [(rdtype, family.reason) for rdtype, family in sorted(families.items())
               if family.kind == FAILED or family.held or FAILED not in kinds and FOUND not in kinds]
    if len(reasons) > 1 and len(set(reason for _, reason in reasons)) == 1:
        return state, reasons[0][1]
    return state, '; '.join('%s: %s' % pair for pair in reasons) or None
