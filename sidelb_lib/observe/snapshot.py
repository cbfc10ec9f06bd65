"""The state of a process and of its services as plain dicts of JSON's types: the one list of their keys.

Table, page, metrics and `status --json` are all made out of it. Times are RFC 3339 in UTC, durations seconds. Taking one
is for the greenlets of those who ask: with many members it lets traffic pass in between.
"""
from __future__ import absolute_import, division, print_function

import time

from .logs import timestamp
from ..compat import let_traffic_pass

MEMBERS_AT_ONCE = 16             # between two pauses

DEFAULT_SERVICE = 'default'      # the name of the service of a process that was started without a file of services


def of_process(facts, services):
    """The whole: `facts` is what there is to know of the process, `services` name -> what `of_service` made.

    A process with one service has that service's keys at its top level, too, as before there were several.
    """
    whole = dict(facts, services=services)
    if len(services) == 1:
        for service in services.values():
            whole.update((key, value) for key, value in service.items() if key not in facts)
    return whole


def of_service(service, now):
    """One service. `now` is its clock's time."""
    ready, readiness = service.readiness()
    wall = WallClock(now)
    taken = {
        'state': service.state,
        'healthy': service.healthy(),
        'ready': ready,
        'readiness': readiness,
        'listener': service.listener,
        'mode': service.settings.mode,
        'proto': service.settings.proto,
        'connections': service.server.counts(),
        'tier': service.pool.tier,
        'two_primaries': service.pool.disputes,
        'members': [],
        'rings': [source.snapshot() for source in service.sources if source.kind != 'static'],
        'events': [of_event(wall, *event) for event in service.history.events()],
    }
    members = service.pool.members + service.pool.departing
    carried = bytes_carried(members, service.server.bytes_in_flight())
    for position, member in enumerate(members):
        if position % MEMBERS_AT_ONCE == MEMBERS_AT_ONCE - 1:
            let_traffic_pass()
        taken['members'].append(of_member(wall, member, carried))
    return taken


def of_member(wall, member, carried):
    addresses = [of_address(wall, address, carried) for address in member.addresses if address in carried]
    return {
        'name': member.name,
        'state': member.state,
        'weight': round(member.weight, 3),
        'tier': member.tier,
        'max': member.limit,
        'active': member.active,
        'total': sum(address['total'] for address in addresses),
        'failed': sum(address['failed'] for address in addresses),
        'bytes_sent': sum(address['bytes_sent'] for address in addresses),
        'bytes_received': sum(address['bytes_received'] for address in addresses),
        'addresses': addresses,
    }


def of_address(wall, address, carried):
    sent, received = carried[address]
    return {
        'address': str(address),
        'state': address.state,
        'since': wall.text(address.since),
        'state_seconds': wall.age(address.since),
        'changes': address.changes,
        'last_probe': wall.text(address.last_probe),
        'probe_seconds': address.probe_seconds,
        'last_error': address.last_error,
        'last_error_time': wall.text(address.last_error_at),
        'role': address.role,
        'active': address.active,
        'total': address.total,
        'failed': address.failed,
        'failed_probes': address.failed_probes,
        'bytes_sent': sent,
        'bytes_received': received,
    }


def of_event(wall, when, event, member, address, error):
    return {'time': wall.text(when), 'event': event, 'member': member, 'address': address, 'error': error}


def bytes_carried(members, in_flight):
    """address -> (sent, received), of ended sessions and living ones (`in_flight`).

    All at one moment: a session that ended between the two would count twice, and the next time once, and whoever
    watches would take that for a counter that went back.
    """
    carried = {}
    for member in members:
        for address in member.addresses:
            sent, received = in_flight.get(address, (0, 0))
            carried[address] = address.sent + sent, address.received + received
    return carried


class WallClock(object):
    """Moments of a steady clock, which says `now`, as people read them."""

    def __init__(self, now, wall_now=None):
        self._now = now
        self._offset = (time.time() if wall_now is None else wall_now) - now

    def text(self, moment):
        """RFC 3339; None for None."""
        return None if moment is None else timestamp(self._offset + moment)

    def age(self, moment):
        """Seconds since then; None for None."""
        return None if moment is None else round(self._now - moment, 3)
