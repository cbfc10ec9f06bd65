"""A real name server (unbound) and the real program, in network namespaces with dual-stack servers."""
from __future__ import absolute_import, division, print_function

import collections
import signal

import pytest

from ..support.netns import NetworkNamespace
from ..support.program import Sidelb, run_sidelb
from ..support.requirements import need_namespaces
from ..support.servers import Server, servers_on
from ..support.unbound import Unbound, host_records, server_records
from ..support.waiting import wait_until

RING = 'db.example.com'
ONE = ['127.0.0.11', 'fd00:51de::11']            # the addresses of two servers
TWO = ['127.0.0.12', 'fd00:51de::12']
BOTH_SERVERS = server_records('one.example.com', ONE) + server_records('two.example.com', TWO)
LISTENER = '127.0.0.1:5432'
PORT = 5432                                      # in a namespace of its own any port is free


@pytest.fixture
def namespace():
    need_namespaces()
    with NetworkNamespace([ONE[1], TWO[1]]) as its:
        yield its


@pytest.fixture
def dual_stack_servers(namespace):
    """Servers on all four addresses, named by the host that has the address."""
    with servers_on(ONE + TWO, names=['one', 'one', 'two', 'two'], port=PORT, namespace=namespace) as four:
        yield four


def ring(names=RING, **settings):
    return ['ring_domain=%s:%d' % (names, PORT)] + ['%s=%s' % setting for setting in sorted(settings.items())]


def answers(balancer, count):
    """How often each server answered `count` new connections."""
    return collections.Counter(balancer.who() for _ in range(count))


def addresses_of(snapshot):
    """The addresses of each member, by its name."""
    return dict((member['name'], sorted(address['address'] for address in member['addresses']))
                for member in snapshot['members'])


def wait_for_servers(balancer, **servers):
    """Wait until the members are these, `one=ADDRESSES` for one.example.com, and up.

    A and AAAA answers come one after the other, and names after both: whoever counts answers waits for all of it.
    """
    wanted = dict((name + '.example.com', ['%s:%d' % ('[%s]' % ip if ':' in ip else ip, PORT) for ip in ips])
                  for name, ips in servers.items())
    return balancer.wait_for_status('the members are not %s' % wanted, lambda snapshot: addresses_of(
        snapshot) == wanted and all(member['state'] == 'up' for member in snapshot['members']))


def test_a_ring_of_dual_stack_servers_is_balanced_by_server(namespace, dual_stack_servers):
    with Unbound(host_records(RING, ONE + TWO) + BOTH_SERVERS, namespace=namespace) as dns:
        with Sidelb(namespace=namespace, *ring(resolver=dns)) as balancer:
            wait_for_servers(balancer, one=ONE, two=TWO)
            assert answers(balancer, 20) == {'one': 10, 'two': 10}


def test_a_server_with_two_addresses_gets_no_more_than_one_with_one(namespace, dual_stack_servers):
    with Unbound(host_records(RING, ONE + TWO[:1]) + BOTH_SERVERS, namespace=namespace) as dns:
        with Sidelb(namespace=namespace, *ring(resolver=dns)) as balancer:
            wait_for_servers(balancer, one=ONE, two=TWO[:1])
            assert answers(balancer, 20) == {'one': 10, 'two': 10}


def test_grouping_can_be_off(namespace, dual_stack_servers):
    with Unbound(host_records(RING, ONE + TWO[:1]) + BOTH_SERVERS, namespace=namespace) as dns:
        with Sidelb(namespace=namespace, *ring(resolver=dns, group='off')) as balancer:
            balancer.wait_for_status('not three members', lambda status: len(status['members']) == 3)
            assert answers(balancer, 21) == {'one': 14, 'two': 7}
            assert dns.asked('11.0.0.127.in-addr.arpa', 'PTR') == 0


def test_one_address_of_a_server_may_be_dead(namespace, dual_stack_servers):
    dual_stack_servers[0].refuse()
    dual_stack_servers[3].refuse()
    with Unbound(host_records(RING, ONE + TWO) + BOTH_SERVERS, namespace=namespace) as dns:
        with Sidelb(namespace=namespace, *ring(resolver=dns)) as balancer:
            wait_for_servers(balancer, one=ONE, two=TWO)
            assert answers(balancer, 20) == {'one': 10, 'two': 10}


