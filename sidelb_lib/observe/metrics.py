"""Renders a snapshot of the service (see `service.Service.snapshot`) as metrics for Prometheus.

By prometheus_client, which is the extra `sidelb[metrics]`, and imported when HTTP starts. The names follow what
HAProxy's exporter has taught people, and https://prometheus.io/docs/practices/naming/.

Counters have the label `address` beside `member`: an address keeps its identity when look-ups regroup servers, so its
counters never go back, as the sum of a member's would whenever one of its addresses leaves.
"""
from __future__ import absolute_import, division, print_function

import collections

from ..errors import REFUSALS

CONTENT_TYPE = 'text/plain; version=0.0.4; charset=utf-8'
INSTALL = 'pip install prometheus_client'

SLICE = 32            # samples between two pauses

#: What a look-up ended with, of what `discovery` calls its state.
LOOKUP_RESULTS = {'ok': 'ok', 'partial': 'partial', 'doubtful': 'partial',
                  'failing': 'failed', 'holding': 'empty', 'empty': 'empty'}


def load():
    """Import prometheus_client, which takes a while. Returns whether it is installed."""
    try:
        import prometheus_client.core     # noqa: F401
        return True
    except ImportError:
        return False


def exposition(snapshot, now, versions, pause=None):
    """All metrics in the text format, as bytes. `now` is the wall clock's seconds, `versions` a dict of what
    `sidelb_build_info` shows. `pause()` is called again and again: a thousand servers take a while."""
    from prometheus_client import CollectorRegistry, ProcessCollector, generate_latest
    registry = CollectorRegistry()
    registry.register(_Collector(snapshot, now, versions, pause))
    ProcessCollector(registry=registry)
    return generate_latest(registry)


class _Paced(list):
    """The samples of a metric; pauses while they are added and while they are read."""

    def __init__(self, pause):
        list.__init__(self)
        self._pause = pause

    def append(self, sample):
        list.append(self, sample)
        if len(self) % SLICE == 0:
            self._pause()

    def __iter__(self):
        for position, sample in enumerate(list.__iter__(self)):
            if position % SLICE == SLICE - 1:
                self._pause()
            yield sample


