"""A service whose listener is a unix-domain socket, in the real program: start, reload, drain and whoever comes next."""
from __future__ import absolute_import, division, print_function

import contextlib
import os
import socket

import pytest

from ..support.clients import read_line
from ..support.program import Sidelb, run_sidelb
from ..support.servers import Server
from .test_services import service, serving, write      # noqa: F401

LISTENING = r'listening on (unix:\S+)'


@pytest.fixture
def server():
    with Server('A') as one:
        yield one


def client_of(path):
    client = socket.socket(socket.AF_UNIX)
    client.settimeout(10)
    client.connect(str(path))
    return client


def who(path):
    with contextlib.closing(client_of(path)) as client:
        return read_line(client)


def reload(sidelb):
    finished = run_sidelb('reload', '--socket=' + sidelb.status_path)
    assert (finished.returncode, finished.stderr) == (0, '')


def test_it_moves_by_a_reload_and_its_file_goes_with_it(write, server, tmpdir):      # noqa: F811
    one, two = tmpdir.join('one.sock'), tmpdir.join('two.sock')
    with serving(write(service('db', server, listener='unix:%s' % one, listener_mode='0666')), started=LISTENING) as sidelb:
        sidelb.wait_for_log('db: listening on unix:%s' % one)
        assert one.stat().mode & 0o777 == 0o666
        assert sidelb.status()['services']['db']['listener'] == 'unix:%s' % one
        with contextlib.closing(client_of(one)) as client:
            assert read_line(client) == 'A'
            write(service('db', server, listener='unix:%s' % two, listener_mode='0666'))
            reload(sidelb)
            assert who(two) == 'A' and not one.exists()
            client.sendall(b'hello\n')
            assert read_line(client) == 'hello'
            write(service('db', server, listener='127.0.0.1:0'))
            finished = run_sidelb('reload', '--socket=' + sidelb.status_path)
            assert 'listener_mode: a change needs a restart' in finished.stderr and who(two) == 'A'
    assert not two.exists()


def test_a_reload_that_fails_leaves_no_file_behind(write, server, tmpdir):      # noqa: F811
    one, two, taken = [tmpdir.join(name) for name in ('one.sock', 'two.sock', 'taken')]
    taken.write('no socket')
    with serving(write(service('db', server, listener='unix:%s' % one) + service('other', server))) as sidelb:
        write(service('db', server, listener='unix:%s' % two) + service('other', server, listener='unix:%s' % taken))
        finished = run_sidelb('reload', '--socket=' + sidelb.status_path)
        assert '[service:other] cannot listen on unix:%s: there is a file which is no socket' % taken in finished.stderr
        assert who(one) == 'A' and not two.exists()


def test_a_second_one_is_refused_and_the_next_one_takes_a_stale_file_over(write, server, tmpdir):      # noqa: F811
    path = tmpdir.join('db.sock')
    with serving(write(service('db', server, listener='unix:%s' % path)), started=LISTENING) as sidelb:
        assert who(path) == 'A'
        finished = run_sidelb('unix:%s' % path, str(server), 'status_socket=off')
        assert finished.returncode != 0
        assert 'cannot listen on unix:%s: another instance answers there' % path in finished.stderr + finished.stdout
        sidelb.signal(9)
        sidelb.process.wait(10.0)
    assert path.exists()
    with serving(write(service('db', server, listener='unix:%s' % path)), started=LISTENING) as sidelb:
        assert who(path) == 'A'
    assert not path.exists()
    assert os.listdir(str(tmpdir)) == ['sidelb.conf']


def test_status_and_metrics_show_a_server_on_a_unix_socket(tmpdir):
    never = tmpdir.join('never.sock')
    with Sidelb('unix:%s' % never, 'check_fall=1', 'check_interval=200ms') as sidelb:
        status = sidelb.wait_for_status('it is not down', lambda found: found['members'][0]['state'] == 'down')
        assert status['members'][0]['name'] == 'unix:%s' % never and status['port'] is None
        assert status['members'][0]['addresses'][0]['last_error'] == 'No such file or directory'
        shown = run_sidelb('status', '--socket=' + sidelb.status_path)
        assert 'unix:%s' % never in shown.stdout and 'No such file' in shown.stdout


def test_a_listener_without_a_file_is_told_moves_by_a_reload_and_is_free_at_the_end(write, server):      # noqa: F811
    one, two = ['@sidelb-test-%d-%s' % (os.getpid(), name) for name in ('one', 'two')]
    with serving(write(service('db', server, listener='unix:' + one)), started=LISTENING) as sidelb:
        assert sidelb.status()['services']['db']['listener'] == 'unix:' + one
        assert who('\0' + one[1:]) == 'A'
        write(service('db', server, listener='unix:' + two))
        reload(sidelb)
        assert sidelb.status()['services']['db']['listener'] == 'unix:' + two
        assert who('\0' + two[1:]) == 'A'
        with pytest.raises(socket.error):
            client_of('\0' + one[1:])
