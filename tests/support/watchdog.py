"""Ends a test run that hangs, and shows where it hangs: every greenlet's stack, then every thread's."""
from __future__ import absolute_import, division, print_function

import os
import signal

from gevent import monkey
from gevent.util import print_run_info

try:
    import faulthandler
except ImportError:                      # Python 2
    faulthandler = None

LOOK_SECONDS = 0.5
GRACE_SECONDS = 10                       # for writing the stacks, before the last resort


class Watchdog(object):
    """`arm(what)` before something that may hang, `disarm()` after it: past `seconds` the run ends, code 3.

    A native thread watches, so a hub that waits for ever or a loop that never yields does not matter. A C
    function that keeps the interpreter's lock stops that thread too: then, a little later, faulthandler's C
    thread ends the process, or where there is none (Python 2) SIGALRM does. `descriptor` is where the stacks
    go; it should be a duplicate of standard error that a test's capturing does not reach.
    """

    def __init__(self, seconds, descriptor):
        self._seconds = self._allowed = seconds
        self._descriptor = descriptor
        self._deadline = None
        self._what = ''
        self._clock = monkey.get_original('time', 'time')
        self._sleep = monkey.get_original('time', 'sleep')
        start_native_thread(self._watch)

    def arm(self, what, seconds=None):
        """`seconds` instead of those for everything."""
        self._what = what
        self._allowed = seconds or self._seconds
        self._deadline = self._clock() + self._allowed
        last_resort = self._allowed + GRACE_SECONDS
        if faulthandler:
            faulthandler.dump_traceback_later(last_resort, exit=True, file=self._descriptor)
        else:
            signal.alarm(last_resort)

    def disarm(self):
        self._deadline = None
        if faulthandler:
            faulthandler.cancel_dump_traceback_later()
        else:
            signal.alarm(0)

    def _watch(self):
        while True:
            self._sleep(LOOK_SECONDS)
            deadline = self._deadline
            if deadline is not None and self._clock() > deadline:
                self._end()

    def _end(self):
        """Show all stacks and end the process. Children end with it, see `processes`."""
        try:
            message = '\n%s has not ended after %d s; all stacks:\n' % (self._what, self._allowed)
            os.write(self._descriptor, message.encode('utf-8'))
            with os.fdopen(os.dup(self._descriptor), 'w') as stream:
                print_run_info(file=stream)
        finally:
            os._exit(3)


def start_native_thread(function):
    """Run `function` in a thread of the system's, not in a greenlet."""
    for module in ('_thread', 'thread'):                 # Python 3's name, Python 2's
        try:
            start = monkey.get_original(module, 'start_new_thread')
        except ImportError:
            continue
        start(function, ())
        return
