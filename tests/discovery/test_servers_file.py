"""A file of servers: read again when it changes, all or nothing."""
from __future__ import absolute_import, division, print_function

import os

import gevent
import pytest
from gevent.event import Event

from sidelb_lib.config import settings
from sidelb_lib.config.servers_file import ServersFile, parse_servers_file
from sidelb_lib.discovery.addresses import AddressBook
from sidelb_lib.discovery.file_names import FileNames, NamedInFile
from sidelb_lib.discovery.server_names import ServerNames
from sidelb_lib.discovery.servers_file import FileSource
from sidelb_lib.policies.round_robin import RoundRobin
from sidelb_lib.pool.pool import Pool
from tests.support.clock import Clock
from tests.support.recording import RecordingLog
from tests.support.waiting import wait_until


class Setting(object):
    def __init__(self, directory):
        self.path = str(directory.join('servers'))
        self.log, self.clock = RecordingLog(), Clock()
        self.pool = Pool(RoundRobin(lambda: 0.0), self.log, self.clock, settings.defaults())
        self.source = FileSource(ServersFile(self.path), self.pool, ServerNames(None, group='off'), self.log,
                                 lambda: [('127.0.0.1', 5432)], self.clock, hold=30)

    def replace(self, *lines):
        """In one step, as good tools do."""
        with open(self.path + '.new', 'w') as new:
            new.write(''.join(line + '\n' for line in lines))
        os.rename(self.path + '.new', self.path)

    def look(self, times=2):
        for _ in range(times):
            self.source.look()
            self.clock.now += 1
        return [str(address) for address in self.pool.addresses()]


@pytest.fixture
def setting(tmpdir):
    return Setting(tmpdir)


def test_the_servers_of_a_file_are_there_at_the_first_look(setting):
    setting.replace('# by an agent', '', '10.9.0.1:5432', '10.9.0.2:5432/weight=3  # the big one',
                    '10.9.0.3:5432+[2001:db8::3]:5432')
    assert setting.look(1) == ['10.9.0.1:5432', '10.9.0.2:5432', '10.9.0.3:5432', '[2001:db8::3]:5432']
    assert [member.weight for member in setting.pool.members] == [1, 3, 1]
    assert setting.source.snapshot()['state'] == 'ok'


def test_a_changed_file_is_taken_when_it_has_settled(setting):
    setting.replace('10.9.0.1:5432')
    setting.look(1)
    setting.replace('10.9.0.2:5432')
    assert setting.look(1) == ['10.9.0.1:5432']
    with open(setting.path, 'a') as stream:
        stream.write('10.9.0.3:5432\n')
    assert setting.look(1) == ['10.9.0.1:5432']
    assert setting.look(1) == ['10.9.0.2:5432', '10.9.0.3:5432']


@pytest.mark.parametrize('lines, error', [
    (['10.9.0.2:5432', '10.9.0.3'], 'line 2: the port is missing'),
    (['10.9.0.2:5432', 'nonsense \xff'], 'line 2: '),
    (['db.example.com:5432', 'DB.example.com.:5432'], 'line 2: '),
    (['10.9.0.2:5432', '10.9.0.2:5432'], 'line 2: 10.9.0.2:5432 stands here twice'),
    (['0.0.0.0:5432'], 'line 1: 0.0.0.0 is not the address of a server'),
    (['127.0.0.1:5432'], '127.0.0.1:5432 is our own listener'),
    (['10.9.0.2:5432/wieght=2'], 'line 1: /wieght: no such option: did you mean weight=?'),
    (['', '10.9.0.2:5432#weight=2'], 'line 2: options stand behind the port, each after a slash: HOST:PORT/weight=2'),
    (['10.9.0.2:5432 weight=2'], 'line 1: options stand behind the port, each after a slash: HOST:PORT/weight=2'),
    (['10.9.0.2:5432, 10.9.0.3:5432'], 'line 1: write one server a line'),
    (['10.9.0.2:5432 10.9.0.3:5432'], 'line 1: write one server a line'),
    (['10.9.0.2:5432/weight=2;'], 'line 1: write one server a line'),
    (['10.%d.%d.%d:1' % (n >> 16, n >> 8 & 255, n & 255) for n in range(4097)], 'line 4097: these are more than 4096'),
    (['#' * ((1 << 20) - 13), '10.9.0.2:54321'], 'it has more than 1048576 bytes'),         # else 10.9.0.2:5432
])
def test_a_file_with_a_mistake_changes_nothing(setting, lines, error):
    setting.replace('10.9.0.1:5432')
    setting.look()
    setting.replace(*lines)
    assert setting.look(4) == ['10.9.0.1:5432']
    told, = setting.log.events('servers_file_failing')
    assert told.startswith('%s: %s' % (setting.path, error))
    assert told.endswith('; 1 server known')
    setting.replace('10.9.0.2:5432')
    assert setting.look() == ['10.9.0.2:5432']
    assert setting.source.snapshot()['error'] is None


def test_what_is_a_comment(setting):
    setting.replace('# weight=2', ' #10.9.0.3:5432 backup', '10.9.0.1:5432 # weight=2', '10.9.0.2:5432#of rack 2, weight')
    assert setting.look() == ['10.9.0.1:5432', '10.9.0.2:5432']


def test_a_file_that_is_gone_leaves_the_servers(setting):
    setting.replace('10.9.0.1:5432')
    setting.look()
    os.remove(setting.path)
    assert setting.look(100) == ['10.9.0.1:5432']
    assert len(setting.log.events('servers_file_failing')) == 1


