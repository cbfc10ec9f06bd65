"""A reload: SIGHUP and `sidelb reload` take a changed file over, all or nothing, and no session notices."""
from __future__ import absolute_import, division, print_function

import contextlib
import itertools
import json
import os
import re
import signal
import socket
import threading

import gevent
import pytest

from sidelb_lib.config.settings import configuration
from sidelb_lib.observe.logs import EventLog
from sidelb_lib.process import Process

from ..support.clients import connect, how_it_ends, read_line
from ..support.nameserver import name_server
from ..support.program import Sidelb, run_sidelb
from ..support.recording import RecordingLog
from ..support.servers import Server
from ..support.waiting import wait_until
from .test_services import address_of, free_port, service, serving, who, write      # noqa: F401


@pytest.fixture
def servers():
    with Server('A') as one, Server('B') as two:
        yield one, two


def reload(sidelb):
    """What the command `reload` asks for, without the start of a program."""
    answer = json.loads(sidelb.ask(b'reload {}\n').decode('utf-8'))
    assert answer['ok'] and not answer.get('mistakes'), answer


def members(sidelb, name):
    found = sidelb.status()['services'][name]['members']
    return sorted(member['name'] for member in found if member['state'] != 'departing')


def address_in_status(sidelb, server):
    found = sidelb.status()['services']['db']['members']
    return [member for member in found if member['name'] == str(server)][0]['addresses'][0]


def descriptors(sidelb):
    return len(os.listdir('/proc/%d/fd' % sidelb.process.pid))


def memory(sidelb):
    with open('/proc/%d/statm' % sidelb.process.pid) as statm:
        return int(statm.read().split()[1]) * os.sysconf('SC_PAGESIZE')


def talk(client, word=b'hello\n'):
    client.sendall(word)
    return read_line(client)


# --- all that may change ---

CHANGES = [
    {'mode': 'least-connections'}, {'mode': 'round-robin'}, {'check_interval': '200ms'}, {'check': 'off'},
    {'check': 'tcp', 'check_fall': '5'}, {'check_rise': '1'}, {'connect_timeout': '1s'}, {'idle_timeout': '5m'},
    {'half_close_timeout': '1m'}, {'on_down': 'close'}, {'on_removed': 'close'}, {'max_connections': '300'},
    {'refresh': '5s'}, {'dns_hold': '1s'}, {'session_timeout': None}, {}]


def test_sessions_survive_reloads_with_everything_that_may_change(write, servers):      # noqa: F811
    one, two = servers
    with serving(write(service('db', one, two))) as sidelb:
        address = address_of(sidelb, 'db')
        clients = [connect(address) for _ in range(100)]
        try:
            assert set(read_line(client) for client in clients) == set('AB')
            total = sidelb.status()['services']['db']['connections']['total']
            for number, change in enumerate(CHANGES):
                change = dict((key, value) for key, value in change.items() if value)
                write('[sidelb]\nlog_level = %s\n' % ('debug', 'info')[number % 2] + service('db', one, two, **change))
                reload(sidelb)
                assert who(address) in 'AB'
            assert all(talk(client) == 'hello' for client in clients)
            after = sidelb.status()['services']['db']['connections']
            assert (after['active'], after['total']) == (len(clients), total + len(CHANGES))
        finally:
            for client in clients:
                client.close()


