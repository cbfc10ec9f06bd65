"""Real PostgreSQL servers and clients, with TLS that is checked in full, through the real program."""
from __future__ import absolute_import, division, print_function

import collections
import re

import pytest

from ..support.postgres import PostgresCluster
from ..support.program import Sidelb

NAME = 'show cluster_name'


@pytest.fixture(scope='module')
def cluster():
    with PostgresCluster(['127.0.0.2', '127.0.0.3']) as both:
        for server in both.servers:
            initialised = both.pgbench(server.address, '-i', '-s', '1', '-q')
            assert initialised.returncode == 0, initialised
        yield both


@pytest.fixture
def balancer(cluster):
    with Sidelb('check_interval=200ms', *cluster.servers) as running:
        yield running


def test_verify_full_passes_and_sessions_spread_over_both_servers(cluster, balancer):
    answers = collections.Counter(cluster.query(balancer.address, NAME) for _ in range(6))
    assert answers == {'server1': 3, 'server2': 3}


def test_the_session_is_encrypted_end_to_end(cluster, balancer):
    assert cluster.query(balancer.address, 'select ssl from pg_stat_ssl where pid = pg_backend_pid()') == 't'


def test_the_clients_check_of_the_name_is_a_real_one(cluster, balancer):
    refused = cluster.psql(balancer.address, NAME, PGHOST='other.example.com')
    assert refused.returncode != 0
    assert 'does not match host name "other.example.com"' in refused.stderr


def test_a_stopped_server_costs_no_client_an_error(cluster, balancer):
    first, second = cluster.servers
    first.stop()
    try:
        assert [cluster.query(balancer.address, NAME) for _ in range(6)] == ['server2'] * 6
    finally:
        first.start()
    balancer.wait_until_up(first, second)
    assert set(cluster.query(balancer.address, NAME) for _ in range(2)) == {'server1', 'server2'}


def test_sessions_are_over_as_soon_as_the_clients_have_gone(cluster, balancer):
    # A backend that ends with TLS's farewell unread resets the connection: the clients' usual end.
    for _ in range(12):
        cluster.query(balancer.address, NAME)
    assert balancer.status()['connections']['active'] <= 2
    balancer.wait_for_status('sessions are left', lambda status: status['connections']['active'] == 0)


def test_pgbench_with_a_connection_for_each_transaction_has_no_error(cluster):
    with Sidelb('check=off', *cluster.servers) as balancer:
        finished = cluster.pgbench(balancer.address, '-S', '-C', '-n', '-c', '4', '-t', '25')
        assert_no_failed_transaction(finished, 100)
        totals = [member['total'] for member in balancer.status()['members']]
    assert sum(totals) >= 100
    assert max(totals) - min(totals) <= 1


def test_pgbench_with_lasting_connections_has_no_error(cluster):
    with Sidelb('mode=least-connections', *cluster.servers) as balancer:
        finished = cluster.pgbench(balancer.address, '-S', '-n', '-c', '6', '-t', '200')
        assert_no_failed_transaction(finished, 1200)


def test_pgbench_goes_on_while_the_other_server_stops(cluster):
    """Nobody gets an error but those who were connected to the server that stopped: here, nobody."""
    with Sidelb('mode=round-robin', *cluster.servers) as balancer:
        cluster.servers[0].stop()
        try:
            finished = cluster.pgbench(balancer.address, '-S', '-C', '-n', '-c', '4', '-t', '10')
        finally:
            cluster.servers[0].start()
        assert_no_failed_transaction(finished, 40)


def assert_no_failed_transaction(finished, count):
    assert finished.returncode == 0, finished
    assert 'number of transactions actually processed: %d/%d' % (count, count) in finished.stdout, finished
    assert not re.search(r'number of failed transactions: [1-9]', finished.stdout), finished
    assert not re.search('error|fatal|abort', finished.stderr, re.IGNORECASE), finished
