"""The pool: which servers there are, how they do, and who of them takes the next session.

The pool is the only mutable state that sessions share. Nothing in here does I/O or, but for `update` between its slices,
yields to another greenlet, so each method is one atomic step: two sessions never choose on the same stale count.
"""
from __future__ import absolute_import, division, print_function

from ..errors import ALL_FULL, ALL_TRIED, NOBODY_ELIGIBLE, NOBODY_KNOWN, NobodyReachable
from ..hub import never_waits
from .choosing import WEIGHTLESS, Choosing
from .health import Health
from .lease import Lease, Tried
from .members import UP, Verdict
from .roles import Roles
from .tier_news import TierNews


class Pool(Health):
    """All members, from every source.

    `policy` chooses among members (see `policies`). Of the settings `check_fall` results in a row turn an address down,
    `check_rise` turn it up, and `check` says whether there are any but those of clients. `clock` gives seconds.
    `observers` are called as `observer(event, subject)` with one of

    - `'added'`, Address: a new address; `'removed'`, Address: it has left every source;
    - `'failed'`, Address: an attempt on it failed (a good moment for a probe);
    - `'down'`, Address: it went down; `'up'`, Address: it came up;
    - `'doubted'`, Address: with a check for a role, its server has ended a session (a good moment for a probe, too);
    - `'role'`, Address: it says that it has another role, so others may have changed theirs as well;
    - `'demoted'`, Address: its check has found that it lost the role that is wanted;
    - `'wanted'`, Pool: a session found nobody known or eligible, or waits for an answer of DNS;
    - `'filled'`, Pool: clients need not wait for an answer of DNS any more, see `awaits_answers`;
    - `'tier'`, Pool: new sessions go to another tier first;
    - `'changed'`, Pool: other members than before, or other addresses of them;
    - `'available'`, Pool: new sessions find a server again after there was none;
    - `'room'`, Member: it takes new sessions and did not before, for it was full (see `note_room`), unchecked or drained.

    An observer must neither block nor change the pool. `pause()` is called between the slices of an update: four thousand
    servers take a while.
    """

    def __init__(self, policy, log, clock, settings, pause=None):
        Health.__init__(self, log, clock, pause)
        self._policy = policy
        self.tier_news = TierNews(log)
        self._read(settings)
        self._roles = self._make_roles(settings)
        self._choosing = Choosing(policy, log, settings.check.role, settings.prefer)
        self._slow_start = self._make_slow_start(settings)

    def _read(self, settings):
        self._fall = settings.check_fall
        self._rise = settings.check_rise
        self._check = settings.check
        self._is_checked = settings.check.name != 'off'
        self._wants_role = bool(settings.check.role)
        self.tier_news.read(settings)

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
            self._choosing = Choosing(policy, self._log, settings.check.role, settings.prefer)
            self._slow_start = self._make_slow_start(settings, self._slow_start)
            for member in sorted(self.members, key=lambda member: -member.standing):     # so that none is a last resort
                member.standing = member.turn = None
                member.weight = member.full_weight
                self._review(member, tells=False)
            self.tick()                              # who was rising rises on
        for address in self.addresses():
            self._settle(address)
        self._tell()
        self._note_health(was_healthy)

    def _make_roles(self, settings):
        return Roles(settings, self._log, self._settle, self._notify) if self._wants_role else None

    def _make_slow_start(self, settings, former=None):
        if settings.slow_start:
            from .slow_start import SlowStart
            return SlowStart(settings.slow_start, self._clock, self._choosing.reweigh, former)

    def __repr__(self):
        return '<Pool %r departing=%r>' % (self.members, self.departing)

    @property
    def healthy(self):
        """Is there a member that may get new sessions, and not for want of a better one?"""
        return self._choosing.level > WEIGHTLESS

    @never_waits
    def is_up(self, endpoint):
        """Is it an address of some source, which nothing holds down?"""
        address = self._addresses.get(endpoint)
        return address is not None and address.up

    @property
    def has_limits(self):
        """Is there a server with a limit of its sessions, whatever source says so?"""
        return any(member.limit is not None for member in self.members)

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

    def _review(self, member, tells=True):
        """Draw the conclusions from what has changed of a member or its addresses, and tell those for all of them: with
        `tells` unset the caller does, when it has told what they follow from."""
        for address in member.addresses:
            address.state = self._state_of(address)
        self._choosing.review(member)
        if tells:
            self._tell()

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
        self._tell()

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
        member's name and each of its endpoints, whatever DNS says later; until it is enabled, by that name or another."""
        kept = [member.name] + [address.endpoint for address in member.addresses]
        if is_drained:
            self._drained.update((key, member.name) for key in kept)
        else:
            for key in kept + [self._drained.get(key) for key in kept]:
                self._drained.pop(key, None)
        for address in member.addresses:
            address.is_drained = is_drained
            self._settle(address)

    @never_waits
    def weigh(self, member, weight):
        """A person wants another weight for a member, 0 to 256, or None: what is written. It is kept under the member's name
        until another one is written."""
        self._weights.pop(member.name, None)
        if weight is not None:
            self._weights[member.name] = weight, member.weight_on_paper
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
        from .shares import excesses
        taken = [member for member in self.members if member.standing == self._choosing.level and self.healthy]
        if not spills:
            return excesses(taken, lambda member: member.tier == self.tier)
        found = {}
        for tier in set(member.tier for member in taken):
            found.update(excesses([member for member in taken if member.tier == tier], lambda member: True))
        return found

    def note_room(self, member):
        """The policy's news: a member was full, and is not any more."""
        self._notify('room', member)

    def _tell(self):
        """What a change has led to of the whole, once, when it is through."""
        self._choosing.tell_level()
        if self.healthy and not self._updating and not self.awaits_answers and self.tier_news.tell(self):
            self._notify('tier', self)

    def tier_parts(self):
        """{tier: the part of the new sessions that it takes now}; {} where the policy knows no tiers."""
        return self._policy.parts() if hasattr(self._policy, 'parts') else {}

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
        if address and member.standing == self._choosing.level and not member.is_full:
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
    def try_out(self, address):
        """A Lease on an address that nothing but early ends holds down, so that one session shows how it does now; or None,
        also while a better tier serves or the member is full."""
        member = address.member
        if not self._knows(address) or not address.ends_early or self._state_but_for_early_ends(address) != UP:
            return None
        if self.tier is not None and member.tier > self.tier or member.is_full:
            return None
        lease = Lease(self, address, None, self._clock())
        self._policy.recount(member)
        return lease

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
