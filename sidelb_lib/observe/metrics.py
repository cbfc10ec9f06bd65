"""Renders a snapshot (see `observe.snapshot`) as metrics for Prometheus: one table of metrics, and what walks it.

By prometheus_client, which is the extra `sidelb[metrics]`, and imported when HTTP starts. The names follow what
HAProxy's exporter has taught people, and https://prometheus.io/docs/practices/naming/. `docs/metrics.md` has the same
table for people; a test holds the two together.

Counters have the label `address` beside `member`: an address keeps its identity when look-ups regroup servers, so its
counters never go back, as the sum of a member's would whenever one of its addresses leaves.
"""
from __future__ import absolute_import, division, print_function

import collections
import operator

from ..errors import DENIALS, REFUSALS

CONTENT_TYPE = 'text/plain; version=0.0.4; charset=utf-8'
INSTALL = 'pip install prometheus_client'

SLICE = 32            # samples between two pauses

GAUGE, COUNTER, HISTOGRAM = 'gauge', 'counter', 'histogram'

#: `path` leads from a service of the snapshot to the values, over lists (one sample an item) and dicts (`{label}`: one
#: sample a key). `labels` are named in the order in which the path meets them, after `service`, which every family of this
#: table has. `of` makes the value out of what is found, None for no sample. `proto` is that of the services that have it. Of
#: equal labels (a server that has left and is back has two members) numbers `add` up, or the largest is taken.
Metric = collections.namedtuple('Metric', 'name kind meaning path labels of proto add')


def metric(name, kind, meaning, path, labels='', of=None, proto=None, add=operator.add):
    return Metric(name, kind, meaning, path, tuple(labels.split()), of, proto, add)


def tcp(name, kind, meaning, path, labels=''):
    return metric(name, kind, meaning, path, labels, proto='tcp')


def udp(name, kind, meaning, path, labels=''):
    return metric(name, kind, meaning, path, labels, proto='udp')


def _is_up(item):
    return {'up': 1, 'departing': None}.get(item['state'], 0)


def _weight(member):
    return None if member['state'] == 'departing' else member['weight']


def _failed_connects(address):
    return address['failed'] - address['failed_probes']


def _addresses_of(ring):
    return len(ring['addresses'])