def test_servers_come_and_go_and_what_stays_keeps_its_state(write, servers):      # noqa: F811
    one, two = servers
    with serving(write(service('db', one, check_interval='200ms'))) as sidelb:
        address = address_of(sidelb, 'db')
        with contextlib.closing(connect(address)) as client:
            assert read_line(client) == 'A'
            wait_until('A was never checked', lambda: address_in_status(sidelb, one)['state'] == 'up')
            before = address_in_status(sidelb, one)
            write(service('db', one, two, check_interval='200ms'))
            reload(sidelb)
            sidelb.wait_for_status('not both are up', lambda status: [
                member['state'] for member in status['services']['db']['members']] == ['up', 'up'])
            assert set(who(address) for _ in range(4)) == set('AB')
            after = address_in_status(sidelb, one)
            assert (after['since'][:19], after['changes']) == (before['since'][:19], before['changes'])
            write(service('db', two, check_interval='200ms'))
            reload(sidelb)
            wait_until('A is still a server', lambda: members(sidelb, 'db') == [str(two)])
            assert [who(address) for _ in range(4)] == ['B'] * 4
            assert talk(client) == 'hello'


def test_rings_come_and_go_and_one_that_stays_is_not_looked_up_anew(write, servers):      # noqa: F811
    one, two = servers
    with name_server() as dns:
        dns.zone.set_addresses('a.test', ['127.0.0.1'])
        dns.zone.set_addresses('b.test', ['127.0.0.1'])
        first, second = 'a.test.:%s' % str(one).split(':')[1], 'b.test.:%s' % str(two).split(':')[1]

        def ring(*names, **settings):
            lines = ['[service:db]', 'listener = 127.0.0.1:0', 'resolver = 127.0.0.1:%d' % dns.address[1], 'group = off',
                     'ring_domain = ' + ', '.join(names)] + ['%s = %s' % item for item in settings.items()]
            return '\n'.join(lines) + '\n'
        with serving(write(ring(first))) as sidelb:
            address = address_of(sidelb, 'db')
            assert [who(address) for _ in range(2)] == ['A', 'A']
            write(ring(first, second))
            reload(sidelb)
            sidelb.wait_for_status('not both are up', lambda status: [
                member['state'] for member in status['services']['db']['members']] == ['up', 'up'])
            assert sorted(who(address) for _ in range(4)) == ['A', 'A', 'B', 'B']
            write(ring(second))
            reload(sidelb)
            wait_until('A is still a server', lambda: members(sidelb, 'db') == [str(two)])
            assert [who(address) for _ in range(2)] == ['B', 'B']
            write(ring(second, refresh='5s', dns_hold='0'))          # all are looked up by the new rules
            reload(sidelb)
            assert [who(address) for _ in range(20)] == ['B'] * 20
            assert members(sidelb, 'db') == [str(two)]


def test_options_of_servers_change(write, servers):      # noqa: F811
    one, two = servers
    with serving(write(service('db', one, two))) as sidelb:
        address = address_of(sidelb, 'db')
        assert sorted(who(address) for _ in range(4)) == ['A', 'A', 'B', 'B']
        for options, expected in (('/weight=0', 'BBBB'), ('/weight=3', 'AAAB'), ('/tier=2', 'BBBB'), ('', 'AABB')):
            write(service('db', '%s%s' % (one, options), two))
            reload(sidelb)
            assert sorted(who(address) for _ in range(4)) == list(expected), options


def test_a_changed_check_finds_what_the_former_did_not(write, servers):      # noqa: F811
    one, two = servers
    with serving(write(service('db', one, two, check='off'))) as sidelb:
        one.die()
        write(service('db', one, two, check_interval='100ms'))
        reload(sidelb)
        sidelb.wait_for_log('db: .* is down')
        one.listen()
        sidelb.wait_for_log('db: .* is up')
        one.die()
        sidelb.wait_for_log('db: .* is down', times=2)
        write(service('db', one, two, check='off', check_interval='100ms'))
        reload(sidelb)
        one.listen()
        sidelb.wait_for_log('db: .* is up', times=2)         # one that a check had put down gets another chance


