"""The file of an access log: what is written where, and what becomes of it when somebody moves it."""
from __future__ import absolute_import, division, print_function

import errno
import os

import gevent
import pytest

from sidelb_lib.compat import close_descriptor, monotonic
from sidelb_lib.observe import access_log
from sidelb_lib.observe.logs import EventLog, ServiceLog

from ..support.clock import Clock
from ..support.making import making
from ..support.recording import RecordingLog

access_file = making(access_log.AccessFile, access_log.AccessFile.close)


@pytest.fixture
def path(tmpdir):
    return tmpdir.join('access.log')


def test_on_is_a_line_of_the_log_whatever_its_level():
    lines = []
    log = EventLog(lines.append, 'error', clock=Clock())
    tell = access_log.opened('on', ServiceLog(log, 'db'))
    for _ in range(20):
        tell('{client} ended', client='c')
    assert lines == ['1970-01-01T00:16:40.000Z info db: c ended'] * 20          # none is folded
    assert not log.recent and not tell.reopen()
    tell.close()


def test_a_file_gets_whole_lines_at_its_end_in_the_form_of_the_log(access_file, path):
    path.write('before\n')
    one = access_file(EventLog(None, form='json', clock=Clock()), str(path))
    one('{client} ended', client='c', tries=['a'])
    assert path.read() == ('before\n{"time": "1970-01-01T00:16:40.000Z", "level": "info", "event": "session", '
                           '"message": "c ended", "client": "c", "tries": ["a"]}\n')


@pytest.mark.parametrize('again', [lambda path: path.write(''), lambda path: None])
def test_a_file_that_was_moved_away_gets_no_more_lines_after_a_second(access_file, path, again):
    clock = Clock()
    one = access_file(RecordingLog(), str(path), clock)
    one('first')
    path.rename(path + '.1')
    again(path)
    one('second')
    clock.now += 1
    one('third')
    assert ((path + '.1').read(), path.read()) == ('first\nsecond\n', 'third\n')


def test_it_is_opened_again_at_once_when_asked(access_file, path):
    one = access_file(RecordingLog(), str(path))
    path.rename(path + '.1')
    assert one.reopen()
    one('new')
    assert path.read() == 'new\n'


def test_while_it_can_not_be_opened_lines_are_lost_and_that_is_told(access_file, tmpdir):
    clock, log = Clock(), RecordingLog()
    tmpdir.mkdir('logs')
    one = access_file(log, str(tmpdir.join('logs', 'access.log')), clock)
    tmpdir.join('logs').rename(tmpdir.join('gone'))
    clock.now += 1
    one('lost')
    assert 'No such file or directory; lines are lost' in log.events('access_log_failed')[0]
    tmpdir.mkdir('logs')
    clock.now += 1
    one('kept')
    assert tmpdir.join('logs', 'access.log').read() == 'kept\n'


def test_a_fifo_that_nobody_reads_holds_nothing_up_and_one_whose_reader_left_is_opened_again(access_file, path):
    os.mkfifo(str(path))
    with pytest.raises(EnvironmentError):
        access_log.opened(str(path), RecordingLog())
    clock = Clock()
    reader = os.open(str(path), os.O_RDONLY | os.O_NONBLOCK)
    one = access_file(RecordingLog(), str(path), clock)
    close_descriptor(reader)
    one('lost')
    reader = os.open(str(path), os.O_RDONLY | os.O_NONBLOCK)
    clock.now += 1
    one('kept')
    assert os.read(reader, 100) == b'kept\n'
    close_descriptor(reader)


def test_a_fifo_whose_reader_sleeps_is_opened_again_at_once(access_file, path):
    """That happens in the hub, when a session ends."""
    os.mkfifo(str(path))
    reader = os.open(str(path), os.O_RDONLY | os.O_NONBLOCK)
    try:
        one = access_file(RecordingLog(), str(path))
        for _ in range(40):
            one('x' * 4096)                      # more than a pipe holds
        began = monotonic()
        assert one.reopen()
        assert monotonic() - began < 0.5
    finally:
        close_descriptor(reader)


def test_whoever_closes_it_waits_for_such_a_reader_alone_and_gets_the_rest_to_it(access_file, path):
    os.mkfifo(str(path))
    reader, received = os.open(str(path), os.O_RDONLY | os.O_NONBLOCK), []
    try:
        one = access_file(RecordingLog(), str(path))
        for number in range(40):
            one('%4096d' % number)
        closing = gevent.spawn(one.close, 15)
        gevent.sleep(0)
        assert not closing.ready()               # and this goes on
        while not closing.ready():
            try:
                received.append(os.read(reader, 4096))
            except OSError as error:
                assert error.errno == errno.EAGAIN
            gevent.sleep(0.001)
        received.append(os.read(reader, 1 << 20))
        assert [int(number) for number in b''.join(received).split()] == list(range(40))
    finally:
        close_descriptor(reader)
