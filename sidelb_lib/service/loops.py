"""Background loops that outlive their failures."""
from __future__ import absolute_import, division, print_function

import traceback

import gevent

RESTART_SECONDS = 1.0            # between the failure of a loop and its next start


class Loops(object):
    """Greenlets that belong together, and end together."""

    def __init__(self, log):
        self._log = log
        self._greenlets = []

    def start(self, name, function):
        """Run a loop for ever: a failure of it is told once and does not end it. Returns its greenlet."""
        return self._keep(gevent.spawn(self._run, name, function))

    def later(self, seconds, function, *arguments):
        """Call a function once, unless all has ended by then."""
        self._keep(gevent.spawn_later(seconds, function, *arguments))

    def living(self):
        return [greenlet for greenlet in self._greenlets if not greenlet.dead]

    def kill(self):
        gevent.killall(self._greenlets, block=False)

    def _keep(self, greenlet):
        self._greenlets = self.living() + [greenlet]
        return greenlet

    def _run(self, name, function):
        while True:
            try:
                return function()
            except Exception:
                self._log.error('loop_failed', 'unexpected error in the background loop {loop}, which starts again: '
                                '{trace}', loop=name, trace=traceback.format_exc())
                gevent.sleep(RESTART_SECONDS)