class _Collector(object):
    """A custom collector: `collect()` yields the metrics of one snapshot."""

    def __init__(self, snapshot, now, versions, pause):
        self._snapshot = snapshot
        self._now = now
        self._versions = versions
        self._pause = pause
        self._names = member_labels(snapshot['members'])

    def collect(self):
        yield self._build_info()
        for part in (self._members, self._addresses, self._rings):
            for metric in part():
                yield metric
        for metric in self._sessions() if self._snapshot['proto'] == 'udp' else self._connections():
            yield metric

    # --- kinds of metrics ------------------------------------------------------------------------------------

    def _gauge(self, name, meaning, labels=(), rows=()):
        from prometheus_client.core import GaugeMetricFamily
        return self._filled(GaugeMetricFamily(name, meaning, labels=labels), rows)

    def _counter(self, name, meaning, labels=(), rows=()):
        from prometheus_client.core import CounterMetricFamily
        return self._filled(CounterMetricFamily(name, meaning, labels=labels), rows)

    def _filled(self, metric, rows):
        """`rows` are (values of the labels, value); or one number, for a metric without labels."""
        if self._pause:
            metric.samples = _Paced(self._pause)
        for labels, value in rows if isinstance(rows, list) else [((), rows)]:
            metric.add_metric(labels, value)
        return metric

    def _build_info(self):
        names = sorted(self._versions)
        return self._gauge('sidelb_build_info', 'What is running, in the labels; always 1.', names,
                           [([self._versions[name] for name in names], 1)])

    # --- servers ---------------------------------------------------------------------------------------------

    def _members(self):
        """Members that have left DNS but have sessions still count as active, and no longer as up or down."""
        states, active = collections.OrderedDict(), collections.OrderedDict()
        for member in self._snapshot['members']:
            name = self._names[member['name'], port_of(member)]
            active[name] = active.get(name, 0) + member['active']
            if member['state'] != 'departing':
                states[name] = max(states.get(name, 0), int(member['state'] == 'up'))
        yield self._gauge('sidelb_member_up', 'Whether the server may get new sessions: an address of it is up.',
                          ['member'], [([name], up) for name, up in states.items()])
        yield self._gauge('sidelb_member_active_connections', 'Sessions of the server now.',
                          ['member'], [([name], count) for name, count in active.items()])

    def _addresses(self):
        labels = ['member', 'address']
        known = [([self._names[member['name'], port_of(member)], address['address']], address)
                 for member in self._snapshot['members'] for address in member['addresses']]
        yield self._gauge('sidelb_member_address_up', 'Whether the address is up.', labels,
                          [(values, int(address['state'] == 'up')) for values, address in known])
        yield self._gauge('sidelb_member_check_duration_seconds',
                          'How long the last successful health check took.', labels,
                          [(values, address['probe_seconds']) for values, address in known
                           if address['probe_seconds'] is not None])
        for name, meaning, value in (
                ('connections', 'Sessions that were given to the address.', lambda a: a['total']),
                ('connect_failures', 'Failed attempts of clients\' sessions on the address.',
                 lambda a: a['failed'] - a['failed_probes']),
                ('check_failures', 'Failed health checks of the address.', lambda a: a['failed_probes']),
                ('state_changes', 'How often the address went up or down.', lambda a: a['changes'])):
            yield self._counter('sidelb_member_%s_total' % name, meaning, labels,
                                [(values, value(address)) for values, address in known])
        yield self._counter(
            'sidelb_member_bytes_total', 'Bytes sent to the address and received from it.',
            labels + ['direction'], [(values + [direction], address['bytes_' + direction])
                                     for values, address in known for direction in ('sent', 'received')])

    # --- clients ---------------------------------------------------------------------------------------------

    def _connections(self):
        counts = self._snapshot['connections']
        refused = collections.Counter(dict.fromkeys(REFUSALS, 0))
        for reason, count in counts['refused'].items():
            refused[reason] += count
        yield self._gauge('sidelb_connections_active', 'Client connections now.', rows=counts['active'])
        yield self._gauge('sidelb_connections_limit', 'Client connections that are served at once, at most.',
                          rows=counts['most'])
        yield self._counter('sidelb_connections_total', 'Client connections accepted.', rows=counts['total'])
        yield self._counter('sidelb_connections_refused_total',
                            'Client connections reset for want of a server.', ['reason'],
                            [([reason], count) for reason, count in sorted(refused.items())])
        yield self._counter('sidelb_retries_total',
                            'Attempts to reach a server that failed, after which another one was tried.',
                            rows=counts['retries'])
        yield self._histogram('sidelb_connect_duration_seconds',
                              'How long connecting to a server took, where it succeeded.',
                              counts['connect_seconds'])

    def _histogram(self, name, meaning, durations):
        from prometheus_client.core import HistogramMetricFamily
        buckets, total = [], 0
        for bound, count in zip(durations['bounds'] + ['+Inf'], durations['counts']):
            total += count
            buckets.append((str(bound), total))
        return HistogramMetricFamily(name, meaning, buckets=buckets, sum_value=durations['sum'])

    def _sessions(self):
        counts = self._snapshot['connections']
        yield self._gauge('sidelb_sessions_active', 'UDP clients that have a session now.', rows=counts['active'])
        yield self._gauge('sidelb_sessions_limit', 'UDP sessions at once, at most.', rows=counts['most'])
        yield self._counter('sidelb_sessions_total', 'UDP sessions opened.', rows=counts['total'])
        yield self._counter('sidelb_retries_total', 'Moves of a UDP session to another server.',
                            rows=counts['retries'])
        yield self._counter('sidelb_datagrams_total', 'Datagrams sent to servers and received from them.',
                            ['direction'], [([direction], counts['datagrams_' + direction])
                                            for direction in ('sent', 'received')])
        yield self._counter('sidelb_datagrams_dropped_total',
                            'Datagrams dropped, and sessions evicted, by the reason.', ['reason'],
                            [([reason], count) for reason, count in sorted(counts['drops'].items())])

    # --- DNS -------------------------------------------------------------------------------------------------

    def _rings(self):
        rings = [(endpoint(ring), ring) for ring in self._snapshot['rings']]
        lookups = collections.OrderedDict()
        for name, ring in rings:
            for result in sorted(set(LOOKUP_RESULTS.values())):
                lookups[name, result] = 0
            for state, count in ring['lookups'].items():
                lookups[name, LOOKUP_RESULTS[state]] += count
        yield self._counter('sidelb_dns_lookups_total', 'Look-ups of ring domains and named servers.',
                            ['ring', 'result'], [(labels, count) for labels, count in lookups.items()])
        yield self._gauge('sidelb_dns_last_success_timestamp_seconds',
                          'When the last good answer came, in Unix time.', ['ring'],
                          [([name], round(self._now - ring['age'], 3)) for name, ring in rings
                           if ring['age'] is not None])
        yield self._gauge('sidelb_ring_addresses', 'Addresses of the ring domain.', ['ring'],
                          [([name], len(ring['addresses'])) for name, ring in rings])
        yield self._gauge('sidelb_ring_members', 'Servers that the addresses of the ring domain belong to.',
                          ['ring'], [([name], self._members_of(ring)) for name, ring in rings])

    def _members_of(self, ring):
        addresses = set(ring['addresses'])
        return sum(1 for member in self._snapshot['members'] if member['state'] != 'departing' and
                   any(address['address'] in addresses for address in member['addresses']))


def member_labels(members):
    """{(name, port): label}: the name alone, or name:port where several members have the name."""
    ports = collections.defaultdict(set)
    for member in members:
        ports[member['name']].add(port_of(member))
    return dict(((name, port), name if len(its_ports) == 1 else '%s:%s' % (name, port))
                for name, its_ports in ports.items() for port in its_ports)


def port_of(member):
    """The port of a member as text; of several, joined by hand, that of its first address."""
    return member['addresses'][0]['address'].rpartition(':')[2] if member['addresses'] else ''


def endpoint(ring):
    return '%s:%d' % (ring['name'], ring['port'])
