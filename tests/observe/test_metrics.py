"""Metrics: that Prometheus' own tools find nothing to say, and that the numbers are right."""
from __future__ import absolute_import, division, print_function

import io
import os
import re

import pytest

from sidelb_lib.durations import BOUNDS, Durations
from sidelb_lib.observe import exposition, metrics
from sidelb_lib.observe.snapshot import WallClock, of_address
from sidelb_lib.pool.members import Address

from ..support.metrics import Metrics, check_with_promtool
from ..support.program import PROJECT
from ..support.requirements import need

VERSIONS = {'version': '1.0', 'python': '3.13', 'gevent': '26.9'}


@pytest.fixture(autouse=True)
def library():
    need('prometheus_client is not installed (%s)' % exposition.INSTALL, exposition.load())


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
               'healthy': bool(members), 'tier': 1, 'two_primaries': 0,
               'tiers': [{'tier': 1, 'part': 0.46}, {'tier': 2, 'part': 0.54}]}
    return {'reloads': {'ok': 2, 'failed': 1}, 'config_hash': 4294967295, 'services': {'default': service}}


def rendered(*arguments, **counts):
    return Metrics(exposition.rendered(snapshot(*arguments, **counts), 1000.0, VERSIONS).decode('utf-8'))


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


def test_the_end_of_a_certificate_is_the_same_at_each_scrape():
    one = Address('10.0.0.1', 5432, 0.0)
    one.not_after = 86400
    for now in 1000.0, 1000.3, 1000.5, 1000.999:
        left = of_address(WallClock(0.0, now), one, {one: (0, 0)})['certificate_seconds']
        metric, = [metric for metric in metrics.TABLE if 'not_after' in metric.name]
        service = exposition.prepared(snapshot([member('db1', address('10.0.0.1:5432', certificate_seconds=left))])[
            'services']['default'], now + 0.002)
        assert exposition.samples(metric, service) == [(('db1', '10.0.0.1:5432'), 86400)]


def test_what_two_members_say_of_one_address_is_no_sum_but_for_counts():
    """A server that has left, and is back while sessions of it go on, has two."""
    fields = {'probe_seconds': 0.25, 'certificate_seconds': 500, 'role': 'primary', 'total': 3}
    read = rendered([member('db1', address('10.0.0.1:5432', **fields)),
                     member('db1', address('10.0.0.1:5432', **fields), state='departing')])
    for name, value in (('check_duration_seconds', 0.25), ('certificate_not_after_seconds', 1500), ('address_up', 1),
                        ('connections_total', 6)):
        assert read.get('sidelb_member_' + name, member='db1', address='10.0.0.1:5432') == value, name
    assert read.values('sidelb_member_role', 'role') == {'primary': 1}


def test_roles_weights_and_tiers():
    read = rendered([member('db1', address('10.0.0.1:5432', role='primary'), weight=3),
                     member('db2', address('10.0.0.2:5432', role='replica', state='standby'), state='standby', tier=2)])
    assert read.get('sidelb_member_role', member='db1', address='10.0.0.1:5432', role='primary') == 1
    assert read.values('sidelb_member_role', 'role') == {'primary': 1, 'replica': 1}
    assert read.values('sidelb_member_weight', 'member') == {'db1': 3, 'db2': 1}
    assert read.values('sidelb_tier_active', 'tier') == {'1': 1, '2': 0}
    assert read.values('sidelb_tier_share', 'tier') == {'1': 0.46, '2': 0.54}
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
    text = exposition.rendered(snapshot(members), 1000.0, VERSIONS, lambda: pauses.append(1)).decode('utf-8')
    lines = [line for line in text.split('\n') if line.startswith('sidelb_member')]
    assert len(lines) == 15000
    assert len(pauses) >= 2 * len(lines) // exposition.SLICE - 20         # while they are collected, then written
    read = Metrics(text)
    assert len(read.values('sidelb_member_up', 'member')) == 1000


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
    read = Metrics(exposition.rendered(both, 1000.0, VERSIONS).decode('utf-8'))
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
