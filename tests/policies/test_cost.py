"""What a session costs: as much with 1,000 members as with 10. Counted in lines of Python, which no busy machine changes."""
from __future__ import absolute_import, division, print_function

import random
import sys

import pytest

from sidelb_lib.policies.least_connections import LeastConnections
from sidelb_lib.policies.limits import Limited
from sidelb_lib.policies.round_robin import RoundRobin
from sidelb_lib.policies.source import Source
from sidelb_lib.policies.tiers import Tiers
from ..support.clock import Clock
from .parts import members, release, take

SESSIONS = 2500


def lines(run):
    counted = [0]

    def trace(frame, event, argument):
        counted[0] += event == 'line'
        return trace
    former = sys.gettrace()
    sys.settrace(trace)
    try:
        run()
    finally:
        sys.settrace(former)
    return counted[0]


def cost(kind, count, weights=(1,), tiers=(1,), limit=None, spill=0):
    """Lines for each of many sessions, of which half the members have one at a time, and which end in any order."""
    def make():
        policy = kind(lambda: 0.0)
        return Limited(policy, lambda member: None) if limit else policy
    everyone = members(['%04d' % number for number in range(count)], limit=limit,
                       weights=[weights[number % len(weights)] for number in range(count)],
                       tiers=[tiers[number % len(tiers)] for number in range(count)])
    policy = Tiers(make, random.Random(1).random, Clock(), spill)
    for member in everyone:
        policy.know(member, 1)
    for member in everyone[:-1]:
        policy.add(member)
    keys = ['10.9.0.%d' % number for number in range(100)]
    held = [take(policy, key=keys[number % 100]) for number in range(max(count // 2, 100 if kind is Source else 0))]

    def run():
        for number in range(SESSIONS):
            held.append(take(policy, key=keys[number % 100]))
            release(policy, held.pop(number * 7 % len(held)))
    return lines(run) / SESSIONS


@pytest.mark.parametrize('kind, more', [
    (RoundRobin, {}), (RoundRobin, dict(weights=(1, 2, 3))), (RoundRobin, dict(limit=1)),
    (RoundRobin, dict(weights=(1, 2, 3), limit=1)), (RoundRobin, dict(tiers=(1, 2))),
    (RoundRobin, dict(tiers=(1, 2), spill=1.4)), (LeastConnections, {}), (LeastConnections, dict(weights=(1, 2, 3))),
    (LeastConnections, dict(weights=(1, 2, 3), limit=1)),
    (Source, {}), (Source, dict(weights=(1, 2, 3)))])
def test_a_session_costs_the_same_with_a_thousand_members_as_with_ten(kind, more):
    few, many = cost(kind, 10, **more), cost(kind, 1000, **more)
    assert many < 1.3 * few + 3, (few, many)
