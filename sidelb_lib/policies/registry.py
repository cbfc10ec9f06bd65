"""The policies that there are. Each chooses a member out of those that may be chosen, and has a file of its own.

A policy is pure: no I/O; chance and clocks are passed in. It is a class with

- `name` and `meaning`, for people
- `update(members)`: who may be chosen (sorted, in stable order)
- `choose(excluded, key)`: the next member that is not in `excluded`, or None; `key` is the client's IP, or None
- `recount(member)`: the member's `active` has changed

To add one: its file, and its class in POLICIES.
"""
from __future__ import absolute_import, division, print_function

from .least_connections import LeastConnections
from .round_robin import RoundRobin

POLICIES = (RoundRobin, LeastConnections)

NAMES = tuple(policy.name for policy in POLICIES)
MEANING = 'balancing policy: %s' % ' or '.join(NAMES)


def policy_named(name, random):
    """A new policy. `random` gives a number of at least 0 and below 1."""
    return dict((policy.name, policy) for policy in POLICIES)[name](random)
