"""SRV names as Kubernetes and Consul publish them: real name servers (knot, and unbound that caches its answers), the real
program, real servers. All of it is on loopback, and needs no privileges."""
from __future__ import absolute_import, division, print_function

import collections
import contextlib

import pytest

from ..support.knot import Knot
from ..support.program import Sidelb, run_sidelb
from ..support.servers import servers_on
from ..support.unbound import Unbound
from ..support.waiting import wait_until

IPS = ['127.0.1.%d' % number for number in (1, 2, 3)]
CONSUL = '_db._primary.service.consul.'


@pytest.fixture
def servers():
    with servers_on(IPS, names=['zero', 'one', 'two']) as three:
        yield three


@contextlib.contextmanager
def cached(zone, records):
    """(knot that serves the zone, unbound that asks it and keeps what it hears)."""
    with Knot(zone, records, negative_ttl=1) as knot, Unbound(stubs={zone: knot.address}) as unbound:
        yield knot, unbound


def pods_of(servers, *numbers):
    """What CoreDNS says of the pods of a StatefulSet `db` that are ready: a headless service with a port named pg. Each
    weight is 100 / n, rounded down."""
    return ['db-%d.db 1 A %s' % (number, servers[number].address[0]) for number in numbers] + [
        '_pg._tcp.db 1 SRV 0 %d %d db-%d.db' % (100 // len(numbers), servers[number].address[1], number)
        for number in numbers]


def nodes_of(servers, *weights):
    """What Consul says of three instances: named by node or address, with a TTL of 0 and the weight of their health."""
    targets = ['node0.node.dc1', '7f000102.addr.dc1', 'node2.node.dc1']
    return ['%s 0 A %s' % (target, server.address[0]) for target, server in zip(targets, servers)] + [
        '_db._primary.service 0 SRV 1 %d %d %s' % (weight, server.address[1], target)
        for target, server, weight in zip(targets, servers, weights) if weight]


def wait_for(balancer, *names):
    """Wait until these are the members, and up."""
    return balancer.wait_for_status('the members are not %s' % (names,), lambda status: sorted(
        member['name'].split('.')[0] for member in status['members'] if member['state'] == 'up') == sorted(names) and not [
            member for member in status['members'] if member['state'] not in ('up', 'departing')])


def answers(balancer, count):
    return collections.Counter(balancer.who() for _ in range(count))


def test_pods_that_are_not_ready_get_no_new_sessions_keep_theirs_and_come_back(servers):
    with cached('prod.svc.cluster.local', pods_of(servers, 0, 1, 2)) as (knot, unbound):
        with Sidelb('ring_domain=_pg._tcp.db.prod.svc.cluster.local.', 'resolver=%s' % unbound) as balancer:
            wait_for(balancer, 'db-0', 'db-1', 'db-2')
            assert answers(balancer, 9) == {'zero': 3, 'one': 3, 'two': 3}
            clients = [balancer.connect() for _ in range(3)]
            assert sorted(client.recv(5) for client in clients) == [b'one\n', b'two\n', b'zero\n']
            for ready, names in (((0, 2), ['zero', 'two']), ((2,), ['two']), ((0, 1, 2), ['zero', 'one', 'two'])):
                knot.set_records(pods_of(servers, *ready))
                wait_for(balancer, *['db-%d' % number for number in ready])
                assert sorted(answers(balancer, 6)) == sorted(names)
            for client in clients:
                client.sendall(b'still here')
                assert client.recv(10) == b'still here'
                client.close()


def test_when_no_pod_is_ready_the_last_ones_stay_for_dns_hold(servers):
    with cached('prod.svc.cluster.local', pods_of(servers, 0, 1)) as (knot, unbound):
        with Sidelb('ring_domain=_pg._tcp.db.prod.svc.cluster.local.', 'resolver=%s' % unbound, 'dns_hold=3s') as balancer:
            wait_for(balancer, 'db-0', 'db-1')
            knot.set_records([])
            balancer.wait_for_status('it is not held', lambda status: status['rings'][0]['state'] == 'holding')
            assert answers(balancer, 4) == {'zero': 2, 'one': 2}
            balancer.wait_for_status('they are not let go', lambda status: not status['members'])
            knot.set_records(pods_of(servers, 2))
            assert answers(balancer, 2) == {'two': 2}, 'a client that comes has the name looked up'


def test_a_consul_service_has_the_weights_of_its_health_by_tag(servers):
    with cached('consul', nodes_of(servers, 10, 10, 10)) as (knot, unbound):
        with Sidelb('ring_domain=' + CONSUL, 'resolver=%s' % unbound) as balancer:
            wait_for(balancer, 'node0', '7f000102', 'node2')
            client = balancer.connect()
            first = client.recv(5)
            before = dict((member['name'], member['total']) for member in balancer.status()['members'])
            knot.set_records(nodes_of(servers, 10, 1, 10))
            balancer.wait_for_status('it does not warn', lambda status: status['members'][0]['weight'] == 0.143)
            assert answers(balancer, 21) == {'zero': 10, 'one': 1, 'two': 10}
            after = dict((member['name'], member['total']) for member in balancer.status()['members'])
            assert sorted(after[name] - before[name] for name in after) == [1, 10, 10], 'they are what they were'
            knot.set_records(nodes_of(servers, 10, 0, 10))
            wait_for(balancer, 'node0', 'node2')
            client.sendall(b'still here')
            assert client.recv(10) == b'still here', 'the session with %r is cut' % first
            client.close()


def test_a_lower_priority_takes_over_when_the_better_one_is_down(servers):
    records = ['s%d A %s' % (number, server.address[0]) for number, server in enumerate(servers)] + [
        '_db._tcp 1 SRV %d 1 %d s%d' % (priority, server.address[1], number)
        for number, (priority, server) in enumerate(zip((10, 20, 20), servers))]
    with cached('example.com', records) as (_, unbound):
        with Sidelb('ring_domain=_db._tcp.example.com/tier=3/max=5', 'resolver=%s' % unbound, 'check_interval=200ms',
                    'tier_return=0') as balancer:
            status = wait_for(balancer, 's0', 's1', 's2')
            assert [(member['tier'], member['max']) for member in status['members']] == [(3, 5), (4, 5), (4, 5)]
            assert answers(balancer, 4) == {'zero': 4}
            servers[0].die()
            assert answers(balancer, 4) == {'one': 2, 'two': 2}
            servers[0].listen()
            wait_for(balancer, 's0', 's1', 's2')
            assert answers(balancer, 4) == {'zero': 4}


def test_a_server_of_several_sources_has_the_options_that_are_written(servers):
    port = servers[0].address[1]
    records = ['s%d A %s' % (number, server.address[0]) for number, server in enumerate(servers)] + [
        'ring A ' + IPS[0], '_db._tcp 1 SRV 10 30 %d s0' % port, '_db._tcp 1 SRV 10 10 %d s1' % port,
        '_db._tcp 1 SRV 20 1 %d s2' % port]
    with cached('example.com', records) as (_, unbound):
        with Sidelb('ring_domain=_db._tcp.example.com,ring.example.com:%d/tier=3' % port, 'resolver=%s' % unbound,
                    '%s/weight=7' % servers[1], 's2.example.com:%d/max=3' % port) as balancer:
            status = balancer.wait_for_status('not all is known', lambda status: [
                (member['name'], member['tier'], member['weight'], member['max']) for member in status['members']] == [
                    ('s0.example.com', 1, 1.5, None), ('s1.example.com', 1, 7, None), ('s2.example.com', 2, 1, 3)])
            assert len(status['members']) == 3


def test_everybody_is_told_which_target_has_no_address(servers):
    records = pods_of(servers, 0, 1) + ['_pg._tcp.db 1 SRV 0 50 5432 db-7.db']
    name = '_pg._tcp.db.prod.svc.cluster.local'
    with cached('prod.svc.cluster.local', records) as (knot, unbound):
        with Sidelb('ring_domain=' + name, 'resolver=%s' % unbound, 'http=127.0.0.1:0') as balancer:
            wait_for(balancer, 'db-0', 'db-1')
            balancer.wait_for_log('its target db-7.db.prod.svc.cluster.local has no address: no such name')
            shown = run_sidelb('status', '--socket=' + balancer.status_path).stdout
            assert 'DNS ok  %s: 3 targets, 2 addresses' % name in shown
            assert '1 of 3 targets without an address: db-7.db.prod.svc.cluster.local' in shown
            ring, = balancer.status()['rings']
            assert (ring['kind'], ring['port']) == ('srv', None)
            target, = [target for target in ring['targets'] if not target['addresses']]
            assert (target['priority'], target['weight'], target['port'], target['error']) == (
                0, 50, 5432, 'no such name (NXDOMAIN)')
            knot.set_records(pods_of(servers, 0, 1, 2))
            wait_for(balancer, 'db-0', 'db-1', 'db-2')
            wait_until('the note is not gone', lambda: not balancer.status()['rings'][0]['note'])


def test_a_name_server_that_is_dead_at_the_start_and_one_that_answers_by_tcp_alone(servers):
    records = ['pod%d.db A %s' % (number, IPS[number % 3]) for number in range(60)]
    records += ['_pg._tcp.db 1 SRV 0 1 %d pod%d.db' % (servers[0].address[1], number) for number in range(60)]
    with cached('prod.svc.cluster.local', records) as (_, unbound):
        unbound.stop()
        with Sidelb('ring_domain=_pg._tcp.db.prod.svc.cluster.local', 'resolver=%s' % unbound,
                    'connect_timeout=30s') as balancer:
            balancer.wait_for_log('cannot be looked up')
            client = balancer.connect(timeout=30)
            unbound.start()
            assert client.recv(4) in (b'zero', b'one\n', b'two\n')
            client.close()
            balancer.wait_for_status('not sixty targets', lambda status: len(status['rings'][0]['targets']) == 60)
            balancer.wait_for_status('not three servers', lambda status: len(status['members']) == 3)
