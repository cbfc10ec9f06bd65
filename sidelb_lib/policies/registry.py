"""The policies that there are. Each chooses a member out of those that may be chosen, and has a file of its own.

A policy is pure: no I/O; chance and clocks are passed in. It is a class, made with `start` (see `start`), with

- `name` and `meaning`, for people
- `add(member)`, `remove(member)`: who may be chosen
- `choose(excluded, key)`: the next member that is not in `excluded`, or None; `key` is the client's IP, or None
- `recount(member)`: the member's `active` has changed, if it may be chosen
- `reweigh(member, former)`: its `weight` has changed

Of a member they use `order` (its place among members, which no other has), `active`, `weight` and what they say
themselves. One that is full is removed and comes back, as often as that may be.

To add one: its file, and its class in POLICIES.
"""
from __future__ import absolute_import, division, print_function

from .least_connections import LeastConnections
from .limits import Limited
from .round_robin import RoundRobin
from .source import Source, place_of
from .start import instance_of, start_of
from .tiers import Tiers

POLICIES = (
    RoundRobin,
    LeastConnections,
    Source,
)

NAMES = tuple(policy.name for policy in POLICIES)
MEANING = 'balancing policy: ' + '; '.join('%s (%s)' % (policy.name, policy.meaning) for policy in POLICIES)


def policy_named(name, start):
    """A new policy, for one tier and without limits."""
    return dict((policy.name, policy) for policy in POLICIES)[name](start)


def policy_of(settings, host, random, clock, on_room):
    """The policy that `settings` ask for. `host` is the name of this host, `random` gives a number of at least 0 and below
    1, `clock` seconds. `on_room(member)` hears that one was full, and is not any more."""
    start, limited = _start(settings, host, random), may_limit(settings)

    def make():
        policy = policy_named(settings.mode, start)
        return Limited(policy, on_room) if limited else policy
    return Tiers(make, random, clock, settings.spill, settings.tier_return,
                 place_of if settings.mode == Source.name else None)


def may_limit(settings):
    """May a server have `/max=`?"""
    return bool(settings.servers_file) or any(
        server.options and server.options.max for server in settings.backends + settings.ring_domains)


def start_told(settings, host):
    """What decides where the first session goes, for people."""
    return "the client's IP" if settings.mode == Source.name else _instance(settings, host)[1]


def _start(settings, host, random):
    number, _ = _instance(settings, host)
    return random if number is None else start_of(number)


def _instance(settings, host):
    return instance_of(settings.instance, host, shares_host=settings.reuse_port)
