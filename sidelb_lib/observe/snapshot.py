"""The state of a process and of its services as plain dicts of JSON's types: the one list of their keys.

Table, page, metrics and `status --json` are all made out of it. Times are RFC 3339 in UTC, durations seconds. Taking one
is for the greenlets of those who ask: with many members it lets traffic pass in between.
"""
from __future__ import absolute_import, division, print_function

import time

from . import said
from .changes import WORDS
from .logs import timestamp
from .timeline import POINTS, STEP_SECONDS
from ..compat import paced

MEMBERS_AT_ONCE = 16             # between two pauses

DEFAULT_SERVICE = 'default'      # the name of the service of a process that was started without a file of services


MAX_CHANGES = 20


def of_process(facts, services, changes=()):
    """The whole: `facts` is what there is to know of the process, `services` name -> what `of_service` made, `changes` what
    `of_change` made of all of them.

    A process with one service has that service's keys at its top level, too, as before there were several.
    """
    whole = dict(facts, services=services)
    if len(services) == 1:
        for service in services.values():
            whole.update((key, value) for key, value in service.items() if key not in facts)
    whole['time'] = timestamp(time.time())
    whole['verdict'] = said.overall(services)
    whole['readiness'] = whole['verdict']['text']
    whole['changes'] = sorted(changes, key=lambda change: change['time'], reverse=True)[:MAX_CHANGES]
    whole['history'] = {'points': POINTS, 'step': int(STEP_SECONDS)}
    return whole


def of_service(service, now, with_history=False):
    """One service. `now` is its clock's time; with history every server has its last 15 minutes."""
    wall = WallClock(now)
    counts = service.server.counts()
    taken = {
        'state': service.state,
        'healthy': service.healthy(),
        'ready': service.ready(),
        'listener': service.listener,
        'mode': service.settings.mode,
        'proto': service.settings.proto,
        'check': str(service.settings.check),
        'tier': service.pool.tier,
        'tiers': of_tiers(service.pool),
        'two_primaries': service.pool.disputes,
        'connections': dict(counts, new_per_second=service.timeline.whole.new_per_second(now, counts['total'])),
        'members': [],
        'rings': [of_ring(source.snapshot()) for source in service.sources if source.kind != 'static'],
        'events': [of_event(wall, *event) for event in service.history.events()],
    }
    if with_history:
        taken['history'] = service.timeline.whole.snapshot()
    members = service.pool.members + service.pool.departing
    carried = bytes_carried(members, service.server.bytes_in_flight())
    for member in paced(members, MEMBERS_AT_ONCE):
        taken['members'].append(of_member(wall, member, carried, service.timeline.of(member.name), with_history,
                                          service.drained_by.get(member.name)))
    taken['suffix'] = said.common_suffix([member['name'] for member in taken['members']])
    taken['port'] = said.common_port(taken['members'])
    taken['verdict'] = said.verdict(taken)
    taken['readiness'] = taken['verdict']['text']
    return taken


def verdict_of(service):
    """The verdict of a service without all else; with 300 servers it takes 0.4 ms."""
    return said.verdict({
        'state': service.state,
        'proto': service.settings.proto,
        'check': str(service.settings.check),
        'connections': service.server.counts(),
        'tiers': of_tiers(service.pool),
        'members': [{'name': member.name, 'state': member.state, 'active': member.active, 'max': member.limit,
                     'addresses': [{'state': address.state} for address in member.addresses]}
                    for member in service.pool.members + service.pool.departing],
        'rings': [{'state': source.state, 'kind': source.kind, 'port': source.port} for source in service.sources
                  if source.kind != 'static'],
    })


def of_member(wall, member, carried, track, with_history, by=None):
    addresses = [of_address(wall, address, carried) for address in member.addresses if address in carried]
    total = sum(address['total'] for address in addresses)
    taken = {
        'name': member.name,
        'state': member.state,
        'since': min([address['state_seconds'] for address in addresses if address['state'] == member.state] or
                     [address['state_seconds'] for address in addresses] or [0]),
        'role': next((address.role for address in member.addresses if address.role), None),
        'weight': said.rounded(member.weight),
        'tier': member.tier,
        'max': member.limit,
        'by': by if any(address.is_drained for address in member.addresses) else None,
        'active': member.active,
        'new_per_second': track.new_per_second(wall.now, total),
        'total': total,
        'failed': sum(address['failed'] for address in addresses),
        'bytes_sent': sum(address['bytes_sent'] for address in addresses),
        'bytes_received': sum(address['bytes_received'] for address in addresses),
        'addresses': addresses,
    }
    taken['note'] = said.note(taken)
    if with_history:
        taken['history'] = track.snapshot()
    return taken


def of_address(wall, address, carried):
    sent, received = carried[address]
    probes = address.probes
    last_check_failed = probes.is_down != bool(probes.streak)
    return {
        'address': str(address),
        'state': address.state,
        'since': wall.text(address.since),
        'state_seconds': wall.age(address.since),
        'changes': address.changes,
        'last_probe': wall.text(address.last_probe),
        'probe_seconds': None if last_check_failed else address.probe_seconds,
        'last_error': address.last_error,
        'last_error_time': wall.text(address.last_error_at),
        'last_error_seconds': wall.age(address.last_error_at),
        'role': address.role,
        'certificate_seconds': wall.left(address.not_after),
        'active': address.active,
        'total': address.total,
        'failed': address.failed,
        'failed_probes': address.failed_probes,
        'bytes_sent': sent,
        'bytes_received': received,
    }


def of_tiers(pool):
    """The tiers of the members that are known, and the best one that there should be, in order; and what part of the new
    sessions each takes."""
    tiers = sorted(set([pool.tier_news.best_named] + [member.tier for member in pool.members]))
    parts = pool.tier_parts() if len(tiers) > 1 else {}
    return [{'tier': tier, 'part': round(parts.get(tier, 1.0 if tier == pool.tier else 0.0), 3)} for tier in tiers]


def of_ring(ring):
    return dict(ring, count=len(ring['addresses']), note=said.ring_note(ring))


def of_event(wall, when, event, member, address, error):
    return {'time': wall.text(when), 'event': event, 'member': member, 'address': address, 'error': error}


def of_changes(now, name, service, suffix):
    wall = WallClock(now)
    return [{'time': wall.text(change.when), 'service': name, 'event': change.event, 'word': WORDS[change.event][0],
             'level': WORDS[change.event][1], 'text': change.text(suffix)} for change in service.changes.entries()]


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
        self.now = now
        self._offset = (time.time() if wall_now is None else wall_now) - now

    def text(self, moment):
        """RFC 3339; None for None."""
        return None if moment is None else timestamp(self._offset + moment)

    def left(self, wall_moment):
        """Seconds until a moment in Unix time, negative when it has passed; None for None."""
        return None if wall_moment is None else round(wall_moment - self._offset - self.now, 3)

    def age(self, moment):
        """Seconds since then; None for None."""
        return None if moment is None else round(self.now - moment, 3)
