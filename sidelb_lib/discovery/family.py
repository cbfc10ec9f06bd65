"""The addresses of one family, and how answers change them. Pure: times are the caller's."""
from __future__ import absolute_import, division, print_function

from ..resolver.answers import EMPTY, FAILED, FOUND


class FamilyState(object):
    """The addresses of one family, and how answers change them. Times are of the caller's clock."""

    def __init__(self):
        self.ips = ()
        self.names = ()
        self.ttl = None             # of the last good answer
        self.kind = None            # of the last answer
        self.reason = None          # why the last answer was no good
        self.empty_since = None     # when the answers began to be empty

    def take(self, answer, now, hold):
        """A good answer replaces what is known, an empty one after `hold` seconds, a failure never."""
        self.kind, self.reason = answer.kind, answer.reason
        if answer.kind == FOUND:
            self.ips, self.names, self.ttl, self.empty_since = answer.values, answer.names, answer.ttl, None
        elif answer.kind == EMPTY:
            if self.empty_since is None:
                self.empty_since = now
            if now - self.empty_since >= hold:
                self.ips = ()

    @property
    def held(self):
        """Are there addresses that the last answer did not have?"""
        return self.kind == EMPTY and bool(self.ips)


def state_of_lookup(families):
    """(state, error text or None) of a look-up, from {'A': FamilyState, 'AAAA': FamilyState}."""
    kinds = [family.kind for family in families.values()]
    if FAILED in kinds:
        state = 'partial' if FOUND in kinds else 'failing'
    elif any(family.held for family in families.values()):
        state = 'holding'
    else:
        state = 'ok' if FOUND in kinds else 'empty'
    reasons = [(rdtype, family.reason) for rdtype, family in sorted(families.items())
               if family.kind == FAILED or family.held or FAILED not in kinds and FOUND not in kinds]
    if len(reasons) > 1 and len(set(reason for _, reason in reasons)) == 1:
        return state, reasons[0][1]
    return state, '; '.join('%s: %s' % pair for pair in reasons) or None
