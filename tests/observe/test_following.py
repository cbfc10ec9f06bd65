"""Events on the status socket: who reads them too slowly loses some, and holds up nobody."""
from __future__ import absolute_import, division, print_function

import contextlib
import json
import socket

import gevent
import pytest

from sidelb_lib.compat import monotonic
from sidelb_lib.observe import following
from sidelb_lib.observe.commands import COMMANDS, Commands
from sidelb_lib.observe.logs import EventLog
from sidelb_lib.observe.status_socket import StatusServer

from ..support.waiting import wait_until

EVENTS = 5000
BATCH = 200              # the socket takes so many at once, of one who reads


@pytest.fixture
def log():
    return EventLog(lambda line: None)


@pytest.fixture
def path(log, tmpdir):
    """The status socket of a process without any service."""
    commands = Commands({}, log, monotonic, None, None)
    server = StatusServer(lambda: True, dict, lambda line, who, _: commands.answer(line, who), COMMANDS, lambda: False)
    server.start(str(tmpdir.join('status.sock')))
    yield server.path
    server.stop()


class Reader(object):
    """Follows the events; reads nothing before `read`."""

    def __init__(self, path):
        self.numbers, self.lost = [], []
        self._sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self._sock.settimeout(10)
        self._sock.connect(path)
        self._sock.sendall(b'events {"follow": true}\n')
        self._lines = self._sock.makefile('rb')

    def read(self):
        """Until the last event has come, or it was left."""
        for line in self._lines:
            event = json.loads(line.decode('ascii'))
            if event.get('event') == 'events_lost':
                self.lost.append(event['count'])
            elif 'number' in event:
                self.numbers.append(event['number'])
                if event['number'] == EVENTS - 1:
                    return

    def close(self):
        self._lines.close()
        self._sock.close()


def tell_all(log, reader):
    """Tells all events, no faster than `reader` reads."""
    for number in range(EVENTS):
        log.info('tick', 'event {number}', number=number)
        if number % BATCH == BATCH - 1:
            wait_until('the quick reader waits', lambda: reader.numbers[-1:] == [number])


@contextlib.contextmanager
def quick_and_slow(log, path):
    """(a Reader that reads, another one that does not)."""
    with contextlib.closing(Reader(path)) as quick, contextlib.closing(Reader(path)) as slow:
        reading = gevent.spawn(quick.read)
        wait_until('they do not follow', lambda: len(log.followers) == 2)
        yield quick, slow
        reading.get(timeout=10)


def test_who_reads_nothing_loses_the_oldest_and_is_told_how_many(log, path):
    with quick_and_slow(log, path) as (quick, slow):
        tell_all(log, quick)
        assert (quick.numbers, quick.lost) == (list(range(EVENTS)), [])
        kept = [len(follower._waiting) for follower in log.followers]
        assert sorted(kept) == [0, following.MAX_WAITING]
        slow.read()
        count, = slow.lost
        assert count > 1000 and len(slow.numbers) + count == EVENTS
        before = len(slow.numbers) - following.MAX_WAITING           # what had been sent before
        assert slow.numbers == list(range(before)) + list(range(EVENTS - following.MAX_WAITING, EVENTS))


def test_who_takes_nothing_for_long_is_left(log, path, monkeypatch):
    monkeypatch.setattr(following, 'PATIENCE', 0.1)
    with quick_and_slow(log, path) as (quick, slow):
        tell_all(log, quick)
        wait_until('the slow one was not left', lambda: len(log.followers) == 1)
        slow.read()
        assert slow.numbers == list(range(len(slow.numbers))) and len(slow.numbers) < EVENTS
        assert quick.numbers == list(range(EVENTS))
