"""Which addresses are one server, told by the names they have. Pure: no I/O, no clock."""
from __future__ import absolute_import, division, print_function

from collections import namedtuple

from ..net.endpoints import is_ipv6
from ..pool.merging import Group, merge_groups

#: What is known of an address's names. `names` is a tuple of server names that may be used, `why` is None or
#: the Why of there being none.
Naming = namedtuple('Naming', 'names why')

#: Why an address has no server name: `kind` is one of the constants below, `text` tells it to a person.
Why = namedtuple('Why', 'kind text')

NO_PTR = 'no PTR'
UNCONFIRMED = 'unconfirmed'
FAILED = 'failed'
RING_NAME = 'ring name'
SHARED_BY_ALL = 'shared by all'


def group_addresses(units, namings, ring_names=(), pause=None):
    """Group addresses into servers: ([Group, ...], {(ip, port): Why}).

    `units` are lists of (ip, port), each known to be one server: one address each in a ring, more where a user has
    joined them by hand. `namings` maps an IP to its Naming; an IP that is not in it has not been looked up yet.
    `ring_names` are names of services, which name no single server. `pause()` is called now and then, see `merge_groups`.

    Units that share one name on one port are one server. The second result tells of each address that has no name why
    that is so; one that has not been looked up yet is not in it.
    """
    shared = _names_shared_by_all(units, namings)
    groups, alone = [Group(None, unit) for unit in units], {}
    for unit in units:
        for endpoint in unit:
            naming = namings.get(endpoint[0])
            if naming:
                names = [name for name in naming.names
                         if name not in ring_names and (name, endpoint[1]) not in shared]
                groups.extend(Group(name, [endpoint]) for name in names)
                if not names and len(unit) == 1:
                    alone[endpoint] = _why_alone(naming, ring_names)
    return merge_groups(groups, pause), alone


def _names_shared_by_all(units, namings):
    """The (name, port) pairs that every address of a port claims although they can't be one server.

    That is an alias of the whole service, like a PTR record made by a template. Two addresses of one family are taken
    as two servers here; IPv4 beside IPv6 is one server. An address whose names are not known, as yet or because its
    look-up failed, does not speak against it: grouping waits for what it would have to undo.
    """
    claimants, silent, endpoints = {}, set(), {}
    for number, unit in enumerate(units):
        for endpoint in unit:
            ip, port = endpoint
            naming = namings.get(ip)
            endpoints.setdefault(port, set()).add(endpoint)
            if naming is None or naming.why and naming.why.kind == FAILED:
                silent.add(endpoint)
            for name in naming.names if naming else ():
                claimants.setdefault((name, port), {})[endpoint] = number
    return set(claim for claim, numbers in claimants.items()
               if endpoints[claim[1]] <= silent.union(numbers) and _joins_a_family(numbers))


def _joins_a_family(numbers):
    """Do the claimants, {(ip, port): unit's number}, have two units with addresses of one family?"""
    units = {}
    for (ip, _), number in numbers.items():
        units.setdefault(is_ipv6(ip), set()).add(number)
    return any(len(family) > 1 for family in units.values())


def _why_alone(naming, ring_names):
    if naming.why:
        return naming.why
    own = [name for name in naming.names if name in ring_names]
    if own:
        return Why(RING_NAME, 'its name %s is that of the ring' % own[0])
    text = 'all addresses claim the name %s, so it names no single server' % naming.names[0]
    return Why(SHARED_BY_ALL, text)
