"""The log for people: servers that go down or come up at once are a few lines, each event is still told to programs."""
from __future__ import absolute_import, division, print_function

import json

import pytest

from sidelb_lib.observe import text_log
from sidelb_lib.observe.logs import EventLog, ServiceLog

from ..support.clock import Clock
from ..support.waiting import wait_until


@pytest.fixture
def lines():
    return []


def logged(lines, form='text'):
    return EventLog(lines.append, form=form, clock=Clock(1e9), steady_clock=Clock(1e9))


def down(log, number, up, error='connection refused', address=None):
    log.warning('member_down', '{member} is down: {error}, {up} of {known} up', member='db%d.example.com' % number,
                address=address or '10.0.0.%d:1' % number, error=error, up=up, known=50)


def up(log, number, count):
    log.info('member_up', '{member} is up again, {up} of {known} up', member='db%d.example.com' % number,
             address='10.0.0.%d:1' % number, down_seconds=1.0, up=count, known=50)


def texts(lines):
    return [line.split(' ', 1)[1] for line in lines]


def test_fifty_servers_that_go_down_at_once_are_three_lines_and_one(lines):
    log, events = logged(lines), []
    log.followers.append(events.append)
    for number in range(50):
        down(log, number, 49 - number)
    assert len(lines) == 3
    wait_until('the rest is not told', lambda: len(lines) > 3)
    assert texts(lines) == ['warning db%d.example.com is down: connection refused, %d of 50 up' % (number, 49 - number)
                            for number in range(3)] + [
        'warning 47 more servers are down: connection refused, 0 of 50 up (db3, db4, db5 and 44 more, *.example.com)']
    assert [event[-1]['member'] for event in events] == ['db%d.example.com' % number for number in range(50)]
    assert list(log.recent) == events


def test_each_reason_has_lines_of_its_own_and_so_has_each_service(lines):
    log = logged(lines)
    for service in 'db', 'cache':
        for number in range(8):
            down(ServiceLog(log, service), number, 9, 'timed out' if number % 2 else 'connection refused')
    log.close()
    assert len(lines) == 2 * 2 * 3 + 4 and len([line for line in lines if 'db: ' in line]) == 8
    assert texts(lines)[-1].startswith('warning cache: ')


def test_one_more_keeps_its_own_words(lines):
    log = logged(lines)
    for number in range(4):
        down(log, number, 9)
    log.close()
    assert texts(lines)[3] == 'warning db3.example.com is down: connection refused, 9 of 50 up'


def test_who_comes_up_is_told_after_those_who_went_down(lines):
    log = logged(lines)
    for number in range(9):
        down(log, number, 9)
    for number in range(9):
        up(log, number, 41 + number)
    log.close()
    assert [text.split(',')[0] for text in texts(lines)[3:]] == [
        'warning 6 more servers are down: connection refused', 'info db0.example.com is up again',
        'info db1.example.com is up again', 'info db2.example.com is up again', 'info 6 more servers are up again']


def test_another_event_is_told_after_them(lines):
    log = logged(lines)
    for number in range(9):
        down(log, number, 8 - number)
    log.warning('last_resort', 'no server is up')
    assert '6 more servers are down' in lines[3] and lines[4].endswith('no server is up')
    log.close()


def test_of_servers_with_several_addresses_both_are_counted(lines):
    log = logged(lines)
    for number in range(6):
        for family in '10.0.0.%d:1', '[2001:db8::%d]:1':
            down(log, number, 9, address=family % number)
    log.close()
    assert 'warning 9 more addresses of 5 servers are down: connection refused, 9 of 50 up (db1, ' in texts(lines)[3]


def test_while_they_go_on_going_down_a_line_a_second_tells_of_it_and_then_it_begins_anew(lines, monkeypatch):
    monkeypatch.setattr(text_log, 'TOGETHER_SECONDS', 0.02)
    log = logged(lines)
    for number in range(10):
        down(log, number, 9)
    wait_until('the rest is not told', lambda: len(lines) == 4)
    for number in range(10, 20):
        down(log, number, 9)
    wait_until('those that follow are not told', lambda: len(lines) == 5)
    assert '10 more servers are down' in lines[-1]
    wait_until('it never ends', lambda: log._text._timer is None)
    down(log, 21, 9)
    assert len(lines) == 6 and 'db21' in lines[-1]
    log.close()


def test_in_json_each_event_is_a_line_at_once(lines):
    log = logged(lines, 'json')
    for number in range(50):
        down(log, number, 49 - number)
    assert [json.loads(line)['up'] for line in lines] == list(range(49, -1, -1))


def test_a_reload_to_json_leaves_nothing_untold(lines):
    log = logged(lines)
    for number in range(9):
        down(log, number, 9)
    log.change('info', 'json')
    assert len(lines) == 4
