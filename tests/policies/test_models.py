"""The policies against models that are too simple to be wrong, through random changes: members come, go, are full, get
another weight, fail. The models look at everything anew for each choice. A failure names its seed.
"""
from __future__ import absolute_import, division, print_function

import random
from fractions import Fraction

import pytest

from sidelb_lib.policies.credits import Credits
from sidelb_lib.policies.least_connections import LeastConnections
from sidelb_lib.policies.limits import Limited
from sidelb_lib.policies.round_robin import RoundRobin
from sidelb_lib.policies.source import BALANCE, FEW, Source, client_of, score
from sidelb_lib.policies.tiers import Tiers, shares
from ..support.clock import Clock
from .parts import members, release, reweigh

STEPS = 400
WEIGHTS = [1, 1, 1, 2, 3, 0.5, 0]
TIER_RETURN = 30


class Turns(object):
    """nginx's smooth weighted round-robin step by step, in exact fractions of a session. Full members are not in it. With
    another weight a member is by half of that ahead of where it was, of what it gains in a round."""

    def __init__(self):
        self.credits, self.left = {}, {}

    def add(self, member):
        present = list(self.credits.values())
        average = sum(present) / len(present) if present else Fraction(0)
        credit, former = self.left.pop(member, (average, member.weight))
        self.credits[member] = credit
        self.reweigh(member, former)

    def remove(self, member):
        self.left[member] = self.credits.pop(member), member.weight

    def reweigh(self, member, former):
        others = sum(Fraction(one.weight or 1) for one in self.credits if one is not member)
        for weight, sign in (member.weight, 1), (former, -1):
            weight = Fraction(weight or 1)
            self.credits[member] += sign * min(1, weight * len(self.credits) / (others + weight)) / 2

    def chose(self, member, excluded):
        able = [one for one in self.credits if one not in excluded]
        total = sum(Fraction(one.weight or 1) for one in able)
        for one in able:
            self.credits[one] += Fraction(one.weight or 1) / total
        most = max(self.credits[one] for one in able)
        assert most - self.credits[member] < 0.00001, (member, self.credits)
        self.credits[member] -= 1


@pytest.mark.parametrize('seed', range(6))
def test_credits_are_those_of_the_algorithm_step_by_step(seed):
    chance, everyone = random.Random(seed), members('abcdefgh')
    model, policy = Turns(), Credits([])
    present = []
    for step in range(STEPS * 2):
        what, member = chance.random(), chance.choice(everyone)
        if what < 0.15:
            for one in (model, policy):
                (one.remove if member in present else one.add)(member)
            (present.remove if member in present else present.append)(member)
        elif what < 0.25:
            former, member.weight = member.weight, chance.choice(WEIGHTS)
            for one in (model, policy) if member in present else ():
                one.reweigh(member, former)
        else:
            excluded = set(chance.sample(present, chance.choice([0, 0, 0, 1, 2]) if len(present) > 2 else 0))
            found = policy.choose(excluded)
            assert (found is None) == (not present), 'seed %d, step %d' % (seed, step)
            if found:
                model.chose(found, excluded)


@pytest.mark.parametrize('limited', [False, True])
@pytest.mark.parametrize('seed', range(6))
def test_turns_stay_near_what_is_due_whatever_changes(seed, limited):
    """Plain turns, credits, and the ways from one to the other: nobody is ever some sessions before or behind."""
    chance, everyone, due = random.Random(seed), members('abcdefg', limit=3 if limited else None), {}
    inner = RoundRobin(chance.random)
    policy = Limited(inner, lambda member: None) if limited else inner
    for member in everyone:
        policy.add(member)
        due[member] = 0.0
    held = []
    for step in range(STEPS * 3):
        if chance.random() < 0.02:
            reweigh(policy, chance.choice(everyone), chance.choice([1, 1, 1, 1, 2, 3]))
        member = policy.choose(())
        able = [one for one in everyone if not one.is_full]
        assert (member is None) == (not able)
        if member:
            for one in able:
                due[one] += one.weight / sum(each.weight for each in able)
            due[member] -= 1
            member.active += 1
            policy.recount(member)
            held.append(member)
        assert max(map(abs, due.values())) < (10 if limited else 2), 'seed %d, step %d: %s' % (seed, step, due)
        while len(held) > 16 or held and chance.random() < 0.5:
            release(policy, held.pop(chance.randrange(len(held))))


class Anybody(object):
    """Round-robin, which the tests above look at: here it matters in which tier it is asked."""

    def __init__(self):
        self.present = set()

    def chose(self, member, excluded, key):
        assert member in self.present and member not in excluded

    def recounted(self, member):
        """Nothing depends on it."""


class Waiting(Anybody):
    """Least-connections: who has waited longest is first, newcomers come last, in order."""

    def __init__(self):
        Anybody.__init__(self)
        self.line = []

    def chose(self, member, excluded, key):
        self.line += sorted(one for one in self.present if one not in self.line)
        able = [one for one in self.line if one in self.present and one not in excluded]
        expected = min(able, key=lambda one: (one.active + 1) / (one.weight or 1))      # the first of equals
        assert member is expected

    def recounted(self, member):
        if member in self.present and member in self.line:
            self.line.remove(member)
            self.line.append(member)


