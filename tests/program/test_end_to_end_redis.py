"""Real Redis servers and clients through the real program."""
from __future__ import absolute_import, division, print_function

import re

import pytest

from ..support.processes import Process
from ..support.program import Sidelb
from ..support.redis import redis, redis_benchmark, redis_servers
from ..support.requirements import need_program
from ..support.waiting import wait_until


@pytest.fixture
def servers():
    with redis_servers(['127.0.0.2', '127.0.0.3', '127.0.0.4']) as three:
        yield three


def test_clients_reach_the_servers_in_turn(servers):
    with Sidelb(*servers) as balancer:
        names = [redis(balancer.address, 'get', 'name') for _ in range(6)]
    assert sorted(names) == sorted(2 * [server.name for server in servers])
    assert names[:3] == names[3:]


@pytest.mark.parametrize('mode', ['round-robin', 'least-connections'])
def test_redis_benchmark_has_no_error_and_loads_all_servers(servers, mode):
    with Sidelb('mode=' + mode, 'check=off', *servers) as balancer:
        finished = redis_benchmark(balancer.address, '-n', '3000', '-c', '30', '-t', 'ping,set,get')
        assert_no_error(finished, tests=4)          # PING comes in two kinds
        totals = [member['total'] for member in balancer.status()['members']]
    # Connections of one round end while those of the next begin, so least-connections may be a few off.
    assert max(totals) - min(totals) <= (1 if mode == 'round-robin' else sum(totals) // 6), totals
    for server in servers:
        assert server.statistic('total_commands_processed') > 1000


def test_redis_benchmark_with_large_pipelined_values_has_no_error(servers):
    with Sidelb(*servers) as balancer:
        assert_no_error(redis_benchmark(
            balancer.address, '-n', '400', '-c', '4', '-P', '8', '-t', 'set,get', '-d', '100000'), tests=2)


def test_a_new_connection_for_each_request_has_no_error(servers):
    with Sidelb(*servers) as balancer:
        assert_no_error(redis_benchmark(
            balancer.address, '-n', '600', '-c', '10', '-k', '0', '-t', 'get'), tests=1)


def test_a_killed_server_costs_new_clients_no_error_and_returns(servers):
    with Sidelb('check_interval=200ms', *servers) as balancer:
        servers[0].stop()
        names = [redis(balancer.address, 'get', 'name') for _ in range(6)]
        assert sorted(set(names)) == ['127.0.0.3', '127.0.0.4']
        balancer.wait_until_up(*servers[1:])
        servers[0].start()
        balancer.wait_until_up(*servers)
        assert len(set(redis(balancer.address, 'get', 'name') for _ in range(3))) == 3


def test_a_subscription_lives_through_other_traffic(servers):
    """A session that mostly waits, beside busy ones: messages reach it, and its end is passed on."""
    server = servers[0]
    program = need_program('redis-cli', 'redis-tools')
    with Sidelb(server) as balancer:
        command = [program, '-h', balancer.address[0], '-p', str(balancer.port), 'subscribe', 'news']
        with Process(command) as subscriber:
            subscriber.wait_for_output('subscribe')
            assert_no_error(redis_benchmark(balancer.address, '-n', '500', '-c', '5', '-t', 'ping'), tests=2)
            assert redis(balancer.address, 'publish', 'news', 'hello') == '1'
            subscriber.wait_for_output('hello')
        wait_until('the server still has the subscriber',
                   lambda: redis(server.address, 'publish', 'news', 'bye') == '0')


def assert_no_error(finished, tests):
    """redis-benchmark ran so many tests to their end and complained of nothing."""
    assert finished.returncode == 0, finished
    assert len(re.findall(r'requests per second', finished.stdout)) == tests, finished
    assert not re.search('error', finished.output, re.IGNORECASE), finished
