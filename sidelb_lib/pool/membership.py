"""Which members there are: what the sources say, merged, and applied member by member."""
from __future__ import absolute_import, division, print_function

from collections import OrderedDict

from ..hub import never_waits
from ..policies.places import Places
from .members import DOWN, UP, Address, Member
from .memory import Memory
from .merging import SLICE, Group, merge_groups, tier_of


class Membership(object):
    """The part of the pool that follows the sources. The others, `Health` and `Pool`, hear of each change by
    `_formed(member, formers)`, `_review(member)`, `_shrunk(member)`, `_dropped(member)`, `_departed(address)`,
    `_note_health(before)` and `_tell()`, and have `healthy` and `tier`.
    """

    def __init__(self, log, clock, pause):
        self.observers = []
        self._places = Places()
        self.members = self._places.members      # known to some source, in stable order
        self._log = log
        self._clock = clock
        self._pause = pause
        self._addresses = {}         # (host, port) -> Address, of `members` alone
        self._sources = {}           # source -> its last groups
        self._leaving = OrderedDict()   # endpoint -> departing Member
        self._memory = Memory(clock)
        self._drained = {}           # name or endpoint -> the name under which a person has drained it
        self._weights = {}           # name -> (weight that a person wants, the one on paper that it replaces)
        self._news = 0               # of sources, counted...
        self._taken_in = 0           # ...and how many of them are in force
        self._updating = False
        self._expected = frozenset()    # tiers of which some source has not answered once
        self._has_changed = False    # has the update under way formed a member?

    @property
    def departing(self):
        """Members known to no source any more, still with sessions."""
        return list(self._leaving.values())

    @never_waits
    def addresses(self):
        """Every address that some source knows, in stable order."""
        return [address for member in self.members for address in member.addresses]

    @property
    def awaits_answers(self):
        """Should a client wait for an answer of DNS: is nobody known, or may a better tier than what there is be about to
        appear?"""
        if not self.members:
            return True
        return bool(self._expected) and (self.tier is None or min(self._expected) < self.tier)

    @property
    def expected(self):
        return self._expected

    @never_waits
    def expect(self, tiers):
        """`tiers` are those of the sources that have not answered once: clients wait for one that is better than what there
        is. The caller says when that ends."""
        waited = self.awaits_answers
        self._expected = frozenset(tiers)
        if waited and not self.awaits_answers:
            self._notify('filled', self)
        self._tell()

    def set_by_people(self):
        """(names of drained members, {name: (weight that is wanted, the written one that it replaces)})."""
        return [name for name in self._drained if not isinstance(name, tuple)], dict(self._weights)

    def take_up(self, drained, weights):
        """What `set_by_people` has told before a restart; before there are members."""
        self._drained = dict((name, name) for name in drained)
        self._weights = dict(weights)

    def enable_absent(self, name):
        """A person has no drain wait any more for the server that was drained by this name. Returns whether one did: False
        where it is here, by whatever name."""
        kept = [key for key, drained_as in self._drained.items() if drained_as == name]
        if not kept or any(key in self._addresses for key in kept):
            return False
        for key in kept:
            del self._drained[key]
            if key in self._leaving:
                self._leaving[key].addresses[0].is_drained = False
        return True

    @never_waits
    def want(self):
        """A client is about to wait for an answer of DNS: sources that have nobody to offer look up at once."""
        self._notify('wanted', self)

    def update(self, source, groups):
        """Take the new answer of `source`: a list of merging.Group, each one member as that source sees it.

        Addresses that stay keep their identity, health and sessions; those that no source has any more depart. One that
        returns within minutes is as it left. What changes is changed one member after another, with pauses, and what
        comes meanwhile from another source is taken in by the update that is under way. If that is ended in a pause, as a
        reload does to a source that is named no more, the next one takes in all that is left, whatever its own answer.
        """
        groups = [Group(*group) for group in groups]
        if self._sources.get(source) != groups:
            self._sources[source] = groups
            self._news += 1
        if self._updating or self._taken_in == self._news:
            return
        self._updating = True
        try:
            while self._taken_in != self._news:
                news = self._news
                self._apply(merge_groups([group for answer in self._sources.values() for group in answer], self._pause))
                self._taken_in = news
        finally:
            self._updating = False
        self._tell()

    def _apply(self, merged):
        """Make the members those of the merged groups."""
        waited, was_healthy = self.awaits_answers, self.healthy
        others_are_up = any(address.state == UP for address in self._addresses.values())
        self._others_served = others_are_up and not self._expected
        wanted = set()
        self._has_changed = False
        # Better tiers first: where two change places, the better one would be lost for a moment, and get its sessions back
        # as one that had been down.
        for group in self._in_slices(sorted(merged, key=lambda group: tier_of(group.options))):
            wanted.update(group.endpoints)
            self._take_in(group, others_are_up)
        left = [address for endpoint, address in self._addresses.items() if endpoint not in wanted]
        for address in self._in_slices(left):
            self._depart(address)
        if waited and not self.awaits_answers:
            self._notify('filled', self)
        self._note_health(was_healthy)
        if left or self._has_changed:
            self._notify('changed', self)

    def _in_slices(self, items):
        for number, item in enumerate(items):
            if self._pause and number % SLICE == SLICE - 1:
                self._pause()
            yield item

    def _take_in(self, group, others_are_up):
        """Have a member for a merged group; an existing one is kept when nothing of it changes."""
        addresses, added = [], []
        for endpoint in group.endpoints:
            address = self._addresses.get(endpoint)
            if address is None:
                address = self._returned(endpoint) or self._new_address(endpoint, others_are_up)
                self._addresses[endpoint] = address
                added.append(address)
            addresses.append(address)
        name, member = group.name or str(addresses[0]), addresses[0].member
        is_other = bool(added) or member.name != name or member.addresses != addresses
        if is_other or member.options != group.options:
            # Of other options it is a new member, too, which comes before the former one goes: a tier that has nobody
            # else would be lost for that moment.
            self._form(Member(name, addresses, group.order, group.options))
            self._has_changed = self._has_changed or is_other
            if member and member.options != group.options:       # a larger limit, a weight that is 0 no more
                self._notify('room', addresses[0].member)
        for address in added:
            self._notify('added', address)

    def _new_address(self, endpoint, others_are_up):
        address = Address(endpoint[0], endpoint[1], self._clock())
        address.is_newcomer = others_are_up
        address.is_drained = endpoint in self._drained
        return address

    def _returned(self, endpoint):
        """The address that is departing, or has left a while ago, and is back in a source; or None."""
        member = self._leaving.pop(endpoint, None)
        return member.addresses[0] if member else self._memory.recall(endpoint)

    def _form(self, member):
        """A new member, out of new addresses and of those of others."""
        formers = []
        for address in member.addresses:
            former, address.member = address.member, member
            if former and not former.departing and former not in formers:
                formers.append(former)
        member.active = sum(address.active for address in member.addresses)
        if member.name in self._drained:
            for address in member.addresses:
                address.is_drained = True
                self._drained[address.endpoint] = self._drained[member.name]
        self._take_wanted_weight(member)
        turns = [former.turn for former in formers if former.turn is not None and former.tier == member.tier]
        member.turn = min(turns) if turns else None
        self._log_formed(member, [former.name for former in formers])
        self._places.add(member)
        self._formed(member, formers)
        for former in formers:
            self._shrink(former)

    def _take_wanted_weight(self, member):
        """A weight that was written since is newer than what a person had wanted."""
        wanted, replaced = self._weights.get(member.name, (None, None))
        if replaced is not None and replaced != member.weight_on_paper:
            del self._weights[member.name]
            wanted = None
        member.wanted_weight = wanted
        member.weight = member.full_weight

    def _log_formed(self, member, formers):
        texts = ', '.join(map(str, member.addresses))
        if formers:
            self._log.debug('member_changed', 'member {member}: {addresses} (before: {former})', member=member.name,
                            addresses=texts, former=', '.join(formers))
        else:
            self._log.debug('member_added', 'member {member}: {addresses}', member=member.name, addresses=texts)

    def _shrink(self, member):
        """Addresses of the member are another's now; without any it is none any more."""
        left = [address for address in member.addresses if address.member is member]
        if left:
            member.addresses = left
            member.active = sum(address.active for address in left)
            self._shrunk(member)
        else:
            self._dropped(member)
            self._places.remove(member)

    def _depart(self, address):
        """Move an address that no source has any more out of its member into a departing one, which is kept while it has
        sessions."""
        left = address.member
        del self._addresses[address.endpoint]
        address.member = member = Member(left.name, [address], left.order)
        member.active = address.active
        member.departing = True
        member.tier = left.tier
        self._log.debug('member_removed', '{address} of {member} has left', address=str(address), member=left.name)
        self._shrink(left)
        self._departed(address)
        if address.active:
            self._leaving[address.endpoint] = member
        else:
            self._remember(address)
        self._notify('removed', address)

    def _remember(self, address):
        if address.state == DOWN:
            self._memory.keep(address)

    def _knows(self, address):
        """False for an address that has left while it was being probed or connected to."""
        return self._addresses.get(address.endpoint) is address

    def _notify(self, event, subject):
        for observer in self.observers:
            observer(event, subject)
