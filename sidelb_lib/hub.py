"""What runs in the event loop's own greenlet, the hub: callbacks of watchers, observers of the pool, signal handlers."""
from __future__ import absolute_import, division, print_function


def never_waits(function):
    """Marks a function that may run in the hub: it must not switch to another greenlet to wait for something, for there
    everybody would wait with it. It costs nothing at run time; `tests/test_hub.py` runs what is marked and fails when
    it waits.
    """
    function.never_waits = True
    return function
