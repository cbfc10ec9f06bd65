"""A fleet of balancers that do not talk to each other, simulated with SideLB's own policies; draws docs/fleet.svg.

    python -m bench.fleet docs/fleet.svg

Each of N instances holds `c` sessions to M servers. Only what a policy sees is simulated: who takes a session, who ends, who
goes down. There is no time but for sessions' lives, no network, and chance is seeded.
"""
from __future__ import absolute_import, division, print_function

import heapq
import math
import random
import sys

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


def member(number):
    """A server as an instance sees it. Its place in the order is its number."""
    address = Address('10.0.%d.%d' % divmod(number, 250), 5432, 0)
    address.member = Member('db%d' % number, [address], number)
    return address.member


def fleet(instances, servers, policy=RoundRobin, start=CHANCE, seed=1, missing=0.0):
    """Instances that begin at `start`. Of a fleet of numbers `missing` is the part that is not there."""
    chance = random.Random(seed)
    numbers, number = [], 0
    while len(numbers) < instances:
        if chance.random() >= missing:
            numbers.append(number)
        number += 1
    starts = {CHANCE: lambda number: chance.random, ORDINAL: start_of, FIRST: lambda number: lambda: 0.0}
    servers = [member(number) for number in range(servers)]
    alone = policy is not RoundRobin            # which keeps nothing in members: all may have the same ones
    return [Instance([member(one.order) for one in servers] if alone else servers, policy, starts[start](number))
            for number in numbers]


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

    def __init__(self, instances, servers, sessions, policy, lifetime=600.0, slow_start=0.0, seed=1):
        self.now = 0.0
        self.servers = servers
        self.counts = [0] * servers
        self._chance = random.Random(seed)
        self._fleet = fleet(instances, servers, policy, seed=seed)
        self._lifetime = lifetime
        self._slow_start = slow_start
        self._ends = []                  # heap of (when, turn, instance, server)
        self._opened = 0
        self._rising = None              # (server, since): its weight rises
        self._held = dict((instance, {}) for instance in self._fleet)   # instance -> {turn: server}
        for instance in self._fleet:
            for _ in range(sessions):
                self._open(instance, self._chance.random())

    def _open(self, instance, part=1.0):
        server = instance.take()
        self.counts[server] += 1
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


def shares_after_return(policy, moments, slow_start=0.0, **how):
    """A server is away for a minute and returns: its part of its fair load at these moments, in seconds since."""
    life = Life(policy=policy, slow_start=slow_start, **how)
    life.run(1.2 * life._lifetime)
    life.lose(0)
    life.run(60)
    life.regain(0)
    found, now = [], 0
    for moment in moments:
        life.run(moment - now)
        now = moment
        found.append(life.share(0))
    return found


# --- the picture -----------------------------------------------------------------------------------------------------

FLEETS = (10, 100, 1000)
SERVERS, SESSIONS = 10, 5
SEEDS = 20
MOMENTS = tuple(range(0, 901, 30))
RETURNS = (('round-robin', RoundRobin, 0.0), ('least-connections', LeastConnections, 0.0),
           ('least-connections, slow_start=60s', LeastConnections, 60.0),
           ('least-connections, slow_start=150s', LeastConnections, 150.0))
COLOURS = ('#8a8f98', '#c2662d', '#2f6db5', '#3d8f5f')


