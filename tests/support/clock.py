"""A clock that the test sets."""
from __future__ import absolute_import, division, print_function


class Clock(object):
    def __init__(self, now=1000.0):
        self.now = now

    def __call__(self):
        return self.now
