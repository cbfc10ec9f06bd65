"""What is said of a service, what has changed, and its last 15 minutes."""
from __future__ import absolute_import, division, print_function

import collections
import json

import pytest

from sidelb_lib.observe import said
from sidelb_lib.observe.changes import Changes
from sidelb_lib.observe.snapshot import WallClock, of_address
from sidelb_lib.observe.timeline import MAX_TRACKS, POINTS, Timeline
from sidelb_lib.pool.members import DOWN, Address, Member

from ..support.clock import Clock
from .test_page import address, down, member, ring, service


def members(up=0, is_down=0, **others):
    found = [member('db%d.example.com' % n, address('10.0.0.%d:1' % n)) for n in range(up)]
    found += [member('dx%d.example.com' % n, down('10.0.1.%d:1' % n), state='down') for n in range(is_down)]
    for state, count in sorted(others.items()):
        found += [member('%s%d.example.com' % (state, n), address('10.0.2.%d:1' % n, state=state), state=state)
                  for n in range(count)]
    return found


def limited(*servers):
    return [member('db%d.example.com' % number, address('10.0.0.%d:1' % number), active=active, max=limit)
            for number, (active, limit) in enumerate(servers)]


def test_of_a_server_that_is_full_its_limit_is_said():
    assert [said.note(one) for one in limited((1, 1), (12, 10), (9, 10), (7, None))] == [
        'full: takes 1 session', 'full: takes 10 sessions', '', '']


def tiers(*parts):
    return [{'tier': number + 1, 'part': part} for number, part in enumerate(parts)]


@pytest.mark.parametrize('given, changes, level, text', [
    (members(10), {}, 'good', 'all 10 up'),
    (members(1), {}, 'good', 'the only server is up'),
    (members(47, 3), {}, 'warn', '47 of 50 up, 3 down'),
    (members(0, 50), {}, 'bad', 'none of 50 is up'),
    ([], {}, 'bad', 'no server is known'),
    (members(0, unchecked=3), {}, 'warn', '3 not checked yet'),
    (members(2, draining=1), {}, 'good', '2 of 3 up, 1 draining'),
    (members(1, standby=2), {'check': 'postgres/primary'}, 'good', 'db0 is primary, 2 standby'),
    (members(0, 1, standby=2), {'check': 'postgres/primary', 'connections': {'waiting': 12}}, 'bad',
     'no primary, 1 down, 2 standby, 12 clients waiting'),
    (members(2), {'check': 'postgres/primary'}, 'bad', '2 primaries: db0, db1'),
    (members(10), {'rings': [ring('db.example.com', state='failing')]}, 'warn', 'all 10 up, DNS failing'),
    (members(2), {'rings': [ring('/run/servers', kind='file', port=None, state='failing')]}, 'warn',
     'all 2 up, file failing'),
    (members(2), {'connections': {'waiting': 1}}, 'warn', 'all 2 up, 1 client waiting'),
    (limited((5, 5), (3, 5), (7, None)), {}, 'good', 'all 3 up, 1 full'),
    (limited((5, 5), (7, 5)), {'connections': {'waiting': 3}}, 'warn', 'all 2 up, 2 full, 3 clients waiting'),
    (members(2), {'tiers': tiers(0.27, 0.73)}, 'good', 'all 2 up, tier 1 takes 27 % of new sessions'),
    (members(2, 1), {'tiers': tiers(0, 1)}, 'warn', '2 of 3 up, 1 down, tier 2 takes new sessions'),
    (members(1, draining=2), {'tiers': tiers(0, 0, 1)}, 'good', '1 of 3 up, 2 draining, tier 3 takes new sessions'),
    (members(3), {'tiers': tiers(1, 0)}, 'good', 'all 3 up'),
    (members(0, 2), {'tiers': tiers(0, 1)}, 'bad', 'none of 2 is up'),
    (members(2), {'state': 'draining'}, 'warn', 'all 2 up, stopping')])
def test_verdict(given, changes, level, text):
    assert service(given, **changes)['verdict'] == {'level': level, 'text': text}


def targets(found, lost):
    return [{'name': 'db%d.example.com' % number, 'addresses': ['10.0.0.1:1'] * (number <= found)}
            for number in range(1, found + lost + 1)]


@pytest.mark.parametrize('ring, note', [
    ({'state': 'ok'}, ''), ({'state': 'ok', 'targets': targets(3, 0)}, ''),
    ({'state': 'pending', 'targets': targets(0, 3)}, ''),
    ({'state': 'ok', 'targets': targets(1, 1)}, '1 of 2 targets without an address: db2.example.com'),
    ({'state': 'partial', 'targets': targets(0, 5)},
     '5 of 5 targets without an address: db1.example.com, db2.example.com, db3.example.com and 2 more'),
])
def test_the_targets_of_an_srv_name_that_are_no_servers_are_named(ring, note):
    assert said.ring_note(ring) == note


@pytest.mark.parametrize('weight, shown', [(0, 0), (3, 3), (1.5, 1.5), (2.99725, 2.997), (0.0000458, 0.00005)])
def test_a_small_weight_does_not_look_like_none(weight, shown):
    assert said.rounded(weight) == shown


def test_of_several_services_the_worst_two_are_named():
    services = {'db': service(members(2)), 'cache': service(members(0, 10)), 'amqp': service(members(2, 1)),
                'dns': service(members(1, 1))}
    assert said.overall(services) == {
        'level': 'bad', 'text': 'cache: none of 10 is up; amqp: 2 of 3 up, 1 down and 1 more'}


