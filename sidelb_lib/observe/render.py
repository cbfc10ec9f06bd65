"""Renders a snapshot of the service (a plain dict, see `service.Service.snapshot`) for people and programs. Pure."""
from __future__ import absolute_import, division, print_function

import json

WIDTH = 100
MEMBERS_AT_ONCE = 16         # between two pauses


def to_json(snapshot, pause=None):
    """The snapshot as one line of JSON. `pause()` is called now and then: a thousand members take a while."""
    parts = {}
    for key, value in snapshot.items():
        if key == 'services' and isinstance(value, dict):
            parts[key] = _joined(dict((name, to_json(service, pause)) for name, service in value.items()))
        elif key == 'members':
            members = []
            for member in value:
                members.append(json.dumps(member, sort_keys=True))
                if pause and len(members) % MEMBERS_AT_ONCE == 0:
                    pause()
            parts[key] = '[%s]' % ', '.join(members)
        else:
            parts[key] = json.dumps(value, sort_keys=True)
    return _joined(parts)


def _joined(parts):
    return '{%s}' % ', '.join('%s: %s' % (json.dumps(key), parts[key]) for key in sorted(parts))


def to_table(snapshot):
    """The snapshot for a terminal of WIDTH columns, without a final line break; of several services one block each."""
    if 'members' not in snapshot:
        return '\n\n'.join('Service %s: %s' % (name, to_table(dict(snapshot, **service)))
                           for name, service in sorted(snapshot['services'].items()))
    lines = _head(snapshot) + [''] + _members(snapshot['members'])
    if snapshot['rings']:
        lines += [''] + _rings(snapshot['rings'])
    return '\n'.join(line[:WIDTH].rstrip() for line in lines)


def totals(snapshots):
    """For each listener that several of the snapshots have, their sum."""
    groups = {}
    for snapshot in [one for whole in snapshots for one in whole.get('services', {'': whole}).values()]:
        groups.setdefault((snapshot['listener'], snapshot['proto']), []).append(snapshot)
    return [summed(groups[key]) for key in sorted(groups) if len(groups[key]) > 1]


def summed(snapshots):
    """What several instances carry together, as a snapshot that `to_table` renders. Addresses and rings are left out."""
    first = snapshots[0]
    members = {}
    for snapshot in snapshots:
        for member in snapshot['members']:
            members.setdefault(member['name'], []).append(member)
    return {
        'instances': len(snapshots),
        'listener': first['listener'],
        'proto': first['proto'],
        'healthy': all(snapshot['healthy'] for snapshot in snapshots),
        'connections': _added([snapshot['connections'] for snapshot in snapshots]),
        'members': [
            dict(_added(members[name]), name=name, addresses=[],
                 state=_common_state([one['state'] for one in members[name]]))
            for name in sorted(members)],
        'rings': [],
    }


def _added(counts):
    """The sums of the numbers in several dicts, and in the dicts inside them. What is no number is left out."""
    sums = {}
    for count in counts:
        for key, value in count.items():
            if isinstance(value, dict):
                sums[key] = _added([sums.get(key, {}), value])
            elif isinstance(value, (int, float)):
                sums[key] = sums.get(key, 0) + value
    return sums


def _common_state(states):
    """`up`, or `1/2 up` where the instances see a member differently."""
    return states[0] if len(set(states)) == 1 else '%d/%d up' % (states.count('up'), len(states))


def _head(snapshot):
    health = 'HEALTHY' if snapshot['healthy'] else 'UNHEALTHY'
    if 'instances' in snapshot:
        title = '%d instances on %s, %s, together: %s' % (
            snapshot['instances'], snapshot['listener'], snapshot['proto'], health)
    else:
        since = ', up' if snapshot['state'] == 'draining' else ' for'
        title = 'SideLB %s on %s, %s, %s: %s, %s%s %s' % (
            snapshot['version'], snapshot['listener'], snapshot['proto'], snapshot['mode'], health, snapshot['state'],
            since, duration_text(snapshot['uptime']))
    return [title, _counts(snapshot['proto'], snapshot['connections'])]


def _counts(proto, connections):
    lost, what, word = connections.get('refused'), 'connections', 'refused'
    if proto == 'udp':
        lost, what, word = connections['drops'], 'sessions', 'datagrams dropped'
    return '%d %s, %d in all, %d retried, %d %s%s' % (
        connections['active'], what, connections['total'], connections['retries'], sum(lost.values()), word,
        ''.join('; %s: %d' % item for item in sorted(lost.items())))


_MEMBER_ROW = '%-44s %-9s %6s %8s %6s %9s %9s'


def _members(members):
    lines = [_MEMBER_ROW % ('SERVER', 'STATE', 'ACTIVE', 'TOTAL', 'FAILED', 'SENT', 'RECEIVED')]
    for member in members:
        lines.append(_MEMBER_ROW % (
            _cut(member['name'], 44), member['state'], member['active'], member['total'], member['failed'],
            bytes_text(member['bytes_sent']), bytes_text(member['bytes_received'])))
        for address in member['addresses']:
            note = address['last_error'] or ''
            if note and address['state'] == 'up':
                note = 'last error: ' + note
            lines.append('  %-42s %-9s %s' % (
                address['address'], '%s %s' % (address['state'], duration_text(address['state_seconds'])), note))
    return lines if members else lines + ['  no server is known yet']


_RING_ROW = '%-50s %9s %8s %8s  %s'


def _rings(rings):
    lines = [_RING_ROW % ('RING', 'ADDRESSES', 'AGE', 'TTL', 'ERROR')]
    for ring in rings:
        lines.append(_RING_ROW % (
            _cut(_name_of(ring), 50), len(ring['addresses']),
            '-' if ring['age'] is None else duration_text(ring['age']),
            '-' if ring['ttl'] is None else duration_text(ring['ttl']), ring['error'] or ''))
    return lines


def _name_of(ring):
    return ring['name'] if ring['port'] is None else '%s:%d' % (ring['name'], ring['port'])


def _cut(text, width):
    return text if len(text) <= width else text[:width - 3] + '...'


def bytes_text(count):
    """`1.4 GiB`: at most four digits and a unit."""
    for unit in ('B', 'KiB', 'MiB', 'GiB', 'TiB'):
        if count < 1000 or unit == 'TiB':
            return '%d %s' % (count, unit) if unit == 'B' else '%.1f %s' % (count, unit)
        count /= 1024.0


def duration_text(seconds):
    """`8 s`, `5 min`, `3 h` or `12 d`: the largest unit that leaves at least two of it."""
    for size, unit in ((86400, 'd'), (3600, 'h'), (60, 'min')):
        if seconds >= 2 * size:
            return '%d %s' % (seconds // size, unit)
    return '%d s' % seconds
