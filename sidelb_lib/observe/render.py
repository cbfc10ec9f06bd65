"""A snapshot (see `observe.snapshot`) as JSON, and the sums of several. Pure."""
from __future__ import absolute_import, division, print_function

import json

from . import said

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


def totals(snapshots):
    """For each listener that several of the snapshots have, their sum."""
    groups = {}
    for snapshot in [one for whole in snapshots for one in whole.get('services', {'': whole}).values()]:
        groups.setdefault((snapshot['listener'], snapshot['proto']), []).append(snapshot)
    return [summed(groups[key]) for key in sorted(groups) if len(groups[key]) > 1]


def summed(snapshots):
    """What several instances carry together, as a service of a snapshot. Addresses and rings are left out."""
    first = snapshots[0]
    members = {}
    for snapshot in snapshots:
        for member in snapshot['members']:
            members.setdefault(member['name'], []).append(member)
    total = {
        'instances': len(snapshots),
        'state': first['state'],
        'check': first['check'],
        'mode': first['mode'],
        'listener': first['listener'],
        'proto': first['proto'],
        'healthy': all(snapshot['healthy'] for snapshot in snapshots),
        'connections': _added([snapshot['connections'] for snapshot in snapshots]),
        'members': [
            dict(_added(members[name]), name=name, addresses=[], note='', since=members[name][0]['since'],
                 weight=members[name][0]['weight'], tier=members[name][0]['tier'],
                 state=_common_state([one['state'] for one in members[name]]))
            for name in sorted(members)],
        'rings': [],
    }
    total['suffix'] = said.common_suffix(sorted(members))
    total['verdict'] = said.verdict(total)
    return total


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
