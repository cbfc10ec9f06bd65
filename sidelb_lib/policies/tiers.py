"""Tiers: the nearest servers first, the next ones when those are not enough."""
from __future__ import absolute_import, division, print_function


class Tiers(object):
    """A policy for each tier; the lowest tier that has somebody takes all, or what `shares` gives it.

    `make()` gives a policy for one tier. `spill` is 0 or a factor, see `shares`. A tier that was up, was lost and is back
    takes `tier_return` seconds until it has all of its sessions again, so that a zone that returns is not overrun.
    `random` gives a number of at least 0 and below 1, `clock` seconds. With `draw(key)`, which gives such a number too, a
    client has its tier, and not each session.

    While all members are of one tier, choosing is that tier's own: it costs nothing. While one tier takes all it costs
    hardly more.
    """

    def __init__(self, make, random, clock, spill=0, tier_return=0, draw=None):
        self._make = make
        self._draw = draw or (lambda key: random())
        self._clock = clock
        self._spill = spill
        self._return = tier_return
        self._tiers = {}            # tier -> _Tier
        self._order = []            # of tiers
        self._shares = None         # what each takes but for those that return, until somebody comes or goes
        self._first = None          # the policy of `active`
        self.active = None          # the first tier that has somebody
        self.choose = self._choose_nobody

    # --- who there is -----------------------------------------------------------------------------------------------

    def know(self, member, change):
        """A member that counts as capacity of its tier came (1) or went (-1), up or not: `spill` compares with it."""
        self._tier(member.tier).known += change
        self._shares = None

    def add(self, member):
        tier = self._tier(member.tier)
        tier.policy.add(member)
        tier.up += 1
        self._shares = None
        if tier.up == 1:
            if tier.was_lost and self._return and member.up:          # not one that is tried for want of a better one
                tier.returned = self._clock()
            self._find_first()

    def remove(self, member):
        tier = self._tiers[member.tier]
        tier.policy.remove(member)
        tier.up -= 1
        self._shares = None
        if not tier.up:
            tier.was_lost = True
            tier.returned = None
            self._find_first()

    def reweigh(self, member, former):
        self._tiers[member.tier].policy.reweigh(member, former)

    def recount(self, member):
        tier = self._tiers.get(member.tier)
        if tier:
            tier.policy.recount(member)

    def _tier(self, number):
        if number not in self._tiers:
            self._tiers[number] = _Tier(self._make())
            self._order = sorted(self._tiers)
        return self._tiers[number]

    def _find_first(self):
        up = [number for number in self._order if self._tiers[number].up]
        self.active = up[0] if up else None
        self._find_way()

    # --- who is chosen ----------------------------------------------------------------------------------------------

    def _find_way(self):
        """Choose in the cheapest way that is right for now."""
        self.__dict__.pop('recount', None)
        if len(self._tiers) == 1:
            only = self._tiers[self._order[0]].policy
            self.choose, self.recount = only.choose, only.recount
        elif self.active is None or self._spill or self._is_returning():
            self.choose = self._choose_among_tiers
        else:
            self._first, self.choose = self._tiers[self.active].policy, self._choose_in_first

    def _is_returning(self):
        return any(tier.returned is not None for tier in self._tiers.values())

    def _choose_nobody(self, excluded, key=None):
        return None

    def _choose_in_first(self, excluded, key=None):
        return self._first.choose(excluded, key) or self._choose_among_tiers(excluded, key)

    def _choose_among_tiers(self, excluded, key=None):
        """From the tier that is drawn. After a failure those of the same tier come first. Then the others, best first."""
        if excluded:
            begun = set(member.tier for member in excluded)
            order = sorted(self._order, key=lambda number: number not in begun)
        else:
            order = [_drawn(self._order, self.loads(), self._draw(key))] + self._order
        for number in order:
            member = number and self._tiers[number].policy.choose(excluded, key)
            if member:
                return member
        return None

    def loads(self):
        """How much of the new sessions each tier takes, in the order of tiers; the sum is 1, or 0 when nobody is there."""
        if self._shares is None:
            tiers = [self._tiers[number] for number in self._order]
            if self._spill:
                self._shares = [share / 100.0 for share in shares([(tier.up, tier.known) for tier in tiers], self._spill)]
            else:
                self._shares = [float(number == self.active) for number in self._order]
        return self._softened(self._shares) if self._is_returning() else self._shares

    def parts(self):
        """{tier: the part of the new sessions that it takes now}."""
        return dict(zip(self._order, self.loads()))

    def _softened(self, loads):
        """A tier that is back takes its load little by little; the rest stays on those that are worse."""
        now, rest = self._clock(), 0.0
        softened, tiers = [], [self._tiers[number] for number in self._order]
        for position, tier in enumerate(tiers):
            load = loads[position] + rest
            rest = 0.0
            part = self._part(tier, now)
            if part < 1 and any(worse.up for worse in tiers[position + 1:]):
                rest = load * (1 - part)
                load -= rest
            elif not tier.up:
                rest, load = load, 0.0
            softened.append(load)
        return softened

    def _part(self, tier, now):
        if tier.returned is None:
            return 1.0
        part = (now - tier.returned) / self._return
        if part >= 1:
            tier.returned = None
            self._find_way()
        return min(1.0, part)


class _Tier(object):
    """What is known of one tier. `was_lost`: it has lost everybody once."""

    __slots__ = ('policy', 'known', 'up', 'was_lost', 'returned')

    def __init__(self, policy):
        self.policy = policy
        self.known = 0
        self.up = 0
        self.was_lost = False
        self.returned = None        # when it came back, while it does not take all yet


def _drawn(numbers, loads, point):
    """One of `numbers`, each as often as its load says."""
    for number, load in zip(numbers, loads):
        point -= load
        if point < 0:
            return number
    return None


def shares(tiers, factor):
    """Per cent of the sessions for each tier, from [(up, known), ...], as Envoy's priority load does it.

    A tier's health is `factor` times the part of it that is up, 100 at most. Loads are healths, in order, until 100 is
    reached; all are scaled up where they do not reach it. Integers, so that it is the same on every Python.
    """
    healths = [min(100, int(100 * factor * up / float(known) + 1e-9)) if known else 0 for up, known in tiers]
    total = min(100, sum(healths))
    if not total:
        return [0] * len(tiers)
    left, loads = 100, []
    for health in healths:
        loads.append(min(left, (200 * health + total) // (2 * total)))
        left -= loads[-1]
    first = [position for position, health in enumerate(healths) if health][0]
    loads[first] += left
    return loads