@pytest.mark.parametrize('names, suffix', [
    (['db1.example.com', 'db2.example.com'], '.example.com'), (['a.x.com', 'b.y.com'], '.com'),
    (['db1.example.com'], ''), (['10.0.0.1:5432', '10.0.1.1:5432'], ''), (['a', 'b'], ''), ([], '')])
def test_what_all_names_end_in_is_said_once(names, suffix):
    assert said.common_suffix(names) == suffix


def server(number, error=None):
    one = Address('10.0.0.%d' % number, 5432, 0.0)
    one.member = Member('cache-%02d.example.com' % number, [one])
    one.last_error = error
    one.up = error is None
    return one


def test_a_hundred_servers_that_go_down_at_once_are_one_change():
    clock = Clock(100.0)
    changes = Changes(clock)
    for number in range(1, 101):
        changes.observe('down', server(number, 'connection refused'))
        clock.now += 0.04
    assert [change.text('.example.com') for change in changes.entries()] == [
        'cache-01, cache-02, cache-03 and 97 more: connection refused']


def test_another_error_and_a_later_moment_are_changes_of_their_own():
    clock = Clock(100.0)
    changes = Changes(clock)
    changes.observe('down', server(1, 'refused'))
    changes.observe('down', server(2, 'timed out'))
    changes.observe('failed', server(2, 'timed out'))
    clock.now += 6
    changes.observe('down', server(3, 'timed out'))
    assert [change.text() for change in changes.entries()] == [
        'cache-03.example.com: timed out', 'cache-02.example.com: timed out', 'cache-01.example.com: refused']


def test_a_role_a_look_up_and_a_person_are_changes():
    clock = Clock(100.0)
    changes = Changes(clock)
    one = server(1)
    one.role, one.former_role = 'replica', 'primary'
    changes.observe('role', one)
    source = Source('pending')
    source.turn(changes, 'ok')
    source.turn(changes, 'failing', 'SERVFAIL from 10.0.0.2')
    source.turn(changes, 'ok')
    changes.observe_person('drain', 'cache-02.example.com', 'uid 1000')
    changes.observe_person('reload', '', 'uid 1000')
    assert [(change.event, change.text('.example.com')) for change in changes.entries()] == [
        ('drain', 'cache-02: by uid 1000'), ('dns_ok', 'db.example.com:5432: answers again'),
        ('dns', 'db.example.com:5432: SERVFAIL from 10.0.0.2'), ('role', 'cache-01: replica, was primary')]


def test_another_tier_is_a_change_of_its_own():
    changes = Changes(Clock(100.0))
    for tier in 2, 1:
        changes.observe('tier', collections.namedtuple('Pool', 'tier')(tier))
    assert [change.text('.example.com') for change in changes.entries()] == [
        'new sessions go to tier 1', 'new sessions go to tier 2']


class Source(object):
    source, error, kind, port = 'ring db.example.com:5432', None, 'ring', 5432

    def __init__(self, state):
        self.state = state

    def turn(self, changes, state, error=None):
        former, self.state, self.error = self.state, state, error
        changes.observe_lookup(self, former)


def test_the_last_fifteen_minutes_of_a_server():
    timeline, one = Timeline(), server(1).member
    for step in range(100):
        one.active, one.addresses[0].total = step, step * 5
        one.addresses[0].state = DOWN if 40 <= step < 50 else 'up'
        timeline.add(step * 10.0, [one], step, step * 5)
    shown = timeline.of(one.name).snapshot()
    assert (shown['peak'], len(shown['load']), shown['states']) == (99, POINTS, 'u30d10u50')
    assert shown['load'][-1] == 'z' and shown['load'][0] == '7'
    assert timeline.of(one.name).new_per_second(990.0, 495) == 0.5
    assert timeline.of('nobody').snapshot() == {'peak': 0, 'load': '.' * 90, 'states': '.90'}


def test_history_is_bounded():
    timeline, many = Timeline(), [server(number).member for number in range(1, 250)]
    many += [Member('x%d' % number, []) for number in range(1000)]
    for step in range(200):
        timeline.add(step * 10.0, many, 0, 0)
    assert len(timeline._tracks) <= MAX_TRACKS
    assert sum(len(track.loads) * track.loads.itemsize for track in timeline._tracks.values()) <= 64 * 1024
    assert len(json.dumps(timeline.of(many[0].name).snapshot())) < 160


@pytest.mark.parametrize('days, note', [
    (None, ''), (15, ''), (13.5, 'certificate ends in 13 days'), (1.5, 'certificate ends in 1 day'),
    (0.5, 'certificate ends within a day'), (-3, 'certificate has ended')])
def test_a_certificate_that_ends_soon_is_noted_beside_its_server(days, note):
    seconds = None if days is None else int(days * 86400)
    assert said.note(member('db1', address('10.0.0.1:1', certificate_seconds=seconds))) == note


def test_the_status_has_the_seconds_that_a_certificate_has_left():
    one = Address('10.0.0.1', 1, 1000.0)
    wall = WallClock(1000.0, wall_now=5000.0)
    assert of_address(wall, one, {one: (0, 0)})['certificate_seconds'] is None
    one.not_after = 5060
    assert of_address(wall, one, {one: (0, 0)})['certificate_seconds'] == 60
