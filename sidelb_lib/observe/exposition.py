"""Renders a snapshot (see `observe.snapshot`) in the text format of Prometheus, as the table of `metrics` says.

By prometheus_client, which is the extra `sidelb[metrics]`, and imported when HTTP starts.
"""
from __future__ import absolute_import, division, print_function

import collections

from ..errors import DENIALS, REFUSALS
from .metrics import COUNTER, GAUGE, HISTOGRAM, OF_PROCESS, TABLE
from .said import name_of_ring

CONTENT_TYPE = 'text/plain; version=0.0.4; charset=utf-8'
INSTALL = 'pip install prometheus_client'

SLICE = 32            # samples between two pauses

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


def rendered(snapshot, now, versions, pause=None):
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
    known['active_tiers'] = dict((str(one['tier']), int(one['tier'] == service['tier'])) for one in service['tiers'])
    known['tier_shares'] = dict((str(one['tier']), one['part']) for one in service['tiers'])
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
        ring, label=name_of_ring(ring), results=results,
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
