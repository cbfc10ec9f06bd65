"""Who has to go when more clients come to the status socket or to HTTP than are answered at once."""
from __future__ import absolute_import, division, print_function

import collections

import gevent

from ..compat import monotonic
from ..net.accepting import PausesAccepting

MAX_CLIENTS = 128                # at once; one more takes a place, or waits in the kernel's queue
FAIR_SECONDS = 0.5               # a client that has asked keeps its place at least so long


class Crowded(PausesAccepting):
    """Mixed into a server of gevent's that has a greenlet a client.

    Who keeps connections open for nothing cannot keep a health check out: where there is no room the client goes at once
    that has been there for longest without having asked anything, else the oldest, once it has had FAIR_SECONDS.
    """

    max_accept = 1                       # gevent's word for: count a client before the next one is accepted
    max_clients = MAX_CLIENTS

    def __init__(self):
        self._clients = collections.OrderedDict()        # greenlet -> [when it began, has it asked], the oldest first

    def begin(self):
        """Called by a client's greenlet, first of all."""
        self._clients[gevent.getcurrent()] = [monotonic(), False]

    def has_asked(self):
        """Called by a client's greenlet once its request is complete."""
        entry = self._clients.get(gevent.getcurrent())
        if entry:
            entry[1] = True

    def end(self):
        """Called by a client's greenlet, last of all."""
        self._clients.pop(gevent.getcurrent(), None)
        self._accept_again()

    def full(self):
        """gevent's hook: is there no room for another client? Makes some, if somebody may be sent away."""
        if len(self._clients) < self.max_clients:
            return False
        leaves = next((client for client, (_, asked) in self._clients.items() if not asked), None)
        if leaves is None:
            leaves, (began, _) = next(iter(self._clients.items()))
            left = began + FAIR_SECONDS - monotonic()
            if left > 0:
                self.pause_accepting(left)
                return True
        del self._clients[leaves]
        leaves.kill(block=False)
        return False
