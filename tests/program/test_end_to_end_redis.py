"""Real Redis servers and clients through the real program."""
from __future__ import absolute_import, division, print_function

import re
import time

import pytest

from ..support.processes import Process
from ..support.program import Sidelb
from ..support.redis import redis, redis_benchmark, redis_sentinel, redis_servers
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


# Some 5 s: Sentinel has its own pace.
@pytest.mark.once
def test_a_fail_over_by_sentinel_is_a_wait_for_clients(tmpdir):
    """The primary dies; who writes waits until another is it. The dead one comes back as a primary, and is none for us."""
    with redis_servers(['127.0.0.2', '127.0.0.3']) as (one, other):
        assert redis(other.address, 'config', 'set', 'replica-announce-ip', other.address[0]) == 'OK'
        assert redis(other.address, 'replicaof', one.address[0], str(one.address[1])) == 'OK'
        wait_until('the replica does not connect', lambda: 'master_link_status:up' in redis(
            other.address, 'info', 'replication'), 20)
        with redis_sentinel(one, str(tmpdir)) as sentinel, \
                Sidelb('check=redis/primary', 'check_interval=300ms', 'on_down=close', one, other) as balancer:
            assert redis(balancer.address, 'set', 'number', '1') == 'OK'
            wait_until('Sentinel does not know the replica', lambda: other.address[0] in redis(
                sentinel, 'sentinel', 'replicas', 'main'), 15)
            one.stop()
            began = time.time()
            assert redis(balancer.address, 'set', 'number', '2') == 'OK'
            print('a write took %.2f s' % (time.time() - began))
            assert redis(other.address, 'get', 'number') == '2'
            one.start()                                    # as a primary, until Sentinel makes it a replica
            balancer.wait_for_status('the former primary is no standby', lambda status: sorted(
                member['state'] for member in status['members']) == ['standby', 'up'])
            for _ in range(10):
                assert redis(balancer.address, 'incr', 'number').isdigit()
            number = redis(balancer.address, 'get', 'number')
            assert number == redis(other.address, 'get', 'number') == '12'
            assert balancer.status()['connections']['refused'] == {}


def assert_no_error(finished, tests):
    """redis-benchmark ran so many tests to their end and complained of nothing."""
    assert finished.returncode == 0, finished
    assert len(re.findall(r'requests per second', finished.stdout)) == tests, finished
    assert not re.search('error', finished.output, re.IGNORECASE), finished
