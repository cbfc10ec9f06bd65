"""Every misconfiguration is found, with its record, line or setting, and nothing else is."""
from __future__ import absolute_import, division, print_function

import contextlib
import json
import time

import pytest

from ..support import nameserver
from ..support.netns import entered
from ..support.processes import run
from ..support.program import COMMAND, Sidelb, clean_environ, run_sidelb
from ..support.requirements import need_program
from .scenes import HOSTS, LEADS_HERE, NAME_SERVER, RING, Scene, three_servers

pytestmark = pytest.mark.once

LISTENER = '127.0.0.1:5432'
ASK = 'ring_domain=%s:5432' % RING


def found_in(scene, *arguments, **environ):
    return scene.findings(LISTENER, *(arguments or (ASK,)), **environ)


# --- name servers ----------------------------------------------------------------------------------------------------

@pytest.mark.parametrize('behaviour, text', [
    (nameserver.rcode('REFUSED'), 'name server 10.0.0.53 answers REFUSED'),
    (nameserver.rcode('SERVFAIL'), 'name server 10.0.0.53 answers SERVFAIL'),
    (nameserver.dead, 'name server 10.0.0.53 does not answer'),
])
def test_a_name_server_that_does_not_serve(behaviour, text):
    with three_servers() as scene:
        scene.name_server.misbehave(behaviour)
        found = found_in(scene)
    assert found['dns.server'] == ('wrong', text)
    assert found['dns.ring'][0] == 'wrong'


def test_a_name_server_where_nothing_listens():
    with three_servers(resolv_conf='nameserver 127.0.0.9\nnameserver %s\n' % NAME_SERVER) as scene:
        finished = scene.doctor(LISTENER, ASK)
    assert 'WRONG name server 127.0.0.9: nothing listens there (connection refused)\n' in finished.stdout
    assert 'fix: start it, or remove it from /etc/resolv.conf\n' in finished.stdout
    assert 'ok    name server 10.0.0.53 answers\n' in finished.stdout


def test_a_firewall_that_drops_one_type_of_question():
    with three_servers() as scene:
        scene.name_server.misbehave(nameserver.dead, rdtype='AAAA')
        found = found_in(scene)
    assert found['dns.type'] == ('wrong', 'name server 10.0.0.53 does not answer AAAA questions')


def test_tcp_port_53_that_is_closed():
    with three_servers() as scene:
        scene.name_server.misbehave(nameserver.shortened)
        nft = need_program('nft', 'nftables')
        scene.run_inside(nft, 'add table ip f')
        scene.run_inside(nft, 'add chain ip f out { type filter hook output priority 0 ; }')
        scene.run_inside(nft, 'add rule ip f out tcp dport 53 reject with tcp reset')
        found = found_in(scene)
    assert found['dns.tcp'] == (
        'wrong', "name server 10.0.0.53's answer is too long for UDP, and its TCP port 53 is closed")


def test_name_servers_that_disagree():
    with three_servers(resolv_conf='nameserver 10.0.0.53\nnameserver 10.0.0.54\n') as scene:
        scene.namespace.add_address('10.0.0.54')
        other = nameserver.TestNameServer(None, '10.0.0.54', 53)
        other.zone.set_addresses(RING, ['10.0.0.11', '10.0.0.12', '2001:db8::11', '2001:db8::12', '2001:db8::13'])
        with entered(scene.namespace):
            other.start()
        try:
            found = found_in(scene)
        finally:
            other.stop()
    assert found['dns.differ'] == ('note', 'name servers disagree on db.example.com: 10.0.0.54 lacks 10.0.0.13')


# --- names -----------------------------------------------------------------------------------------------------------

def test_a_ring_that_does_not_exist():
    with Scene() as scene:
        found = found_in(scene, 'ring_domain=dbs.example.com:5432')
    assert found['dns.ring'] == ('wrong', 'dbs.example.com has no addresses: no such name (NXDOMAIN)')


def test_a_stranger_further_down_the_search_list():
    with three_servers(resolv_conf='nameserver %s\nsearch corp.test\noptions ndots:5\n' % NAME_SERVER) as scene:
        scene.zone.set_addresses('db.example.com.corp.test', ['10.0.0.11'])
        found = found_in(scene)
    assert found['dns.stranger'] == (
        'note', 'db.example.com has addresses, too: SideLB would go there if db.example.com.corp.test failed')


