"""Metrics: that Prometheus' own tools find nothing to say, and that the numbers are right."""
from __future__ import absolute_import, division, print_function

import contextlib
import io
import json
import os
import re
import socket
import subprocess
import tempfile

import pytest

from sidelb_lib.observe import metrics
from sidelb_lib.durations import BOUNDS, Durations

from ..support.clients import connect, how_it_ends, read_all, read_line
from ..support.nameserver import name_server
from ..support.places import Reservation
from ..support.processes import Process
from ..support.program import PROJECT, Sidelb
from ..support.requirements import find_program, need, need_program
from ..support.servers import Server, servers_on
from ..support.waiting import wait_until

VERSIONS = {'version': '1.0', 'python': '3.13', 'gevent': '26.9'}


@pytest.fixture(autouse=True)
def library():
    need('prometheus_client is not installed (%s)' % metrics.INSTALL, metrics.load())


# --- reading them -------------------------------------------------------------------------------------------

class Metrics(object):
    """Parsed text: `get('sidelb_x', member='db1')` is the value of a sample, None if there is none. The label `service` is
    `default` unless the test says otherwise."""

    def __init__(self, text):
        from prometheus_client.parser import text_string_to_metric_families
        self.text = text
        self.samples = {}
        for family in text_string_to_metric_families(text):
            for sample in family.samples:
                key = sample[0], tuple(sorted(sample[1].items()))
                assert key not in self.samples, '%s is there twice' % (key,)
                self.samples[key] = sample[2]

    def get(self, name, **labels):
        if name.startswith('sidelb_') and name != 'sidelb_build_info':
            labels.setdefault('service', 'default')
        return self.samples.get((name, tuple(sorted(labels.items()))))

    def values(self, name, label):
        """{value of the label: value of the sample} of all samples with this name."""
        return dict((dict(labels)[label], value) for (its_name, labels), value in self.samples.items()
                    if its_name == name)

    def names(self):
        return set(re.findall(r'^# TYPE (\S+)', self.text, re.M))


def fetch(address, path='/metrics'):
    """(status, content type, text) of what is served there."""
    with contextlib.closing(connect(address)) as client:
        client.sendall(('GET %s HTTP/1.0\r\nHost: localhost\r\n\r\n' % path).encode('ascii'))
        head, _, body = read_all(client).decode('utf-8').partition('\r\n\r\n')
    return int(head.split()[1]), re.search('Content-Type: (.*)', head).group(1).strip(), body


@contextlib.contextmanager
def sidelb_with_metrics(*arguments, **options):
    """A running Sidelb; `metrics()` reads and checks them."""
    with Sidelb('http=127.0.0.1:0', *arguments, **options) as sidelb:
        sidelb.http = '127.0.0.1', int(sidelb.wait_for_log(r'at http://127\.0\.0\.1:(\d+)/').group(1))

        def read():
            status, kind, text = fetch(sidelb.http)
            assert (status, kind) == (200, 'text/plain; version=0.0.4; charset=utf-8')
            return Metrics(text)
        sidelb.metrics = read
        yield sidelb


def check_with_promtool(text):
    """Have Prometheus' own linter look at it."""
    promtool = need_program('promtool', 'prometheus')
    with tempfile.TemporaryFile() as stream:
        stream.write(text.encode('utf-8'))
        stream.seek(0)
        process = subprocess.Popen([promtool, 'check', 'metrics'], stdin=stream, stdout=subprocess.PIPE,
                                   stderr=subprocess.STDOUT)
        output = process.communicate()[0].decode('utf-8')
    assert (process.returncode, output) == (0, '')


# --- by themselves ------------------------------------------------------------------------------------------

def address(text, **changes):
    fields = {'address': text, 'state': 'up', 'changes': 0, 'probe_seconds': None, 'total': 0, 'failed': 0,
              'failed_probes': 0, 'bytes_sent': 0, 'bytes_received': 0, 'role': None}
    return dict(fields, **changes)


def member(name, *addresses, **changes):
    return dict({'name': name, 'state': 'up', 'active': 0, 'weight': 1, 'tier': 1, 'addresses': list(addresses)},
                **changes)


def ring(name, port, addresses, **changes):
    fields = {'name': name, 'port': port, 'addresses': addresses, 'age': 5.0, 'ttl': 30, 'lookups': {'ok': 3}}
    return dict(fields, **changes)


