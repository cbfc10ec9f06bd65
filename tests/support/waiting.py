"""Waiting for an event instead of for time."""
from __future__ import absolute_import, division, print_function

import time


def wait_until(what_failed, predicate, timeout=15.0):
    """Call `predicate` until it is true and return what it returned; fail with `what_failed` after `timeout` seconds.

    An AssertionError of the predicate counts as 'not yet', and its text is part of the failure.
    """
    deadline = time.time() + timeout
    while True:
        reason = ''
        try:
            result = predicate()
            if result:
                return result
        except AssertionError as error:
            reason = ': %s' % error
        if time.time() > deadline:
            raise AssertionError('%s (not within %g s)%s' % (what_failed, timeout, reason))
        time.sleep(0.005)