def test_a_name_that_does_not_lead_back_groups_nothing(namespace, dual_stack_servers):
    lies = [record for record in server_records('one.example.com', TWO) if 'PTR' in record]
    records = host_records(RING, ONE + TWO) + server_records('one.example.com', ONE) + lies
    with Unbound(records, namespace=namespace) as dns:
        with Sidelb(namespace=namespace, *ring(resolver=dns)) as balancer:
            snapshot = balancer.wait_until_up('one.example.com', '127.0.0.12:5432', '[fd00:51de::12]:5432')
            assert addresses_of(snapshot)['one.example.com'] == ['127.0.0.11:5432', '[fd00:51de::11]:5432']
            balancer.wait_for_log(r'not grouped by name: 127\.0\.0\.12:5432 \(.*one\.example\.com')


def test_a_hosts_entry_that_points_at_the_listener_is_skipped(namespace, dual_stack_servers):
    """A container maps db.example.com to 127.0.0.1 for its certificate checks; DNS has the servers."""
    namespace.write_hosts('127.0.0.1 localhost %s\n' % RING)
    with Unbound(host_records(RING, ONE + TWO) + BOTH_SERVERS, namespace=namespace) as dns:
        with Sidelb(listener=LISTENER, namespace=namespace, *ring(resolver=dns)) as balancer:
            wait_for_servers(balancer, one=ONE, two=TWO)
            assert answers(balancer, 10) == {'one': 5, 'two': 5}


def test_a_hosts_entry_that_points_elsewhere_beats_dns(namespace, dual_stack_servers):
    namespace.write_hosts('127.0.0.1 localhost\n%s %s\n%s %s\n' % (ONE[0], RING, ONE[1], RING))
    with Unbound(host_records(RING, TWO) + BOTH_SERVERS, namespace=namespace) as dns:
        with Sidelb(namespace=namespace, *ring(resolver=dns)) as balancer:
            balancer.wait_until_up('one.example.com')
            assert answers(balancer, 4) == {'one': 4}
            assert dns.asked(RING, 'A') == 0


def test_resolv_conf_names_the_server_and_the_search_list(namespace, dual_stack_servers):
    namespace.write_resolv_conf('nameserver 127.0.0.53\nsearch example.com\noptions ndots:1\n')
    with Unbound(host_records(RING, ONE) + BOTH_SERVERS, ip='127.0.0.53', port=53, namespace=namespace):
        with Sidelb(namespace=namespace, *ring('db')) as balancer:
            balancer.wait_until_up('one.example.com')
            assert answers(balancer, 4) == {'one': 4}


def test_an_srv_name_of_a_dual_stack_service_is_found_from_within_a_pod(namespace, dual_stack_servers):
    """As CoreDNS has it, and by the resolv.conf that the kubelet writes. Each pod is one server, without PTR records."""
    zone = 'db.prod.svc.cluster.local'
    namespace.write_resolv_conf('search prod.svc.cluster.local svc.cluster.local cluster.local\nnameserver 127.0.0.53\n'
                                'options ndots:5\n')
    records = host_records('db-0.' + zone, ONE, ttl=5) + host_records('db-1.' + zone, TWO, ttl=5) + [
        '_pg._tcp.%s. 5 IN SRV 0 25 %d db-%d.%s.' % (zone, PORT, number, zone) for number in (0, 1)]
    with Unbound(records, ip='127.0.0.53', port=53, namespace=namespace) as dns:
        for name in '_pg._tcp.db', '_pg._tcp.db.prod', '_pg._tcp.' + zone, '_pg._tcp.%s.' % zone:
            with Sidelb('ring_domain=' + name, namespace=namespace) as balancer:
                balancer.wait_for_status('not two servers with two addresses each', lambda status: [
                    (member['name'], member['state'], len(member['addresses'])) for member in status['members']] == [
                        ('db-0.' + zone, 'up', 2), ('db-1.' + zone, 'up', 2)])
                assert answers(balancer, 10) == {'one': 5, 'two': 5}
        assert not dns.asked(zone + '.svc.cluster.local', 'SRV'), 'names with more than five dots are absolute first'


