"""The access log of the real program: rotated, changed by a reload, of several services, on a path that can't be written."""
from __future__ import absolute_import, division, print_function

import json
import signal

import pytest

from ..support.program import Sidelb, run_sidelb
from ..support.servers import Server
from ..support.waiting import wait_until
from .test_reload import reload
from .test_services import address_of, server, service, serving, who, write      # noqa: F401


@pytest.fixture
def path(tmpdir):
    return tmpdir.join('access.log')


def lines_of(path, count):
    wait_until('lines are missing in %s' % path.basename, lambda: path.check() and len(path.readlines()) >= count)
    return path.readlines()


def test_it_is_off_by_default(server):               # noqa: F811
    with Sidelb(server) as sidelb:
        assert sidelb.who() == 'A'
        wait_until('the session goes on', lambda: sidelb.status()['connections']['ended'])
        assert ' ended after ' not in sidelb.log


def test_on_is_a_line_of_the_log_whatever_its_level(server):               # noqa: F811
    with Sidelb(server, 'access_log=on') as sidelb:
        assert sidelb.who() == 'A'
        sidelb.wait_for_log(r'info 127.0.0.1:\d+ to %s ended after [\d.]+ s \(\w+\)' % server)


@pytest.mark.parametrize('has_moved', [lambda sidelb: sidelb.signal(signal.SIGUSR1), lambda sidelb: None])
def test_a_file_that_is_moved_away_is_opened_again(server, path, has_moved):     # noqa: F811
    with Sidelb(server, 'access_log=%s' % path) as sidelb:
        assert sidelb.who() == 'A'
        assert ' to %s ended after ' % server in lines_of(path, 1)[0]
        path.rename(path + '.1')
        has_moved(sidelb)
        wait_until('it is not opened again', lambda: sidelb.who() == 'A' and path.check())
        lines_of(path, 1)


def test_services_may_share_a_file_which_a_reload_may_replace(write, server, path):    # noqa: F811
    with Server('B') as other:
        def config(where):
            return '[defaults]\naccess_log = %s\n' % where + service('one', server) + service('two', other)
        with serving(write(config(path))) as sidelb:
            addresses = [address_of(sidelb, name) for name in ('one', 'two')]
            assert [who(address) for address in addresses] == ['A', 'B']
            assert sorted(line.split()[2] for line in lines_of(path, 2)) == ['one:', 'two:']
            write(config(path + '.new'))
            reload(sidelb)
            assert [who(address) for address in addresses] == ['A', 'B']
            lines_of(path + '.new', 2)
            write(config('off'))
            reload(sidelb)
            assert [who(address) for address in addresses] == ['A', 'B']
            wait_until('sessions go on', lambda: sum(
                sum(one['connections']['ended'].values()) for one in sidelb.status()['services'].values()) == 6)
            assert (len(path.readlines()), len((path + '.new').readlines())) == (2, 2)


def test_a_path_that_can_not_be_written_stops_the_start(server, path):     # noqa: F811
    ended = run_sidelb('127.0.0.1:0', str(server), 'status_socket=off', 'access_log=%s/access.log' % path)
    assert ended.returncode != 0
    assert 'cannot write access_log=%s/access.log: No such file or directory' % path in ended.stderr


def test_and_a_reload_which_changes_nothing_then(write, server, path):     # noqa: F811
    with serving(write(service('one', server, access_log=str(path)))) as sidelb:
        address = address_of(sidelb, 'one')
        write(service('one', server, access_log='%s/access.log' % path, mode='least-connections'))
        answer = json.loads(sidelb.ask(b'reload {}\n').decode('utf-8'))
        assert answer['mistakes'] == [
            '[service:one] cannot write access_log=%s/access.log: Not a directory' % path]
        assert sidelb.status()['services']['one']['mode'] == 'round-robin'
        assert who(address) == 'A'
        lines_of(path, 1)


@pytest.mark.parametrize('wrong', ['access.log', '/var/log/', 'onn'])
def test_a_wrong_value_is_told(server, wrong):         # noqa: F811
    ended = run_sidelb('127.0.0.1:0', str(server), 'access_log=' + wrong, '--check-config')
    assert 'write on, off or the whole path of a file, from / on' in ended.stderr
