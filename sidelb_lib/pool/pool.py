"""The pool: which servers there are, how they do, and who of them takes the next session.

The pool is the only mutable state that sessions share. Nothing in here does I/O or yields to another greenlet, so each
method is one atomic step: two sessions never choose on the same stale count.
"""
from __future__ import absolute_import, division, print_function

from ..errors import ALL_TRIED, NOBODY_ELIGIBLE, NOBODY_KNOWN, NobodyReachable
from ..hub import never_waits
from .members import DOWN, DRAINING, STANDBY, UNCHECKED, UP, Address, Lease, Member, Tried
from .memory import Memory
from .merging import Group, merge_groups


class Pool(object):
    """All members, from every source.

    `policy` chooses among members (see `policies`). Of the settings `check_fall` results in a row turn an address down,
    `check_rise` turn it up, and `check` says whether there are any but those of clients. `clock` gives seconds.
    `observers` are called as `observer(event, subject)` with one of

    - `'added'`, Address: a new address; `'removed'`, Address: it has left every source;
    - `'failed'`, Address: an attempt on it failed (a good moment for a probe);
    - `'down'`, Address: it went down; `'up'`, Address: it came up;
    - `'demoted'`, Address: its check has found that it lost the role that is wanted;
    - `'filled'`, Pool: there are members again after there were none;
    - `'available'`, Pool: new sessions find a server again after there was none.

    An observer must neither block nor change the pool.
    """

    def __init__(self, policy, log, clock, settings):
        self.observers = []
        self.members = []            # known to some source, in stable order
        self.departing = []          # known to none any more, still with sessions
        self._policy = policy
        self._log = log
        self._clock = clock
        self._fall = settings.check_fall
        self._rise = settings.check_rise
        self._is_checked = settings.check.name != 'off'
        self._wants_role = bool(settings.check.role)
        self._addresses = {}         # (host, port) -> Address, of `members` alone
        self._sources = {}           # source -> its last groups
        self._memory = Memory(clock)
        self._in_last_resort = False
        self._available = False

    def __repr__(self):
        return '<Pool %r departing=%r>' % (self.members, self.departing)

    @property
    def healthy(self):
        """Is there a member that may get new sessions, and not for want of a better one?"""
        return any(member.eligible for member in self.members)

    @never_waits
    def addresses(self):
        """Every address that some source knows, in stable order."""
        return [address for member in self.members for address in member.addresses]

    # --- which members there are ------------------------------------------------------------------------------------

    @never_waits
    def update(self, source, groups):
        """Take the new answer of `source`: a list of merging.Group, each one member as that source sees it.

        Mark and sweep: addresses that stay keep their identity, health and sessions; those that no source has any more
        depart. One that returns within minutes is as it left.
        """
        groups = [Group(*group) for group in groups]
        if self._sources.get(source) == groups:
            return
        self._sources[source] = groups
        was_empty = not self.members
        others_are_up = any(address.state == UP for address in self._addresses.values())
        merged = merge_groups([group for answer in self._sources.values() for group in answer])
        known, added = self._addresses, []
        self._addresses = {}
        for group in merged:
            for endpoint in group.endpoints:
                address = known.pop(endpoint, None)
                if address is None:
                    address = self._returned(endpoint) or self._new_address(endpoint, others_are_up)
                    added.append(address)
                self._addresses[endpoint] = address
        self._depart(known.values())
        self.members = [self._member(group) for group in merged]
        became_available = self._tell_policy()
        for address in added:
            self._notify('added', address)
        for address in known.values():
            self._notify('removed', address)
        if was_empty and self.members:
            self._notify('filled', self)
        if became_available:
            self._notify('available', self)

    def _new_address(self, endpoint, others_are_up):
        address = Address(endpoint[0], endpoint[1], self._clock())
        if self._is_checked:
            address.state = UNCHECKED
            address.is_newcomer = others_are_up
        return address

    def _returned(self, endpoint):
        """The address that is departing, or has left a while ago, and is back in a source; or None."""
        for member in self.departing:
            for address in member.addresses:
                if address.endpoint == endpoint:
                    member.addresses.remove(address)
                    member.active -= address.active
                    self._forget_if_idle(member)
                    return address
        return self._memory.recall(endpoint)

    def _depart(self, addresses):
        """Move addresses that no source has any more out of their members, into departing ones, which are kept while
        they have sessions."""
        for address in addresses:
            left = address.member
            self._log.info('member_removed', '{address} of {member} has left', address=str(address), member=left.name)
            address.member = member = Member(left.name, [address])
            member.active = address.active
            member.departing = True
            if address.active:
                self.departing.append(member)
            elif address.state == DOWN:
                self._memory.keep(address)

    def _member(self, group):
        """The member for a merged group; an existing object is kept when nothing of it changes."""
        addresses = [self._addresses[endpoint] for endpoint in group.endpoints]
        name = group.name or str(addresses[0])
        former = addresses[0].member
        if former and not former.departing and former.name == name and former.addresses == addresses and (
                former.options == group.options):
            return former
        member = Member(name, addresses, group.order, group.options)
        member.active = sum(address.active for address in addresses)
        for address in addresses:
            address.member = member
            address.state = self._state_of(address)
        self._log.info('member_added', 'member {member}: {addresses}', member=name,
                       addresses=', '.join(map(str, addresses)))
        return member

    def _forget_if_idle(self, member):
        if not member.active and member in self.departing:
            self.departing.remove(member)

    # --- who takes the next session ---------------------------------------------------------------------------------

    @never_waits
    def take(self, tried=None, key=None):
        """Choose an address for a session and count the session on it at once. Returns a Lease.

        `tried` is what has failed this client before: `lease.tried` of the attempt that failed, or `Pool.tried(...)`.
        After a failure the next eligible address of the same member comes first, then another member, and when all that
        are eligible have been tried, any that are left. `key` is the client's IP, for policies that ask who it is.

        Raises NobodyReachable when all have been tried or there is nobody.
        """
        if not tried:
            member = self._policy.choose((), key)
            address = member and member.best_address((), self._in_last_resort)
        else:
            address = self._next_address(tried, key)
        if address is None:
            raise self._nobody(tried)
        lease = Lease(self, address, tried, self._clock())
        self._policy.recount(address.member)
        return lease

    def _next_address(self, tried, key):
        member = tried.last.member
        if not member.departing:
            sibling = member.best_address(tried, self._in_last_resort)
            if sibling:
                return sibling
        member = self._policy.choose(tried.exhausted, key)
        while member is not None:
            address = member.best_address(tried, self._in_last_resort)
            if address:
                return address
            tried.exhausted.add(member)
            member = self._policy.choose(tried.exhausted, key)
        return self._any_that_is_left(tried)

    def _any_that_is_left(self, tried):
        while tried.position < len(self.members):
            member = self.members[tried.position]
            address = self._takes_last_resort(member) and member.best_address(tried, True)
            if address:
                return address
            tried.position += 1
        return None

    def _takes_last_resort(self, member):
        """May it be tried when nobody is eligible? Not where a check is for a role, nor what a person has drained."""
        return not self._wants_role and not any(address.is_drained for address in member.addresses)

    def tried(self, *addresses):
        """What to hand to `take` that it must not choose these addresses."""
        return Tried(addresses)

    def _nobody(self, tried):
        if tried:
            text = 'every server has been tried'
            return NobodyReachable(ALL_TRIED, '%s: %s' % (text, tried.error) if tried.error else text)
        return NobodyReachable(NOBODY_ELIGIBLE if self.members else NOBODY_KNOWN)

    @never_waits
    def release(self, address):
        """A session on `address` has ended."""
        member = address.member
        address.active -= 1
        member.active -= 1
        if member.departing:
            self._forget_if_idle(member)
        else:
            self._policy.recount(member)

    def _tell_policy(self):
        """Give the policy the members that may be chosen; when there is none, all that may be as a last resort. Returns
        whether somebody may be chosen again."""
        anyone_up = any(address.state == UP for address in self._addresses.values())
        for address in self._addresses.values():
            address.eligible = address.state == UP or address.state == UNCHECKED and not self._wants_role and not (
                address.is_newcomer and anyone_up)
        eligible = [member for member in self.members if member.eligible]
        choosable = eligible or [member for member in self.members if self._takes_last_resort(member)]
        self._note_last_resort(bool(choosable) and not eligible, len(eligible))
        self._policy.update(choosable)
        was_available, self._available = self._available, bool(eligible)
        return self._available and not was_available

    def _note_last_resort(self, now, eligible):
        before, self._in_last_resort = self._in_last_resort, now
        if now and not before:
            self._log.warning('last_resort', 'no server is up: trying all {count} known ones', count=len(self.members))
        elif before and not now:
            self._log.info('last_resort_over', '{count} of {known} servers up', count=eligible, known=len(self.members))

    # --- how they do ------------------------------------------------------------------------------------------------

    @never_waits
    def report_success(self, address):
        """A client's connect to `address` succeeded, or a UDP server replied."""
        if self._knows(address):
            address.connects.succeeded(self._clock(), self._rise)
            self._settle(address)

    @never_waits
    def report_failure(self, address, error, began=None):
        """A client's connect to `address`, which began at `began` (None: now), has failed; `error` says how, in a few
        words. Faults of this host are not reported here."""
        if self._knows(address):
            self._note_error(address, error)
            address.connects.failed(self._clock() if began is None else began, self._fall)
            self._settle(address)
            self._notify('failed', address)

    @never_waits
    def report_result(self, address, result, began):
        """A probe of `address` that began at `began` has ended: `result` is a `checks.exchange.Result`, whose state is
        'down' when the server did not pass.

        One failure is enough for an address that nothing speaks for: that was never probed.
        """
        if not self._knows(address):
            return
        now = self._clock()
        is_first, address.last_probe = address.last_probe is None, now
        if result.state == DOWN:
            address.failed_probes += 1
            self._note_error(address, result.text)
            address.probes.failed(began, 1 if is_first else self._fall)
        else:
            address.found, address.role = result.state, result.role
            address.probes.succeeded(now, self._rise)
            if address.connects.is_down:           # it gets no clients that could show the contrary
                address.connects.succeeded(now, self._rise)
        self._settle(address)
        if result.state == DOWN:
            self._notify('failed', address)

    @never_waits
    def restore(self, address):
        """Give an address that clients found dead another chance; a single failure takes it down again."""
        if self._knows(address) and address.connects.is_down:
            address.connects.is_down = False
            address.connects.streak = self._fall - 1
            self._settle(address)

    def _note_error(self, address, error):
        address.failed += 1
        address.last_error = error
        address.last_error_at = self._clock()

    def _state_of(self, address):
        """A word of the table in `members`."""
        if address.is_drained or address.found == DRAINING or _weight_of(address.member) == 0:
            return DRAINING
        if address.connects.is_down or address.probes.is_down:
            return DOWN
        if not self._is_checked:
            return UP
        return address.found or UNCHECKED

    def _settle(self, address):
        """Draw the conclusions from what was reported: the one place where a state changes, is counted and logged."""
        address.streak = max(address.connects.streak, address.probes.streak)
        former, address.state = address.state, self._state_of(address)
        was_up, address.up = address.up, not (address.connects.is_down or address.probes.is_down)
        if address.state == former and address.up == was_up:
            return
        address.since = self._clock()
        address.is_newcomer = False
        if address.up != was_up:
            address.changes += 1
            self._log_turn(address)
        became_available = self._tell_policy()
        if address.up != was_up:
            self._notify('up' if address.up else 'down', address)
        if became_available:
            self._notify('available', self)
        if address.state == STANDBY and former == UP:
            self._notify('demoted', address)

    def _log_turn(self, address):
        if address.up:
            self._log.info('member_up', '{address} of {member} is up', address=str(address),
                           member=address.member.name)
        else:
            self._log.warning('member_down', '{address} of {member} is down: {error}', address=str(address),
                              member=address.member.name, error=address.last_error)

    def _knows(self, address):
        """False for an address that has left while it was being probed or connected to."""
        return self._addresses.get(address.endpoint) is address

    def _notify(self, event, subject):
        for observer in self.observers:
            observer(event, subject)


def _weight_of(member):
    return member.options.weight if member.options else None
