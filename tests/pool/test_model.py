"""The pool and its policies against a model that is too simple to be wrong, through thousands of steps.

Servers come, go, flap, are regrouped and return; clients take them, fail and end. The model keeps no index and no heap: it
looks at everything anew after each step. A failure names its seed: `run(seed)` does the same again.
"""
from __future__ import absolute_import, division, print_function

import random

import pytest

from sidelb_lib.checks.exchange import Result
from sidelb_lib.config.settings import defaults
from sidelb_lib.errors import NobodyReachable
from sidelb_lib.policies.least_connections import part_at
from sidelb_lib.policies.limits import Limited
from sidelb_lib.policies.registry import policy_named
from sidelb_lib.policies.tiers import Tiers
from sidelb_lib.pool.flapping import FLAP_SECONDS, MAX_RISE
from sidelb_lib.pool.memory import KEPT_SECONDS
from sidelb_lib.pool.merging import Group, Options
from sidelb_lib.pool.pool import Pool

from ..support.recording import RecordingLog

STEPS = 1000
ENDPOINTS = [('10.0.0.%d' % number, port) for number in range(1, 7) for port in (1, 2)] + [
    ('2001:db8::%d' % number, 1) for number in range(1, 4)]
NAMES = [None, None, None, 'a', 'b', 'c']


class Health(object):
    """What the model knows of one endpoint: two streaks, and when each kind was last good."""

    def __init__(self, newcomer, checked):
        self.down = {'connects': False, 'probes': False}
        self.streak = {'connects': 0, 'probes': 0}
        self.good = {'connects': None, 'probes': None}
        self.newcomer = newcomer
        self.probed = False
        self.found = None if checked else 'up'
        self.came_up = None
        self.damping = 1

    @property
    def up(self):
        return not (self.down['connects'] or self.down['probes'])

    def says(self, kind, good, began, now, fall, rise):
        was_up = self.up
        if good:
            self.good[kind] = now
        elif self.good[kind] is not None and began < self.good[kind]:
            return
        if good == self.down[kind]:
            self.streak[kind] += 1
            if self.streak[kind] >= (rise if good else fall):
                self.down[kind], self.streak[kind] = not good, 0
        else:
            self.streak[kind] = 0
        if self.up and not was_up:
            self.came_up = now
        elif was_up and not self.up:
            if self.came_up is not None and now - self.came_up <= FLAP_SECONDS:
                self.damping = min(2 * self.damping, MAX_RISE)
            else:
                self.damping = 1

    def rise(self, rise):
        return max(rise, min(MAX_RISE, rise * self.damping))

    def state(self, weight):
        if weight == 0:
            return 'draining'
        return 'down' if not self.up else self.found or 'unchecked'