def test_a_changed_resolv_conf_is_noticed(namespace, dual_stack_servers):
    namespace.write_resolv_conf('nameserver 127.0.0.53\n')
    before = Unbound(host_records(RING, ONE, ttl=1) + BOTH_SERVERS, '127.0.0.53', 53, namespace)
    after = Unbound(host_records(RING, TWO, ttl=1) + BOTH_SERVERS, '127.0.0.54', 53, namespace)
    with before, after:
        with Sidelb(namespace=namespace, *ring()) as balancer:
            balancer.wait_until_up('one.example.com')
            namespace.write_resolv_conf('nameserver 127.0.0.54\n')
            balancer.wait_until_up('two.example.com')
            assert answers(balancer, 4) == {'two': 4}


def test_servers_that_join_and_leave_dns_are_followed(namespace, dual_stack_servers):
    with Unbound(host_records(RING, ONE, ttl=1) + BOTH_SERVERS, namespace=namespace) as dns:
        with Sidelb(namespace=namespace, *ring(resolver=dns)) as balancer:
            balancer.wait_until_up('one.example.com')
            dns.set_records(RING, host_records(RING, ONE + TWO, ttl=1))
            wait_for_servers(balancer, one=ONE, two=TWO)
            assert answers(balancer, 4) == {'one': 2, 'two': 2}
            dns.set_records(RING, host_records(RING, TWO, ttl=1))
            balancer.wait_until_up('two.example.com')
            assert answers(balancer, 4) == {'two': 4}


def test_a_dead_name_server_takes_no_server_away_and_its_return_is_noticed(namespace, dual_stack_servers):
    with Unbound(host_records(RING, ONE, ttl=1) + BOTH_SERVERS, namespace=namespace) as dns:
        with Sidelb(namespace=namespace, *ring(resolver=dns)) as balancer:
            balancer.wait_until_up('one.example.com')
            dns.stop()
            balancer.wait_for_status('the failure is not shown', lambda status: status['rings'][0]['error'])
            assert answers(balancer, 4) == {'one': 4}
            dns.start()
            balancer.wait_for_status(
                'the error is still shown', lambda status: not status['rings'][0]['error'], timeout=20)


def test_a_ring_too_large_for_a_datagram_is_read_by_tcp(namespace):
    ips = ['127.0.%d.%d' % (high, low) for high in (1, 2) for low in range(1, 151)]
    with Unbound(host_records(RING, ips), namespace=namespace) as dns:
        with Sidelb(namespace=namespace, *ring(resolver=dns, check='off', group='off')) as balancer:
            balancer.wait_for_status('not 300 members', lambda status: len(status['members']) == 300)
            assert len(balancer.status()['rings'][0]['addresses']) == 300


def test_a_name_as_backend_is_one_server(namespace, dual_stack_servers):
    with Unbound(BOTH_SERVERS, namespace=namespace) as dns:
        backends = ['one.example.com:%d' % PORT, 'two.example.com:%d' % PORT]
        with Sidelb('resolver=%s' % dns, namespace=namespace, *backends) as balancer:
            snapshot = balancer.wait_for_status(
                'not two members with two addresses each',
                lambda status: sorted(len(member['addresses']) for member in status['members']) == [2, 2])
            assert len(snapshot['members']) == 2
            assert answers(balancer, 10) == {'one': 5, 'two': 5}


def test_a_client_that_comes_before_the_first_answer_waits_for_it(namespace, dual_stack_servers):
    with Unbound(host_records(RING, ONE) + BOTH_SERVERS, namespace=namespace) as dns:
        dns.stop()
        with Sidelb(namespace=namespace, *ring(resolver=dns, connect_timeout='30s')) as balancer:
            balancer.wait_for_log('%s.*(fail|error|no answer|refused|time)' % RING)
            client = balancer.connect(timeout=30)
            dns.start()
            assert client.recv(4) == b'one\n'
            client.close()


