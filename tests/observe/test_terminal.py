# -*- coding: utf-8 -*-
"""`sidelb status` on terminals of all widths and in pipes, and the screen of --watch."""
from __future__ import absolute_import, division, print_function, unicode_literals

import glob
import io
import json
import os
import re

import pytest

from sidelb_lib.observe import terminal
from sidelb_lib.observe.folding import folded, names_of
from sidelb_lib.observe.look import ESCAPE, Look, bars, clean, size, span
from sidelb_lib.observe.watching import Screen

from ..support.program import PROJECT

SAMPLES = sorted(glob.glob(os.path.join(PROJECT, 'tests', 'pictures', '*.json')))


def sample(name):
    with io.open(os.path.join(PROJECT, 'tests', 'pictures', name + '.json'), encoding='utf-8') as stream:
        snapshot = json.load(stream)
    for change in snapshot['changes']:
        change['clock'] = change['time'][11:19]
    return clean(snapshot)


def name_of(path):
    return os.path.basename(path)[:-5]


# --- what fits ----------------------------------------------------------------------------------------------

@pytest.mark.parametrize('width', [60, 80, 100, 160])
@pytest.mark.parametrize('path', SAMPLES, ids=name_of)
def test_no_line_is_longer_than_the_terminal(path, width):
    lines = terminal.status(sample(name_of(path)), Look(width, color=True))
    assert [line for line in lines if len(ESCAPE.sub('', line)) > width] == []


@pytest.mark.parametrize('height', [10, 24, 50])
@pytest.mark.parametrize('path', SAMPLES, ids=name_of)
def test_the_screen_is_exactly_as_high_as_the_terminal_and_keeps_its_head(path, height):
    lines = terminal.watch(sample(name_of(path)), Look(80, color=True), height, clock='14:32:10')
    plain = [ESCAPE.sub('', line) for line in lines]
    assert len(lines) == height and max(map(len, plain)) <= 80
    assert plain[0].startswith('SideLB ') and plain[-1].startswith('q quit')


def test_servers_that_are_down_come_first_then_names_with_numbers_as_numbers():
    lines = terminal.status(sample('50'), Look(80))
    states = [line.split()[0] for line in lines if 'postgres-replica-' in line and not line.startswith('DNS')]
    assert states == sorted(states, key=['down', '1/2', 'up'].index) and states[0] == 'down'


def test_eighty_columns_keep_state_server_age_sessions_and_note():
    titles = [line for line in terminal.status(sample('50'), Look(80)) if line.startswith('STATE')][0].split()
    assert [title for title in ('STATE', 'SERVER', 'FOR', 'SESSIONS', 'NOTE') if title not in titles] == []
    wide = [line for line in terminal.status(sample('50'), Look(160)) if line.startswith('STATE')][0]
    assert [title for title in ('ADDRESS', '15 MINUTES', 'TOTAL', 'RECEIVED') if title not in wide] == []


def test_the_line_of_an_srv_name_counts_its_targets_and_names_those_without_an_address():
    snapshot = sample('3')
    service = list(snapshot['services'].values())[0]
    service['rings'] = [dict(service['rings'][0], kind='srv', name='_pg._tcp.example.com', port=None, state='ok', count=1,
                             age=2, ttl=5, targets=[{}, {}], note='1 of 2 targets without an address: db2.example.com')]
    lines = terminal.status(snapshot, Look(100))
    line, = [number for number, line in enumerate(lines) if line.startswith('DNS ok')]
    assert lines[line] == 'DNS ok  _pg._tcp.example.com: 2 targets, 1 address, answered 2s ago, TTL 5s'
    assert lines[line + 1] == '  1 of 2 targets without an address: db2.example.com'


def test_an_outage_of_fifty_servers_is_a_line_that_names_a_few():
    lines = terminal.status(sample('50-outage'), Look(80))
    down = [position for position, line in enumerate(lines) if line.startswith('down ')]
    assert len(down) == 1 and 'all 50' in lines[down[0]] and lines[down[0]].endswith('connection refused')
    assert lines[down[0] + 1] == '  postgres-replica-001, postgres-replica-002, postgres-replica-003 and 47 more'
    wide = [line for line in terminal.status(sample('50-outage'), Look(200)) if line.startswith('down ')]
    assert len(wide) == 1 and wide[0].endswith('postgres-replica-002, postgres-replica-003 and 47 more)')
    assert len([line for line in terminal.status(sample('50-outage'), Look(None)) if line.startswith('down ')]) == 50


def down(number, tier=1, note='connection refused', state='down', **changes):
    return dict({'name': 'cache-%d' % number, 'state': state, 'tier': tier, 'weight': 1, 'note': note, 'addresses': [],
                 'active': 1, 'new_per_second': None, 'total': 2, 'failed': 3, 'bytes_sent': 4, 'bytes_received': 5,
                 'since': number}, **changes)


