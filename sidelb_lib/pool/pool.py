"""The pool: which servers there are, how they do, and who of them takes the next session.

The pool is the only mutable state that sessions share. Nothing in here does I/O or, but for `update` between its slices,
yields to another greenlet, so each method is one atomic step: two sessions never choose on the same stale count.
"""
from __future__ import absolute_import, division, print_function

from ..errors import ALL_FULL, ALL_TRIED, NOBODY_ELIGIBLE, NOBODY_KNOWN, NobodyReachable
from ..hub import never_waits
from .choosing import LAST_RESORT, Choosing
from .flapping import damped, note_turn
from .members import DOWN, DRAINING, STANDBY, UNCHECKED, UP, Lease, Tried, Verdict
from .membership import Membership
from .roles import Roles
from .shares import excesses
from .slow_start import SlowStart


class Pool(Membership):
    """All members, from every source.

    `policy` chooses among members (see `policies`). Of the settings `check_fall` results in a row turn an address down,
    `check_rise` turn it up, and `check` says whether there are any but those of clients. `clock` gives seconds.
    `observers` are called as `observer(event, subject)` with one of

    - `'added'`, Address: a new address; `'removed'`, Address: it has left every source;
    - `'failed'`, Address: an attempt on it failed (a good moment for a probe);
    - `'down'`, Address: it went down; `'up'`, Address: it came up;
    - `'role'`, Address: it says that it has another role, so others may have changed theirs as well;
    - `'demoted'`, Address: its check has found that it lost the role that is wanted;
    - `'wanted'`, Pool: a session found nobody known or eligible, or waits for an answer of DNS;
    - `'filled'`, Pool: clients need not wait for an answer of DNS any more, see `awaits_answers`;
    - `'changed'`, Pool: other members than before, or other addresses of them;
    - `'available'`, Pool: new sessions find a server again after there was none;
    - `'room'`, Member: it takes new sessions and did not before, for it was full (see `hear`), unchecked or drained.

    An observer must neither block nor change the pool. `pause()` is called between the slices of an update: four thousand
    servers take a while.
    """

    def __init__(self, policy, log, clock, settings, pause=None):
        Membership.__init__(self, log, clock, pause)
        self._policy = policy
        self._read(settings)
        self._roles = self._make_roles(settings)
        self._choosing = Choosing(policy, log, self._wants_role, settings.prefer)
        self._slow_start = self._make_slow_start(settings)

    def _read(self, settings):
        self._fall = settings.check_fall
        self._rise = settings.check_rise
        self._check = settings.check
        self._is_checked = settings.check.name != 'off'
        self._wants_role = bool(settings.check.role)

    @never_waits
    def change(self, settings, policy=None):
        """Other settings from now on. Another `policy`, which knows nobody yet, has to be there for each change of what it
        or the choosing is made of. Verdicts stay, but those of probes where there are none any more, and roles that
        another kind of check has found."""
        former, was_healthy = self._check, self.healthy
        self._read(settings)
        if self._check != former:
            self._roles = self._make_roles(settings)
        for address in self.addresses():
            if not self._is_checked:
                address.probes = Verdict()
            if (former.role or self._wants_role) and self._check != former:
                address.found = address.role = None
        if policy is not None:
            self._policy = policy
            self._choosing = Choosing(policy, self._log, self._wants_role, settings.prefer)
            self._slow_start = self._make_slow_start(settings)
            for member in sorted(self.members, key=lambda member: -member.standing):     # so that none is a last resort
                member.standing = None
                member.weight = member.full_weight
                self._review(member)
        for address in self.addresses():
            self._settle(address)
        self._note_health(was_healthy)

    def _make_roles(self, settings):
        return Roles(settings, self._log, self._settle, self._notify) if self._wants_role else None

    def _make_slow_start(self, settings):
        return SlowStart(settings.slow_start, self._clock, self._choosing.reweigh) if settings.slow_start else None

    def __repr__(self):
        return '<Pool %r departing=%r>' % (self.members, self.departing)

    @property
    def healthy(self):
        """Is there a member that may get new sessions, and not for want of a better one?"""
        return self._choosing.level > LAST_RESORT

    @never_waits
    def is_up(self, endpoint):
        """Is it an address of some source, which nothing holds down?"""
        address = self._addresses.get(endpoint)
        return address is not None and address.up

    @property
    def needs_role(self):
        """Is there nobody that has the role which the check asks for?"""
        return self._wants_role and not self.healthy

    @property
    def tier(self):
        """The tier that new sessions go to first; None while there is nobody."""
        return getattr(self._policy, 'active', None)

    @property
    def disputes(self):
        """How often several servers began to say that they are the primary."""
        return self._roles.disputes if self._roles else 0

    # --- what changes of a member -----------------------------------------------------------------------------------

    def _review(self, member):
        """Draw the conclusions from what has changed of a member or its addresses."""
        for address in member.addresses:
            address.state = self._state_of(address)
        self._choosing.review(member)

    def _formed(self, member, formers):
        if self._slow_start:
            self._slow_start.inherit(member, formers)
        self._review(member)
        if self._slow_start and not formers and self._others_served:
            self._slow_start.begin(member)

    def _shrunk(self, member):
        self._review(member)
        self._policy.recount(member)

    def _dropped(self, member):
        self._choosing.drop(member)

    def _departed(self, address):
        if self._roles:
            self._roles.departed(address, self._clock())

    def _note_health(self, was_healthy):
        if self.healthy and not was_healthy:
            self._notify('available', self)

    def tick(self):
        """To be called once a second where `slow_start` is set."""
        if self._slow_start:
            self._slow_start.tick()

    def drain(self, member, is_drained=True):
        """A person wants that a member takes no new sessions; its sessions stay. Or the contrary. It is kept under the
        member's name and each of its endpoints, whatever DNS says later."""
        kept = set([member.name]).union(address.endpoint for address in member.addresses)
        self._drained = self._drained | kept if is_drained else self._drained - kept
        for address in member.addresses:
            address.is_drained = is_drained
            self._settle(address)

    @never_waits
    def weigh(self, member, weight):
        """A person wants another weight for a member, 0 to 256, or None: what is written. It is kept under the member's name
        until another one is written."""
        self._weights.pop(member.name, None)
        if weight is not None:
            self._weights[member.name] = weight, member.written_weight
        member.wanted_weight = weight
        if member.full_weight:                   # one of 0 is taken out first, as what it was
            self._reweigh(member)
        for address in member.addresses:
            self._settle(address)
        self._reweigh(member)

    def _reweigh(self, member):
        self._choosing.reweigh(member, member.full_weight)
        self.tick()                              # where it is rising it goes on

    def excesses(self, spills=False):
        """{member: how many sessions it has above its share}. A worse tier that takes nothing now ought to have none, unless
        tiers spill over: then each is looked at by itself. Sessions of those who take nothing at all stay where they are."""
        taken = [member for member in self.members if member.standing == self._choosing.level and self.healthy]
        if not spills:
            return excesses(taken, lambda member: member.tier == self.tier)
        found = {}
        for tier in set(member.tier for member in taken):
            found.update(excesses([member for member in taken if member.tier == tier], lambda member: True))
        return found

    def hear(self, event, subject):
        """The policy's news: 'room', Member: it was full, and is not any more; 'tier', number: the first one that has
        somebody, or None."""
        if event == 'tier':
            if subject is not None:
                self._log_tier(subject)
        else:
            self._notify(event, subject)

    def _log_tier(self, tier):
        known = [member for member in self.members if member.tier == tier]
        told = dict(tier=tier, up=sum(member.up for member in known), known=len(known))
        if any(member.tier < tier for member in self.members):
            self._log.warning('tier_changed', 'new sessions go to tier {tier}: {up} of {known} servers up', **told)
        else:
            self._log.info('tier_changed', 'new sessions go to tier {tier}: {up} of {known} servers up', **told)

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
            address = member and member.best_address()
        else:
            address = self._next_address(tried, key)
        if address is None:
            raise self._nobody(tried)
        lease = Lease(self, address, tried, self._clock())
        self._policy.recount(address.member)
        return lease

    def _next_address(self, tried, key):
        member = tried.last.member
        address = None if member.departing else member.best_address(tried)
        if address and member.standing == self._choosing.level:
            return address
        member = self._policy.choose(tried.exhausted, key)
        while member is not None:
            address = member.best_address(tried)
            if address:
                return address
            tried.exhausted.add(member)          # its addresses have changed meanwhile
            member = self._policy.choose(tried.exhausted, key)
        return self._choosing.leftover(tried)

    def tried(self, *addresses):
        """What to hand to `take` that it must not choose these addresses."""
        return Tried(addresses)

    def _nobody(self, tried):
        if tried:
            text = 'every server has been tried'
            return NobodyReachable(ALL_TRIED, '%s: %s' % (text, tried.error) if tried.error else text)
        self._notify('wanted', self)
        if not self.members:
            return NobodyReachable(NOBODY_KNOWN)
        return NobodyReachable(ALL_FULL if self._choosing.lacks_room() else NOBODY_ELIGIBLE)

    @never_waits
    def release(self, address):
        """A session on `address` has ended."""
        member = address.member
        address.active -= 1
        member.active -= 1
        if not member.departing:
            self._policy.recount(member)
        elif not member.active:
            self._leaving.pop(address.endpoint, None)
            self._remember(address)

    # --- how they do ------------------------------------------------------------------------------------------------

    @never_waits
    def report_success(self, address):
        """A client's connect to `address` succeeded, or a UDP server replied."""
        connects = address.connects
        if not (connects.is_down or connects.streak):        # as nearly always: nothing can change
            connects.last_success = self._clock()
        elif self._knows(address):
            connects.succeeded(self._clock(), damped(self._rise, address))
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
            rise = damped(self._rise, address)
            address.probes.succeeded(now, rise)
            if address.connects.is_down:           # it gets no clients that could show the contrary
                address.connects.succeeded(now, rise)
            address.found = result.state
            if self._roles:
                self._roles.told(address, result, now, is_first)
        self._settle(address)
        if self._roles:
            self._roles.settle(address, now)
        if result.state == DOWN:
            self._notify('failed', address)

    @never_waits
    def report_unknown(self, address):
        """A probe of `address` could not tell anything, for the check is misconfigured: a role that it told is forgotten
        after three intervals."""
        if self._roles and self._knows(address) and self._roles.forget(address, self._clock()):
            self._settle(address)

    @never_waits
    def restore(self, address):
        """Give an address that clients found dead another chance; a single failure takes it down again."""
        if self._knows(address) and address.connects.is_down:
            address.connects.is_down = False
            address.connects.streak = self._fall - 1
            self._settle(address)

    @never_waits
    def report_early_end(self, address):
        """A session of `address` was ended by the server at once and without a byte. Returns whether that took it down."""
        if not self._knows(address):
            return False
        self._note_error(address, 'ends sessions at once')
        address.early = address.early or Verdict()
        turned = address.early.failed(self._clock(), self._fall)
        self._settle(address)
        return turned

    @never_waits
    def try_out(self, address):
        """A Lease on an address that nothing but early ends holds down, so that one session shows how it does now; or None,
        also while a better tier serves or the member is full."""
        member = address.member
        if not self._knows(address) or not address.ends_early or self._state_but_for_early_ends(address) != UP:
            return None
        if self.tier is not None and member.tier > self.tier or member.limit is not None and member.active >= member.limit:
            return None
        lease = Lease(self, address, None, self._clock())
        self._policy.recount(member)
        return lease

    def _state_but_for_early_ends(self, address):
        early, address.early = address.early, None
        try:
            return self._state_of(address)
        finally:
            address.early = early

    @never_waits
    def report_byte(self, address):
        """A session of `address` has got a byte: nothing is wrong with it in this way."""
        address.early = None
        self._settle(address)

    @never_waits
    def forgive_early_ends(self, address):
        """Another chance, which a single early end ends."""
        if address.early is not None and address.early.is_down:
            address.early.is_down, address.early.streak = False, self._fall - 1
            if self._knows(address):
                self._settle(address)

    def _note_error(self, address, error):
        address.failed += 1
        address.last_error = error
        address.last_error_at = self._clock()

    def _state_of(self, address):
        """A word of the table in `members`."""
        if address.is_drained or address.found == DRAINING or address.member.full_weight == 0:
            return DRAINING
        if address.is_held_down:
            return DOWN
        if not self._is_checked:
            return UP
        return address.found or UNCHECKED

    def _settle(self, address):
        """Draw the conclusions from what was reported: the one place where a state changes, is counted and logged."""
        address.streak = max(address.connects.streak, address.probes.streak)
        former, since, was_up, was_healthy = address.state, address.since, address.up, self.healthy
        address.up = not address.is_held_down
        if self._state_of(address) == former and address.up == was_up:
            return
        address.since = self._clock()
        address.is_newcomer = False
        standing = address.member.standing
        self._review(address.member)
        if was_healthy and address.member.standing > standing:
            self._notify('room', address.member)
        if address.up != was_up:
            address.changes += 1
            note_turn(address, address.since)
            if self._slow_start and address.up and [one for one in address.member.addresses if one.up] == [address]:
                self._slow_start.begin(address.member)
            self._log_turn(address, address.since - since)
            self._notify('up' if address.up else 'down', address)
        self._note_health(was_healthy)
        if address.state == STANDBY and former == UP:
            self._notify('demoted', address)

    def _log_turn(self, address, seconds):
        up, known = self._choosing.counts()
        told = dict(address=str(address), member=address.member.name, up=up, known=known)
        who = '{member}' if told['address'] == told['member'] else '{address} of {member}'
        if address.up:
            self._log.info('member_up', who + ' is up again after {down_seconds:.0f} s, {up} of {known} up',
                           down_seconds=round(seconds, 1), **told)
        else:
            self._log.warning('member_down', who + ' is down: {error}, {up} of {known} up', error=address.last_error,
                              **told)
