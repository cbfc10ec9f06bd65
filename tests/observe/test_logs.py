"""The log: its two forms, folding, and that a blocked reader stalls nobody."""
from __future__ import absolute_import, division, print_function

import errno
import fcntl
import json
import os
import re
import time

import gevent
import pytest

from sidelb_lib.compat import new_pipe
from sidelb_lib.observe.logs import EventLog, LineWriter, timestamp

from ..support.clock import Clock
from ..support.waiting import wait_until


@pytest.fixture
def lines():
    return []


@pytest.fixture
def clock():
    return Clock(1795461180.25)


def test_a_text_line_has_time_level_and_message(lines, clock):
    EventLog(lines.append, clock=clock, steady_clock=clock).info('member_up', 'member {member} is up', member='db1')
    assert lines == ['2026-11-23T19:13:00.250Z info member db1 is up']


def test_a_json_line_has_event_message_and_the_fields_by_name(lines, clock):
    log = EventLog(lines.append, form='json', clock=clock, steady_clock=clock)
    log.warning('member_down', '{member}: {error}', member='db1', error='refused')
    assert json.loads(lines[0]) == {'time': '2026-11-23T19:13:00.250Z', 'level': 'warning', 'event': 'member_down',
                                    'message': 'db1: refused', 'member': 'db1', 'error': 'refused'}


def test_a_level_leaves_out_what_is_below_it(lines, clock):
    log = EventLog(lines.append, level='warning', clock=clock, steady_clock=clock)
    log.debug('a', 'a')
    log.info('b', 'b')
    log.warning('c', 'c')
    log.error('d', 'd')
    assert [line.split()[-1] for line in lines] == ['c', 'd']


def test_a_message_of_several_lines_is_indented_so_that_it_stays_one_entry(lines, clock):
    EventLog(lines.append, clock=clock, steady_clock=clock).error('x', 'first\nsecond\nthird')
    assert lines[0].splitlines()[1:] == ['  second', '  third']


def test_milliseconds_are_cut_not_rounded_into_the_next_second():
    assert timestamp(0.9999) == '1970-01-01T00:00:00.999Z'


def test_equal_messages_are_folded_and_summed_up(lines, clock):
    log = EventLog(lines.append, clock=clock, steady_clock=clock)
    for number in range(1000):
        log.warning('refused', 'reset {client}: {reason}', client='127.0.0.1:%d' % number, reason='nobody')
    log.warning('refused', 'reset {client}: {reason}', client='x', reason='another reason')
    assert len(lines) == 6
    clock.now += 61
    log.info('listening', 'listening')
    assert [re.search(r'and (\d+) more', line).group(1) for line in lines if 'more like it' in line] == ['995']
    assert lines[-1].endswith('listening')


def test_what_was_folded_is_summed_up_even_when_nothing_else_is_said(lines, clock, monkeypatch):
    monkeypatch.setattr('sidelb_lib.observe.logs.FOLD_SECONDS', 0.05)
    log = EventLog(lines.append, clock=clock, steady_clock=clock)
    for _ in range(7):
        log.info('a', 'again')
    wait_until('no summary came', lambda: any('and 2 more like it' in line for line in lines))


def test_a_flood_is_folded_as_well_in_the_windows_that_follow(lines, clock, monkeypatch):
    timers = []

    def spawn_later(seconds, function):
        timers.append(gevent.spawn(gevent.sleep, 1000))
        return timers[-1]
    monkeypatch.setattr('sidelb_lib.observe.logs.gevent.spawn_later', spawn_later)
    log = EventLog(lines.append, clock=clock, steady_clock=clock)
    for _ in range(300):
        log.info('a', 'again')
        clock.now += 1                       # five minutes
    assert len(lines) == 5 * 5 + 4
    gevent.sleep(0)
    assert sum(not timer.dead for timer in timers) == 1, 'timers of windows that are over go on'
    timers[-1].kill()


def test_debug_lines_are_never_folded(lines, clock):
    log = EventLog(lines.append, level='debug', clock=clock, steady_clock=clock)
    for _ in range(50):
        log.debug('session', 'ended')
    assert len(lines) == 50


@pytest.fixture
def pipe():
    ends = new_pipe()
    fcntl.fcntl(ends[1], fcntl.F_SETFL, fcntl.fcntl(ends[1], fcntl.F_GETFL) & ~os.O_NONBLOCK)   # as a supervisor's is
    yield ends
    for end in ends:
        try:
            os.close(end)
        except OSError:
            pass