class World(object):
    def __init__(self, seed):
        self.random = random.Random(seed)
        self.now = 1000.0
        self.is_checked = self.random.random() < 0.7
        self.mode = self.random.choice(['round-robin', 'least-connections', 'source'])
        self.settings = defaults(check='tcp' if self.is_checked else 'off')
        chance = self.random.random()
        self.part = part_at(chance)
        policy = Tiers(lambda: Limited(policy_named(self.mode, lambda: chance), lambda member: None), self.random.random,
                       lambda: self.now)
        self.pool = Pool(policy, RecordingLog(), lambda: self.now, self.settings)
        self.answers = {}
        self.health = {}           # endpoint -> Health, of those that are known
        self.away = {}             # endpoint -> (when, Health), of those that left while they were down
        self.leases = []
        self.since_change = []     # the members that were taken since anything changed

    # --- the model's view ---

    def components(self):
        """[(name, endpoints, weight, tier)]: groups joined until nothing can be joined any more."""
        parts = [(set([group.name] if group.name else []), set(group.endpoints), [group.options],
                  set((group.name, port) for _, port in group.endpoints if group.name))
                 for groups in self.answers.values() for group in groups]
        joined = True
        while joined:
            joined = False
            for one in parts:
                for other in parts:
                    if one is not other and not joined and (one[1] & other[1] or one[3] & other[3]):
                        parts = [part for part in parts if part is not one and part is not other]
                        parts.append(tuple(mine + others if isinstance(mine, list) else mine | others
                                           for mine, others in zip(one, other)))
                        joined = True
        return parts

    def members(self):
        """[(name, endpoints sorted, weight, tier, is full)] of the model."""
        def key(endpoint):
            return ':' in endpoint[0], [int(part) for part in endpoint[0].split('.')] if '.' in endpoint[0] else (
                endpoint[0]), endpoint[1]
        found = []
        for names, endpoints, options, _ in self.components():
            ordered = sorted(endpoints, key=lambda endpoint: (key(endpoint)[0], str(key(endpoint)[1]), endpoint[1]))
            weights = [each.weight for each in options if each and each.weight is not None]
            tiers = [each.tier for each in options if each and each.tier is not None]
            limits = [each.max for each in options if each and each.max is not None]
            found.append((min(names) if names else None, ordered, max(weights) if weights else 1,
                          min(tiers) if tiers else 1, bool(limits) and self.active(ordered) >= min(limits)))
        return found

    def active(self, endpoints):
        return sum(1 for lease in self.leases if tuple(lease.address.endpoint) in endpoints)

    def standing(self, endpoint, weight):
        state = self.health[endpoint].state(weight)
        if state in ('down', 'draining'):
            return 1.5 if self.health[endpoint].up else 1
        if state == 'unchecked':
            return 2 if self.health[endpoint].newcomer else 3
        return 3

    # --- steps ---

    def update(self):
        source = self.random.choice(['ring', 'other'])
        groups, free = [], list(ENDPOINTS)
        self.random.shuffle(free)
        while free and self.random.random() < 0.85:
            size = self.random.choice([1, 1, 1, 2, 3])
            endpoints, free = free[:size], free[size:]
            options = None
            if self.random.random() < 0.2:
                options = Options(self.random.choice([None, 0, 1, 2, 3]), self.random.choice([None, 1, 2]),
                                  self.random.choice([None, None, 1, 2]))
            groups.append(Group(self.random.choice(NAMES), sorted(endpoints), options))
        weights = dict((endpoint, weight) for _, endpoints, weight, _, _ in self.members() for endpoint in endpoints)
        others_are_up = any(health.state(weights[endpoint]) == 'up' for endpoint, health in self.health.items())
        self.answers[source] = groups
        self.pool.update(source, groups)
        known = set(endpoint for answer in self.answers.values() for group in answer for endpoint in group.endpoints)
        for endpoint in list(self.health):
            if endpoint not in known:
                health = self.health.pop(endpoint)
                if health.state(weights[endpoint]) == 'down' or any(
                        lease.address.endpoint == endpoint for lease in self.leases):
                    self.away[endpoint] = self.now, health, weights[endpoint]
        for endpoint in known - set(self.health):
            self.health[endpoint] = self.returned(endpoint) or Health(
                self.is_checked and others_are_up, self.is_checked)

    def returned(self, endpoint):
        when, health, weight = self.away.pop(endpoint, (None, None, None))
        if health is None:
            return None
        if any(lease.address.endpoint == endpoint for lease in self.leases):
            return health
        return health if health.state(weight) == 'down' and self.now - when <= KEPT_SECONDS else None

    def probe(self):
        addresses = self.pool.addresses()
        if not addresses or not self.is_checked:
            return
        address = self.random.choice(addresses)
        health, good = self.health[tuple(address.endpoint)], self.random.random() < 0.6
        began = self.now - self.random.choice([0, 0, 0, 2])
        self.pool.report_result(address, Result('up' if good else 'down', None, 'test', None), began)
        former = health.state(1)
        if good:
            health.found = 'up'
            rise = health.rise(2)
            lifts = health.down['connects']
            health.says('probes', True, began, self.now, 2, rise)
            if lifts:
                health.says('connects', True, began, self.now, 2, rise)
        else:
            health.says('probes', False, began, self.now, 2 if health.probed else 1, 2)
        health.probed = True
        if health.state(1) != former:
            health.newcomer = False

    def fail(self, address, began):
        health = self.health.get(tuple(address.endpoint))
        if health and not address.member.departing:
            former = health.state(1)
            health.says('connects', False, began, self.now, 2, 2)
            if health.state(1) != former:
                health.newcomer = False

    def client(self):
        """A client: fails so many times, and may keep its session."""
        tried, failures, seen = None, self.random.choice([0, 0, 0, 1, 2, 20]), set()
        while True:
            try:
                lease = self.pool.take(tried, '10.9.0.%d' % self.random.randrange(4))
            except NobodyReachable:
                assert seen or all(is_full for _, _, _, _, is_full in self.best()), 'a known server was not taken'
                return
            address = lease.address
            assert tuple(address.endpoint) in self.health and address not in seen
            assert address.member.limit is None or address.member.active <= address.member.limit
            if not seen:
                self.check_choice(address)
            seen.add(address)
            if failures:
                failures -= 1
                began = lease.began
                lease.failed('test')
                self.fail(address, began)
                lease.end()
                self.since_change = []
                tried = lease.tried
                continue
            lease.succeeded()
            self.health[tuple(address.endpoint)].says(
                'connects', True, None, self.now, 2, self.health[tuple(address.endpoint)].rise(2))
            self.leases.append(lease)
            return

    def best(self):
        """The members of the best standing, full or not."""
        members = self.members()
        standings = [max(self.standing(endpoint, member[2]) for endpoint in member[1]) for member in members]
        return [member for member, standing in zip(members, standings) if standing == max(standings)]

    def check_choice(self, address):
        candidates = [member for member in self.best() if not member[4]]
        tier = min(member[3] for member in candidates)
        candidates = [member for member in candidates if member[3] == tier]
        taken = [member for member in candidates if tuple(address.endpoint) in member[1]]
        assert taken, 'taken: %s, of %s' % (address, candidates)
        assert self.standing(tuple(address.endpoint), taken[0][2]) == max(
            self.standing(endpoint, taken[0][2]) for endpoint in taken[0][1])
        if self.mode == 'least-connections':
            loads = [(self.active(member[1]) + self.part) / (member[2] or 1) for member in candidates]
            mine = loads[candidates.index(taken[0])]
            assert mine == min(loads), 'load %s of %s' % (mine, loads)
        elif any(member.limit for member in self.pool.members):
            self.since_change = []            # who is full is passed over in its turn
        elif self.mode == 'round-robin' and len(set(member[2] for member in candidates)) == 1:
            self.since_change.append(tuple(taken[0][1]))
            window = self.since_change[-len(candidates):]
            most = 1 if len(self.since_change) >= 2 * len(candidates) else 2      # weights may have differed before
            assert max(map(window.count, window)) <= most, 'too often in one round: %s' % window

    def end(self):
        if self.leases:
            lease = self.leases.pop(self.random.randrange(len(self.leases)))
            lease.end()
            lease.end()
            endpoint = tuple(lease.address.endpoint)
            if endpoint in self.away:        # it is remembered from the end of its last session on
                self.away[endpoint] = (self.now,) + self.away[endpoint][1:]

    def check(self):
        members = self.members()
        found = sorted([(member.name, [tuple(address.endpoint) for address in member.addresses])
                        for member in self.pool.members], key=str)
        expected = sorted([(name or '%s:%d' % endpoints[0] if name or ':' not in endpoints[0][0]
                            else '[%s]:%d' % endpoints[0], endpoints) for name, endpoints, _, _, _ in members],
                          key=str)
        assert found == expected
        assert [member.order for member in self.pool.members] == sorted(member.order for member in self.pool.members)
        weights = dict((endpoint, weight) for _, endpoints, weight, _, _ in members for endpoint in endpoints)
        for member in self.pool.members:
            assert member.active == sum(address.active for address in member.addresses)
            for address in member.addresses:
                endpoint = tuple(address.endpoint)
                assert address.member is member
                assert address.state == self.health[endpoint].state(weights[endpoint]), address
                assert address.active == sum(1 for lease in self.leases if lease.address is address)
        gone = set(lease.address for lease in self.leases if tuple(lease.address.endpoint) not in self.health)
        assert set(member.addresses[0] for member in self.pool.departing) == gone
        assert self.pool.healthy == any(
            self.standing(endpoint, weights[endpoint]) >= 2 for endpoint in self.health)


def run(seed, steps=STEPS):
    world = World(seed)
    actions = [world.update] + [world.probe] * 8 + [world.client] * 10 + [world.end] * 8
    for step in range(steps):
        world.now += world.random.choice([0.1, 1, 5, 5, 100 if world.random.random() < 0.05 else 1])
        action = world.random.choice(actions)
        if action in (world.update, world.probe):
            world.since_change = []
        try:
            action()
            world.check()
        except AssertionError as error:
            raise AssertionError('seed %d, step %d, %s: %s' % (seed, step, action.__name__, error))


@pytest.mark.parametrize('seed', list(range(12)) + [None])
def test_pool_and_policies_do_as_the_model_does(seed):
    """The last seed is another one each time."""
    run(random.randrange(10 ** 6) if seed is None else seed)
