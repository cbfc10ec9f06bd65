"""What choosing costs: a server for a session, and hearing that it ends, with 10, 100 and 1,000 servers.

    python -m bench.choosing

Microseconds of CPU time, the least of many rounds. SideLB's own policies, without network.
"""
from __future__ import absolute_import, division, print_function

import collections
import gc
import random
import sys
import time

from sidelb_lib.policies.least_connections import LeastConnections
from sidelb_lib.policies.limits import Limited
from sidelb_lib.policies.round_robin import RoundRobin
from sidelb_lib.policies.source import Source
from sidelb_lib.policies.tiers import Tiers
from sidelb_lib.pool.members import Address, Member
from sidelb_lib.pool.merging import Options

SERVERS = (10, 100, 1000)
CLIENTS = 100
ROUNDS, SESSIONS = 20, 500
RETURN = 30.0

#: Name, policy, and what `Choice` takes.
ROWS = (
    ('round-robin', RoundRobin, {}), ('weights 1 to 3', RoundRobin, dict(weights=(1, 2, 3))),
    ('256 weights', RoundRobin, dict(weights=tuple(range(1, 257)))), ('max, never full', RoundRobin, dict(limit=100)),
    ('max, often full', RoundRobin, dict(limit=1)), ('two tiers', RoundRobin, dict(tiers=(1, 2))),
    ('two tiers, spill', RoundRobin, dict(tiers=(1, 2), spill=1.4)),
    ('two tiers, one returns', RoundRobin, dict(tiers=(1, 2), returns=True)),
    ('least-connections', LeastConnections, {}), ('weights 1 to 3', LeastConnections, dict(weights=(1, 2, 3))),
    ('max, often full', LeastConnections, dict(limit=1)),
    ('source, known client', Source, {}), ('weights 1 to 3', Source, dict(weights=(1, 2, 3))))

#: CPU time, where Python has it by itself.
cpu_time = getattr(time, 'process_time', None) or time.clock


class Choice(object):
    """A policy with so many servers, of which half have a session. One is down."""

    def __init__(self, kind, count, weights=(1,), tiers=(1,), limit=None, spill=0, returns=False):
        self.now = 0.0
        everyone = [_member(number, Options(weights[number % len(weights)], tiers[number % len(tiers)], limit))
                    for number in range(count)]

        def make():
            policy = kind(lambda: 0.0)
            return Limited(policy, lambda member: None) if limit else policy
        self._policy = Tiers(make, random.Random(1).random, lambda: self.now, spill, RETURN)
        for member in everyone:
            self._policy.know(member, 1)
        for member in everyone[:-1]:
            self._policy.add(member)
        if returns:
            self._have_a_tier_return(everyone[:-1])
        self._keys = ['10.9.0.%d' % number for number in range(CLIENTS)]
        self._held = collections.deque(
            self._take(number) for number in range(max(count // 2, CLIENTS if kind is Source else 0)))

    def _have_a_tier_return(self, up):
        first = [member for member in up if member.tier == 1]
        for change in (self._policy.remove, self._policy.add):
            for member in first:
                change(member)
        self.now += RETURN / 2

    def _take(self, number):
        member = self._policy.choose((), self._keys[number % CLIENTS])
        member.active += 1
        self._policy.recount(member)
        return member

    def run(self, sessions=SESSIONS):
        """So many sessions begin, and others end in no order."""
        held = self._held
        for number in range(sessions):
            held.append(self._take(number))
            held.rotate(-(number % 7))
            member = held.popleft()
            member.active -= 1
            self._policy.recount(member)


def _member(number, options):
    address = Address('10.0.%d.%d' % divmod(number, 250), 5432, 0)
    address.member = Member('db%d' % number, [address], ('db%04d' % number, ()), options)
    return address.member


def microseconds(choice):
    best = None
    for _ in range(ROUNDS):
        began = cpu_time()
        choice.run()
        took = cpu_time() - began
        best = took if best is None else min(best, took)
    return best / SESSIONS * 10 ** 6


def main(arguments):
    if arguments:
        sys.exit('Usage: python -m bench.choosing')
    gc.disable()
    print('%-36s %s' % ('us for a session', ' '.join('%9d' % count for count in SERVERS)))
    for name, kind, more in ROWS:
        label = name if name.startswith(kind.name) else '%s, %s' % (kind.name, name)
        print('%-36s %s' % (label, ' '.join('%9.2f' % microseconds(Choice(kind, count, **more)) for count in SERVERS)))


if __name__ == '__main__':
    main(sys.argv[1:])