def test_servers_of_one_state_tier_and_reason_are_folded_from_ten_on_and_those_who_serve_never():
    members = [down(n) for n in range(1, 11)] + [down(n, note='timed out') for n in range(11, 20)]
    members += [down(n, 2, weight=n) for n in range(20, 40)] + [down(n, 2, '', 'up') for n in range(40, 60)]
    members += [down(n, 3) for n in range(60, 70)]
    found = folded(members)
    assert [one['name'] for one in found if one['state'] == 'down'] == (
        ['10 servers'] + ['cache-%d' % n for n in range(11, 20)] + ['20 servers', 'all 10 of tier 3'])
    assert len([one for one in found if one['state'] == 'up']) == 20
    ten, twenty = found[0], found[10]
    assert (ten['active'], ten['total'], ten['failed'], ten['since'], ten['weight']) == (10, 20, 30, 10, 1)
    assert twenty['weight'] is None and names_of(twenty, '') == 'cache-20, cache-21, cache-22 and 17 more'


def test_the_bars_of_a_folded_line_are_the_sum():
    history = {'load': '.' * 30 + 'z' * 30 + '0' * 30, 'peak': 3, 'states': '.30u30d30'}
    history = folded([down(n, history=history) for n in range(10)])[0]['history']
    assert (history['peak'], history['load']) == (30, '.' * 30 + 'z' * 30 + '0' * 30)


def test_in_another_order_each_server_is_a_line():
    screen = Screen(False, True)
    screen.snapshot = sample('50-outage')
    assert len([line for line in screen.lines(80, 24, 0) if line.startswith('down   all 50 ')]) == 1
    screen.press('\x1b[F', 24)
    assert 'all 50' in '\n'.join(screen.lines(80, 24, 0))               # there is nothing to scroll
    screen.press('s', 24)
    assert len([line for line in screen.lines(80, 24, 0) if line.startswith('down ')]) > 10


def test_every_service_with_something_wrong_gets_a_table_on_a_small_screen():
    lines = terminal.watch(sample('four-10-outage'), Look(80), 24)
    assert any(line.startswith('down   rabbit-2') for line in lines)


def test_a_pipe_gets_whole_names_every_column_and_no_empty_cell():
    lines = terminal.status(sample('50-outage'), Look(None))
    titles = [line for line in lines if line.startswith('STATE')][0].split()
    rows = [line.split() for line in lines if line.startswith('down ')]
    assert titles[-1] == 'NOTE' and rows
    for row in rows:
        assert len(row) >= len(titles) and row[1].endswith('.example.com')
    assert not re.search('[…\x1b]', '\n'.join(lines))


def test_without_utf_8_nothing_but_ascii_is_written():
    for path in SAMPLES:
        lines = terminal.status(sample(name_of(path)), Look(80, utf8=False))
        assert '15 MINUTES' not in '\n'.join(lines)
        '\n'.join(lines).encode('ascii')


def test_errors_are_wrapped_and_never_cut():
    lines = terminal.status(sample('10-dns'), Look(80))
    assert 'SERVFAIL from 10.0.0.2' in ' '.join(lines) and 'the servers stay' in ' '.join(' '.join(lines).split())


def test_names_cannot_steer_the_terminal():
    snapshot = sample('3')
    service = list(snapshot['services'].values())[0]
    service['members'][0]['name'] = 'db\x1b[2J\u202e1'
    service['members'][0]['note'] = 'x\r\n\x07'
    lines = terminal.status(clean(snapshot), Look(100))
    assert not re.search('[\x00-\x1f\u202e]', ''.join(lines)) and 'db?[2J?1' in ''.join(lines)


@pytest.mark.parametrize('seconds, text', [(0, '0s'), (119, '119s'), (120, '2m'), (7200, '2h'), (259200, '3d')])
def test_durations(seconds, text):
    assert span(seconds) == text


@pytest.mark.parametrize('count, text', [(0, '0B'), (999, '999B'), (1500, '1.5K'), (65000000, '62M'), (1 << 40, '1.0T')])
def test_bytes(count, text):
    assert size(count) == text


def test_bars():
    assert bars({'load': '.' * 30 + '0' * 30 + 'z' * 30, 'peak': 8}, 8) == ' ' * 10 + '█' * 5
    assert bars({'load': 'z' * 90, 'peak': 1}, 8) == '▁' * 15


# --- keys ---------------------------------------------------------------------------------------------------

def test_keys_sort_scroll_and_choose_a_service():
    screen = Screen(False, True)
    screen.snapshot = sample('four-10-outage')
    before = screen.lines(80, 24, 0)
    assert not screen.press('s', 24) and 'sort: sessions' in screen.lines(80, 24, 0)[-1]
    assert not screen.press('1', 24) and screen.lines(80, 24, 0)[0].startswith('amqp on ')
    assert not screen.press('0', 24)
    for _ in range(3):
        screen.press('s', 24)
    assert screen.lines(80, 24, 0)[:10] == before[:10]
    assert not screen.press('\x1b[B', 24) and not screen.press('x', 24)
    assert screen.press('q', 24)


def test_while_nobody_answers_the_last_picture_stays_with_the_reason_on_top():
    screen = Screen(True, True)
    screen.snapshot, screen.error, screen.answered = sample('3'), 'connection refused', 96.0
    lines = screen.lines(80, 24, 100.0)
    assert ESCAPE.sub('', lines[0]) == 'no answer for 4s: connection refused'
    assert len(lines) == 24 and lines[4].startswith('\x1b[2m')