def test_a_listener_moves_and_its_sessions_stay(write, servers):      # noqa: F811
    one, _ = servers
    with serving(write(service('db', one))) as sidelb:
        address = address_of(sidelb, 'db')
        with contextlib.closing(connect(address)) as client:
            assert read_line(client) == 'A'
            write(service('db', one, listener='127.0.0.2:0'))
            reload(sidelb)
            sidelb.wait_for_log('db: listening on 127.0.0.2:')
            host, port = sidelb.status()['services']['db']['listener'].split(':')
            assert who((host, int(port))) == 'A'
            with pytest.raises(EnvironmentError):
                connect(address)
            assert talk(client) == 'hello'


def test_a_service_that_is_added_listens_and_one_that_is_removed_drains(write, servers):      # noqa: F811
    one, two = servers
    drain = '[sidelb]\ndrain_timeout = 1s\n'
    with serving(write(drain + service('a', one))) as sidelb:
        address = address_of(sidelb, 'a')
        client = connect(address)
        with contextlib.closing(client):
            assert read_line(client) == 'A'
            write(drain + service('b', two))
            reload(sidelb)
            assert who(address_of(sidelb, 'b')) == 'B'
            sidelb.wait_for_log('a: draining')
            assert sorted(sidelb.status()['services']) == ['b']
            wait_until('its listener is open', lambda: refuses(address))
            assert talk(client) == 'hello'
            assert how_it_ends(client) == 'reset'
        sidelb.wait_for_log('a: stopped: 1 session')


def refuses(address):
    try:
        connect(address).close()
        return False
    except EnvironmentError:
        return True


def test_sighup_takes_the_file_over_too(write, servers):      # noqa: F811
    one, two = servers
    with serving(write(service('a', one))) as sidelb:
        address_of(sidelb, 'a')
        write(service('a', one) + service('b', two))
        sidelb.signal(signal.SIGHUP)
        assert who(address_of(sidelb, 'b')) == 'B'
        sidelb.wait_for_log('info reloaded: added: b')
        sidelb.wait_for_log('looking up and probing now')


def test_a_server_that_a_person_has_drained_stays_drained(write, servers):      # noqa: F811
    one, two = servers
    with serving(write(service('db', one, two))) as sidelb:
        address = address_of(sidelb, 'db')
        finished = run_sidelb('drain', one, '--socket=' + sidelb.status_path)
        assert finished.returncode == 0, finished
        write(service('db', two, one, mode='least-connections', check_interval='1s'))
        reload(sidelb)
        sidelb.wait_for_log('reloaded: .*still draining: %s' % one)
        assert [who(address) for _ in range(4)] == ['B'] * 4


def test_the_line_of_a_reload_names_the_drained_servers_that_there_are_after_it(write, servers):      # noqa: F811
    one, two = servers
    with serving(write(service('db', one, two))) as sidelb:
        address_of(sidelb, 'db')
        sidelb.wait_for_log('servers: 2 new')
        assert json.loads(sidelb.ask(b'drain {"server": "%s"}\n' % str(one).encode('ascii')).decode('utf-8'))['ok']
        for backends, refresh in (((two,), '5s'), ((one, two), '5s'), ((two,), '6s'), ((two, one), '5s')):
            write(service('db', *backends, refresh=refresh))
            reload(sidelb)
        told = [re.sub('db: .*', '', line).rstrip('; ') for line in re.findall(r'info reloaded: (.*)', sidelb.log)]
        assert told == ['', 'still draining: %s' % one] * 2


def test_a_drained_server_that_has_left_the_file_can_be_enabled_and_returns_as_others_do(write, servers):      # noqa: F811
    one, two = servers
    with serving(write(service('db', one, two))) as sidelb:
        address = address_of(sidelb, 'db')
        sidelb.wait_for_log('servers: 2 new')

        def command(name):
            return json.loads(sidelb.ask(('%s {"server": "%s"}\n' % (name, one)).encode('ascii')).decode('utf-8'))
        with contextlib.closing(connect(address)) as client, contextlib.closing(connect(address)) as other:
            assert set(map(read_line, (client, other))) == set('AB')           # it departs with a session
            assert command('drain')['ok']
            write(service('db', two))
            reload(sidelb)
            assert command('enable')['servers'] == [{'server': str(one), 'state': 'absent', 'active': 1}]
            sidelb.wait_for_log('enable %s by .*, was absent' % one)
            assert 'there is no server' in command('enable')['error']
            write(service('db', two, one))
            reload(sidelb)
            assert set(who(address) for _ in range(4)) == set('AB')
        assert 'still draining' not in sidelb.log


