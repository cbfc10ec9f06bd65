"""A pool with its policy and a clock, whose sessions are counted by server."""
from __future__ import absolute_import, division, print_function

import collections

from sidelb_lib.config.settings import defaults
from sidelb_lib.policies.limits import Limited
from sidelb_lib.policies.registry import policy_named
from sidelb_lib.policies.tiers import Tiers
from sidelb_lib.pool.merging import Group, Options
from sidelb_lib.pool.pool import Pool

from ..support.recording import RecordingLog


class World(object):
    def __init__(self, **settings):
        self.now = 1000.0
        self.heard = []
        settings = defaults(**dict({'check': 'off', 'tier_return': '0'}, **settings))
        self.log = RecordingLog()
        self.pool = Pool(self.policy(settings), self.log, lambda: self.now, settings)
        self.pool.observers.append(lambda event, subject: self.heard.append(event))

    def policy(self, settings):
        def make():
            return Limited(policy_named(settings.mode, lambda: 0.0), lambda member: self.pool.note_room(member))
        return Tiers(make, lambda: 0.5, lambda: self.now, settings.spill, settings.tier_return)

    def use(self, *servers):
        """`servers` are (last number of the address, options as keywords)."""
        self.pool.update('test', [
            Group(None, [('10.0.0.%d' % last, 1)],
                  Options(more.get('weight'), more.get('tier'), more.get('max')) if more else None)
            for last, more in servers])
        return self.pool.addresses()

    def taken(self, count):
        """{last number: sessions} of that many, which end at once."""
        lasts = collections.Counter()
        for _ in range(count):
            with self.pool.take() as lease:
                lasts[int(lease.address.host.rpartition('.')[2])] += 1
        return dict(lasts)

    def tier_news(self):
        return [(level, message) for level, name, message, _ in self.log.lines if name == 'tier_changed']

    def down(self, address):
        while address.up:
            self.pool.report_failure(address, 'refused')