def measured():
    """{start: [the peak for each of FLEETS]}, medians where chance decides; {mode: its shares at MOMENTS}."""
    peaks = {}
    for start in (FIRST, CHANCE, ORDINAL):
        peaks[start] = []
        for instances in FLEETS:
            runs = sorted(peak(loads(instances, SERVERS, SESSIONS, start=start, seed=seed))
                          for seed in range(SEEDS if start == CHANCE else 1))
            peaks[start].append(runs[len(runs) // 2])
    returns = dict((name, shares_after_return(policy, MOMENTS, slow_start, instances=200, servers=10, sessions=10))
                   for name, policy, slow_start in RETURNS)
    return peaks, returns


def drawn(peaks, returns):
    """The picture, SVG text."""
    lines = ['<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 900 380" font-family="sans-serif" font-size="13">',
             '<style>text{fill:#333}.axis{stroke:#999}@media(prefers-color-scheme:dark){text{fill:#ccc}}</style>']
    lines += _bars(peaks) + _curves(returns)
    return '\n'.join(lines + ['</svg>', ''])


def _bars(peaks):
    lines = [_text(20, 24, 'The busiest of 10 servers, in parts of the mean', 'bold'),
             _text(20, 42, '5 long sessions an instance, round-robin; dashed: even')]
    for group, instances in enumerate(FLEETS):
        lines.append(_text(75 + 130 * group, 352, '%d instances' % instances))
        for number, start in enumerate((FIRST, CHANCE, ORDINAL)):
            value = peaks[start][group]
            height = 110 * value
            x = 60 + 130 * group + 36 * number
            lines.append('<rect x="%d" y="%.1f" width="30" height="%.1f" fill="%s"/>' % (
                x, 330 - height, height, COLOURS[number]))
            lines.append(_text(x, 324 - height, '%.2f' % value))
    lines.append('<path d="M50 220H440" class="axis" stroke-dasharray="4"/><path d="M50 330H440" class="axis"/>')
    for number, start in enumerate((FIRST, CHANCE, ORDINAL)):
        lines.append('<rect x="%d" y="362" width="12" height="12" fill="%s"/>' % (60 + 130 * number, COLOURS[number]))
        lines.append(_text(78 + 130 * number, 373, start))
    return lines


def _curves(returns):
    lines = [_text(480, 24, 'A server returns after a minute: its part of its share', 'bold'),
             _text(480, 42, '200 instances, 10 servers, 10 sessions of 10 minutes each')]
    left, bottom, width, height = 510, 280, 370, 200
    lines.append('<path d="M%d %dv-%dM%d %dh%d" fill="none" class="axis"/>' % (left, bottom, height, left, bottom, width))
    lines.append('<path d="M%d %dh%d" class="axis" stroke-dasharray="4"/>' % (left, bottom - height * 0.8, width))
    lines.append(_text(left - 30, bottom - height * 0.8 + 4, '1.0'))
    for minute in range(0, 16, 5):
        lines.append(_text(left + width * minute / 15.0 - 4, bottom + 18, '%d' % minute))
    lines.append(_text(left + width - 50, bottom + 34, 'minutes'))
    for number, (name, _, _) in enumerate(RETURNS):
        points = ' '.join('%.1f,%.1f' % (left + width * moment / 900.0, bottom - height * 0.8 * min(share, 1.25))
                          for moment, share in zip(MOMENTS, returns[name]))
        lines.append('<polyline points="%s" fill="none" stroke="%s" stroke-width="2"/>' % (points, COLOURS[number]))
        lines.append('<rect x="510" y="%d" width="12" height="4" fill="%s"/>' % (307 + 20 * number, COLOURS[number]))
        lines.append(_text(528, 313 + 20 * number, name))
    return lines


def _text(x, y, text, weight='normal'):
    return '<text x="%.1f" y="%.1f" font-weight="%s">%s</text>' % (x, y, weight, text)


def main(arguments):
    if len(arguments) != 1:
        sys.exit('Usage: python -m bench.fleet FILE.svg')
    peaks, returns = measured()
    for start, values in sorted(peaks.items()):
        print('%-18s %s' % (start, ' '.join('%.2f' % value for value in values)))
    for name, _, _ in RETURNS:
        at = dict(zip(MOMENTS, returns[name]))
        print('%-36s %s' % (name, ' '.join('%.2f' % at[moment] for moment in (60, 120, 300, 600, 900))))
    with open(arguments[0], 'w') as picture:
        picture.write(drawn(peaks, returns))


if __name__ == '__main__':
    main(sys.argv[1:])