def test_a_hosts_entry_that_leads_to_another_port_than_the_listeners():
    with three_servers() as scene:
        found = scene.findings('127.0.0.1:6432', ASK)
    assert found['dns.hosts'] == ('wrong', '/etc/hosts sends db.example.com to 127.0.0.1:5432, which is not the listener '
                                  '127.0.0.1:6432: DNS is not asked')


def test_a_hosts_entry_that_decides():
    with three_servers(hosts=HOSTS + '10.0.0.11 db.example.com\n') as scene:
        found = found_in(scene)
    assert found['dns.hosts'] == ('note', '/etc/hosts gives db.example.com the address 10.0.0.11: DNS is not asked')


def test_our_own_listener_among_the_addresses():
    with three_servers() as scene:
        scene.zone.set_addresses(RING, ['127.0.0.1', '10.0.0.11', '2001:db8::11'])
        found = found_in(scene)
    assert found['dns.address'] == ('note', 'DNS gives db.example.com our own listener (127.0.0.1:5432): skipped')


# --- SRV names -------------------------------------------------------------------------------------------------------

SRV_NAME = '_pg._tcp.db.example.com'
ASK_SRV = 'ring_domain=' + SRV_NAME


@contextlib.contextmanager
def srv_servers(**options):
    with three_servers(**options) as scene:
        scene.zone.set(SRV_NAME, 'SRV', ['%d 1 5432 db%d.example.com.' % (number // 2, number) for number in (1, 2, 3)])
        yield scene


def test_an_srv_name_whose_targets_answer():
    with srv_servers() as scene:
        finished = scene.doctor(LISTENER, ASK_SRV)
    assert finished.returncode == 0, finished
    assert '  ok    %s has 3 targets with 3 IPv4 and 3 IPv6 addresses,\n        TTL 30 s\n' % SRV_NAME in finished.stdout
    assert '3 of 3 servers reachable; 0 problems, 0 notes' in finished.stdout


def test_targets_without_an_address_and_records_that_are_no_use_are_named():
    with srv_servers() as scene:
        scene.zone.set(SRV_NAME, 'SRV', ['1 1 5432 db1.example.com.', '1 1 5432 db4.example.com.', '1 1 0 db2.example.com.'])
        found = found_in(scene, ASK_SRV)
    assert found['dns.target'] == (
        'wrong', 'db4.example.com, a target of %s, has no address: no such name (NXDOMAIN)' % SRV_NAME)
    assert found['dns.other'] == (
        'note', 'srv %s: the SRV record 1 1 0 db2.example.com is ignored: its port is 0' % SRV_NAME)


def test_targets_that_nobody_answers_for_are_named():
    with srv_servers() as scene:
        scene.name_server.misbehave(nameserver.dead, 'db3.example.com')
        found = found_in(scene, ASK_SRV)
        assert found['dns.ring'] == ('ok', '%s has 3 targets with 2 IPv4 and 2 IPv6 addresses, TTL 30 s' % SRV_NAME)
        assert found['dns.target'][1].startswith('db3.example.com, a target of %s, has no address: ' % SRV_NAME)


def test_an_srv_name_without_records_is_told_what_to_look_at():
    with srv_servers() as scene:
        scene.zone.remove(SRV_NAME)
        assert found_in(scene, ASK_SRV)['dns.ring'] == (
            'wrong', '%s has no servers: SRV: no such name (NXDOMAIN)' % SRV_NAME)
        scene.zone.set(SRV_NAME, 'SRV', ['0 0 0 .'])
        assert found_in(scene, ASK_SRV)['dns.ring'][1].endswith('this service is not available (target .)')


def test_an_srv_name_is_asked_for_as_srv_in_the_search_list_too():
    """It was asked for addresses: a wildcard's made the doctor fail, and strangers were not seen."""
    resolv_conf = 'nameserver %s\nsearch a.test b.test example.com c.test\noptions ndots:5\n' % NAME_SERVER
    with srv_servers(resolv_conf=resolv_conf) as scene:
        scene.zone.set('_pg._tcp.db.c.test', 'SRV', ['0 1 5432 x.c.test.'])
        scene.zone.set_addresses('_pg._tcp.db.b.test', ['10.0.0.77'])
        words = ' '.join(scene.doctor(LISTENER, 'ring_domain=_pg._tcp.db').stdout.split())
    assert '2 names are asked before %s at each refresh' % SRV_NAME in words
    assert 'fix: write a final dot: ring_domain=%s. ' % SRV_NAME in words
    assert '_pg._tcp.db.c.test has servers, too: SideLB would go there' in words


def test_name_servers_that_disagree_on_srv_records():
    with srv_servers(resolv_conf='nameserver 10.0.0.53\nnameserver 10.0.0.54\n') as scene:
        scene.namespace.add_address('10.0.0.54')
        other = nameserver.TestNameServer(None, '10.0.0.54', 53)
        other.zone.set(SRV_NAME, 'SRV', ['%d 1 5432 db%d.example.com.' % (number // 2, number) for number in (1, 2)])
        with entered(scene.namespace):
            other.start()
        try:
            found = found_in(scene, ASK_SRV)
        finally:
            other.stop()
    assert found['dns.differ'] == (
        'note', 'name servers disagree on %s: 10.0.0.54 lacks 1 1 5432 db3.example.com' % SRV_NAME)


# --- reverse DNS -----------------------------------------------------------------------------------------------------

def test_a_ptr_name_that_all_share():
    with three_servers() as scene:
        ips = ['10.0.0.1%d' % number for number in (1, 2, 3)] + ['2001:db8::1%d' % number for number in (1, 2, 3)]
        scene.zone.set_addresses('dbnode.example.com', ips)
        for ip in ips:
            scene.zone.set_pointer(ip, ['dbnode.example.com'])
        found = found_in(scene)
    assert found['rdns.shared'][1].startswith('all 6 addresses have the PTR name dbnode.example.com, which therefore names '
                                              'no single server')


def test_ptr_records_that_name_the_ring():
    with three_servers() as scene:
        for number in (1, 2, 3):
            scene.zone.set_pointer('2001:db8::1%d' % number, [RING])
        found = found_in(scene)
    assert found['rdns.ring_name'] == (
        'note', 'the PTR records of 2001:db8::11, 2001:db8::12, 2001:db8::13 name the ring, db.example.com, and no '
        'server: each counts as a separate server')


def test_a_reverse_zone_that_fails():
    with three_servers() as scene:
        scene.name_server.misbehave(nameserver.rcode('SERVFAIL'), rdtype='PTR')
        found = found_in(scene)
    assert found['rdns.failed'][1].startswith(
        'no answer about the PTR records of 10.0.0.11, 10.0.0.12, 10.0.0.13 and 3 more')


def test_a_server_with_two_addresses_of_a_family():
    with three_servers() as scene:
        scene.zone.set_server('db1.example.com', ['10.0.0.11', '10.0.0.12', '2001:db8::11'])
        found = found_in(scene)
    assert found['rdns.many'] == ('note', 'db1.example.com has 2 IPv4 addresses and counts as one server')


def test_one_family_needs_no_reverse_dns():
    with Scene(['10.0.0.11', '10.0.0.12'], hosts=LEADS_HERE) as scene:
        scene.zone.set_addresses(RING, ['10.0.0.11', '10.0.0.12'])
        found = found_in(scene)
    assert not [identity for identity in found if identity.startswith('rdns')]


# --- servers ---------------------------------------------------------------------------------------------------------

def test_every_server_on_the_wrong_port():
    with three_servers(hosts=HOSTS) as scene:
        found = found_in(scene, 'ring_domain=%s:5433' % RING)
    assert found['server'] == ('wrong', 'all 3 servers: connection refused on port 5433')


def test_a_host_without_ipv6():
    with three_servers() as scene:
        scene.run_inside(need_program('sysctl', 'procps'), '-qw', 'net.ipv6.conf.all.disable_ipv6=1')
        finished = scene.doctor(LISTENER, ASK)
    assert '  note  this host has no IPv6: 3 addresses of servers are out of reach\n' in finished.stdout
    assert 'db1.example.com: 10.0.0.11 ' in finished.stdout and '2001:db8::11 no route' in finished.stdout
    assert finished.returncode == 0


def test_many_servers_are_summed_up():
    ips = ['10.0.1.%d' % number for number in range(1, 21)]
    with Scene(ips[:19], ips[19:]) as scene:
        scene.zone.set_addresses(RING, ips)
        finished = scene.doctor(LISTENER, ASK, 'group=off')
    assert '  WRONG 10.0.1.20:5432: 10.0.1.20 connection refused\n' in finished.stdout
    assert '  ok    19 more answer, the slowest in ' in finished.stdout
    assert '19 of 20 servers reachable; 1 problem' in finished.stdout


def test_without_a_check_no_server_is_asked():
    with three_servers() as scene:
        found = found_in(scene, ASK, 'check=off')
    assert found['server'] == ('note', 'check=off: no server was asked')


def test_udp_servers_by_a_dns_question():
    with Scene(closed=['10.0.0.12'], hosts=HOSTS) as scene:
        scene.zone.set_server('ns1.example.com', [NAME_SERVER])
        scene.zone.set_server('ns3.example.com', ['10.0.0.12'])
        scene.zone.set_addresses('ns.example.com', [NAME_SERVER, '10.0.0.12'])
        finished = scene.doctor('127.0.0.1:53', 'ring_domain=ns.example.com:53', 'proto=udp', 'check=dns')
    assert '  ok    127.0.0.1:53 is free (udp)\n' in finished.stdout
    assert '  ok    ns1.example.com: 10.0.0.53 ' in finished.stdout
    assert '  WRONG ns3.example.com: 10.0.0.12 connection refused\n' in finished.stdout
    assert 'Your application' not in finished.stdout


# --- beside a running SideLB -----------------------------------------------------------------------------------------

def test_a_running_sidelb_is_recognised_and_compared():
    with three_servers() as scene:
        with Sidelb(ASK, listener=LISTENER, namespace=scene.namespace) as running:
            running.wait_until_up('db1.example.com', 'db2.example.com', 'db3.example.com')
            running.wait_for_status('an address is not checked', lambda status: all(
                address['state'] == 'up' for member in status['members'] for address in member['addresses']))
            scene.zone.set_addresses(RING, ['10.0.0.11', '10.0.0.12', '10.0.0.14'])
            found = found_in(scene, SIDELB_STATUS_SOCKET=running.status_path)
    assert found['host.listener'][1].startswith('127.0.0.1:5432 is served by SideLB ')
    assert found['running.differs'] == ('note', 'the running SideLB does not have 10.0.0.14:5432 yet')


# --- time, and what it must not do -----------------------------------------------------------------------------------

def test_it_ends_in_time_when_all_is_silent():
    with Scene(silent=['10.0.0.98'], resolv_conf='nameserver 10.0.0.98\n') as scene:
        began = time.time()
        finished = scene.doctor('--within=3', LISTENER, ASK)
        assert time.time() - began < 8          # the start of Python on a loaded machine included
    assert finished.returncode == 1 and 'name server 10.0.0.98 does not answer' in finished.stdout or '? ' in finished.stdout


def test_it_listens_nowhere_and_writes_nothing(tmpdir):
    strace = need_program('strace', 'strace')
    trace = str(tmpdir.join('trace'))
    with three_servers() as scene:
        finished = run([strace, '-f', '-o', trace, '-e', 'trace=listen,open,openat,unlink,kill,setrlimit,prlimit64'] +
                       COMMAND + ['doctor', LISTENER, ASK], namespace=scene.namespace,
                       environ=clean_environ({'PYTHONDONTWRITEBYTECODE': '1'}), timeout=60)
    assert finished.returncode == 0, finished
    with open(trace) as stream:
        calls = stream.read().splitlines()
    assert not [call for call in calls if ' listen(' in call or ' unlink(' in call or ' kill(' in call]
    assert not [call for call in calls if ('O_WRONLY' in call or 'O_RDWR' in call or 'O_CREAT' in call) and
                '/dev/null' not in call and '= -1' not in call]
    assert not [call for call in calls if 'setrlimit(' in call or 'prlimit64(' in call and '{' in call.split('NULL')[0]]


def test_a_mistake_in_the_settings_is_told_as_the_service_tells_it():
    finished = run_sidelb('doctor', LISTENER, 'ring_domain=')
    assert finished.returncode == 2 and 'ring_domain=: the value is missing' in finished.stderr
    finished = run_sidelb('doctor', '--within=90', LISTENER, ASK)
    assert finished.returncode == 2 and '--within=90: write whole seconds, 1 to 60' in finished.stderr


def test_the_json_names_each_server_and_address():
    with three_servers() as scene:
        whole = json.loads(scene.doctor('--json', LISTENER, ASK).stdout)
    assert whole['ok'] and whole['listener'] == LISTENER and whole['wrong'] == whole['notes'] == 0
    assert whole['servers'][0] == {'name': 'db1.example.com', 'addresses': [
        {'address': '10.0.0.11:5432', 'result': 'ok'}, {'address': '[2001:db8::11]:5432', 'result': 'ok'}]}