def test_a_file_that_is_not_there_yet_is_waited_for(setting):
    assert setting.look() == []
    assert setting.source.snapshot()['state'] == 'failing'
    setting.replace('10.9.0.1:5432')
    assert setting.look() == ['10.9.0.1:5432']


def test_an_empty_file_is_distrusted_for_the_hold(setting):
    setting.replace('10.9.0.1:5432')
    setting.look()
    setting.replace('# nobody')
    assert setting.look(30) == ['10.9.0.1:5432']
    assert setting.look(5) == []
    assert setting.source.snapshot()['state'] == 'empty'
    setting.replace('10.9.0.1:5432')
    assert setting.look() == ['10.9.0.1:5432']


def test_a_fifo_in_its_place_blocks_nobody(setting):
    os.mkfifo(setting.path)
    assert setting.look() == []
    assert 'no regular file' in setting.source.snapshot()['error']


@pytest.mark.parametrize('text', ['servers', './servers', '/a\0b', ''])
def test_a_path_that_is_none_is_a_mistake(text):
    with pytest.raises(ValueError):
        parse_servers_file(text)


def test_a_file_is_enough_to_start_with():
    assert str(settings.parse(['127.0.0.1:1', 'servers_file=/run/servers'], {}).servers_file) == '/run/servers'


# --- servers by name ---

class Named(Setting):
    """With a hosts file in place of DNS."""

    def __init__(self, directory):
        Setting.__init__(self, directory)
        self.hosts = directory.join('hosts')
        self.hosts.write('10.9.1.1 db1\n10.9.1.2 db2\n2001:db8::2 db2\n')
        book = AddressBook(None, self.log, str(self.hosts))
        self.source = FileSource(
            ServersFile(self.path), self.pool, ServerNames(None, group='off'), self.log, lambda: [('127.0.0.1', 5432)],
            self.clock, make_named=lambda backend: NamedInFile(
                backend.name, backend.port, self.pool, book, self.log, backend.options))

    def members(self):
        return sorted((member.name, member.weight, [str(address) for address in member.addresses])
                      for member in self.pool.members)

    def wait_for(self, *members):
        wait_until('the members are not those', lambda: self.members() == sorted(members))


@pytest.fixture
def named(tmpdir):
    one = Named(tmpdir)
    yield one
    one.source._named.close()


DB1 = ('db1', 1, ['10.9.1.1:5432'])
DB2 = ('db2', 3, ['10.9.1.2:5432', '[2001:db8::2]:5432'])
BY_ADDRESS = ('10.9.0.1:5432', 1, ['10.9.0.1:5432'])


def test_a_name_in_a_file_is_one_server_with_all_its_addresses(named):
    heard = []
    named.source.on_change = lambda source, former: heard.append((source.source, former, source.state))
    named.replace('db1:5432', 'db2:5432/weight=3', '10.9.0.1:5432')
    named.look(1)
    assert not named.source.settled
    named.wait_for(DB1, DB2, BY_ADDRESS)
    wait_until('it is not settled', lambda: named.source.settled)
    assert ('file db2:5432', 'pending', 'ok') in heard
    assert named.log.events('servers_file') == ['%s: 3 servers' % named.path]
    assert len(named.source.snapshot()['addresses']) == 4


def test_the_pool_hears_that_a_name_has_left_when_nobody_updates_it_for_that_any_more():
    class Source(object):
        source = 'file db1:5432'

        def run(self):
            begun.set()
            try:
                Event().wait()
            finally:
                events.append('ended')

        def update(self, source, groups):
            events.append('updated')
    events, begun, source = [], Event(), Source()
    names = FileNames(lambda backend: source, source, None)
    names.take(['db1'])
    assert begun.wait(10)
    names.take([])
    assert events == ['ended', 'updated']


def test_names_come_and_go_with_the_file_and_what_stays_is_kept(named):
    named.replace('db1:5432', '10.9.0.1:5432')
    named.look(1)
    named.wait_for(DB1, BY_ADDRESS)
    db1 = [address for address in named.pool.addresses() if address.host == '10.9.1.1'][0]
    named.replace('db1:5432', 'db2:5432/weight=3')
    named.look()
    named.wait_for(DB1, DB2)
    assert db1 in named.pool.addresses()
    named.replace('db2:5432/weight=3')
    named.look()
    named.wait_for(DB2)
    named.replace()
    named.look()
    assert named.members() == [DB2]                         # an empty file is distrusted
    named.clock.now += 40
    named.look()
    assert named.members() == []


def test_a_name_is_looked_up_again_when_it_is_asked_to(named):
    named.replace('db1:5432')
    named.look(1)
    named.wait_for(DB1)
    named.hosts.write('10.9.1.7 db1\n')
    named.source.refresh_now()
    named.wait_for(('db1', 1, ['10.9.1.7:5432']))


def test_the_file_is_looked_at_for_as_long_as_the_source_runs(setting):
    setting.source._interval = 0.01
    loop = gevent.spawn(setting.source.run)
    for last in 1, 2:
        setting.replace('10.9.0.%d:5432' % last)
        wait_until('it is not taken', lambda: [address.host for address in setting.pool.addresses()] == ['10.9.0.%d' % last])
    loop.kill()


def test_none_of_several_listeners_may_be_a_server_and_a_file_is_read_again_when_it_is_asked_to(setting):
    setting.source.listeners = lambda: [('127.0.0.1', 5432), ('127.0.0.1', 5433)]
    setting.replace('127.0.0.1:5433')
    assert setting.look() == [] and setting.source.error == '127.0.0.1:5433 is our own listener'
    setting.source.listeners = lambda: [('127.0.0.1', 5432)]           # as after a reload
    assert setting.look() == []
    setting.source.refresh_now()
    assert setting.look() == ['127.0.0.1:5433']
