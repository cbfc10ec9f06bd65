"""What the sources say of their servers, and which of it is about one server. Pure: no I/O, no clock."""
from __future__ import absolute_import, division, print_function

from collections import namedtuple

from ..net.endpoints import endpoint_key

MAX_WEIGHT = 256

#: What is asked of a server beside its addresses. Each is None where it was not written: only what was written merges.
#: `weight` is a number from 0 to MAX_WEIGHT, `tier` 1 to 9 with the lower ones preferred, `max` the limit of its sessions.
#: `record` is the weight of an SRV record as it stands there: `weight` is scaled, and changes with those of others.
Options = namedtuple('Options', 'weight tier max record')
Options.__new__.__defaults__ = (None,)

SLICE = 64              # groups between two pauses


def tier_of(options):
    """The tier that Options, or None, stand for."""
    return options and options.tier or 1


class Group(namedtuple('Group', 'name endpoints options')):
    """One server as a source sees it: its name or None, its [(ip, port), ...], its Options or None."""

    __slots__ = ()

    def __new__(cls, name, endpoints, options=None):
        return super(Group, cls).__new__(cls, name, endpoints, options)

    @property
    def order(self):
        """The stable order of members: unnamed ones by address, then named ones by name. Of merged groups."""
        return self.name or '', endpoint_key(self.endpoints[0])


def merge_groups(groups, pause=None):
    """Join groups that are about one server: those that share an endpoint, or the same name and port.

    The result is a list of Groups in `order`, where no endpoint stands twice and endpoints are sorted. Of several names
    the first in the alphabet is kept, of several options those that `merge_options` chooses. `pause()` is called between
    slices of the work: four thousand groups take a while.

    A union-find: hostile names must not make it slow.
    """
    parents = list(range(len(groups)))

    def root(number):
        while parents[number] != number:
            parents[number] = number = parents[parents[number]]
        return number

    owners = {}
    for number, group in enumerate(groups):
        pause_after(number, pause)
        for endpoint in group.endpoints:
            parents[root(number)] = root(owners.setdefault(endpoint, number))
            if group.name:
                parents[root(number)] = root(owners.setdefault((group.name, endpoint[1], 'name'), number))
    parts = {}
    for number, group in enumerate(groups):
        parts.setdefault(root(number), []).append(group)
    ordered = []
    for number, part in enumerate(parts.values()):
        pause_after(number, pause)
        group = part[0] if len(part) == len(part[0].endpoints) == 1 else _merged(part)
        ordered.append((group.order, number, group))
    ordered.sort()
    return [group for _, _, group in ordered]


def pause_after(number, pause):
    if pause and number % SLICE == SLICE - 1:
        pause()


def _merged(groups):
    """One Group out of all that are about one server."""
    names = [group.name for group in groups if group.name]
    endpoints = set(endpoint for group in groups for endpoint in group.endpoints)
    options = [group.options for group in groups if group.options]
    return Group(min(names) if names else None,
                 sorted(endpoints, key=endpoint_key),
                 merge_options(options) if options else None)


def merge_options(options):
    """The Options of a server that several sources name: the lowest tier, the largest weight, the smallest limit."""
    written = [[value for value in values if value is not None] for values in zip(*options)]
    return Options(*[choose(values) if values else None for choose, values in zip((max, min, min, max), written)])
