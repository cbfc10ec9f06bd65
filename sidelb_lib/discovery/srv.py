"""An SRV name: its records name the servers, their ports, and who gets how much. RFC 2782."""
from __future__ import absolute_import, division, print_function

from collections import namedtuple

import gevent
from gevent.pool import Pool as Workers

from ..hub import never_waits
from ..net.endpoints import Endpoint, endpoint_key, endpoint_text
from ..pool.merging import Group, Options
from ..resolver.answers import FOUND, empty
from .domain import MAX_ADDRESSES, Domain
from .family import FamilyState, state_of_lookup
from .pace import smallest_ttl

#: One server of an SRV name, as its records say.
Target = namedtuple('Target', 'name port priority weight')

MAX_TARGETS = 256
_MAX_TIER = 9
_AT_ONCE = 16                 # targets that are looked up at the same time
_IN_A_SECOND = 4              # so many targets that serve are looked up, on average, however short their TTLs
_SLACK = 0.5                  # seconds that a target is asked before its time, along with others
_GATHERING = 0.1              # seconds between two looks at what has come in
_NOT_AVAILABLE = 'the name says that this service is not available (target .)'


def targets_of(values, port=None):
    """([Target, ...], [record that is no use, ...]) of the texts of SRV records; `port` stands in for that of the records.

    They are sorted by priority, then by name. One target and port that stands there twice has the better priority, and
    with equal ones the sum of the weights.
    """
    found, useless = {}, []
    for value in values:
        priority, weight, its_port, name = value.split(' ', 3)
        priority, weight, its_port = int(priority), int(weight), port or int(its_port)
        if name == '.' or '\\' in name or not its_port:
            useless.append(value)
            continue
        former = found.get((name, its_port))
        if former and former.priority == priority:
            weight += former.weight
        if not former or priority <= former.priority:
            found[name, its_port] = Target(name, its_port, priority, weight)
    ordered = sorted(found.values(), key=lambda target: (target.priority, target.name, target.port))
    return ordered[:MAX_TARGETS], useless


def options_of(targets, written=None):
    """{Target: merging.Options or None}. `written` are those of the name as a whole.

    The lowest priority is the tier of the name (1 if none is written), the next one the tier behind it, and so on. Weights
    count among those of one priority: they are scaled to a mean of 1 there. A weight of 0 beside others is a very small
    chance, as RFC 2782 has it, and no sign of maintenance. What makes no difference is not said.
    """
    first, factor, limit = 1, 1, None
    if written:
        first, factor, limit = written.tier or 1, 1 if written.weight is None else written.weight, written.max
    priorities = sorted(set(target.priority for target in targets))
    options = {}
    for number, priority in enumerate(priorities):
        tier = min(first + number, _MAX_TIER)
        of_tier = [target for target in targets if target.priority == priority]
        for target, weight in zip(of_tier, scaled([target.weight for target in of_tier])):
            weight = None if factor == 1 and len(set(one.weight for one in of_tier)) == 1 else factor * weight
            mine = Options(weight, tier if tier > 1 or first > 1 else None, limit)
            options[target] = mine if any(value is not None for value in mine) else None
    return options


def scaled(weights):
    """The weights with a mean of 1: all equal when all are 0, else a thousandth of the largest in place of 0."""
    largest = max(weights)
    if not largest:
        return [1.0] * len(weights)
    weights = [weight or largest / 1000 for weight in weights]
    mean = sum(weights) / len(weights)
    return [weight / mean for weight in weights]


class _Host(object):
    """The addresses of one target. They have a TTL of their own: with that of the records, 0 at Consul, all targets would
    be asked for at each look-up."""

    def __init__(self, pace):
        self.families = {'A': FamilyState(), 'AAAA': FamilyState()}
        self.pace = pace
        self.asked = float('-inf')
        self.pause = 0               # seconds from then until it is asked again


