"""The file of admin_state: what it holds, and what is not taken for it."""
from __future__ import absolute_import, division, print_function

import json
import os

import pytest

from sidelb_lib.admin_state import MAX_AGE, MAX_BYTES, AdminState, Unusable, parse, text_of

from .support.recording import RecordingLog

STATE = {'default': ({'db1': 'uid 0'}, {'db2': (0.5, 1), 'of SRV records': (3, 65535)}), 'cache': ({}, {})}
NOW = 1000000.0


class KeptService(object):
    def __init__(self, drained=(), weights=()):
        self.found = dict(drained), dict(weights)

    def set_by_people(self):
        return self.found

    def restore(self, drained, weights):
        self.found = drained, weights


@pytest.fixture
def path(tmpdir):
    return str(tmpdir.join('state'))


def test_what_was_written_is_read():
    assert parse(text_of(STATE, NOW), NOW + MAX_AGE - 1) == STATE


@pytest.mark.parametrize('age', [MAX_AGE, -MAX_AGE, float('nan')])
def test_another_time_is_not_taken_up(age):
    with pytest.raises(Unusable) as caught:
        parse(text_of(STATE, NOW), NOW + age)
    assert 'an hour' in str(caught.value)


def damaged():
    good = json.loads(text_of(STATE, NOW).decode('ascii'))
    yield b''
    yield b'\xff'
    yield b'[' * 100000
    yield b'[]'
    for key in good:
        yield json.dumps(dict(good, **{key: None})).encode('ascii')
    for one in [None, [], {}, {'drained': {}}, {'drained': [], 'weights': {}}, {'drained': {}, 'weights': {'a': 1}},
                {'drained': {}, 'weights': {'a': [1]}}, {'drained': {}, 'weights': {'a': [-1, 1]}},
                {'drained': {}, 'weights': {'a': [1e999, 1]}}, {'drained': {}, 'weights': {'a': ['1', '1']}}]:
        yield json.dumps(dict(good, services={'default': one})).encode('ascii')


@pytest.mark.parametrize('data', list(damaged()))
def test_damage_is_told(data):
    with pytest.raises(Unusable) as caught:
        parse(data, NOW)
    assert 'damaged' in str(caught.value)


def test_a_file_without_end_is_not_read_whole():
    with pytest.raises(Unusable) as caught:
        parse(b' ' * (MAX_BYTES + 1), NOW)
    assert 'larger' in str(caught.value)


def test_it_is_kept_and_restored(path):
    log = RecordingLog()
    AdminState(path, log).keep({'default': KeptService({'db1': 'uid 0'}, {'db2': (3, 1)})})
    assert os.stat(path).st_mode & 0o777 == 0o600
    services = {'default': KeptService(), 'other': KeptService()}
    AdminState(path, log).restore(services)
    assert services['default'].found == ({'db1': 'uid 0'}, {'db2': (3, 1)}) and services['other'].found == ({}, {})
    assert os.listdir(os.path.dirname(path)) == ['state'] and not log.lines


def test_what_has_not_changed_is_written_at_the_end_alone(path):
    service = KeptService({'db1': 'uid 0'})
    state = AdminState(path, RecordingLog())
    state.keep({'default': service})
    os.remove(path)
    state.keep({'default': service})
    assert not os.path.exists(path)
    state.keep({'default': service}, again=True)
    assert os.path.exists(path)


def test_a_link_is_not_written_through(path, tmpdir):
    """Somebody who may write into the directory can't have another file overwritten."""
    victim = tmpdir.join('victim')
    victim.write('precious')
    os.symlink(str(victim), '%s.%d.new' % (path, os.getpid()))
    log = RecordingLog()
    AdminState(path, log).keep({'default': KeptService()})
    assert victim.read() == 'precious' and log.events('admin_state_failed')


@pytest.mark.parametrize('make', [os.mkfifo, os.mkdir])
def test_what_is_no_file_is_told_and_not_waited_for(path, make):
    make(path)
    log = RecordingLog()
    AdminState(path, log).restore({})
    assert log.events('admin_state_failed')[0].startswith('admin_state=%s was not read: ' % path)


def test_no_place_is_a_warning(path):
    log = RecordingLog()
    state = AdminState(path + '/in/no/directory', log)
    state.restore({})
    state.keep({'default': KeptService()})
    assert [event for _, event, _, _ in log.lines] == ['admin_state_failed']