def test_the_log_changes_at_once(write, servers):      # noqa: F811
    one, _ = servers
    with serving(write(service('a', one))) as sidelb:
        address = address_of(sidelb, 'a')
        write('[sidelb]\nlog_format = json\nlog_level = debug\n' + service('a', one))
        reload(sidelb)
        assert who(address) == 'A'
        sidelb.wait_for_log('"event": "session"')


# --- nothing ---

@pytest.mark.parametrize('text, says', [
    ('mode = fastest', 'mode = fastest: choose round-robin'),
    ('check = tls\ncheck_ca = /nowhere', 'check_ca=/nowhere: No such file or directory'),
    ('proto = udp', '[service:b] proto: a change needs a restart'),
    ('reuse_port = on', '[service:b] reuse_port: a change needs a restart'),
    ('resolver = 10.0.0.53', '[service:b] resolver: a change needs a restart'),
    ('[sidelb]\nhttp = 127.0.0.1:0', '[sidelb] http: a change needs a restart'),
])
def test_one_mistake_changes_nothing(write, servers, text, says):      # noqa: F811
    one, two = servers
    with serving(write(service('a', one) + service('b', one))) as sidelb:
        address_of(sidelb, 'b')
        before = sidelb.status()
        write(service('a', one, two) + service('b', one) + text + '\n' + service('c', two))
        finished = run_sidelb('reload', '--socket=' + sidelb.status_path)
        assert finished.returncode == 1 and finished.stdout == ''
        assert says in finished.stderr and 'nothing has changed' in finished.stderr
        sidelb.wait_for_log('error nothing has changed, the configuration is wrong: ')
        after = sidelb.status()
        assert after['reloads'] == {'ok': 0, 'failed': 1}
        assert sorted(after['services']) == ['a', 'b'] and members(sidelb, 'a') == [str(one)]
        assert [after['services'][name]['listener'] for name in 'ab'] == [
            before['services'][name]['listener'] for name in 'ab']


def test_a_listener_that_can_not_be_bound_changes_nothing(write, servers):      # noqa: F811
    one, two = servers
    with contextlib.closing(socket.socket()) as taken:
        taken.bind(('127.0.0.1', 0))
        taken.listen(1)
        with serving(write(service('a', one))) as sidelb:
            address = address_of(sidelb, 'a')
            before = descriptors(sidelb)
            write(service('a', two) + service('b', one) + service('c', one, listener='%s:%d' % taken.getsockname()))
            finished = run_sidelb('reload', '--socket=' + sidelb.status_path)
            assert finished.returncode == 1
            assert '[service:c] cannot listen on %s:%d' % taken.getsockname() in finished.stderr
            assert [who(address) for _ in range(3)] == ['A'] * 3
            wait_until('what was bound is still open', lambda: descriptors(sidelb) <= before)


def test_a_listener_that_overlaps_its_former_address_needs_a_restart(write, servers):      # noqa: F811
    one, _ = servers
    port = free_port()
    with serving(write(service('a', one, listener='127.0.0.1:%d' % port))) as sidelb:
        address = address_of(sidelb, 'a')
        write(service('a', one, listener='0.0.0.0:%d' % port))
        finished = run_sidelb('reload', '--socket=' + sidelb.status_path)
        assert finished.returncode == 1
        assert '[service:a] listener: from %s:%d to 0.0.0.0:%d needs a restart: they overlap' % (
            address + (port,)) in finished.stderr
        assert who(address) == 'A'


