"""Members without a pool, and what the pool does with a policy."""
from __future__ import absolute_import, division, print_function

from sidelb_lib.pool.members import Address, Member
from sidelb_lib.pool.merging import Options


def members(names, weights=(), tiers=(), limit=None):
    """A Member for each letter of `names`, sorted."""
    made = []
    for position, name in enumerate(names):
        options = Options(weights[position] if weights else None, tiers[position] if tiers else None, limit)
        address = Address('10.0.0.%d' % ord(name[0]), 5432, 0)
        address.member = Member(name, [address], (name, ()), options)
        made.append(address.member)
    return made


def tell(policy, wanted):
    """Let these be the members that may be chosen."""
    told = policy.__dict__.setdefault('told_by_test', [])
    for member in wanted:
        if member not in told:
            policy.add(member)
    for member in told:
        if member not in wanted:
            policy.remove(member)
    policy.told_by_test = list(wanted)


def chosen(policy, count, excluded=()):
    """The names of the next ones, who keep no session."""
    return ''.join(policy.choose(excluded).name for _ in range(count))


def take(policy, excluded=(), key=None):
    """The member that gets the next session, counted."""
    member = policy.choose(excluded, key)
    if member:
        member.active += 1
        policy.recount(member)
    return member


def release(policy, member):
    member.active -= 1
    policy.recount(member)


def reweigh(policy, member, weight):
    former, member.weight = member.weight, weight
    policy.reweigh(member, former)