def snapshot(members=(), rings=(), **counts):
    connections = dict({'active': 0, 'most': 500, 'total': 0, 'retries': 0, 'refused': {},
                        'connect_seconds': Durations().snapshot(), 'waiting': 0, 'ended': {},
                        'queue_seconds': Durations().snapshot()}, **counts)
    service = {'proto': 'tcp', 'connections': connections, 'members': list(members), 'rings': list(rings),
               'healthy': bool(members), 'tier': 1, 'two_primaries': 0}
    return {'reloads': {'ok': 2, 'failed': 1}, 'config_hash': 4294967295, 'services': {'default': service}}


def rendered(*arguments, **counts):
    return Metrics(metrics.exposition(snapshot(*arguments, **counts), 1000.0, VERSIONS).decode('utf-8'))


def test_every_metric_is_there_with_its_meaning_even_when_nothing_has_happened():
    empty = rendered()
    assert empty.names() >= set([
        'sidelb_build_info', 'sidelb_member_up', 'sidelb_member_active_connections',
        'sidelb_member_connections_total', 'sidelb_member_connect_failures_total', 'sidelb_member_bytes_total',
        'sidelb_member_check_duration_seconds', 'sidelb_member_state_changes_total', 'sidelb_connections_active',
        'sidelb_connections_total', 'sidelb_connections_refused_total', 'sidelb_retries_total',
        'sidelb_connect_duration_seconds', 'sidelb_dns_lookups_total', 'sidelb_dns_last_success_timestamp_seconds',
        'sidelb_ring_members'])
    assert empty.names() == set(re.findall(r'^# HELP (\S+) \w', empty.text, re.M))
    assert empty.get('sidelb_build_info', **VERSIONS) == 1
    assert empty.values('sidelb_reloads_total', 'result') == {'ok': 2, 'failed': 1}
    assert empty.samples['sidelb_config_hash', ()] == 4294967295
    assert empty.get('sidelb_connections_refused_total', reason='no_server_is_known') == 0
    assert empty.get('process_resident_memory_bytes') > 1e6
    check_with_promtool(empty.text)


def test_a_server_is_counted_by_address_and_told_by_name():
    read = rendered([member('db1', address('10.0.0.1:5432', total=7, failed=5, failed_probes=3, changes=2,
                                           bytes_sent=10, bytes_received=20, probe_seconds=0.25),
                            address('[2001:db8::1]:5432', state='down', total=1), active=4)])
    one = {'member': 'db1', 'address': '10.0.0.1:5432'}
    assert read.get('sidelb_member_up', member='db1') == 1
    assert read.get('sidelb_member_active_connections', member='db1') == 4
    assert read.get('sidelb_member_connections_total', **one) == 7
    assert read.get('sidelb_member_connect_failures_total', **one) == 2
    assert read.get('sidelb_member_check_failures_total', **one) == 3
    assert read.get('sidelb_member_state_changes_total', **one) == 2
    assert read.get('sidelb_member_check_duration_seconds', **one) == 0.25
    assert read.get('sidelb_member_bytes_total', direction='sent', **one) == 10
    assert read.get('sidelb_member_bytes_total', direction='received', **one) == 20
    assert read.values('sidelb_member_address_up', 'address') == {'10.0.0.1:5432': 1, '[2001:db8::1]:5432': 0}
    assert read.values('sidelb_member_check_duration_seconds', 'address') == {'10.0.0.1:5432': 0.25}
    check_with_promtool(read.text)


def test_a_certificate_s_end_is_where_it_was_seen():
    read = rendered([member('db1', address('10.0.0.1:5432', certificate_seconds=86400)),
                     member('db2', address('10.0.0.2:5432', certificate_seconds=None))])
    assert read.values('sidelb_member_certificate_not_after_seconds', 'member') == {'db1': 1000 + 86400}


def test_roles_weights_and_tiers():
    read = rendered([member('db1', address('10.0.0.1:5432', role='primary'), weight=3),
                     member('db2', address('10.0.0.2:5432', role='replica', state='standby'), state='standby', tier=2)])
    assert read.get('sidelb_member_role', member='db1', address='10.0.0.1:5432', role='primary') == 1
    assert read.values('sidelb_member_role', 'role') == {'primary': 1, 'replica': 1}
    assert read.values('sidelb_member_weight', 'member') == {'db1': 3, 'db2': 1}
    assert read.values('sidelb_tier_active', 'tier') == {'1': 1, '2': 0}
    assert read.get('sidelb_two_primaries_total') == 0
    assert read.get('sidelb_member_state', member='db2', address='10.0.0.2:5432', state='standby') == 1
    check_with_promtool(read.text)