#: All of them, in the order in which they are shown.
TABLE = (
    metric('sidelb_service_up', GAUGE, 'Whether a new client can be served: a server is up.', 'healthy', of=int),
    metric('sidelb_member_up', GAUGE, 'Whether the server may get new sessions: an address of it is up.',
           'members', 'member', _is_up, add=max),
    metric('sidelb_member_active_connections', GAUGE, 'Sessions of the server now.', 'members/active', 'member'),
    metric('sidelb_member_address_up', GAUGE, 'Whether the address is up.', 'members/addresses', 'member address', _is_up,
           add=max),
    metric('sidelb_member_state', GAUGE, 'Whether the address is in the state: 0 or 1.', 'members/addresses/states/{state}',
           'member address state', add=max),
    metric('sidelb_member_role', GAUGE, 'Always 1, where a check asks for a role: what the server says it is.',
           'members/addresses/roles/{role}', 'member address role', add=max),
    metric('sidelb_member_weight', GAUGE, 'The weight in force, which rises from a tenth with slow_start.',
           'members', 'member', _weight),
    metric('sidelb_tier_active', GAUGE, 'Whether new sessions go to the tier first: 0 or 1.', 'tiers/{tier}', 'tier'),
    metric('sidelb_two_primaries_total', COUNTER, 'How often several servers began to say that they are the primary.',
           'two_primaries'),
    metric('sidelb_member_check_duration_seconds', GAUGE, 'How long the last successful health check took.',
           'members/addresses/probe_seconds', 'member address', add=max),
    metric('sidelb_member_certificate_not_after_seconds', GAUGE,
           'When the certificate of the address ends, in Unix time, where check=tls or https has seen it.',
           'members/addresses/not_after', 'member address', add=max),
    metric('sidelb_member_connections_total', COUNTER, 'Sessions that were given to the address.',
           'members/addresses/total', 'member address'),
    metric('sidelb_member_connect_failures_total', COUNTER, "Failed attempts of clients' sessions on the address.",
           'members/addresses', 'member address', _failed_connects),
    metric('sidelb_member_check_failures_total', COUNTER, 'Failed health checks of the address.',
           'members/addresses/failed_probes', 'member address'),
    metric('sidelb_member_state_changes_total', COUNTER, 'How often the address went up or down.',
           'members/addresses/changes', 'member address'),
    metric('sidelb_member_bytes_total', COUNTER, 'Bytes sent to the address and received from it.',
           'members/addresses/bytes/{direction}', 'member address direction'),
    metric('sidelb_dns_lookups_total', COUNTER, 'Look-ups of ring domains and named servers.',
           'rings/results/{result}', 'ring result'),
    metric('sidelb_dns_last_success_timestamp_seconds', GAUGE, 'When the last good answer came, in Unix time.',
           'rings/last_success', 'ring'),
    metric('sidelb_ring_addresses', GAUGE, 'Addresses of the ring domain.', 'rings', 'ring', _addresses_of),
    metric('sidelb_ring_members', GAUGE, 'Servers that the addresses of the ring domain belong to.',
           'rings/members', 'ring'),
    metric('sidelb_retries_total', COUNTER, 'Failed attempts to reach a server, and moves of UDP sessions, to another one.',
           'connections/retries'),
    tcp('sidelb_connections_active', GAUGE, 'Client connections now.', 'connections/active'),
    tcp('sidelb_connections_limit', GAUGE, 'Client connections that are served at once, at most.', 'connections/most'),
    tcp('sidelb_connections_total', COUNTER, 'Client connections accepted.', 'connections/total'),
    tcp('sidelb_connections_refused_total', COUNTER, 'Client connections reset for want of a server.',
        'refusals/{reason}', 'reason'),
    tcp('sidelb_connections_denied_total', COUNTER, 'Client connections that were not let in.',
        'denials/{reason}', 'reason'),
    tcp('sidelb_connect_duration_seconds', HISTOGRAM, 'How long connecting to a server took, where it succeeded.',
        'connections/connect_seconds'),
    tcp('sidelb_clients_waiting', GAUGE, 'Clients that wait for a server now.', 'connections/waiting'),
    tcp('sidelb_queue_duration_seconds', HISTOGRAM, 'How long clients waited for a server.', 'connections/queue_seconds'),
    tcp('sidelb_first_byte_seconds', HISTOGRAM,
        'From connecting to a server until its first byte, including the time of clients that speak first.',
        'connections/first_byte_seconds'),
    tcp('sidelb_session_duration_seconds', HISTOGRAM, 'How long sessions that have ended lasted.',
        'connections/session_seconds'),
    tcp('sidelb_connections_ended_total', COUNTER, 'Sessions that have ended, by the reason.',
        'connections/ended/{reason}', 'reason'),
    udp('sidelb_sessions_active', GAUGE, 'UDP clients that have a session now.', 'connections/active'),
    udp('sidelb_sessions_limit', GAUGE, 'UDP sessions at once, at most.', 'connections/most'),
    udp('sidelb_sessions_total', COUNTER, 'UDP sessions opened.', 'connections/total'),
    udp('sidelb_datagrams_total', COUNTER, 'Datagrams sent to servers and received from them.',
        'datagrams/{direction}', 'direction'),
    udp('sidelb_datagrams_dropped_total', COUNTER, 'Datagrams dropped, and sessions evicted, by the reason.',
        'connections/drops/{reason}', 'reason'),
)

#: Those of the process, without the label `service`: their paths lead from the snapshot itself.
OF_PROCESS = (
    metric('sidelb_reloads_total', COUNTER, 'Reloads of the configuration, by how they ended.',
           'reloads/{result}', 'result'),
    metric('sidelb_config_hash', GAUGE, 'A hash of the configuration in force: the same for the same one.', 'config_hash'),
)

#: What a look-up ended with, of what `discovery` calls its state.
LOOKUP_RESULTS = {'ok': 'ok', 'partial': 'partial', 'doubtful': 'partial',
                  'failing': 'failed', 'holding': 'empty', 'empty': 'empty'}

#: The states of an address, see `pool.members`: each is there with 0 or 1.
STATES = ('up', 'down', 'standby', 'unchecked', 'draining')


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


