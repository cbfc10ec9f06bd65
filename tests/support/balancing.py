"""What the balancers of tests have in common, of TCP and of UDP: they run in this process, on a pool of their own."""
from __future__ import absolute_import, division, print_function

import random

import gevent

from sidelb_lib.compat import monotonic
from sidelb_lib.policies.registry import policy_of
from sidelb_lib.pool.pool import Pool

from .recording import RecordingLog


class Balancing(object):
    """`settings` are those of a service. A subclass has a `server` and hands it to `begin`."""

    def __init__(self, settings):
        self.log = RecordingLog()
        policy = policy_of(settings, '', random.random, monotonic, lambda member: self.pool.note_room(member))
        self.pool = Pool(policy, self.log, monotonic, settings)

    def begin(self, server):
        self.server = server
        server.start()
        self.greenlets = [gevent.spawn(server.watch_silence)]         # end with it

    def use(self, *endpoints):
        """Each endpoint, or list of endpoints, is one member."""
        self.pool.update('test', [(None, list(each) if isinstance(each, list) else [each]) for each in endpoints])

    def close(self):
        gevent.killall(self.greenlets)
        self.server.cut_all('the test has ended')
        self.server.close()