def test_an_instance_without_a_file_looks_up_and_probes(servers):
    one, _ = servers
    with Sidelb(one) as sidelb:
        finished = run_sidelb('reload', '--socket=' + sidelb.status_path)
        assert (finished.returncode, finished.stdout, finished.stderr) == (0, 'reloaded\n', '')
        sidelb.wait_for_log('looking up and probing now')


def test_an_instance_that_is_too_old_is_told_as_such(tmpdir):
    path = str(tmpdir.join('old.sock'))
    with contextlib.closing(socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)) as old:
        old.bind(path)
        old.listen(1)

        def answer():
            client, _ = old.accept()
            client.recv(100)
            client.sendall(b'HEALTHY\n')
            client.close()
        thread = threading.Thread(target=answer)
        thread.start()
        finished = run_sidelb('reload', '--socket=' + path)
        thread.join()
    assert finished.returncode == 1 and 'this instance is too old' in finished.stderr


def test_a_reload_before_the_start_and_at_the_end_changes_nothing(servers):
    one, _ = servers
    process = Process(configuration(['127.0.0.1:0', str(one), 'status_socket=off'], {}), RecordingLog(), {})
    assert process.reload() == ['nothing has changed: the process is starting']
    process.start()
    assert process.reload() == []
    process.drain()
    assert process.reload() == ['nothing has changed: the process is draining']
    process.stop()


def test_parts_that_are_replaced_listen_to_the_pool_no_more(servers):
    one, two = servers
    lines = [['127.0.0.1:0', str(one), 'status_socket=off'],
             ['127.0.0.1:0', str(one), str(two), 'refresh=5s', 'check=off', 'mode=source', 'status_socket=off'],
             ['127.0.0.1:0', str(two), 'dns_hold=0', 'check_interval=1s', 'slow_start=1s', 'status_socket=off']]
    turns = itertools.cycle(lines)
    process = Process(configuration(lines[0], {}), EventLog(lambda line: None), {}, lambda: configuration(next(turns), {}))
    process.start()
    try:
        service, = process.services.values()
        wait_until('names are not looked up', lambda: service.sources)

        def listeners_and_loops():
            loops = service._loops.living()
            return len(service.pool.observers), len(service._feed._made._names.observers), len(loops)
        for _ in range(3):
            assert process.reload() == []
            gevent.sleep(0.02)
        before = listeners_and_loops()
        for _ in range(12):
            assert process.reload() == []
            gevent.sleep(0.02)
        wait_until('something is left of what was replaced', lambda: all(
            now <= then for now, then in zip(listeners_and_loops(), before)))
    finally:
        process.stop()


# --- what it costs ---

def test_reloads_leave_descriptors_and_memory_as_they_were(write, servers):      # noqa: F811
    one, two = servers
    first, second, third = ['127.0.0.1:%d' % free_port() for _ in range(3)]     # the log remembers lines that differ
    texts = [service('a', one, listener=first) + service('b', two, listener=second, check_interval='200ms'),
             service('a', one, two, listener=first.replace('.1:', '.2:'), mode='least-connections') +
             service('c', one, listener=third, check='off')]
    with serving(write(texts[0] + '[sidelb]\ndrain_timeout = 0\n')) as sidelb:
        def reload_many(count):
            for number in range(count):
                write(texts[number % 2] + '[sidelb]\ndrain_timeout = 0\n')
                assert b'"ok": true' in sidelb.ask(b'reload {}\n')
                if number % 25 == 24:
                    wait_until('services are still draining', lambda: descriptors(sidelb) < 20)
        reload_many(200)
        open_before, memory_before = descriptors(sidelb), memory(sidelb)
        reload_many(200)
        wait_until('descriptors have leaked', lambda: descriptors(sidelb) <= open_before + 2)
        assert memory(sidelb) - memory_before < 5 << 20          # a service that is kept takes 40 KiB
