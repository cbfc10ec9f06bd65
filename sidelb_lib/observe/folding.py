"""Many servers that are out in the same way, as one with their sums, for the table of a terminal. Pure.

The page does the same: `folded` in page.html.
"""
from __future__ import absolute_import, division, print_function, unicode_literals

from .said import natural, plural, state_of
from .timeline import DIGITS

FOLD_FROM = 10                   # of one state, tier and note
MAX_NAMES = 3
OUT = frozenset(['down', 'unchecked', 'departing', 'draining'])      # of those who serve each one counts
SUMS = ('active', 'new_per_second', 'total', 'failed', 'bytes_sent', 'bytes_received')


def folded(members):
    """`members`, in place of each FOLD_FROM or more that are alike a stand-in."""
    groups = {}
    for member in members:
        groups.setdefault(_likeness(member), []).append(member)
    out = []
    for member in members:
        alike = groups[_likeness(member)]
        if len(alike) < FOLD_FROM or state_of(member) not in OUT:
            out.append(member)
        elif alike[0] is member:
            out.append(_stand_in(alike, members))
    return out


def _likeness(member):
    return state_of(member), member.get('tier', 1), member.get('note')


def _stand_in(alike, members):
    first = alike[0]
    tier = [one for one in members if one.get('tier', 1) == first.get('tier', 1)]
    if len(tier) > len(alike):
        name = plural(len(alike), 'server')
    else:
        name = 'all %d' % len(alike) + (' of tier %d' % first['tier'] if len(tier) < len(members) else '')
    out = dict(first, name=name, members=alike, addresses=[], **dict((key, _sum(alike, key)) for key in SUMS))
    for key in 'role', 'weight':
        out[key] = first.get(key) if all(one.get(key) == first.get(key) for one in alike) else None
    if 'since' in first:
        out['since'] = max(one['since'] for one in alike)
    if 'history' in first:
        out['history'] = _summed([one['history'] for one in alike])
    return out


def _sum(members, key):
    return sum(member.get(key) or 0 for member in members)


def names_of(stand_in, suffix, most=MAX_NAMES):
    """`cache-1, cache-2, cache-3 and 7 more`."""
    names = [one['name'] for one in stand_in['members']]
    names = sorted((name[:-len(suffix)] if suffix and name.endswith(suffix) else name for name in names), key=natural)
    return '%s and %d more' % (', '.join(names[:most]), len(names) - most)


def _summed(histories):
    """The loads of several added up."""
    loads = []
    for position in range(len(histories[0]['load'])):
        known = [DIGITS.index(one['load'][position]) / 61 * one['peak'] for one in histories if one['load'][position] != '.']
        loads.append(sum(known) if known else None)
    peak = int(round(max([0] + [load for load in loads if load is not None])))
    load = ''.join('.' if one is None else DIGITS[min(61, int(round(one / peak * 61))) if peak else 0] for one in loads)
    return {'peak': peak, 'load': load, 'states': ''}
