"""A fleet of balancers that do not talk to each other, simulated with SideLB's own policies; draws docs/fleet.svg.

    python -m bench.fleet docs/fleet.svg

Each of N instances holds `c` sessions to M servers. Only what a policy sees is simulated: who takes a session, who ends, who
goes down. There is no time but for sessions' lives, no network, and chance is seeded.
"""
from __future__ import absolute_import, division, print_function

import bisect
import collections
import heapq
import math
import random
import sys

from bench.fleet_picture import drawn
from sidelb_lib.policies.least_connections import LeastConnections
from sidelb_lib.policies.round_robin import RoundRobin
from sidelb_lib.policies.start import start_of
from sidelb_lib.pool.members import Address, Member
from sidelb_lib.pool.slow_start import part_of

CHANCE, ORDINAL, FIRST = 'by chance', 'by number', 'all at the first'


class Instance(object):
    """One balancer: its policy, and its own view of the servers."""

    def __init__(self, members, policy, start):
        self.policy = policy(start)
        self.members = members
        for one in self.members:
            self.policy.add(one)

    def take(self):
        """The number of the server that gets the next session."""
        one = self.policy.choose(())
        one.active += 1
        self.policy.recount(one)
        return one.order

    def end(self, server):
        one = self.members[server]
        one.active -= 1
        self.policy.recount(one)


def member(number, weight=1):
    """A server as an instance sees it. Its place in the order is its number."""
    address = Address('10.0.%d.%d' % divmod(number, 250), 5432, 0)
    address.member = Member('db%d' % number, [address], number)
    address.member.weight = weight
    return address.member


def fleet(instances, servers, policy=RoundRobin, start=CHANCE, seed=1, missing=0.0, weights=None):
    """Instances that begin at `start`. Of a fleet of numbers the part `missing` is not there."""
    chance = random.Random(seed)
    numbers = numbers_of(instances, chance, missing)
    starts = {CHANCE: lambda number: chance.random, ORDINAL: start_of, FIRST: lambda number: lambda: 0.0}
    if weights is None and policy is RoundRobin:    # which keeps nothing in members: with equal weights all have the same
        members = [member(number) for number in range(servers)]
        return [Instance(members, policy, starts[start](number)) for number in numbers]
    weights = weights or servers * [1]
    return [Instance([member(*one) for one in enumerate(weights)], policy, starts[start](number)) for number in numbers]


def numbers_of(instances, chance, missing):
    """The numbers of a fleet's instances, of which the part `missing` is not there."""
    numbers, number = [], 0
    while len(numbers) < instances:
        if chance.random() >= missing:
            numbers.append(number)
        number += 1
    return numbers


def loads(instances, servers, sessions, **how):
    """How many sessions each server has when each instance has opened `sessions`."""
    counts = [0] * servers
    for instance in fleet(instances, servers, **how):
        for _ in range(sessions):
            counts[instance.take()] += 1
    return counts


def peak(counts):
    """The most loaded server's part of the mean."""
    return max(counts) * len(counts) / float(sum(counts))


def variation(counts):
    """The coefficient of variation."""
    mean = sum(counts) / float(len(counts))
    return math.sqrt(sum((count - mean) ** 2 for count in counts) / len(counts)) / mean


def expected_variation(instances, servers, sessions):
    """What chance gives: of each instance's sessions all but a remainder are spread evenly."""
    part = sessions % servers / float(servers)
    return math.sqrt(instances * part * (1 - part)) / (instances * sessions / float(servers))