class Scores(Anybody):
    """Source: everybody is ranked anew for each choice."""

    def chose(self, member, excluded, key):
        ranking = sorted(self.present, key=lambda one: (-score(client_of(key), one.text, one.weight or 1), one.order))
        active, weight = sum(one.active for one in ranking), sum(one.weight or 1 for one in ranking)
        able = [one for one in ranking if one not in excluded]
        roomy = [one for one in able if one.active < max(FEW, BALANCE * (active + 1) * (one.weight or 1) / weight)]
        assert member is (roomy or sorted(able, key=lambda one: ((one.active + 1) / (one.weight or 1), one.order)))[0]


class World(object):
    """Tiers of limited policies, and what they ought to do."""

    def __init__(self, seed, kind, spill):
        self.chance, self.clock, self.spill = random.Random(seed), Clock(), spill
        self.point = 0.0
        make, self.model = {RoundRobin: Anybody, LeastConnections: Waiting, Source: Scores}[kind], {}
        for number in (1, 2, 3):
            self.model[number] = make()
        self.everyone = members('abcdefghij', tiers=[1, 1, 1, 1, 2, 2, 2, 3, 3, 3], limit=4)
        self.up, self.known, self.came, self.lost = set(), set(), {}, set()
        self.policy = Tiers(lambda: Limited(kind(lambda: 0.0), lambda member: None), lambda: self.point, self.clock,
                            spill, TIER_RETURN)
        for member in self.everyone:
            self.know(member)
            self.flip(member)

    def know(self, member):
        self.policy.know(member, -1 if member in self.known else 1)
        self.known ^= {member}

    def flip(self, member):
        others = any(one.tier == member.tier for one in self.up - {member})
        if member in self.up:
            self.policy.remove(member)
            if not others:
                self.lost.add(member.tier)
        else:
            self.policy.add(member)
            if not others and member.tier in self.lost:
                self.came[member.tier] = self.clock.now
        self.up ^= {member}

    def count(self, member, change):
        member.active += change
        self.sync()
        self.policy.recount(member)
        if not member.is_full:
            self.model[member.tier].recounted(member)

    def sync(self):
        for number, model in self.model.items():
            model.present = set(one for one in self.up if one.tier == number and not one.is_full)

    def loads(self):
        tiers = [[one for one in self.up if one.tier == number] for number in (1, 2, 3)]
        if self.spill:
            known = [sum(one.tier == number for one in self.known) for number in (1, 2, 3)]
            loads = [share / 100.0 for share in shares([(len(up), of) for up, of in zip(tiers, known)], self.spill)]
        else:
            first = min([one.tier for one in self.up] or [0])
            loads = [float(number == first) for number in (1, 2, 3)]
        for index, number in enumerate((1, 2, 3)):
            part = min(1.0, (self.clock.now - self.came[number]) / TIER_RETURN) if number in self.came else 1.0
            if not tiers[index] or part < 1 and any(tiers[index + 1:]):
                moved = loads[index] * (1 - part if tiers[index] else 1)
                loads[index] -= moved
                if index < 2:
                    loads[index + 1] += moved
        return loads

    def order(self, excluded):
        """In which order the tiers are asked."""
        if excluded:
            begun = set(one.tier for one in excluded)
            return sorted((1, 2, 3), key=lambda number: (number not in begun, number))
        point = self.point
        for number, load in zip((1, 2, 3), self.loads()):
            point -= load
            if point < 0:
                return [number, 1, 2, 3]
        return [1, 2, 3]

    def choose(self):
        self.point = self.chance.random()
        excluded, key = set(), '10.9.0.%d' % self.chance.randrange(9)
        for _ in range(self.chance.choice([1, 1, 1, 2, 4, 20])):
            self.sync()
            able = [number for number in self.order(excluded) if self.model[number].present - excluded]
            member = self.policy.choose(excluded, key)
            if not able:
                assert member is None
                return
            assert member.tier == able[0]
            self.model[member.tier].chose(member, excluded, key)
            last = member
            excluded.add(member)
        self.count(last, 1)

    def step(self):
        self.clock.now += self.chance.choice([0, 0.1, 1, 5])
        what, member = self.chance.random(), self.chance.choice(self.everyone)
        if what < 0.1:
            self.flip(member)
        elif what < 0.15:
            self.know(member)
        elif what < 0.2:
            former, member.weight = member.weight, self.chance.choice(WEIGHTS)
            if member in self.up:
                self.policy.reweigh(member, former)
        elif what < 0.5:
            busy = [one for one in self.everyone if one.active]
            if busy:
                self.count(self.chance.choice(busy), -1)
        else:
            self.choose()


@pytest.mark.parametrize('spill', [0, 1.4])
@pytest.mark.parametrize('kind', [RoundRobin, LeastConnections, Source])
@pytest.mark.parametrize('seed', list(range(3)) + [None])
def test_tiers_limits_and_policies_do_as_the_models_do(seed, kind, spill):
    """The last seed is another one each time."""
    seed = random.randrange(10 ** 6) if seed is None else seed
    world = World(seed, kind, spill)
    for step in range(STEPS):
        try:
            world.step()
        except AssertionError as error:
            raise AssertionError('seed %d, step %d: %s' % (seed, step, error))
