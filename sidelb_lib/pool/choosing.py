"""Who may be taken: what the policy is told of members, and what comes when it has nobody left."""
from __future__ import absolute_import, division, print_function

import itertools
import socket
from operator import attrgetter

from .members import DRAINING, STANDBY, UNCHECKED

#: How an address is taken, the larger the better; a member as its best address. The policy has those of the best
#: standing that there is.
TAKEN, SECOND, NEWCOMER, WEIGHTLESS, LAST_RESORT, NEVER = STANDINGS = 5, 4, 3, 2, 1, 0

#: The role that a check asks for -> the one that is taken while nobody has it.
SECOND_BEST = {'prefer-replica': 'primary'}

#: The setting `prefer`: of what family the addresses are that a server's sessions go to while they may.
FAMILIES = {'ipv4': socket.AF_INET, 'ipv6': socket.AF_INET6, 'any': None}


def standing_of(address, weightless, role):
    """How an address is taken. `weightless`: its member has weight 0; `role`: what a check asks for, or None."""
    if address.is_drained or address.found in (DRAINING, STANDBY):
        return NEVER
    if not address.up or weightless:
        return NEVER if role else WEIGHTLESS if address.up else LAST_RESORT
    if address.state == UNCHECKED:
        return NEVER if role else NEWCOMER if address.is_newcomer else TAKEN
    return SECOND if role and address.role == SECOND_BEST.get(role) else TAKEN


def _is_capacity(address):
    """Does it count when its tier is asked how much of it is up? A newcomer does when it has been checked."""
    return address.state not in (DRAINING, STANDBY) and not (address.state == UNCHECKED and address.is_newcomer)


class Choosing(object):
    """Keeps the policy's members those of the best standing. A change costs the same however many there are, but for the
    moment when that standing changes."""

    def __init__(self, policy, log, role, prefer='ipv4'):
        self.level = NEVER           # the best standing that there is
        self._policy = policy
        self._log = log
        self._role = role
        self._family = FAMILIES[prefer]
        self._members = dict((standing, set()) for standing in STANDINGS)
        self._told = set()           # the members that the policy has
        self._is_last_resort = False     # what the log says
        self._capacity = set()       # those that count as capacity of their tier
        self._know = getattr(policy, 'know', None)

    def review(self, member):
        """Something of a member or its addresses has changed, or it is new."""
        weightless = member.full_weight == 0
        standings = [standing_of(address, weightless, self._role) for address in member.addresses]
        best = max(standings)
        taken = [address for address, standing in zip(member.addresses, standings) if standing == best > NEVER]
        preferred = [address for address in taken if address.family == self._family]
        member.usable = preferred or taken
        member.spare = [address for address in taken if address.family != self._family] if preferred else ()
        member.rest = [address for address, standing in zip(member.addresses, standings) if NEVER < standing < best]
        if self._know:
            self._count(member)
        if best != member.standing:
            self._move(member, member.standing, best)

    def drop(self, member):
        """The member is none any more."""
        if self._know:
            self._count(member, False)
        if member.standing is not None:
            self._move(member, member.standing, None)

    def reweigh(self, member, weight):
        former, member.weight = member.weight, weight
        if former != weight and member in self._told:
            self._policy.reweigh(member, former)

    def _count(self, member, is_member=True):
        counts = is_member and any(_is_capacity(address) for address in member.addresses)
        if counts != (member in self._capacity):
            (self._capacity.add if counts else self._capacity.remove)(member)
            self._know(member, 1 if counts else -1)

    def _move(self, member, former, standing):
        if former is not None:
            self._members[former].remove(member)
        if standing is not None:
            self._members[standing].add(member)
        member.standing = standing
        level = [level for level in STANDINGS if self._members[level] or not level][0]
        if level == self.level:
            changed = (member,)
        else:
            changed = sorted(self._members[level] | self._told)
            self.level = level
        wanted = self._members[level] if level else ()
        for member in changed:               # first those that come: the policy begins anew when it has nobody
            if member in wanted and member not in self._told:
                self._told.add(member)
                self._policy.add(member)
        for member in changed:
            if member not in wanted and member in self._told:
                self._told.remove(member)
                self._policy.remove(member)

    def counts(self):
        """(how many members get new sessions, or come next, how many there are)."""
        up = len(self._members[TAKEN]) + len(self._members[SECOND])
        return up, sum(len(members) for members in self._members.values())

    def tell_level(self):
        """Log that nobody is up, or somebody again, unless it has been told."""
        if (self.level in (WEIGHTLESS, LAST_RESORT)) == self._is_last_resort:
            return
        self._is_last_resort = not self._is_last_resort
        if self._is_last_resort:
            self._log.warning('last_resort', 'no server is up: trying {count} server(s) all the same',
                              count=len(self._members[WEIGHTLESS]) + len(self._members[LAST_RESORT]))
        else:
            up, known = self.counts()
            self._log.info('last_resort_over', '{count} of {known} servers up', count=up, known=known)

    # --- what is left when the policy's members have been tried -----------------------------------------------------

    def leftover(self, tried):
        """An address that is taken when nothing better is left and that is not in `tried`, or None."""
        if tried.leftovers is None:
            tried.leftovers = self._leftovers()
        for address in tried.leftovers:
            member = address.member
            if address not in tried and not member.departing and not member.is_full:
                return address
        return None

    def _leftovers(self):
        """The better tiers first, of each standing."""
        tier = attrgetter('tier')
        for member in sorted(self._told, key=tier):
            for address in member.rest:
                yield address
        for standing in (SECOND, NEWCOMER, WEIGHTLESS, LAST_RESORT):
            for member in sorted(self._members[standing], key=tier) if standing < self.level else ():
                for address in itertools.chain(member.usable, member.spare, member.rest):
                    yield address

    def lacks_room(self):
        """Is there somebody who would be taken, but is full?"""
        return any(member.is_full for member in self._told)