class Life(object):
    """A fleet in time: sessions end after `lifetime` seconds, 10 % more or less, and are opened again at once."""

    def __init__(self, instances, servers, sessions, policy, lifetime=600.0, slow_start=0.0, seed=1, start=CHANCE):
        self.now = 0.0
        self.servers = servers
        self.counts = [0] * servers
        self._chance = random.Random(seed)
        self._fleet = fleet(instances, servers, policy, start, seed, weights=servers * [1])
        self._lifetime = lifetime
        self._slow_start = slow_start
        self._ends = []                  # heap of (when, turn, instance, server)
        self._opened = 0
        self._rising = None              # (server, since): its weight rises
        self.opened_at = [[] for _ in range(servers)]       # when each got its sessions
        self._held = dict((instance, {}) for instance in self._fleet)   # instance -> {turn: server}
        for instance in self._fleet:
            for _ in range(sessions):
                self._open(instance, self._chance.random())

    def _open(self, instance, part=1.0):
        server = instance.take()
        self.counts[server] += 1
        self.opened_at[server].append(self.now)
        self._opened += 1
        self._held[instance][self._opened] = server
        life = self._lifetime * (0.9 + 0.2 * self._chance.random()) * part
        heapq.heappush(self._ends, (self.now + life, self._opened, instance, server))

    def _close(self, instance, turn, server):
        del self._held[instance][turn]
        instance.end(server)
        self.counts[server] -= 1

    def run(self, seconds):
        until, tick = self.now + seconds, self.now
        while self._ends and self._ends[0][0] <= until:
            when, turn, instance, server = heapq.heappop(self._ends)
            if self._held[instance].get(turn) != server:
                continue
            self.now = when
            if self._rising and self.now >= tick:
                self._reweigh()
                tick = self.now + 1
            self._close(instance, turn, server)
            self._open(instance)
        self.now = until

    def lose(self, server):
        """The server dies: its sessions are opened again, elsewhere."""
        for instance in self._fleet:
            instance.policy.remove(instance.members[server])
            for turn, held in list(self._held[instance].items()):
                if held == server:
                    self._close(instance, turn, server)
                    self._open(instance)

    def regain(self, server):
        self.opened_at[server] = []
        self._rising = (server, self.now) if self._slow_start else None
        for instance in self._fleet:
            one = instance.members[server]
            one.weight = part_of(0, self._slow_start) if self._slow_start else 1
            instance.policy.add(one)

    def _reweigh(self):
        server, since = self._rising
        part = part_of(self.now - since, self._slow_start)
        for instance in self._fleet:
            one = instance.members[server]
            former, one.weight = one.weight, part if part < 1 else 1
            if former != one.weight:
                instance.policy.reweigh(one, former)
        if part >= 1:
            self._rising = None

    def share(self, server):
        """The server's part of its fair load."""
        return self.counts[server] * self.servers / float(sum(self.counts))

    def wave(self, server):
        """The most sessions that it got in a sixtieth of a lifetime, in parts of the usual."""
        width = self._lifetime / 60
        opened = self.opened_at[server]
        most = max(bisect.bisect(opened, since + width) - place for place, since in enumerate(opened))
        return most / (sum(self.counts) / float(self.servers) / 60)


#: What it is to lose a server: the busiest one's part of the mean of the others meanwhile. And its return: its parts of its
#: share at some moments after, and the most sessions it is given in a sixtieth of a lifetime, in parts of the usual.
Return = collections.namedtuple('Return', 'busiest shares wave')


def life_with_a_return(policy, moments, slow_start=0.0, lifetime=600.0, warm_up=1.2, away=0.1, **how):
    """A server is away and returns. Times are in lifetimes of a session, but for `slow_start`: seconds, as `lifetime`."""
    life = Life(policy=policy, lifetime=lifetime, slow_start=slow_start, **how)
    life.run(warm_up * lifetime)
    life.lose(0)
    life.run(away * lifetime)
    busiest, shares, passed = peak(life.counts[1:]), [], 0.0
    life.regain(0)
    for moment in moments:
        life.run((moment - passed) * lifetime)
        passed = moment
        shares.append(life.share(0))
    return Return(busiest, shares, life.wave(0))


# --- what the guide tells --------------------------------------------------------------------------------------------

FLEETS = (10, 100, 1000)
SERVERS, SESSIONS = 10, 5
SEEDS = 20
LIFETIME = 600.0                                 # seconds of a session
MOMENTS = tuple(moment / 20.0 for moment in range(31))      # in lifetimes
TOLD = (0.1, 0.2, 0.5, 1.0)                      # those that are told in figures
RETURNS = (('round-robin', RoundRobin, 0.0), ('round-robin, slow_start=150s', RoundRobin, 150.0),
           ('least-connections', LeastConnections, 0.0), ('least-connections, slow_start=150s', LeastConnections, 150.0))


def measured():
    """What `drawn` wants. Of chance the peaks are medians."""
    peaks = collections.OrderedDict()
    for start in (FIRST, CHANCE, ORDINAL):
        peaks[start] = []
        for instances in FLEETS:
            runs = sorted(peak(loads(instances, SERVERS, SESSIONS, start=start, seed=seed))
                          for seed in range(SEEDS if start == CHANCE else 1))
            peaks[start].append(runs[len(runs) // 2])
    returns = collections.OrderedDict(
        (name, life_with_a_return(policy, MOMENTS, slow_start, LIFETIME, instances=1000, servers=10, sessions=10))
        for name, policy, slow_start in RETURNS)
    return FLEETS, peaks, MOMENTS, returns


def main(arguments):
    if len(arguments) != 1:
        sys.exit('Usage: python -m bench.fleet FILE.svg')
    results = _, peaks, _, returns = measured()
    for start, values in peaks.items():
        print('%-18s %s' % (start, ' '.join('%.2f' % value for value in values)))
    for name, found in returns.items():
        at = dict(zip(MOMENTS, found.shares))
        print('%-36s %s  wave %.1f' % (name, ' '.join('%.2f' % at[moment] for moment in TOLD), found.wave))
    with open(arguments[0], 'w') as picture:
        picture.write(drawn(*results))


if __name__ == '__main__':
    main(sys.argv[1:])