class Srv(Domain):
    """The servers that an SRV name lists: each target and port is one server, with all addresses of the target.

    `port` is None, or the port of all servers whatever the records say. `resolver` is asked for the records, `book` for the
    addresses of targets. `options` are those of the name as a whole. A target that the records do not have any more leaves
    at once, or after `obsolete` seconds; an empty answer for the name itself is distrusted for `hold` seconds, as that for
    the addresses of a target. Each look-up asks for the records, and for the targets that are due.
    """

    kind = 'srv'

    def __init__(self, name, port, pool, resolver, names, book, log, options=None, **timing):
        Domain.__init__(self, name, port, pool, book, log, options, **timing)
        self._families = {'SRV': FamilyState()}
        self._resolver = resolver
        self._names = names
        self._targets = []
        self._missing = {}           # Target that the last records did not have -> since when
        self._logged = set()         # records that were logged
        self._hosts = {}             # (target's name, port) -> _Host
        self._asks_all = False       # at the next look-up, whatever the TTLs are
        names.follow(self.source, (), [self.name])

    def close(self):
        self._names.forget(self.source)

    def snapshot(self):
        return dict(Domain.snapshot(self), targets=[
            {'name': target.name, 'port': target.port, 'priority': target.priority, 'weight': target.weight,
             'addresses': [endpoint_text(*endpoint) for endpoint in self._addresses_of(target)]}
            for target in self._targets])

    def look_up(self):
        """One look-up: of the records, then of the targets that are due. Returns the seconds until the next."""
        asks_all, self._asks_all = self._asks_all, False
        srv = self._families['SRV']
        for _, answer in self._resolver.records(self.query, ('SRV',)):
            srv.take(_without_dot(answer), self._clock(), self._hold)
            if answer.kind == FOUND:
                self._answered = self._clock()
        targets, useless = targets_of(srv.ips, self.port)
        self._log_useless(useless)
        self._targets = targets + self._obsolete_ones(targets)
        former, self._hosts = self._hosts, {}
        for target in self._targets:
            key = target.name, target.port
            self._hosts[key] = former.get(key) or _Host(self._new_pace())
        if not self._is_new():                   # what is known of them counts at once
            self._publish_changes()
        self._look_up_targets(self._targets if asks_all else self._due_targets())
        self._publish_changes()
        state, self._error = self._judge()
        self._change_state(state)
        return self._delay()

    def _obsolete_ones(self, targets):
        """Targets that the records had within the last `obsolete` seconds and have no more: some name servers give a part of
        all records each time."""
        now, present = self._clock(), set((target.name, target.port) for target in targets)
        if not targets or not self._obsolete:
            self._missing = {}
            return []
        since = dict((target, self._missing.get(target, now)) for target in self._targets)
        self._missing = dict((target, when) for target, when in since.items()
                             if (target.name, target.port) not in present and now - when < self._obsolete)
        return sorted(self._missing)[:MAX_TARGETS]

    @never_waits
    def refresh_now(self):
        self._asks_all = True
        Domain.refresh_now(self)

    def _due_targets(self):
        """Those whose time has come; when nobody is up all but those that were asked a moment ago, whatever their TTLs."""
        now, is_served = self._clock() + _SLACK, self._is_served()
        return [target for target in self._targets if now - self._host_of(target).asked >= (
            self._pause_of(target) if is_served else self._spacing())]

    def _pause_of(self, target):
        """Seconds between two look-ups of the target: one that is down may have moved, and does not wait for others."""
        pause = self._host_of(target).pause
        is_up = any(self._pool.is_up(endpoint) for endpoint in self._addresses_of(target))
        return max(pause, self._spacing()) if is_up else pause

    def _spacing(self):
        return min(max(self._pace.shortest, len(self._targets) / _IN_A_SECOND), self._pace.longest)

    def _delay(self):
        """The records have a pace of their own, and so has each target."""
        state, _ = state_of_lookup(self._families)
        delays = [self._pace.after(state, self._families.values())] + self._ends(self._families)
        due = [self._host_of(target).asked + self._pause_of(target) for target in self._targets]
        return min(delays + [max(min(due) - self._clock(), self._pace.shortest)] if due else delays)

    def _ttl(self):
        of_all = [self._families] + [host.families for host in self._hosts.values()]
        return smallest_ttl([family for families in of_all for family in families.values()])

    def _host_of(self, target):
        return self._hosts[target.name, target.port]

    def _look_up_targets(self, targets):
        workers = Workers(_AT_ONCE)
        all_done = gevent.spawn(lambda: workers.map(self._look_up_target, targets))
        try:
            while not all_done.ready():
                all_done.join(_GATHERING)
                if not all_done.ready() and self._is_new():      # clients wait: what has come in is better than nothing
                    self._publish_changes()
            all_done.get()
        finally:
            all_done.kill(block=False)
            workers.kill(block=False)

    def _is_new(self):
        """Has the first look-up not ended yet?"""
        return self.state == 'pending'

    def _look_up_target(self, target):
        host = self._host_of(target)
        for rdtype, answer in self._book.answers(target.name + '.', target.port):
            host.families[rdtype].take(answer, self._clock(), self._hold, self._obsolete)
        state, _ = state_of_lookup(host.families)
        host.asked = self._clock()
        host.pause = min([host.pace.after(state, host.families.values())] + self._ends(host.families))

    def _addresses_of(self, target):
        families = self._host_of(target).families
        return sorted(set(Endpoint(ip, target.port) for family in families.values() for ip in family.ips), key=endpoint_key)

    def _publish_changes(self):
        options, groups, count = options_of(self._targets, self._options), [], 0
        for target in self._targets:
            endpoints = self._addresses_of(target)
            count += len(endpoints)
            if endpoints and count <= MAX_ADDRESSES:
                groups.append(Group(target.name, endpoints, options[target]))
        self._endpoint_set = frozenset(endpoint for group in groups for endpoint in group.endpoints)
        self._endpoints = sorted(self._endpoint_set, key=endpoint_key)
        self._pool.update(self.source, groups)

    def _judge(self):
        """(state, error text or None): of the name, and where that is fine of its targets."""
        state, error = state_of_lookup(self._families)
        if state != 'ok':
            return state, error
        judged = [(target, state_of_lookup(self._host_of(target).families)) for target in self._targets]
        wrong = [(target, its) for target, its in judged if its[0] in ('partial', 'failing')]
        if wrong:
            target, (_, error) = wrong[0]
            return 'partial', '%s: %s' % (target.name, error)
        if not any(its[0] in ('ok', 'holding') for _, its in judged):
            return 'empty', 'none of its %d targets has an address' % len(judged) if judged else 'no usable record'
        return state, error

    def _log_useless(self, records):
        for record in records:
            if not record.endswith(' .') and record not in self._logged and len(self._logged) < MAX_TARGETS:
                self._logged.add(record)
                self._log.warning('srv_ignored', '{source}: the SRV record {record} is ignored: {reason}',
                                  source=self.source, record=record,
                                  reason='its port is 0' if record.split(' ')[2] == '0' else 'its target is no host name')


def _without_dot(answer):
    """The answer, or an empty one where the only target is the root: "decidedly not available", RFC 2782."""
    if answer.kind == FOUND and all(value.endswith(' .') for value in answer.values):
        return empty(_NOT_AVAILABLE, answer.names)
    return answer
