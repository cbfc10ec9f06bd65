"""The pool: which servers there are, how they do, and who of them takes the next session.

The pool is the only mutable state that sessions share. Nothing in here does I/O or yields to another greenlet, so each
method is one atomic step: two sessions never choose on the same stale count.
"""
from __future__ import absolute_import, division, print_function

from ..errors import ALL_TRIED, NOBODY_KNOWN, NobodyReachable
from .members import Address, Lease, Member, Tried
from .merging import Group, merge_groups


class Pool(object):
    """All members, from every source.

    `policy` chooses among members (see `policies`). `fall` results in a row turn an address down, `rise` turn it up.
    `clock` gives seconds. `observers` are called as `observer(event, subject)` with one of

    - `'added'`, Address: a new address; `'removed'`, Address: it has left every source;
    - `'failed'`, Address: an attempt on it failed (a good moment for a probe);
    - `'down'`, Address: it went down; `'up'`, Address: it came up;
    - `'filled'`, Pool: there are members again after there were none.

    An observer must neither block nor change the pool.
    """

    def __init__(self, policy, log, clock, fall=2, rise=2):
        self.observers = []
        self.members = []            # known to some source, in stable order
        self.departing = []          # known to none any more, still with sessions
        self._policy = policy
        self._log = log
        self._clock = clock
        self._fall = fall
        self._rise = rise
        self._addresses = {}         # (host, port) -> Address, of `members` alone
        self._sources = {}           # source -> its last groups
        self._in_last_resort = False

    def __repr__(self):
        return '<Pool %r departing=%r>' % (self.members, self.departing)

    @property
    def healthy(self):
        """Is at least one member up?"""
        return any(member.up for member in self.members)

    def addresses(self):
        """Every address that some source knows, in stable order."""
        return [address for member in self.members for address in member.addresses]

    # --- which members there are ------------------------------------------------------------------------------------

    def update(self, source, groups):
        """Take the new answer of `source`: a list of Groups, each one member as that source sees it.

        Mark and sweep: addresses that stay keep their identity, health and sessions; those that no source has any more
        depart.
        """
        groups = [Group(*group) for group in groups]
        if self._sources.get(source) == groups:
            return
        self._sources[source] = groups
        was_empty = not self.members
        merged = merge_groups([group for answer in self._sources.values() for group in answer])
        now = self._clock()
        known, added = self._addresses, []
        self._addresses = {}
        for group in merged:
            for endpoint in group.endpoints:
                address = known.pop(endpoint, None)
                if address is None:
                    address = self._returned(endpoint) or Address(endpoint[0], endpoint[1], now)
                    added.append(address)
                self._addresses[endpoint] = address
        self._depart(known.values())
        self.members = [self._member(group) for group in merged]
        self._tell_policy()
        for address in added:
            self._notify('added', address)
        for address in known.values():
            self._notify('removed', address)
        if was_empty and self.members:
            self._notify('filled', self)

    def _returned(self, endpoint):
        """The address that was departing and is back in a source, or None."""
        for member in self.departing:
            for address in member.addresses:
                if (address.host, address.port) == endpoint:
                    member.addresses.remove(address)
                    member.active -= address.active
                    self._forget_if_idle(member)
                    return address
        return None

    def _depart(self, addresses):
        """Move addresses that no source has any more out of their members, into departing ones while they have
        sessions."""
        for address in addresses:
            left = address.member
            self._log.info('member_removed', '{address} of {member} has left', address=str(address), member=left.name)
            if address.active:
                member = Member(left.name, [address])
                member.active = address.active
                member.departing = True
                address.member = member
                self.departing.append(member)

    def _member(self, group):
        """The member for a merged group; an existing object is kept when nothing of it changes."""
        addresses = [self._addresses[endpoint] for endpoint in group.endpoints]
        name = group.name or str(addresses[0])
        former = addresses[0].member
        if former and not former.departing and former.name == name and former.addresses == addresses:
            return former
        member = Member(name, addresses, group.order)
        member.active = sum(address.active for address in addresses)
        for address in addresses:
            address.member = member
        self._log.info('member_added', 'member {member}: {addresses}', member=name,
                       addresses=', '.join(map(str, addresses)))
        return member

    def _forget_if_idle(self, member):
        if not member.active and member in self.departing:
            self.departing.remove(member)

    # --- who takes the next session ---------------------------------------------------------------------------------

    def take(self, tried=None, key=None):
        """Choose an address for a session and count the session on it at once. Returns a Lease.

        `tried` is what has failed this client before: `lease.tried` of the attempt that failed, or `Pool.tried(...)`.
        After a failure the next address of the same member that is up comes first, then another member, and when
        all that are up have been tried, any that are left. `key` is the client's IP, for policies that ask who it is.

        Raises NobodyReachable when all have been tried or there is nobody.
        """
        if tried:
            address = self._next_address(tried, key)
        else:
            member = self._policy.choose((), key)
            address = member.best_address() if member else None
        if address is None:
            raise self._nobody(tried)
        lease = Lease(self, address, tried, self._clock())
        self._policy.recount(address.member)
        return lease

    def tried(self, *addresses):
        """What to hand to `take` that it must not choose these addresses."""
        return Tried(addresses)

    def _nobody(self, tried):
        if not tried:
            return NobodyReachable(NOBODY_KNOWN)
        text = 'every server has been tried'
        return NobodyReachable(ALL_TRIED, '%s: %s' % (text, tried.error) if tried.error else text)

    def _next_address(self, tried, key):
        sibling = tried.addresses[-1].member.best_address(tried)
        if sibling and sibling.up and self._knows(sibling):
            return sibling
        # Of those that the policy knows, only a member that was tried can have nothing left to try.
        exhausted = set(address.member for address in tried.addresses if not any(
            other not in tried and (other.up or self._in_last_resort) for other in address.member.addresses))
        member = self._policy.choose(exhausted, key)
        if member:
            return member.best_address(tried)
        for member in self.members:
            address = member.best_address(tried)
            if address:
                return address
        return None

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
        """Give the policy the members that are up; when there is none, all of them as a last resort."""
        eligible = [member for member in self.members if member.up]
        last_resort = not eligible and bool(self.members)
        if last_resort and not self._in_last_resort:
            self._log.warning('last_resort', 'no server is up: trying all {count} known ones', count=len(self.members))
        elif self._in_last_resort and not last_resort:
            self._log.info('last_resort_over', '{count} of {known} servers up', count=len(eligible),
                           known=len(self.members))
        self._in_last_resort = last_resort
        self._policy.update(eligible or self.members)

    # --- how they do ------------------------------------------------------------------------------------------------

    def report_success(self, address):
        """A connect or a probe of `address` succeeded."""
        if not self._knows(address):
            return
        if address.up:
            address.streak = 0
        else:
            address.streak += 1
            if address.streak >= self._rise:
                self._turn(address, True)

    def report_failure(self, address, error, by_probe=False):
        """A connect or a probe of `address` failed; `error` says how, in a few words. Local faults are not reported
        here."""
        if not self._knows(address):
            return
        address.failed += 1
        address.failed_probes += by_probe
        address.last_error = error
        if address.up:
            address.streak += 1
            if address.streak >= self._fall:
                self._turn(address, False)
        else:
            address.streak = 0
        self._notify('failed', address)

    def report_result(self, address, result, began):
        """A probe of `address` that began at `began` has ended: `result` is a `checks.exchange.Result`, whose state is
        'down' when the server did not pass."""
        never_probed = address.last_probe is None
        address.last_probe = self._clock()
        if result.state != 'down':
            self.report_success(address)
        elif never_probed and address.up and self._knows(address):
            address.streak = self._fall - 1       # nothing speaks for it: one failure is enough
            self.report_failure(address, result.text, by_probe=True)
        else:
            self.report_failure(address, result.text, by_probe=True)

    def restore(self, address):
        """Give an address that is down another chance; a single failure takes it down again."""
        if self._knows(address) and not address.up:
            self._turn(address, True)
            address.streak = self._fall - 1

    def _turn(self, address, up):
        """Change the state of an address: the one place where it happens, is counted and logged."""
        address.up = up
        address.streak = 0
        address.since = self._clock()
        address.changes += 1
        if up:
            self._log.info('member_up', '{address} of {member} is up', address=str(address),
                           member=address.member.name)
        else:
            self._log.warning('member_down', '{address} of {member} is down: {error}', address=str(address),
                              member=address.member.name, error=address.last_error)
        self._tell_policy()
        self._notify('up' if up else 'down', address)

    def _knows(self, address):
        """False for an address that has left while it was being probed or connected to."""
        return self._addresses.get((address.host, address.port)) is address

    def _notify(self, event, subject):
        for observer in self.observers:
            observer(event, subject)
