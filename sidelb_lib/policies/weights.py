"""Which weights there are among the members of a policy."""
from __future__ import absolute_import, division, print_function


class Weights(dict):
    """weight -> how many members have it."""

    def count(self, weight, change):
        """So many more members have `weight`, or less."""
        members = self.get(weight, 0) + change
        if members:
            self[weight] = members
        else:
            del self[weight]

    @property
    def differ(self):
        return len(self) > 1