def test_servers_of_one_name_on_several_ports_are_told_apart():
    read = rendered([member('db1', address('10.0.0.1:5432')), member('db1', address('10.0.0.1:6432'), state='down'),
                     member('db2', address('10.0.0.2:5432'))])
    assert read.values('sidelb_member_up', 'member') == {'db1:5432': 1, 'db1:6432': 0, 'db2': 1}


def test_a_departing_server_still_has_sessions_and_is_neither_up_nor_down():
    read = rendered([member('db1', address('10.0.0.1:5432'), active=1),
                     member('db2', address('10.0.0.2:5432'), active=2, state='departing'),
                     member('db1', address('10.0.0.9:5432', total=5), active=3, state='departing')])
    assert read.values('sidelb_member_up', 'member') == {'db1': 1}
    assert read.values('sidelb_member_active_connections', 'member') == {'db1': 4, 'db2': 2}
    assert read.get('sidelb_member_connections_total', member='db1', address='10.0.0.9:5432') == 5
    check_with_promtool(read.text)


def test_rings():
    read = rendered([member('db1', address('10.0.0.1:5432'), address('10.0.0.2:5432')),
                     member('db2', address('10.0.0.3:5432')), member('db3', address('10.0.0.4:5432'))],
                    [ring('db.example.com', 5432, ['10.0.0.1:5432', '10.0.0.2:5432', '10.0.0.3:5432'],
                          lookups={'ok': 3, 'holding': 2, 'empty': 1, 'failing': 4, 'partial': 5}),
                     ring('other.example.com', 5432, [], age=None, lookups={})])
    name = 'db.example.com:5432'
    assert read.get('sidelb_ring_members', ring=name) == 2
    assert read.get('sidelb_ring_addresses', ring=name) == 3
    assert read.get('sidelb_dns_last_success_timestamp_seconds', ring=name) == 995
    assert read.get('sidelb_dns_last_success_timestamp_seconds', ring='other.example.com:5432') is None
    results = dict((result, read.get('sidelb_dns_lookups_total', ring=name, result=result))
                   for result in ('ok', 'partial', 'failed', 'empty'))
    assert results == {'ok': 3, 'partial': 5, 'failed': 4, 'empty': 3}
    assert read.get('sidelb_dns_lookups_total', ring='other.example.com:5432', result='ok') == 0
    check_with_promtool(read.text)


def test_refusals_are_a_few_kinds_which_are_there_before_the_first():
    read = rendered(refused={'this_host_is_short_of_resources': 3, 'every_server_has_been_tried': 4})
    assert read.values('sidelb_connections_refused_total', 'reason') == {
        'this_host_is_short_of_resources': 3, 'every_server_has_been_tried': 4, 'no_server_is_known': 0,
        'every_server_is_full': 0, 'no_server_may_be_taken': 0, 'no_server_could_be_reached_in_time': 0}


def test_durations_become_a_histogram():
    durations = Durations()
    for seconds in 0.00005, 0.0001, 0.0003, 0.3, 100:
        durations.add(seconds)
    read = rendered(connect_seconds=durations.snapshot())
    buckets = read.values('sidelb_connect_duration_seconds_bucket', 'le')
    assert [buckets[str(bound)] for bound in BOUNDS] == [2, 2, 3, 3, 3, 3, 3, 3, 3, 3, 3, 4, 4, 4, 4]
    assert buckets['+Inf'] == read.get('sidelb_connect_duration_seconds_count') == 5
    assert read.get('sidelb_connect_duration_seconds_sum') == pytest.approx(100.30045)
    check_with_promtool(read.text)


@pytest.mark.parametrize('name', [
    '"} 1\nevil_metric{a="', 'back\\slash', 'line\nbreak', '<script>alert(1)</script>', '{}', ''])
