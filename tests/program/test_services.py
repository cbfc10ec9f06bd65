"""Several services in one process, out of one file."""
from __future__ import absolute_import, division, print_function

import contextlib
import json
import re
import socket

import pytest

from ..support.clients import connect, read_line
from ..support.program import Sidelb, run_sidelb
from ..support.servers import Server
from ..support.waiting import wait_until


@pytest.fixture
def server():
    with Server('A') as one:
        yield one


@pytest.fixture
def write(tmpdir):
    """Writes the file of services, or replaces it as a whole; returns its path."""
    def write_file(text):
        tmpdir.join('new').write(text)
        tmpdir.join('new').rename(tmpdir.join('sidelb.conf'))
        return str(tmpdir.join('sidelb.conf'))
    return write_file


def serving(path, *arguments, **options):
    return Sidelb('--config=' + path, *arguments, listener=None, environ={'SIDELB_RESOLVER': ''}, **options)


def service(name, *servers, **settings):
    """A section, with a free port for its listener unless it has one."""
    lines = ['listener = %s' % settings.pop('listener', '127.0.0.1:0'),
             'backends = %s' % ', '.join(str(one) for one in servers), 'group = off']
    return '[service:%s]\n%s\n' % (name, '\n'.join(lines + ['%s = %s' % one for one in sorted(settings.items())]))


def address_of(sidelb, name):
    """(ip, port) of a service's listener."""
    ip, port = sidelb.wait_for_log(r'%s: listening on (\S+):(\d+)' % name).groups()
    return ip, int(port)


def who(address):
    with contextlib.closing(connect(address)) as sock:
        return read_line(sock)


def test_each_service_has_its_listener_and_servers(write, server):
    with Server('B') as other:
        with serving(write(service('one', server) + service('two', other))) as sidelb:
            assert who(address_of(sidelb, 'one')) == 'A'
            assert who(address_of(sidelb, 'two')) == 'B'
            services = sidelb.status()['services']
            assert sorted(services) == ['one', 'two']
            assert [len(services[name]['members']) for name in ('one', 'two')] == [1, 1]
            table = run_sidelb('status', '--socket=' + sidelb.status_path).stdout
            assert sorted(re.findall(r'^(one|two) +127', table, re.MULTILINE)) == ['one', 'two'] and str(other) in table


def test_a_tcp_and_a_udp_service_share_a_port(write, server):
    with contextlib.closing(socket.socket(socket.AF_INET, socket.SOCK_DGRAM)) as echo:
        echo.bind(('127.0.0.1', 0))
        echo.settimeout(10)
        udp_server = '127.0.0.1:%d' % echo.getsockname()[1]
        listener = '127.0.0.1:%d' % free_port()
        text = service('t', server, listener=listener)
        text += service('u', udp_server, listener=listener, proto='udp', check='off')
        with serving(write(text)) as sidelb, contextlib.closing(socket.socket(socket.AF_INET, socket.SOCK_DGRAM)) as client:
            address = address_of(sidelb, 'u')
            client.settimeout(10)
            client.sendto(b'question', address)
            question, peer = echo.recvfrom(100)
            echo.sendto(b'answer', peer)
            assert (question, client.recvfrom(100)) == (b'question', (b'answer', address))
            assert who(address) == 'A'


def free_port():
    with contextlib.closing(socket.socket()) as tcp:
        tcp.bind(('127.0.0.1', 0))
        return tcp.getsockname()[1]


def test_events_of_a_service_have_its_name(write, server):
    with serving(write(service('db', server) + service('x', server)), 'log_format=json', started='"listening"') as sidelb:
        wait_until('not both listen', lambda: sidelb.log.count('"listening"') == 2)
        events = [json.loads(line) for line in sidelb.log.splitlines()]
        assert [event['service'] for event in events if event['event'] == 'listening'] == ['db', 'x']
        assert [event for event in events if event['event'] == 'status_socket' and 'service' in event] == []


def test_a_file_with_mistakes_binds_nothing(write, server):
    path = write(service('db', server) + service('x', server, mode='fastest') + 'mod = x\n')
    finished = run_sidelb('--config=' + path)
    assert (finished.returncode, finished.stdout) == (2, '')
    first, second, _ = finished.stderr.splitlines()
    assert first.startswith('sidelb: %s:9: mode = fastest: choose' % path)
    assert second.startswith('sidelb: %s:10: mod = : no such setting' % path)


def test_one_listener_that_is_taken_ends_all(write, server):
    with contextlib.closing(socket.socket()) as taken:
        taken.bind(('127.0.0.1', 0))
        taken.listen(1)
        address = '%s:%d' % taken.getsockname()
        finished = run_sidelb('--config=' + write(service('a', server) + service('b', server, listener=address)))
    assert finished.returncode == 1 and address in finished.stderr and 'listening' not in finished.stdout


def test_a_busy_service_leaves_the_others_a_quarter_of_their_even_part_and_takes_it_back_later(write, server):
    with Server('B') as other:
        path = write(service('one', server, check='off') + service('two', other, check='off'))
        with serving(path, nofile=(240, 240)) as sidelb:         # 120 for sessions, 15 for each in any case
            busy = [connect(address_of(sidelb, 'one')) for _ in range(80)]
            sidelb.wait_for_status('one has not what there is', lambda status: (
                status['services']['one']['connections']['active'] == 52), timeout=15)
            quiet = [connect(address_of(sidelb, 'two')) for _ in range(20)]
            assert [read_line(client) for client in quiet[:8]] == ['B'] * 8
            counts = sidelb.status()['services']
            assert [counts[name]['connections']['active'] for name in ('one', 'two')] == [52, 8]
            assert [counts[name]['connections']['most'] for name in ('one', 'two')] == [52, 8]
            assert counts['one']['verdict']['text'].endswith('the limit of 52 connections is reached')
            for client in busy:
                client.close()
            assert [read_line(client) for client in quiet[8:]] == ['B'] * 12
            for client in quiet:
                client.close()
            assert who(address_of(sidelb, 'one')) == 'A'


def test_of_udp_services_too(write):
    with contextlib.closing(socket.socket(socket.AF_INET, socket.SOCK_DGRAM)) as backend:
        backend.bind(('127.0.0.1', 0))
        where = '127.0.0.1:%d' % backend.getsockname()[1]
        path = write(service('one', where, check='off', proto='udp') + service('two', where, check='off', proto='udp'))
        with serving(path, nofile=(240, 240)) as sidelb:
            clients = []
            for name, count in (('one', 150), ('two', 15)):
                address = address_of(sidelb, name)
                for _ in range(count):
                    client = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
                    client.sendto(b'hello', address)
                    clients.append(client)
            sidelb.wait_for_status('they have no sessions', lambda status: [
                status['services'][name]['connections']['active'] for name in ('one', 'two')] == [105, 15])
            drops = sidelb.status()['services']
            assert [drops[name]['connections']['drops'] for name in ('one', 'two')] == [{'session_evicted': 45}, {}]
            for client in clients:
                client.close()
