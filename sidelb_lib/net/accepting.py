"""Running out of descriptors while clients come: they wait in the kernel's queue until there are some again."""
from __future__ import absolute_import, division, print_function

import gevent

ACCEPT_PAUSE = 0.1                # seconds


class PausesAccepting(object):
    """Mixed into a server of gevent's. A listener with a client in its queue stays readable, so watching it without a
    descriptor for the client would spin."""

    def pause_accepting(self, seconds=ACCEPT_PAUSE):
        self.stop_accepting()
        gevent.spawn_later(seconds, self._accept_again)

    def _accept_again(self):
        if self.started:
            self.start_accepting()