def test_no_name_can_forge_a_metric(name):
    read = rendered([member(name, address('10.0.0.1:5432'))])
    assert read.get('sidelb_member_up', member=name) == 1
    expected = re.compile('(sidelb|process)_|# (HELP|TYPE) (sidelb|process)_|$')
    assert [line for line in read.text.split('\n') if not expected.match(line)] == []
    check_with_promtool(read.text)


def test_a_thousand_servers_hold_nobody_up():
    pauses = []
    members = [member('db%d' % n, address('10.0.%d.%d:5432' % (n // 250, n % 250))) for n in range(1000)]
    text = metrics.exposition(snapshot(members), 1000.0, VERSIONS, lambda: pauses.append(1)).decode('utf-8')
    lines = [line for line in text.split('\n') if line.startswith('sidelb_member')]
    assert len(lines) == 15000
    assert len(pauses) >= 2 * len(lines) // metrics.SLICE - 20         # while they are collected, then written
    read = Metrics(text)
    assert len(read.values('sidelb_member_up', 'member')) == 1000


def test_the_environment_of_the_application_does_not_matter():
    with Server('A') as server, sidelb_with_metrics(server, environ={
            'PROMETHEUS_MULTIPROC_DIR': '/nonexistent', 'prometheus_multiproc_dir': '/nonexistent'}) as sidelb:
        sidelb.wait_until_up(server)
        assert sidelb.metrics().get('sidelb_member_up', member=str(server)) == 1


def test_without_the_library_the_answer_is_the_command_that_installs_it(tmpdir):
    tmpdir.join('prometheus_client.py').write('raise ImportError("not here")')
    with Server('A') as server, Sidelb(server, 'http=127.0.0.1:0', environ={'PYTHONPATH': str(tmpdir)}) as sidelb:
        port = int(sidelb.wait_for_log(r'at http://127\.0\.0\.1:(\d+)/').group(1))
        assert fetch(('127.0.0.1', port)) == (
            501, 'text/plain; charset=utf-8', "metrics need prometheus_client: pip install prometheus_client\n")
        assert fetch(('127.0.0.1', port), '/liveness')[0] == 200


# --- of a real balancer -------------------------------------------------------------------------------------

def test_what_is_counted_of_tcp():
    with servers_on(['127.0.0.1', '127.0.0.2'], ['A', 'B']) as (one, two):
        with sidelb_with_metrics(one, two, 'check_interval=100ms', 'check_fall=100') as sidelb:
            with contextlib.closing(sidelb.connect()) as client, contextlib.closing(sidelb.connect()) as other:
                assert sorted([read_line(client), read_line(other)]) == ['A', 'B']
                client.sendall(b'x' * 1000)
                read = sidelb.metrics()
                assert read.get('sidelb_connections_active') == 2
                assert read.values('sidelb_member_active_connections', 'member') == {str(one): 1, str(two): 1}
            sidelb.wait_for_status('sessions go on', lambda status: status['connections']['active'] == 0)
            sidelb.wait_for_status('B was not probed: its first failed probe would take it out at once', lambda status: (
                status['members'][1]['addresses'][0]['probe_seconds']))
            two.die()
            assert [sidelb.who() for _ in range(4)] == ['A'] * 4
            sidelb.wait_for_status('no probe of B failed, or none of A worked', lambda status: (
                status['members'][1]['addresses'][0]['failed_probes'] and
                status['members'][0]['addresses'][0]['probe_seconds']))
            read = sidelb.metrics()
            assert read.values('sidelb_member_check_failures_total', 'member')[str(two)] >= 1
            assert read.get('sidelb_connections_total') == 6
            assert read.values('sidelb_member_connections_total', 'member')[str(two)] == 1
            assert read.values('sidelb_member_connections_total', 'member')[str(one)] == 5
            assert read.values('sidelb_member_connect_failures_total', 'member')[str(one)] == 0
            failures = read.values('sidelb_member_connect_failures_total', 'member')[str(two)]
            assert 2 <= failures <= 4 and read.get('sidelb_retries_total') == failures
            assert read.get('sidelb_connect_duration_seconds_count') == 6
            assert 0 < read.get('sidelb_connect_duration_seconds_sum') < 5
            assert sum(value for (name, labels), value in read.samples.items()
                       if name == 'sidelb_member_bytes_total' and ('direction', 'sent') in labels) == 1000
            assert read.values('sidelb_member_check_duration_seconds', 'member')[str(one)] > 0
            check_with_promtool(read.text)


def test_refused_clients_are_counted():
    with Server('A') as server, sidelb_with_metrics(server, 'check=off') as sidelb:
        server.die()
        with contextlib.closing(sidelb.connect()) as client:
            assert how_it_ends(client) == 'reset'
        wait_until('it is not counted', lambda: sidelb.metrics().get(
            'sidelb_connections_refused_total', reason='every_server_has_been_tried') == 1)
    with name_server() as dns, sidelb_with_metrics(
            'ring_domain=db.example.com:5432', 'resolver=%s:%d' % dns.address, 'connect_timeout=100ms') as sidelb:
        with contextlib.closing(sidelb.connect()) as client:
            assert how_it_ends(client) == 'reset'
        wait_until('it is not counted', lambda: sidelb.metrics().get(
            'sidelb_connections_refused_total', reason='no_server_is_known') == 1)
        assert sidelb.metrics().get('sidelb_dns_lookups_total', ring='db.example.com:5432', result='empty') == 1


def test_bytes_never_go_back_when_sessions_end():
    with Server('A') as server, sidelb_with_metrics(server) as sidelb:
        labels = {'member': str(server), 'address': str(server), 'direction': 'sent'}
        before = 0
        for _ in range(5):
            with contextlib.closing(sidelb.connect()) as client:
                assert read_line(client) == 'A'
                client.sendall(b'x' * 1000)
                now = wait_until('nothing was sent', lambda: (
                    sidelb.metrics().get('sidelb_member_bytes_total', **labels) >= before + 1000 and
                    sidelb.metrics().get('sidelb_member_bytes_total', **labels)))
            sidelb.wait_for_status('the session goes on', lambda status: status['connections']['active'] == 0)
            assert sidelb.metrics().get('sidelb_member_bytes_total', **labels) == now == before + 1000
            before = now


def test_what_is_counted_of_udp():
    with contextlib.closing(socket.socket(socket.AF_INET, socket.SOCK_DGRAM)) as server:
        server.bind(('127.0.0.1', 0))
        server.settimeout(10)
        endpoint = '127.0.0.1:%d' % server.getsockname()[1]
        with sidelb_with_metrics(endpoint, 'proto=udp', 'check=off') as sidelb:
            with contextlib.closing(socket.socket(socket.AF_INET, socket.SOCK_DGRAM)) as client:
                client.settimeout(10)
                for _ in range(3):
                    client.sendto(b'question', sidelb.address)
                    question, peer = server.recvfrom(100)
                    server.sendto(b'reply', peer)
                    assert client.recv(100) == b'reply'
                client.sendto(b'question', sidelb.address)
                server.recvfrom(100)
                read = sidelb.metrics()
        assert read.values('sidelb_datagrams_total', 'direction') == {'sent': 4, 'received': 3}
        assert (read.get('sidelb_sessions_active'), read.get('sidelb_sessions_total')) == (1, 1)
        assert read.get('sidelb_member_bytes_total', member=endpoint, address=endpoint, direction='sent') == 32
        assert read.get('sidelb_retries_total') == 0 and 'sidelb_datagrams_dropped_total' in read.names()
        assert read.get('sidelb_connections_total') is None
        check_with_promtool(read.text)


@pytest.fixture(scope='module', autouse=True)
def scraping(tmpdir_factory):
    """A Prometheus that reads a balancer's metrics: (its address, the name of the server), None where there is none.
    It takes 5 s before its first look at anything, so it starts with the first test for the sake of the last."""
    program = find_program('prometheus')
    if not program or not metrics.load():
        yield None
        return
    directory = tmpdir_factory.mktemp('prometheus')
    with Server('A') as server, sidelb_with_metrics(server) as sidelb, Reservation(['127.0.0.1']) as place:
        directory.join('prometheus.yml').write(json.dumps({
            'global': {'scrape_interval': '500ms', 'scrape_timeout': '500ms'}, 'scrape_configs': [
                {'job_name': 'sidelb', 'static_configs': [{'targets': ['127.0.0.1:%d' % sidelb.http[1]]}]}]}))
        with Process([program, '--config.file=%s/prometheus.yml' % directory,
                      '--storage.tsdb.path=%s/data' % directory,
                      '--web.listen-address=127.0.0.1:%d' % place.port]) as prometheus:
            prometheus.wait_for_output('Server is ready to receive web requests', timeout=30)
            yield place.addresses[0], str(server)


def test_prometheus_itself_scrapes_them(scraping):
    need_program('prometheus', 'prometheus')
    address, name = scraping
    wait_until('it has no value', lambda: ask_prometheus(address, 'sidelb_member_up{member="%s"}' % name) == '1', 20)
    wait_until('it is not up', lambda: ask_prometheus(address, 'up{job="sidelb"}') == '1')


def ask_prometheus(address, query):
    """The value of the first result of a query, as text; None if there is none."""
    path = '/api/v1/query?query=' + ''.join('%%%02x' % ord(character) for character in query)
    status, _, text = fetch(address, path)
    assert status == 200, text
    results = json.loads(text)['data']['result']
    return str(results[0]['value'][1]) if results else None


def test_the_table_in_the_guide_is_the_table_of_the_program():
    with io.open(os.path.join(PROJECT, 'docs', 'metrics.md'), encoding='utf-8') as stream:
        rows = re.findall(r'^\| `(sidelb_\w+)` \| (\w+) \| ([^|]*) \| ([^|]*) \|$', stream.read(), re.M)
    assert rows[0][0] == 'sidelb_build_info' and rows[1:] == [
        (one.name, one.kind, ' '.join('`%s`' % label for label in labels), one.meaning)
        for one, labels in [(one, one.labels) for one in metrics.OF_PROCESS] +
                           [(one, ('service',) + one.labels) for one in metrics.TABLE]]


def test_several_services_are_told_apart():
    one, two = snapshot([member('db1', address('10.0.0.1:5432', total=7))]), snapshot([member('db1', address('10.0.0.9:1'))])
    udp = dict(two['services']['default'], proto='udp', connections={
        'active': 3, 'most': 9, 'total': 4, 'retries': 0, 'datagrams_sent': 1, 'datagrams_received': 2, 'drops': {}})
    both = {'reloads': {}, 'services': {'db': one['services']['default'], 'dns': udp}}
    read = Metrics(metrics.exposition(both, 1000.0, VERSIONS).decode('utf-8'))
    assert read.values('sidelb_service_up', 'service') == {'db': 1, 'dns': 1}
    assert read.get('sidelb_connections_active', service='db') == 0
    assert read.get('sidelb_connections_active', service='dns') is None
    assert read.get('sidelb_sessions_active', service='dns') == 3
    assert read.values('sidelb_retries_total', 'service') == {'db': 0, 'dns': 0}
    assert read.get('sidelb_member_connections_total', service='db', member='db1', address='10.0.0.1:5432') == 7
    check_with_promtool(read.text)


def test_the_names_in_the_read_me_and_guides_exist():
    known = rendered().names() | set(['sidelb_connect_duration_seconds_bucket'])
    for name in ['README.md'] + [os.path.join('docs', name) for name in (
            os.listdir(os.path.join(PROJECT, 'docs')) if os.path.isdir(os.path.join(PROJECT, 'docs')) else [])]:
        if name.endswith('.md'):
            with open(os.path.join(PROJECT, name)) as stream:
                for metric in re.findall(r'\bsidelb_(?:member|connect|dns|ring|retries|build)\w*\b', stream.read()):
                    assert metric in known, '%s names %s' % (name, metric)


def test_the_duration_of_sessions_and_the_first_byte_of_servers_are_counted(tmpdir):
    with Server('A') as server, sidelb_with_metrics(server) as sidelb:
        assert [sidelb.who() for _ in range(3)] == ['A'] * 3
        wait_until('sessions go on', lambda: sidelb.metrics().get('sidelb_session_duration_seconds_count') == 3)
        read = sidelb.metrics()
        assert read.get('sidelb_first_byte_seconds_count') == 3
        assert read.get('sidelb_session_duration_seconds_bucket', le='86400.0') == 3
        assert 0 < read.get('sidelb_first_byte_seconds_sum') < read.get('sidelb_session_duration_seconds_sum') + 1
        check_with_promtool(read.text)


def test_nobody_times_sessions_where_nobody_can_ask():
    with Server('A') as server, Sidelb(server) as sidelb:
        assert sidelb.who() == 'A'
        assert 'session_seconds' not in sidelb.status()['connections']
