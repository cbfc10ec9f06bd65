"""Which of the names that a search list makes is the right one: the one owner of what has been found out about that."""
from __future__ import absolute_import, division, print_function

from .answers import FAILED


class _Qualified(object):
    """The candidate that a name was found under."""

    def __init__(self, candidate, doubt):
        self.candidate = candidate
        self.doubt = doubt           # why an earlier candidate could not be asked when this one was found, or None
        self.empty_since = None      # when its answers began to be empty


class Search(object):
    """Keeps a name at the candidate that it was found under.

    Behind it, further down the search list, may be a stranger, a wildcard most of all. So a candidate that was right ends
    the search while it can't be looked up, and when it is empty for `hold` seconds. `changed(name, former, candidate)` is
    called when a name is found under another candidate than before.
    """

    def __init__(self, hold, clock, changed):
        self._hold = hold
        self._clock = clock
        self._changed = changed
        self._qualified = {}         # name -> _Qualified

    def found(self, name, candidate, doubt):
        """`name` is found under `candidate`. `doubt` says which earlier one could not be looked up, or is None. Returns the
        doubt that remains: a candidate that was once found without any is the right one."""
        former = self._qualified.get(name)
        if former and former.candidate == candidate:
            former.empty_since = None
            former.doubt = former.doubt and doubt
            return former.doubt
        self._qualified[name] = _Qualified(candidate, doubt)
        if former:
            self._changed(name, former.candidate, candidate)
        return doubt

    def ends(self, name, candidate, kinds):
        """Must the search for `name` end at `candidate`, which was not found? `kinds` are those of its Answers."""
        qualified = self._qualified.get(name)
        if not qualified or qualified.candidate != candidate:
            return False
        if FAILED in kinds:
            return True
        now = self._clock()
        if qualified.empty_since is None:
            qualified.empty_since = now
        return now - qualified.empty_since < self._hold
