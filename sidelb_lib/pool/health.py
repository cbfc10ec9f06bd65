"""How the servers do: what clients and probes report of them, and what follows from it."""
from __future__ import absolute_import, division, print_function

from ..hub import never_waits
from .flapping import damped, note_turn
from .members import DOWN, DRAINING, STANDBY, UNCHECKED, UP, Verdict
from .membership import Membership


class Health(Membership):
    """The part of the pool that gives each address its state. `Pool` gives it the settings, by `_fall`, `_rise` and
    `_is_checked`, and its parts, by `_policy`, `_roles`, `_choosing` and `_slow_start`; it hears by `_review(member)` that
    something of a member has changed, and by `_tell()` that what follows from it is through.
    """

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
    def report_end(self, address):
        """A session of `address` was ended by the server, not the client: as by one that stops, and loses its role."""
        if self._wants_role and self._knows(address):
            self._notify('doubted', address)

    @never_waits
    def report_result(self, address, result, began):
        """A probe of `address` that began at `began` has ended: `result` is a `checks.exchange.Result`, whose state is
        'down' when the server did not pass.

        One failure is enough for an address that nothing speaks for: that was never probed. Or where the server itself says
        that it serves nobody, see `checks.exchange.ServesNobody`.
        """
        if not self._knows(address):
            return
        now = self._clock()
        is_first, address.last_probe = address.last_probe is None, now
        former_role = address.role
        if result.state == DOWN:
            address.failed_probes += 1
            self._note_error(address, result.text)
            is_certain = is_first or (result.facts or {}).get('certain')
            address.probes.failed(began, 1 if is_certain else self._fall)
        else:
            rise = damped(self._rise, address)
            address.probes.succeeded(now, rise)
            if address.connects.is_down:           # it gets no clients that could show the contrary
                address.connects.succeeded(now, rise)
            address.found = result.state
            address.not_after = (result.facts or {}).get('not_after')
            if self._roles:
                self._roles.told(address, result, now, is_first)
        self._settle(address)
        if self._roles:
            self._roles.settle(address, now)
            if address.role != former_role:        # with prefer-replica it may be `up` as before, and come second now
                self._review(address.member)
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
        self._settle_or_keep(address)

    @never_waits
    def forgive_early_ends(self, address):
        """Another chance, which a single early end ends."""
        if address.early is not None and address.early.is_down:
            address.early.is_down, address.early.streak = False, self._fall - 1
            self._settle_or_keep(address)

    def _settle_or_keep(self, address):
        """One that has left is settled when it returns, if it does."""
        if self._knows(address):
            self._settle(address)
        else:
            address.up = not address.is_held_down

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
        self._review(address.member, tells=False)
        if was_healthy and address.member.standing > standing:
            self._notify('room', address.member)
        if address.up != was_up:
            address.changes += 1
            note_turn(address, address.since)
            if self._slow_start and address.up and [one for one in address.member.addresses if one.up] == [address]:
                self._slow_start.begin(address.member)
            self._log_turn(address, address.since - since)
        if address.up != was_up:
            self._notify('up' if address.up else 'down', address)
        self._tell()
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
            text, successes = ' is down: {error}, {up} of {known} up', damped(self._rise, address)
            if successes > self._rise and self._is_checked:
                text += '; as it goes up and down, {successes} checks in a row must pass'
                told['successes'] = successes
            self._log.warning('member_down', who + text, error=address.last_error, **told)
