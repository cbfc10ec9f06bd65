"""What servers say of their role, and which of several that say they are the primary is believed. The time is passed in."""
from __future__ import absolute_import, division, print_function

from .members import STANDBY, UP

FORGOTTEN_AFTER = 3          # intervals of checks that could not ask


class Claims(object):
    """Who says to be the primary now, and who is believed: `primary`, or None.

    A later timeline wins, where the servers tell one (PostgreSQL: it grows at each promotion). Else the one that has been
    it without interruption, for a former primary that returns was interrupted. Just after the start nobody has been it for
    long: then nobody is believed while several say so, for `patience` seconds after the first one did, and then the one
    with the smallest address.
    """

    def __init__(self, patience):
        self.primary = None
        self._patience = patience
        self._claims = {}            # Address -> its timeline, or None
        self._first = None           # when somebody said so for the first time

    @property
    def several(self):
        return len(self._claims) > 1

    def everyone(self):
        return list(self._claims)

    def say(self, address, timeline, now):
        """`address` says that it is the primary."""
        self._claims[address] = timeline
        if self._first is None:
            self._first = now
        self._elect(now)

    def withdraw(self, address, now):
        """It says so no more, or is down, or has left."""
        if self._claims.pop(address, self) is not self:
            self._elect(now)

    def _elect(self, now):
        candidates = self._latest()
        if len(candidates) == 1:
            self.primary = candidates[0]
        elif not candidates or now < self._first + self._patience:
            self.primary = None
        elif self.primary not in candidates:
            self.primary = min(candidates, key=_place)

    def _latest(self):
        """Those of the latest timeline; all where somebody tells none."""
        timelines = list(self._claims.values())
        if not timelines or None in timelines:
            return list(self._claims)
        return [address for address, timeline in self._claims.items() if timeline == max(timelines)]


def _place(address):
    return address.endpoint.sort_key


class Roles(object):
    """Keeps `role` and `found` of addresses by what their checks tell, where a check asks for a role.

    `settle(address)` and `notify(event, address)` are the pool's.
    """

    def __init__(self, settings, log, settle, notify):
        self.disputes = 0
        self._log = log
        self._settle = settle
        self._notify = notify
        self._interval = settings.check_interval
        self._claims = Claims(2 * settings.check_interval)
        self._one_primary = settings.check.role == 'primary'

    def told(self, address, result, now, is_first):
        """A check of `address` has passed."""
        former, address.role = address.role, result.role
        address.former_role = former or address.former_role
        if result.role != former and not is_first:
            self._log.info('role_changed', '{address} of {member} is {role}, before: {former}', address=str(address),
                           member=address.member.name, role=result.role or 'of no known role',
                           former=former or 'not known')
            self._notify('role', address)
        if not (self._one_primary and result.role == 'primary' and result.state == UP):
            self._claims.withdraw(address, now)
        elif not address.is_held_down:
            disputed = self._claims.several
            self._claims.say(address, (result.facts or {}).get('timeline'), now)
            if self._claims.several and not disputed:
                self._log_dispute()
            self._judge(address, now)

    def settle(self, reported, now):
        """Of those that say they are the primary one is taken, or none; after `reported` has been settled."""
        if not reported.up:
            reported.role = None
            self._claims.withdraw(reported, now)
        for address in self._claims.everyone():
            self._judge(address, now)
            self._settle(address)

    def departed(self, address, now):
        self._claims.withdraw(address, now)
        for other in self._claims.everyone():
            self._judge(other, now)
            self._settle(other)

    def forget(self, address, now):
        """Forget what it said long ago, but not of the primary that is believed. Returns whether there was something."""
        if not address.found or address is self._claims.primary or now - address.last_probe <= (
                FORGOTTEN_AFTER * self._interval):
            return False
        address.found = address.role = None
        self._claims.withdraw(address, now)
        return True

    def _judge(self, address, now):
        address.found = UP if address is self._claims.primary else STANDBY
        if address.found == STANDBY:
            address.last_error, address.last_error_at = 'another server is the primary', now

    def _log_dispute(self):
        self.disputes += 1
        self._log.warning('two_primaries', '{servers} say that they are the primary: {primary} is believed',
                          servers=' and '.join(sorted(map(str, self._claims.everyone()))),
                          primary=str(self._claims.primary or 'none of them as yet'))
