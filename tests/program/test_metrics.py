"""Metrics of the real program: the numbers are right, and Prometheus scrapes them."""
from __future__ import absolute_import, division, print_function

import contextlib
import socket

import pytest

from sidelb_lib.observe import exposition

from ..support.clients import how_it_ends, read_line
from ..support.metrics import check_with_promtool, fetch, sidelb_with_metrics
from ..support.nameserver import name_server
from ..support.program import Sidelb
from ..support.prometheus import scraping
from ..support.requirements import find_program, need, need_program
from ..support.servers import Server, servers_on
from ..support.waiting import wait_until


@pytest.fixture(autouse=True)
def library():
    need('prometheus_client is not installed (%s)' % exposition.INSTALL, exposition.load())


def test_the_environment_of_the_application_does_not_matter():
    with Server('A') as server, sidelb_with_metrics(server, environ={
            'PROMETHEUS_MULTIPROC_DIR': '/nonexistent', 'prometheus_multiproc_dir': '/nonexistent'}) as sidelb:
        sidelb.wait_until_up(server)
        assert sidelb.metrics().get('sidelb_member_up', member=str(server)) == 1


def test_without_the_library_the_answer_is_the_command_that_installs_it(tmpdir):
    tmpdir.join('prometheus_client.py').write('raise ImportError("not here")')
    with Server('A') as server, Sidelb(server, 'http=127.0.0.1:0', environ={'PYTHONPATH': str(tmpdir)}) as sidelb:
        port = int(sidelb.wait_for_log(r'health and status page at http://127\.0\.0\.1:(\d+)/ '
                                       r'\(no metrics: pip install prometheus_client\)').group(1))
        assert fetch(('127.0.0.1', port)) == (
            501, 'text/plain; charset=utf-8', "metrics need prometheus_client: pip install prometheus_client\n")
        assert fetch(('127.0.0.1', port), '/liveness')[0] == 200


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


@pytest.fixture(scope='module', autouse=True)
def scraped(tmpdir_factory):
    """A Prometheus that reads a balancer's metrics: (Prometheus, the name of the server), None where there is none.
    It takes 5 s before its first look at anything, so it starts with the first test for the sake of the last."""
    program = find_program('prometheus')
    if not program or not exposition.load():
        yield None
        return
    with Server('A') as server, sidelb_with_metrics(server) as sidelb:
        with scraping(program, tmpdir_factory.mktemp('prometheus'), [sidelb.http]) as prometheus:
            yield prometheus, str(server)


def test_prometheus_itself_scrapes_them(scraped):
    need_program('prometheus', 'prometheus')
    prometheus, name = scraped
    wait_until('it has no value', lambda: prometheus.value('sidelb_member_up{member="%s"}' % name) == '1', 20)
    wait_until('it is not up', lambda: prometheus.value('up{job="sidelb"}') == '1')
