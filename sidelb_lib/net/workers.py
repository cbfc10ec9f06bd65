"""Greenlets that are kept for the next piece of work: on Python 3.11 and newer each new one maps memory for its frames,
which costs 7 % of a short connection."""
from __future__ import absolute_import, division, print_function

from gevent import get_hub, getcurrent
from gevent.hub import RawGreenlet

from ..compat import switch_of

MAX_IDLE = 128


class Workers(object):
    """Runs functions, each in a greenlet of its own while it runs. To be used from the hub."""

    def __init__(self):
        self._idle = []

    def run(self, function, *arguments):
        """Start at once; come back at the function's first wait, or its end. It must raise nothing."""
        worker = self._idle.pop() if self._idle else RawGreenlet(self._work, get_hub())
        worker.switch(function, arguments)

    def _work(self, function, arguments):
        me, wait = getcurrent(), switch_of(get_hub())
        while True:
            function(*arguments)
            if len(self._idle) >= MAX_IDLE:
                return
            self._idle.append(me)
            function, arguments = wait()
