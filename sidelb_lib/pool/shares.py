"""The share of all sessions that each server ought to have, and who has more: what `rebalance` decides by."""
from __future__ import absolute_import, division, print_function

import math


def excesses(members, takes):
    """{member: how many sessions it has above its share}, of those that have any.

    `members` are the ones whose sessions are shared out; those of which `takes(member)` is true take new ones: each ought
    to have its part by weight, rounded up, and not more than its limit. The others ought to have none; but no more is
    above than those who have less than their share can take.
    """
    takers = [member for member in members if takes(member) and member.weight]
    if not takers:                                 # nobody could take what is closed
        return {}
    shares = dict.fromkeys(members, 0)
    shares.update(_shares(sum(member.active for member in members), takers))
    room = sum(max(0, share - member.active) for member, share in shares.items())
    found = {}
    for member in members:
        excess = min(member.active - shares[member], room)
        if excess > 0:
            found[member] = excess
            room -= excess
    return found


def _shares(total, members):
    """What a full server cannot take the others share: again and again, until nobody has more than its limit."""
    shares, left = {}, members
    while left:
        weights = sum(member.weight for member in left)
        parts = dict((member, total * member.weight / weights) for member in left)
        full = [member for member in left if member.limit is not None and parts[member] >= member.limit]
        if not full:
            # a hair of rounding is no session
            shares.update((member, int(math.ceil(part - 1e-9))) for member, part in parts.items())
            break
        shares.update((member, member.limit) for member in full)
        total = max(0, total - sum(member.limit for member in full))
        left = [member for member in left if member not in full]
    if not left:                                   # all are full: what is above stays
        shares.update((member, max(member.limit, member.active)) for member in members)
    return shares