def read_available(descriptor):
    data = b''
    while True:
        try:
            chunk = os.read(descriptor, 1 << 20)
        except OSError:
            return data
        if not chunk:
            return data
        data += chunk


def test_lines_reach_the_descriptor_at_once(pipe):
    write = LineWriter(pipe[1])
    write('one')
    write('two')
    assert read_available(pipe[0]) == b'one\ntwo\n'


def test_a_reader_that_sleeps_blocks_nobody_and_gets_every_line_later(pipe):
    write = LineWriter(pipe[1])
    for number in range(3000):
        write('%06d %s' % (number, 'x' * 100))
    ticks = []
    gevent.spawn_later(0.01, ticks.append, 'the loop goes on')
    wait_until('the loop stands still', lambda: ticks)
    received = [b'']

    def everything():
        received[0] += read_available(pipe[0])
        return received[0].count(b'\n') == 3000
    wait_until('lines are missing', everything)
    assert [int(line.split()[0]) for line in received[0].splitlines()] == list(range(3000))


def test_a_line_longer_than_the_pipe_takes_at_once_arrives_whole(pipe):
    LineWriter(pipe[1])('x' * 20000)
    assert read_available(pipe[0]) == b'x' * 20000 + b'\n'


def test_too_many_waiting_lines_are_dropped_and_counted(pipe, monkeypatch):
    monkeypatch.setattr('sidelb_lib.observe.logs.MAX_LINES_WAITING', 10)
    lost = []
    write = LineWriter(pipe[1], lost.append)
    for number in range(2000):
        write('%06d %s' % (number, 'x' * 200))
    received = [b'']

    def told():
        received[0] += read_available(pipe[0])
        return lost
    wait_until('nobody said that lines were dropped', told)
    write('the last')
    received[0] += read_available(pipe[0])
    lines = received[0].splitlines()
    assert lines[-1] == b'the last'
    assert len(lines) - 1 + lost[0] == 2000


def test_a_reader_that_is_gone_ends_the_writing_and_nothing_else(pipe):
    write = LineWriter(pipe[1])
    os.close(pipe[0])
    write('one')
    write('two')
    write.close()


def test_closing_gives_waiting_lines_a_bounded_chance(pipe):
    write = LineWriter(pipe[1])
    for _ in range(1000):
        write('x' * 200)
    write.close(0.05)
    data = read_available(pipe[0])
    write.close(1.0)
    data += read_available(pipe[0])
    assert data


def test_a_clock_that_is_set_back_does_not_hold_up_the_end(pipe, monkeypatch):
    write = LineWriter(pipe[1])
    for _ in range(1000):
        write('x' * 200)
    looks = iter(range(100))
    monkeypatch.setattr(time, 'time', lambda: 1e9 + 0 * next(looks))       # it stands, and is not looked at for ever
    write.close(0.05)


def test_a_full_disk_drops_lines_and_writing_goes_on_when_there_is_room(pipe, monkeypatch):
    lost = []
    write = LineWriter(pipe[1], lost.append)
    real, full = os.write, [True]

    def on_full_disk(descriptor, data):
        if full[0]:
            raise OSError(errno.ENOSPC, 'no space left')
        return real(descriptor, data)
    monkeypatch.setattr('sidelb_lib.observe.logs.os.write', on_full_disk)
    write('lost')
    full[0] = False
    write('kept')
    assert read_available(pipe[0]) == b'kept\n'
    assert lost == [1]


def test_lost_lines_are_an_event_of_the_log_itself(pipe, monkeypatch):
    monkeypatch.setattr('sidelb_lib.observe.logs.MAX_LINES_WAITING', 10)
    write = LineWriter(pipe[1])
    log = EventLog(write, form='json')
    write.on_loss = lambda count: log.warning('log_lines_dropped', '{count} were dropped', count=count)
    for _ in range(2000):
        write('{"event": "%s"}' % ('x' * 200))
    received = [b'']

    def told():
        received[0] += read_available(pipe[0])
        return b'log_lines_dropped' in received[0] and received[0].endswith(b'\n')
    wait_until('no event tells of it', told)
    events = [json.loads(line)['event'] for line in received[0].decode('ascii').splitlines()]
    assert events.index('log_lines_dropped') == len(events) - 1