class _Collector(object):
    """A custom collector: `collect()` yields the metrics of one snapshot."""

    def __init__(self, snapshot, now, versions, pause):
        self._process = snapshot
        self._services = [(name, prepared(service, now)) for name, service in sorted(snapshot['services'].items())]
        self._versions = versions
        self._pause = pause

    def collect(self):
        names = sorted(self._versions)
        yield self._family(GAUGE, 'sidelb_build_info', 'What is running, in the labels; always 1.', names,
                           [([self._versions[name] for name in names], 1)])
        for one in OF_PROCESS:
            yield self._family(one.kind, one.name, one.meaning, one.labels, samples(one, self._process))
        protocols = set(service['proto'] for _, service in self._services)
        for one in TABLE:
            if one.proto is None or one.proto in protocols:
                yield self._metric(one)

    def _metric(self, one):
        rows = []
        for name, service in self._services:
            if one.proto not in (None, service['proto']):
                continue
            rows += [((name,) + labels, value) for labels, value in samples(one, service)]
        return self._family(one.kind, one.name, one.meaning, ('service',) + one.labels, rows)

    def _family(self, kind, name, meaning, labels, rows):
        """`rows` are (values of the labels, value)."""
        from prometheus_client import core
        family = {GAUGE: core.GaugeMetricFamily, COUNTER: core.CounterMetricFamily,
                  HISTOGRAM: core.HistogramMetricFamily}[kind](name, meaning, labels=labels)
        if self._pause:
            family.samples = _Paced(self._pause)
        for values, value in rows:
            if kind == HISTOGRAM:
                family.add_metric(values, buckets_of(value), value['sum'])
            else:
                family.add_metric(values, value)
        return family


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


# --- from a snapshot to samples -----------------------------------------------------------------------------

def samples(one, service):
    """[(values of the labels, value)] of a Metric in a service that was `prepared`."""
    found = collections.OrderedDict()
    for labels, value in _walk(service, [part for part in one.path.split('/')], ()):
        value = one.of(value) if one.of else value
        if value is not None:
            found[labels] = one.add(found[labels], value) if labels in found else value
    return list(found.items())


def _walk(place, path, labels):
    if not path:
        yield labels, place
        return
    head, rest = path[0], path[1:]
    if head[0] == '{':
        for key in sorted(place):
            for found in _walk(place[key], rest, labels + (key,)):
                yield found
        return
    place = place.get(head)
    for item in place if isinstance(place, list) else []:
        for found in _walk(item, rest, labels + (item['label'],)):
            yield found
    if place is not None and not isinstance(place, list):
        for found in _walk(place, rest, labels):
            yield found


def prepared(service, now):
    """A service of a snapshot with what the table's paths lead to: labels, sums, and zeros before the first."""
    names = member_labels(service['members'])
    counts = service['connections']
    known = dict(service, members=[
        dict(member, label=names[member['name'], port_of(member)],
             addresses=[_prepared_address(address, now) for address in member['addresses']])
        for member in service['members']])
    tiers = set(member['tier'] for member in service['members'] if member['state'] != 'departing')
    known['tiers'] = dict((str(tier), int(tier == service['tier'])) for tier in tiers)
    known['rings'] = [_prepared_ring(ring, service['members'], now) for ring in service['rings']]
    if service['proto'] == 'udp':
        known['datagrams'] = dict((way, counts['datagrams_' + way]) for way in ('sent', 'received'))
    else:
        known['refusals'] = collections.Counter(dict.fromkeys(REFUSALS, 0))
        known['refusals'].update(counts['refused'])
        known['denials'] = collections.Counter(dict.fromkeys(DENIALS, 0))
        known['denials'].update(counts.get('denied', {}))
    return known


def _prepared_address(address, now):
    left = address.get('certificate_seconds')
    return dict(
        address, label=address['address'], bytes=dict((way, address['bytes_' + way]) for way in ('sent', 'received')),
        states=dict((state, int(address['state'] == state)) for state in STATES),
        roles={address['role']: 1} if address['role'] else {},
        not_after=None if left is None else int(round(now + left)))


def _prepared_ring(ring, members, now):
    addresses = set(ring['addresses'])
    results = dict.fromkeys(LOOKUP_RESULTS.values(), 0)
    for state, count in ring['lookups'].items():
        results[LOOKUP_RESULTS[state]] += count
    return dict(
        ring, label=ring['name'] if ring['port'] is None else '%s:%d' % (ring['name'], ring['port']), results=results,
        last_success=None if ring['age'] is None else round(now - ring['age'], 3),
        members=sum(1 for member in members if member['state'] != 'departing' and
                    any(address['address'] in addresses for address in member['addresses'])))


def buckets_of(durations):
    """[(bound, how many were not longer)] of what `durations.Durations.snapshot` gives."""
    buckets, total = [], 0
    for bound, count in zip(durations['bounds'] + ['+Inf'], durations['counts']):
        total += count
        buckets.append((str(bound), total))
    return buckets


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
