"""An SRV name: its records name the servers, their ports, and who gets how much."""
from __future__ import absolute_import, division, print_function

from ..errors import printable
from ..hub import never_waits
from ..net.endpoints import endpoint_key, endpoint_text
from ..pool.merging import Group
from ..resolver.answers import FAILED, FOUND, failed
from .domain import MAX_ADDRESSES, Domain
from .family import FamilyState, state_of_lookup
from .pace import last_error, smallest_ttl
from .srv_hosts import Hosts
from .srv_records import MAX_TARGETS, options_of, targets_of, usable

_GATHERING = 0.1              # seconds between two looks at what has come in
_SOON = 0.01
_MAX_SAID = 512               # different facts about records and targets that are logged


class Srv(Domain):
    """The servers that an SRV name lists: each target and port is one server, with all addresses of the target.

    `port` is None, or the port of all servers whatever the records say. `resolver` is asked for the records, `book` for the
    addresses of targets. `options` are those of the name as a whole. A target that the records do not have any more leaves
    at once, or after `obsolete` seconds; an empty answer for the name itself is distrusted for `hold` seconds, as that for
    the addresses of a target. The records and each target are asked for in their own time; nobody waits for one
    that is slow to come.
    """

    kind = 'srv'

    def __init__(self, name, port, pool, resolver, names, book, log, options=None, **timing):
        Domain.__init__(self, name, port, pool, book, log, options, **timing)
        self._families = {'SRV': FamilyState()}
        self._resolver = resolver
        self._names = names
        self._targets = []
        self._missing = {}           # Target that the last records did not have -> since when
        self._said = set()           # what was logged of records and targets
        self._hosts = Hosts(self._look_up_host, self._new_pace, pool.is_up, self._clock, self._pace.shortest,
                            self._pace.longest)
        self._news = 0               # those of the hosts that are published
        self._asked = None           # when the records were asked for
        self._pause = 0              # seconds from then until they are again
        self._asks_all = False       # at the next look-up, whatever the TTLs are
        names.follow(self.source, (), [self.name])

    def go_on_from(self, former):
        Domain.go_on_from(self, former)
        self._targets, self._missing = former._targets, former._missing
        self._hosts.go_on_from(former._hosts)

    def run(self):
        try:
            Domain.run(self)
        finally:
            self._hosts.close()

    def close(self):
        self._names.forget(self.source)

    def snapshot(self):
        return dict(Domain.snapshot(self), targets=[self._said_of(target) for target in self._targets])

    def _said_of(self, target):
        state, error = self._hosts[target].verdict
        return {'name': target.name, 'port': target.port, 'priority': target.priority, 'weight': target.weight,
                'addresses': [endpoint_text(*endpoint) for endpoint in self._hosts[target].endpoints],
                'error': 'no answer yet' if state == 'pending' else error}

    @never_waits
    def refresh_now(self):
        self._asks_all = True
        Domain.refresh_now(self)

    def look_up(self):
        """One look-up: of the records and of targets, as far as they are due. Returns the seconds until the next."""
        asks_all, self._asks_all = self._asks_all, False
        if asks_all or self._records_are_due():
            self._ask_for_records()
        self._publish_changes()                  # what is known of the targets counts at once
        if asks_all:
            self._hosts.want_all()
        self._hosts.ask(self._is_served())
        self._gather()
        state, self._error = self._judge()
        self._change_state(state)
        self._tell_targets()
        return self._delay()

    # --- the records ------------------------------------------------------------------------------------------------

    def _ask_for_records(self):
        srv = self._families['SRV']
        for _, answer in self._resolver.records(self.query, ('SRV',)):
            srv.take(usable(answer, self.port), self._clock(), self._hold)
            if answer.kind == FOUND:
                self._answered = self._clock()
                self._tell_records(answer.values)
        self._asked = self._clock()
        state, _ = state_of_lookup(self._families)
        ends = self._ends(self._families)
        if srv.kind != FAILED:
            targets, _ = targets_of(srv.ips, self.port)
            self._targets = targets[:MAX_TARGETS] + self._obsolete_ones(targets)
            self._hosts.keep([(target.name, target.port) for target in self._targets])
            ends += [when + self._obsolete - self._asked for when in self._missing.values()]
        self._pause = min([self._pace.after(state, self._families.values())] + ends)

    def _records_in(self):
        """Seconds until the records are due."""
        return self._asked + self._pause - self._clock()

    def _records_are_due(self):
        """While nobody serves they are a moment after the last time, whatever their TTL."""
        return self._asked is None or self._records_in() <= 0 or not self._is_served() and (
            self._clock() - self._asked >= self._pace.shortest)

    def _obsolete_ones(self, targets):
        """Targets that the records had within the last `obsolete` seconds and have no more: some name servers give a part of
        all records each time."""
        now, present = self._asked, set((target.name, target.port) for target in targets)
        if not targets or not self._obsolete:
            self._missing = {}
            return []
        since = dict((target, self._missing.get(target, now)) for target in self._targets)
        self._missing = dict((target, when) for target, when in since.items()
                             if (target.name, target.port) not in present and now - when < self._obsolete)
        return sorted(self._missing)[:MAX_TARGETS]

    # --- the targets ------------------------------------------------------------------------------------------------

    def _look_up_host(self, host):
        try:
            for rdtype, answer in self._book.answers(host.name + '.', host.port):
                host.take(rdtype, answer, self._clock(), self._hold, self._obsolete)
        except Exception:
            fault = failed('unexpected %s' % last_error())
            for rdtype in host.families:
                host.take(rdtype, fault, self._clock(), self._hold, self._obsolete)
        state, _ = state_of_lookup(host.families)
        host.asked = self._clock()
        host.pause = min([host.pace.after(state, host.families.values())] + self._ends(host.families))

    def _gather(self):
        """Wait for targets, publish what comes in, until all are there or something else has to be done."""
        while self._hosts.busy:
            self._hosts.wait(_GATHERING)
            if self._news != self._hosts.news:
                self._publish_changes()
            if self._is_pressed():
                break

    def _is_pressed(self):
        """Does anything but the targets that are being looked up want to be done? At the start somebody has to be known."""
        if self._wake.is_set():
            return True
        if self._is_new() and not self._endpoints:
            return False
        return self._records_in() <= 0 or self._hosts.due_in() <= 0 or self._is_needed and not self._is_served() and (
            self._clock() - self._began >= self._pace.shortest)

    def _is_new(self):
        """Has the first look-up not ended yet?"""
        return self.state == 'pending'

    def _delay(self):
        if self._hosts.busy:         # nothing but that: the look-up goes on
            return _SOON
        return min(max(self._records_in(), _SOON), max(self._hosts.due_in(), self._pace.shortest))

    def _ttl(self):
        return smallest_ttl(list(self._families.values()) + self._hosts.families())

    def _publish_changes(self):
        self._news = self._hosts.news
        options, groups, count = options_of(self._targets, self._options), [], 0
        for target in self._targets:
            endpoints = self._hosts[target].endpoints
            if endpoints and count + len(endpoints) <= MAX_ADDRESSES:
                count += len(endpoints)
                groups.append(Group(target.name, endpoints, options[target]))
        self._endpoint_set = frozenset(endpoint for group in groups for endpoint in group.endpoints)
        self._endpoints = sorted(self._endpoint_set, key=endpoint_key)
        self._pool.update(self.source, groups)

    # --- what is said -----------------------------------------------------------------------------------------------

    def _judge(self):
        """(state, error text or None): of the name, and where that is fine of its targets."""
        state, error = state_of_lookup(self._families)
        if state != 'ok':
            return state, error
        verdicts = [(target.name,) + self._hosts[target].verdict for target in self._targets]
        wrong = ['%s: %s' % (name, its_error) for name, its_state, its_error in verdicts
                 if its_state in ('partial', 'failing')]
        if wrong:
            return 'partial' if self._endpoints else 'failing', wrong[0]
        if all(its_state == 'empty' for _, its_state, _ in verdicts):
            return 'empty', 'none of its %d targets has an address' % len(verdicts)
        return state, error

    def _tell_records(self, values):
        targets, useless = targets_of(values, self.port)
        for record, reason in useless:
            self._log_once('srv_ignored', '{source}: the SRV record {record} is ignored: {reason}', record,
                           record=printable(record), reason=reason)
        if len(targets) > MAX_TARGETS:
            self._log_once('srv_too_many', '{source} has {count} targets: {limit} are used, by priority and then by name',
                           MAX_TARGETS, count=len(targets), limit=MAX_TARGETS)

    def _tell_targets(self):
        if self.state != 'ok':
            return                   # which is told
        for target in self._targets:
            state, error = self._hosts[target].verdict
            if state == 'empty':
                self._log_once('srv_no_address', '{source}: its target {target} has no address: {reason}', target.name,
                               target=target.name, reason=error)
            else:
                self._said.discard(target.name)

    def _log_once(self, event, template, key, **fields):
        if key not in self._said and len(self._said) < _MAX_SAID:
            self._said.add(key)
            self._log.warning(event, template, source=self.source, **fields)
