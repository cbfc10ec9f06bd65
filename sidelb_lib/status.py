"""Renders a snapshot of the service (a plain dict, see `service.Service.snapshot`) for people and programs.
Pure."""
from __future__ import absolute_import, division, print_function

import json

WIDTH = 100


def to_json(snapshot):
    """The snapshot as one line of JSON."""
    return json.dumps(snapshot, sort_keys=True)


def to_table(snapshot):
    """The snapshot for a terminal of WIDTH columns, without a final line break."""
    lines = _head(snapshot) + [''] + _members(snapshot['members'])
    if snapshot['rings']:
        lines += [''] + _rings(snapshot['rings'])
    return '\n'.join(line[:WIDTH].rstrip() for line in lines)


def _head(snapshot):
    connections = snapshot['connections']
    refused = sum(connections['refused'].values())
    return [
        'SideLB %s on %s, %s, %s: %s, %s for %s' % (
            snapshot['version'], snapshot['listener'], snapshot['proto'], snapshot['mode'],
            'HEALTHY' if snapshot['healthy'] else 'UNHEALTHY', snapshot['state'], duration_text(snapshot['uptime'])),
        '%d connections, %d in all, %d retried, %d refused%s' % (
            connections['active'], connections['total'], connections['retries'], refused,
            ''.join('; %s: %d' % item for item in sorted(connections['refused'].items()))),
    ]


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
            _cut('%s:%d' % (ring['name'], ring['port']), 50), len(ring['addresses']),
            '-' if ring['age'] is None else duration_text(ring['age']),
            '-' if ring['ttl'] is None else duration_text(ring['ttl']), ring['error'] or ''))
    return lines


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
