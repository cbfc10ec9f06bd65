"""Which addresses are one server, told by the names they have. Pure: no I/O, no clock."""
from __future__ import absolute_import, division, print_function

from collections import namedtuple

from ..net.endpoints import is_ipv6
from ..pool.merging import Group, merge_groups, pause_after

#: What is known of an address's names. `names` is a tuple of server names that may be used, `why` is None or
#: the Why of there being none.
Naming = namedtuple('Naming', 'names why')

#: Why an address has no server name: `kind` is one of the constants below, `text` tells it to a person.
Why = namedtuple('Why', 'kind text')

NO_PTR = 'no PTR'
UNCONFIRMED = 'unconfirmed'
FAILED = 'failed'
RING_NAME = 'ring name'
SHARED_BY_ALL = 'shared by all'        # or by most

#: Those that are no news of a server that a user names by address.
OF_ADDRESS = (NO_PTR, UNCONFIRMED, FAILED)

_MANY = 3            # addresses of one family are hardly one server's


def group_addresses(units, namings, ring_names=(), pause=None):
    """Group addresses into servers: ([Group, ...], {(ip, port): Why}).

    `units` are lists of (ip, port), each known to be one server: one address each in a ring, more where a user has
    joined them by hand. `namings` maps an IP to its Naming; an IP that is not in it has not been looked up yet.
    `ring_names` are names of services, which name no single server. `pause()` is called now and then, see `merge_groups`.

    Units that share one name on one port are one server. The second result tells of each address that has no name why
    that is so; one that has not been looked up yet is not in it.
    """
    shared = _shared_names(units, namings, pause)
    groups, alone = [Group(None, unit) for unit in units], {}
    for number, unit in enumerate(units):
        pause_after(number, pause)
        for endpoint in unit:
            naming = namings.get(endpoint[0])
            if naming:
                names = [name for name in naming.names
                         if name not in ring_names and (name, endpoint[1]) not in shared]
                groups.extend(Group(name, [endpoint]) for name in names)
                if not names and len(unit) == 1:
                    alone[endpoint] = _why_alone(naming, endpoint[1], ring_names, shared)
    return merge_groups(groups, pause), alone


def _shared_names(units, namings, pause):
    """{(name, port): 'all' or 'most'} of names that so many addresses of a port claim that they can't be one server's.

    That is an alias of the whole service, like a PTR record made by a template. Two addresses of one family are taken as
    two servers here; IPv4 beside IPv6 is one server. So a name is nobody's when all claim it and there are two of one
    family, or when three or more of one family claim it and these are more than half of all, or of that family. An address
    whose names are not known, as yet or because its look-up failed, does not speak against it: grouping waits for what it
    would have to undo.
    """
    claimants, silent, counts = {}, {}, {}
    for number, unit in enumerate(units):
        pause_after(number, pause)
        for ip, port in unit:
            naming, family = namings.get(ip), is_ipv6(ip)
            _count(counts, port, family)
            if naming is None or naming.why and naming.why.kind == FAILED:
                _count(silent, port, family)
            for name in naming.names if naming else ():
                claimants.setdefault((name, port), {}).setdefault(family, []).append(number)
    shared = {}
    for claim, families in claimants.items():
        _, port = claim
        share = _share(families, silent.get(port, {}), counts[port])
        if share:
            shared[claim] = share
    return shared


def _count(counts, port, family):
    of_port = counts.setdefault(port, {True: 0, False: 0})
    of_port[family] += 1


def _share(families, silent, counts):
    """'all', 'most' or None: {family: [unit that claims a name]}, {family: addresses that say nothing}, {family: all
    addresses} of one port."""
    several = [family for family, numbers in families.items() if len(set(numbers)) > 1]
    total, quiet = sum(counts.values()), sum(silent.values())
    claiming = sum(len(numbers) for numbers in families.values())
    if several and claiming + quiet == total:
        return 'all'
    for family in several:
        units, still = len(set(families[family])), silent.get(family, 0)
        if units + still >= _MANY and (2 * (claiming + quiet) > total
                                       or 2 * (len(families[family]) + still) > counts[family]):
            return 'most'
    return None


def _why_alone(naming, port, ring_names, shared):
    if naming.why:
        return naming.why
    own = [name for name in naming.names if name in ring_names]
    if own:
        return Why(RING_NAME, 'its name %s is that of the ring' % own[0])
    text = '%s addresses claim the name %s, so it names no single server' % (
        shared[naming.names[0], port], naming.names[0])
    return Why(SHARED_BY_ALL, text)