def test_a_server_that_dies_is_left_out_and_comes_back(namespace, dual_stack_servers):
    with Unbound(host_records(RING, ONE + TWO) + BOTH_SERVERS, namespace=namespace) as dns:
        with Sidelb(namespace=namespace, *ring(resolver=dns, check_interval='200ms')) as balancer:
            wait_for_servers(balancer, one=ONE, two=TWO)
            for server in dual_stack_servers[:2]:
                server.die()
            assert answers(balancer, 10) == {'two': 10}
            balancer.wait_until_up('two.example.com')
            for server in dual_stack_servers[:2]:
                server.listen()
            wait_for_servers(balancer, one=ONE, two=TWO)
            assert answers(balancer, 10) == {'one': 5, 'two': 5}


def test_ipv6_listener_and_ipv4_servers_go_together(namespace, dual_stack_servers):
    with Unbound(host_records(RING, [ONE[0]]) + BOTH_SERVERS, namespace=namespace) as dns:
        with Sidelb(listener='[::1]:0', namespace=namespace, *ring(resolver=dns)) as balancer:
            balancer.wait_until_up('one.example.com')
            assert balancer.address[0] == '::1'
            assert answers(balancer, 2) == {'one': 2}


def test_the_status_command_shows_the_servers_and_the_ring(namespace, dual_stack_servers):
    with Unbound(host_records(RING, ONE + TWO) + BOTH_SERVERS, namespace=namespace) as dns:
        with Sidelb(namespace=namespace, *ring(resolver=dns)) as balancer:
            wait_for_servers(balancer, one=ONE, two=TWO)
            shown = run_sidelb('status', '--socket=' + balancer.status_path)
            assert (shown.returncode, shown.stderr) == (0, '')
            lines = shown.stdout.splitlines()
            assert [line.split()[:2] for line in lines if line.startswith('up ')] == [
                ['up', 'one.example.com'], ['up', 'two.example.com']]
            assert any(line.startswith('DNS ok  %s:5432: ' % RING) for line in lines), shown


def test_a_static_backend_that_is_also_in_the_ring_is_one_server(namespace, dual_stack_servers):
    with Unbound(host_records(RING, ONE) + BOTH_SERVERS, namespace=namespace) as dns:
        arguments = ring(resolver=dns) + ['127.0.0.11:%d' % PORT, '127.0.0.12:%d' % PORT]
        with Sidelb(namespace=namespace, *arguments) as balancer:
            wait_for_servers(balancer, one=ONE, two=TWO[:1])
            assert answers(balancer, 10) == {'one': 5, 'two': 5}


def test_a_ring_outside_any_namespace_needs_no_privileges():
    """IPv4 alone, on loopback addresses: what an unprivileged user's machine can show too."""
    with servers_on(['127.0.0.21', '127.0.0.22'], names=['one', 'two']) as (one, two):
        records = (host_records(RING, [one.address[0], two.address[0]])
                   + server_records('one.example.com', [one.address[0]])
                   + server_records('two.example.com', [two.address[0]]))
        with Unbound(records) as dns:
            with Sidelb('ring_domain=%s:%d' % (RING, one.address[1]), 'resolver=%s' % dns) as balancer:
                balancer.wait_until_up('one.example.com', 'two.example.com')
                assert answers(balancer, 10) == {'one': 5, 'two': 5}


def test_sighup_looks_up_at_once(namespace, dual_stack_servers):
    with Unbound(host_records(RING, ONE, ttl=3600) + BOTH_SERVERS, namespace=namespace) as dns:
        with Sidelb(namespace=namespace, *ring(resolver=dns, refresh='1h')) as balancer:
            balancer.wait_until_up('one.example.com')
            dns.set_records(RING, host_records(RING, TWO, ttl=3600))
            balancer.signal(signal.SIGHUP)
            balancer.wait_until_up('two.example.com')
            wait_until('unbound was not asked again', lambda: dns.asked(RING, 'A') >= 2)


@pytest.mark.parametrize('reachable, lost', [(ONE[1], '192.0.2.11'), (ONE[0], '2001:db8::11')])
def test_a_family_that_has_no_route_here_costs_no_client_an_error(namespace, reachable, lost):
    records = host_records(RING, [reachable, lost]) + server_records('one.example.com', [reachable, lost])
    with Server('one', reachable, PORT, namespace=namespace), Unbound(records, namespace=namespace) as dns:
        with Sidelb(namespace=namespace, *ring(resolver=dns)) as balancer:
            balancer.wait_until_up('one.example.com')
            assert answers(balancer, 6) == {'one': 6}
