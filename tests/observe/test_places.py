"""Where a status socket is looked for when nobody has named a place."""
from __future__ import absolute_import, division, print_function

import contextlib
import os
import re
import socket

import pytest

from sidelb_lib.errors import SidelbError
from sidelb_lib.observe import places


@contextlib.contextmanager
def listening(path):
    with contextlib.closing(socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)) as sock:
        sock.bind(str(path))
        sock.listen(5)
        yield str(path)


@pytest.fixture
def directory(tmpdir, monkeypatch):
    """A directory in which all places are."""
    monkeypatch.setattr(places, 'DEFAULT_PATH', str(tmpdir.join('run.sock')))
    monkeypatch.setattr(places, 'of_other_users', lambda: places_of_users(tmpdir))
    return tmpdir


def places_of_users(directory):
    return other_users(((str(directory.join('sidelb-*.sock')), re.escape(str(directory)) + r'/sidelb-([0-9]+)\.sock\Z'),))


other_users = places.of_other_users


def test_all_places_that_were_tried_are_named_with_the_reason(directory):
    environ = {'XDG_RUNTIME_DIR': str(directory.mkdir('runtime'))}
    with pytest.raises(SidelbError) as caught:
        places.find(environ, 4000000)
    for path in places.socket_paths(environ, 4000000):
        assert '%s (No such file or directory)' % path in str(caught.value)
    assert '--socket=PATH' in str(caught.value)


def test_the_first_place_where_somebody_listens_is_taken(directory):
    environ = {'XDG_RUNTIME_DIR': str(directory)}
    with listening(directory.join('sidelb.sock')) as path:
        assert places.find(environ, 4000000) == path
        assert places.find_all(environ, 4000000) == [path]


def test_root_is_shown_the_instances_of_others_and_told_where_they_are(directory):
    with listening(directory.join('sidelb-%d.sock' % os.getuid())) as path:
        assert places.find_all({}, 0) == [path]
        with pytest.raises(SidelbError) as caught:          # a health check decides: it believes root's own alone
            places.find({}, 0)
        assert 'there is one at %s: name it with --socket=PATH' % path in str(caught.value)
        with pytest.raises(SidelbError):
            places.find_all({}, 4000000)


def test_a_socket_that_bears_the_number_of_another_user_than_its_owner_is_nobody_s(directory):
    with listening(directory.join('sidelb-%d.sock' % (os.getuid() + 1))), listening(directory.join('sidelb-x.sock')):
        assert places_of_users(directory) == []
        with listening(directory.join('sidelb-%d.sock' % os.getuid())) as path:
            assert places_of_users(directory) == [path]
