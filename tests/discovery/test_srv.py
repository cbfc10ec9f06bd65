"""SRV names: records to servers, tiers and weights; with name servers of the tests' own, knot and unbound."""
from __future__ import absolute_import, division, print_function

import contextlib
import re

import dns.message
import dns.name
import dns.rdataclass
import dns.rdatatype
import dns.rdtypes.IN.SRV
import dns.rrset
import gevent
import pytest

from sidelb_lib.compat import monotonic
from sidelb_lib.config import settings
from sidelb_lib.discovery.sources import Sources
from sidelb_lib.discovery.srv_hosts import Hosts
from sidelb_lib.discovery.srv_records import Target, options_of, scaled, targets_of
from sidelb_lib.policies.round_robin import RoundRobin
from sidelb_lib.pool.merging import Options
from sidelb_lib.pool.pool import Pool
from tests.support import nameserver
from tests.support.clock import Clock
from tests.support.knot import Knot
from tests.support.nameserver import name_server
from tests.support.recording import RecordingLog
from tests.support.unbound import Unbound, host_records
from tests.support.waiting import wait_until

NAME = '_postgres._tcp.db.example.com'


# --- records to servers ----------------------------------------------------------------------------------------------

@pytest.mark.parametrize('weights, expected', [
    ([0, 0, 0], [1, 1, 1]), ([10, 0, 30], [10, 0.03, 30]), ([1, 1, 2], [1, 1, 2]), ([65535, 1], [65535, 1]), ([5], [1]),
    ([0], [1]), ([0, 7], [0.007, 7]), ([65535, 0, 1], [65535, 1, 1])])
def test_weights_are_scaled_to_a_mean_of_one_and_zero_is_a_small_chance(weights, expected):
    mean = sum(expected) / len(expected)
    assert scaled(weights) == pytest.approx([weight / mean for weight in expected])


def test_priorities_become_tiers_behind_that_of_the_name():
    targets, _ = targets_of(['20 1 5432 c.x', '10 1 5432 a.x', '20 1 5432 b.x', '700 1 5432 d.x'])
    assert [target.name for target in targets] == ['a.x', 'b.x', 'c.x', 'd.x']

    def tiers(written):
        return [options and options.tier for options in map(options_of(targets, written).get, targets)]
    assert tiers(None) == [1, 2, 2, 3]
    assert tiers(Options(None, 2, None)) == [2, 3, 3, 4]
    assert tiers(Options(None, 8, None)) == [8, 9, 9, 9]


def test_equal_weights_are_not_said():
    targets, _ = targets_of(['0 50 1 a.x', '0 50 1 b.x'])
    assert set(options_of(targets).values()) == set([Options(None, None, None, 50)])


def test_a_single_priority_is_no_tier_and_what_is_written_is_said_whatever_it_is():
    """Where another source names the server, too, the lowest tier and the largest weight of those that are said count."""
    target, = targets_of(['10 1 1 a.x'])[0]
    for written in None, Options(None, 1, None), Options(1, None, None), Options(None, None, 5), Options(0, 3, 5):
        assert options_of([target], written) == {target: (written or Options(None, None, None))._replace(record=1)}


def test_options_of_the_name_are_those_of_each_server():
    targets, _ = targets_of(['0 1 1 a.x', '0 3 1 b.x'])
    assert options_of(targets, Options(2, 3, 100)) == {
        Target('a.x', 1, 0, 1): Options(1.0, 3, 100, 1), Target('b.x', 1, 0, 3): Options(3.0, 3, 100, 3)}


def test_a_target_that_stands_there_twice_is_one_server():
    targets, _ = targets_of(['10 5 5432 a.x', '20 7 5432 a.x', '10 6 5432 a.x', '10 1 5433 a.x'])
    assert targets == [Target('a.x', 5432, 10, 11), Target('a.x', 5433, 10, 1)]


def test_a_port_that_is_written_overrides_that_of_the_records():
    assert targets_of(['10 5 389 a.x', '10 5 0 b.x'], 636) == ([Target('a.x', 636, 10, 5), Target('b.x', 636, 10, 5)], [])


def test_what_is_no_server_is_left_out():
    targets, useless = targets_of(['0 0 0 .', '1 1 0 a.x', '1 1 5432 b.x', '1 1 5432 a\\032b.x', '1 1 5432 10.0.0.1'])
    assert targets == [Target('b.x', 5432, 1, 1)]
    assert useless == [('1 1 0 a.x', 'its port is 0'), ('1 1 5432 a\\032b.x', 'its target is no host name'),
                       ('1 1 5432 10.0.0.1', 'its target is an address and no name')]


def test_targets_are_in_the_order_of_priority_and_name():
    targets, _ = targets_of(['%d 1 5432 n%03d.x' % (1 if number % 2 else 0, number) for number in range(300)])
    assert [target.priority for target in targets] == [0] * 150 + [1] * 150
    assert [target.name for target in targets[149:151]] == ['n298.x', 'n001.x']


# --- with a name server ----------------------------------------------------------------------------------------------

class Service(object):
    """A pool and its sources, as the service builds them."""

    def __init__(self, address, ring_domains=NAME, clock=monotonic, hosts=None, **values):
        self.log = RecordingLog()
        values = dict(dict(listener='127.0.0.1:5432', refresh=1.0), **values)
        self.settings = settings.defaults(resolver=(address,), ring_domains=ring_domains, **values)
        self.pool = Pool(RoundRobin(lambda: 0.0), self.log, clock, self.settings)
        self.source, = Sources(self.settings, self.pool, self.log, clock, lambda: 0.0, ('127.0.0.1', 5432), hosts,
                               '/nonexistent').all()

    def look_up(self):
        """Seconds until the next look-up. It comes back for a moment while targets are being looked up."""
        while True:
            delay = self.source.look_up()
            if delay >= 1:
                return delay

    @contextlib.contextmanager
    def running(self):
        loop = gevent.spawn(self.source.run)
        try:
            wait_until('all targets were looked up', lambda: self.source.settled and not self.source._hosts.busy)
            yield self
        finally:
            loop.kill()

    def members(self):
        return [(member.name, [str(address) for address in member.addresses]) for member in self.pool.members]

    def options(self):
        return dict((member.name, (member.weight, member.tier)) for member in self.pool.members)

    def wait_for(self, members):
        wait_until('the members %r' % (members,), lambda: self.members() == members)


@pytest.fixture
def server():
    with name_server() as server:
        server.zone.ttl = 1
        server.zone.set_addresses('db1.example.com', ['10.9.0.1', '2001:db8::1'])
        server.zone.set_addresses('db2.example.com', ['10.9.0.2'])
        server.zone.set(NAME, 'SRV', ['10 30 5432 db1.example.com.', '10 10 5433 db2.example.com.'])
        yield server


DB1, DB2 = ('db1.example.com', ['10.9.0.1:5432', '[2001:db8::1]:5432']), ('db2.example.com', ['10.9.0.2:5433'])


def test_each_target_is_one_server_with_all_its_addresses(server):
    with Service(server.address).running() as service:
        assert service.members() == [DB1, DB2]
        assert service.options() == {'db1.example.com': (1.5, 1), 'db2.example.com': (0.5, 1)}
        assert not server.pointer_count(), 'the records name the servers'
        snapshot = service.source.snapshot()
    assert (snapshot['kind'], snapshot['port'], snapshot['state'], snapshot['ttl']) == ('srv', None, 'ok', 1)
    assert snapshot['targets'][0] == {'name': 'db1.example.com', 'port': 5432, 'priority': 10, 'weight': 30,
                                      'addresses': ['10.9.0.1:5432', '[2001:db8::1]:5432'], 'error': None}


def test_a_target_that_vanishes_leaves_at_once_and_a_new_weight_keeps_sessions(server):
    with Service(server.address).running() as service:
        lease = service.pool.take()
        address = lease.address
        server.zone.set(NAME, 'SRV', ['20 1 5432 db1.example.com.', '20 3 5433 db2.example.com.'])
        wait_until('the weights', lambda: service.options() == {'db1.example.com': (0.5, 1), 'db2.example.com': (1.5, 1)})
        assert address.active == 1 and address in service.pool.addresses()
        server.zone.set(NAME, 'SRV', ['10 10 5433 db2.example.com.'])
        service.wait_for([DB2])


def test_a_weight_that_a_person_wants_stays_until_the_record_of_that_server_has_another_one(server):
    """Weights are scaled: those of others change what is in force."""
    with Service(server.address).running() as service:
        db1 = service.pool.members[0]
        service.pool.weigh(db1, 9)
        server.zone.set(NAME, 'SRV', ['10 30 5432 db1.example.com.', '10 20 5433 db2.example.com.'])
        wait_until('another weight', lambda: service.options()['db2.example.com'] == (0.8, 1))
        assert service.options()['db1.example.com'] == (9, 1)
        server.zone.set(NAME, 'SRV', ['10 30 5432 db1.example.com.', '10 30 5433 db2.example.com.'])
        wait_until('equal ones', lambda: service.options() == {'db1.example.com': (9, 1), 'db2.example.com': (1, 1)})
        server.zone.set(NAME, 'SRV', ['10 40 5432 db1.example.com.', '10 40 5433 db2.example.com.'])
        wait_until('a record of its own', lambda: service.options()['db1.example.com'] == (1, 1))


def test_a_target_that_the_records_leave_out_is_kept_for_dns_obsolete(server):
    """Consul gives three of all by UDP."""
    with Service(server.address, dns_obsolete=60.0).running() as service:
        server.zone.set(NAME, 'SRV', ['10 7 5432 db1.example.com.'])
        service.source.refresh_now()
        wait_until('the records', lambda: service.source.snapshot()['targets'][0]['weight'] == 7)
        assert service.members() == [DB1, DB2]
    with Service(server.address, dns_obsolete=1.0).running() as service:
        server.zone.set(NAME, 'SRV', ['10 10 5433 db2.example.com.'])
        service.wait_for([DB2])


def test_a_target_that_is_kept_so_leaves_in_time_and_makes_no_failing_look_up_follow_another_at_once(server):
    clock = Clock()
    service = Service(server.address, clock=clock, dns_obsolete=5.0, refresh=60.0)
    service.look_up()
    server.zone.set(NAME, 'SRV', ['10 10 5433 db2.example.com.'], ttl=60)
    clock.now += 1
    assert service.look_up() == 1                 # for the addresses
    server.misbehave(nameserver.rcode('SERVFAIL'), rdtype='SRV')
    service.source.refresh_now()
    for _ in range(8):
        clock.now += service.look_up()
    assert (service.members(), service.source.state) == ([DB1, DB2], 'failing')
    assert server.count(NAME, 'SRV') < 8
    server.behave()
    service.source.refresh_now()
    service.look_up()
    assert service.members() == [DB2]


def test_an_obsolete_target_does_not_stay_until_the_records_are_due(server):
    clock = Clock()
    service = Service(server.address, clock=clock, dns_obsolete=5.0, refresh=60.0)
    for name in ('db1.example.com', 'db2.example.com'):
        server.zone.set_addresses(name, ['10.9.0.1' if '1' in name else '10.9.0.2'], ttl=60)
    service.look_up()
    server.zone.set(NAME, 'SRV', ['10 10 5433 db2.example.com.'], ttl=60)
    clock.now += 1
    assert service.look_up() == 5
    clock.now += 5
    service.look_up()
    assert service.members() == [DB2]


def test_a_target_without_addresses_is_no_server_until_it_has_some(server):
    server.zone.set(NAME, 'SRV', ['10 0 5432 db1.example.com.', '10 0 5432 db3.example.com.'])
    with Service(server.address).running() as service:
        assert service.members() == [DB1]
        server.zone.set_addresses('db3.example.com', ['10.9.0.3'])
        service.wait_for([DB1, ('db3.example.com', ['10.9.0.3:5432'])])


def test_the_servers_outlive_failures_of_the_name_and_of_a_target(server):
    with Service(server.address).running() as service:
        server.misbehave(nameserver.rcode('SERVFAIL'), rdtype='SRV')
        wait_until('it is noticed', lambda: service.source.state == 'failing')
        assert service.members() == [DB1, DB2]
        server.behave()
        server.misbehave(nameserver.rcode('SERVFAIL'), 'db1.example.com')
        service.source.refresh_now()
        wait_until('it is noticed', lambda: service.source.state == 'partial')
        assert service.members() == [DB1, DB2]
        assert 'db1.example.com: ' in service.source.snapshot()['error']
    with Service(server.address).running() as service:
        server.misbehave(nameserver.rcode('SERVFAIL'), 'db2.example.com')
        assert (service.members(), service.source.state) == ([DB2], 'partial')
    with Service(server.address).running() as service:
        assert (service.members(), service.source.state) == ([], 'failing')


def test_a_name_that_is_empty_is_held_and_then_let_go(server):
    with Service(server.address, dns_hold=2.0).running() as service:
        server.zone.remove(NAME)
        service.source.refresh_now()
        wait_until('it is held', lambda: service.source.state == 'holding')
        assert service.members() == [DB1, DB2]
        service.wait_for([])
        assert len(service.log.events('dns_let_go')) == 1


def test_the_root_as_target_says_that_there_is_no_such_service(server):
    server.zone.set(NAME, 'SRV', ['0 0 0 .'])
    with Service(server.address).running() as service:
        assert (service.source.state, service.members()) == ('empty', [])
        assert 'not available' in service.source.snapshot()['error']
        server.zone.set(NAME, 'SRV', ['0 0 0 .', '10 10 5433 db2.example.com.'])
        service.wait_for([DB2])
    assert not service.log.events('srv_ignored')


def test_a_record_that_is_no_use_is_told_once(server):
    server.zone.set(NAME, 'SRV', ['10 10 0 db1.example.com.', '10 10 5433 db2.example.com.'])
    with Service(server.address).running() as service:
        service.source.refresh_now()
        wait_until('another look-up', lambda: server.count(NAME, 'SRV') > 1)
        assert service.members() == [DB2]
    assert service.log.events('srv_ignored') == [
        'srv %s: the SRV record 10 10 0 db1.example.com is ignored: its port is 0' % NAME]


def test_records_none_of_which_names_a_server_are_no_answer_that_empties_the_pool(server):
    with Service(server.address).running() as service:
        server.zone.set(NAME, 'SRV', ['0 0 0 .', '10 10 0 db1.example.com.', '10 10 5433 10.9.0.1.'])
        wait_until('it is held', lambda: service.source.state == 'holding')
        assert service.members() == [DB1, DB2]
        assert service.source.snapshot()['error'] == 'SRV: no usable record'
        server.zone.set(NAME, 'SRV', ['10 10 5433 db2.example.com.'])
        service.wait_for([DB2])


HOSTILE = [[b'x\0y'], [b'a b'], [b'\x1b[31mred'], [b'<b>'], [b'db1.example', b'com'], [b'{source}'], [b'\xc3\xb6'], [b'*'],
           [b'db/weight=3'], [b'::1'], [b'10', b'9', b'0', b'1'], [b'\n' * 63, b'\n' * 63, b'\n' * 63, b'\n' * 61]]
STRANGE = [[b'-'], [b'_x', b'_tcp'], [b'0x7f000001'], [b'a' * 63, b'b' * 63, b'c' * 63, b'd' * 61]]


def test_hostile_targets_are_told_harmlessly_and_strange_ones_are_names(server):
    def behaviour(server, query, protocol):
        response = dns.message.from_wire(server.usual(query, protocol))
        for labels in HOSTILE + STRANGE:
            target = dns.name.Name(labels + [b''])
            rdata = dns.rdtypes.IN.SRV.SRV(dns.rdataclass.IN, dns.rdatatype.SRV, 10, 10, 5432, target)
            response.answer.append(dns.rrset.from_rdata(query.question[0].name, 1, rdata))
        return response.to_wire()
    server.misbehave(behaviour, NAME, 'SRV')
    with Service(server.address).running() as service:
        assert service.members() == [DB1, DB2]
        assert len(service.source.snapshot()['targets']) == 2 + len(STRANGE)
        told = service.log.events('srv_ignored')
        assert len(told) == len(HOSTILE)
        assert re.match(r'[\w .:\\-]+\Z', ''.join(told)), 'escapes are numbers'
        assert max(len(line) for line in told) < 300
        wait_until('they are told', lambda: len(service.log.events('srv_no_address')) == len(STRANGE))


def test_a_target_without_addresses_is_told_once_and_again_when_it_lost_them(server):
    told = 'srv %s: its target db3.example.com has no address: no such name (NXDOMAIN)' % NAME
    server.zone.set(NAME, 'SRV', ['10 0 5432 db1.example.com.', '10 0 5432 db3.example.com.'])
    with Service(server.address, dns_hold=0.0).running() as service:
        wait_until('it is told', lambda: service.log.events('srv_no_address') == [told])
        server.zone.set_addresses('db3.example.com', ['10.9.0.3'])
        service.wait_for([DB1, ('db3.example.com', ['10.9.0.3:5432'])])
        server.zone.remove('db3.example.com')
        service.wait_for([DB1])
        wait_until('it is told again', lambda: service.log.events('srv_no_address') == [told] * 2)


def test_what_goes_wrong_with_one_target_is_told_and_harms_no_other(server):
    service = Service(server.address)
    answers = service.source._book.answers

    def broken(name, port):
        if name.startswith('db1.'):
            raise KeyError('of a library')
        return answers(name, port)
    service.source._book.answers = broken
    with service.running():
        told = "db1.example.com: unexpected KeyError: 'of a library'"
        wait_until('it is told', lambda: told in (service.source.error or ''))
        assert service.members() == [DB2]


def test_a_target_with_too_many_addresses_takes_no_place_from_others(server):
    """Of 4,096 addresses of a name: the target that no longer fits is left out, one behind it is not."""
    for name, network in (('db1', 8), ('db3', 7)):
        server.zone.set_addresses(name + '.example.com', ['10.%d.%d.%d' % (network, number // 200, number % 200 + 1)
                                                          for number in range(2100)], ttl=60)
    server.zone.set(NAME, 'SRV', ['10 0 5432 db1.example.com.', '20 0 5433 db3.example.com.', '30 0 5433 db2.example.com.'],
                    ttl=60)
    with Service(server.address, refresh=60.0).running() as service:
        wait_until('all answers', lambda: service.source.snapshot()['targets'][1]['addresses'])
        assert [len(addresses) for _, addresses in service.members()] == [2100, 1]


def test_three_hundred_targets_come_by_tcp_and_the_first_are_used(server):
    for number in range(300):
        server.zone.set_addresses('n%03d.example.com' % number, ['10.9.%d.%d' % (1 + number // 200, number % 200)], ttl=60)
    server.zone.set(NAME, 'SRV', ['10 1 5432 n%03d.example.com.' % number for number in range(300)], ttl=60)
    with Service(server.address, refresh=60.0).running() as service:
        wait_until('all answers', lambda: len(service.members()) == 256)
        assert server.count(NAME, 'SRV', 'tcp') == 1
        assert server.most_at_once <= 32           # 16 targets, A and AAAA
        assert service.log.events('srv_too_many') == [
            'srv %s has 300 targets: 256 are used, by priority and then by name' % NAME]


def test_a_written_port_is_that_of_all_servers(server):
    with Service(server.address, NAME + ':636').running() as service:
        assert [address for _, addresses in service.members() for address in addresses] == [
            '10.9.0.1:636', '[2001:db8::1]:636', '10.9.0.2:636']


def test_our_own_listener_and_what_no_server_can_have_are_left_out(server):
    server.zone.set_addresses('db1.example.com', ['127.0.0.1', '::ffff:127.0.0.1', '0.0.0.0', '10.9.0.1'])
    with Service(server.address).running() as service:
        assert service.members()[0] == ('db1.example.com', ['10.9.0.1:5432'])


def test_a_hosts_entry_of_a_target_decides(server, tmpdir):
    tmpdir.join('hosts').write('10.9.9.9 db1.example.com\n127.0.0.1 db2.example.com\n')
    with Service(server.address, NAME + ':5432', hosts=str(tmpdir.join('hosts'))).running() as service:
        assert service.members() == [('db1.example.com', ['10.9.9.9:5432']), ('db2.example.com', ['10.9.0.2:5432'])]
        assert service.log.events('hosts_entry_decides') == [
            '%s says that db1.example.com is 10.9.9.9:5432: DNS is not asked' % tmpdir.join('hosts')]


def test_an_alias_and_an_address_family_that_come_later_belong_to_the_same_server(server):
    server.zone.set('db2.example.com', 'CNAME', ['other.example.com'])
    server.zone.remove('db2.example.com', 'A')
    server.zone.set_addresses('other.example.com', ['2001:db8::2'])
    with Service(server.address).running() as service:
        assert service.members() == [DB1, ('db2.example.com', ['[2001:db8::2]:5433'])]
        server.zone.set_addresses('other.example.com', ['10.9.0.2', '2001:db8::2'])
        service.wait_for([DB1, ('db2.example.com', ['10.9.0.2:5433', '[2001:db8::2]:5433'])])


def test_the_first_targets_serve_while_another_one_is_waited_for(server):
    gate = gevent.event.Event()
    server.misbehave(nameserver.until(gate), 'db2.example.com')
    service = Service(server.address)
    loop = gevent.spawn(service.source.run)
    try:
        service.wait_for([DB1])
        assert not service.source.settled
        gate.set()
        service.wait_for([DB1, DB2])
    finally:
        loop.kill()


@pytest.fixture
def gate(server):
    """While it is not set, no address of a target whose name begins with `slow` is answered for."""
    gate = gevent.event.Event()
    for number in range(20):
        server.misbehave(nameserver.until(gate), 'slow%d.example.com' % number)
        server.zone.set_addresses('slow%d.example.com' % number, ['10.9.5.%d' % number])
    yield gate
    gate.set()


def slow_ones(count):
    return ['10 1 5432 slow%d.example.com.' % number for number in range(count)]


def test_targets_that_nobody_answers_for_keep_no_news_of_others_waiting(server, gate):
    """They came 5 seconds later, the longest time of a look-up, and with many slow ones a minute. Here it has no end: the
    clock moves when the test says so."""
    clock = Clock()
    service = Service(server.address, clock=clock)

    def change(members, *records):
        server.zone.set(NAME, 'SRV', slow_ones(10) + list(records))
        clock.now += 1
        service.wait_for(members)
    one, two = '10 10 5432 db1.example.com.', '10 10 5433 db2.example.com.'
    loop = gevent.spawn(service.source.run)
    try:
        change([DB1], one)
        wait_until('the slow ones are asked', lambda: server.count('slow9.example.com', 'A'))
        change([DB2], two)
        change([DB1, DB2], one, two)
        change([DB1], one)
        gate.set()
        wait_until('they come at last', lambda: len(service.members()) == 11)
    finally:
        loop.kill()


def test_targets_that_nobody_has_answered_for_leave_places_to_others(server, gate):
    """Twenty of them, and sixteen places: those that were silent before take half of these."""
    clock = Clock()
    service = Service(server.address, clock=clock)
    server.zone.set(NAME, 'SRV', slow_ones(20) + ['10 10 5432 db1.example.com.'])
    server.misbehave(nameserver.rcode('SERVFAIL'))
    server.misbehave(server_usual, NAME)
    server.misbehave(server_usual, 'db1.example.com')
    while service.source.look_up() < 1:
        pass
    assert (service.members(), service.source.state) == ([DB1], 'partial')
    server.behave()
    for number in range(20):
        server.misbehave(nameserver.until(gate), 'slow%d.example.com' % number)
    server.zone.set(NAME, 'SRV', slow_ones(20) + ['10 10 5432 db1.example.com.', '10 10 5433 db2.example.com.'])
    clock.now += 2
    loop = gevent.spawn(service.source.run)
    try:
        service.wait_for([DB1, DB2])
        assert server.at_once == 16, 'A and AAAA of eight'
    finally:
        loop.kill()


def server_usual(server, query, protocol):
    return server.usual(query, protocol)


def test_a_person_who_wants_all_looked_up_gets_that_whatever_else_has_to_be_done_meanwhile(server, gate):
    """Those that did not get one of the sixteen places at once were forgotten when the records were due."""
    gate.set()
    clock = Clock()
    service = Service(server.address, clock=clock, refresh=60.0)
    for number in range(20):
        server.zone.set_addresses('slow%d.example.com' % number, ['10.9.5.%d' % number], ttl=60)
    server.zone.set(NAME, 'SRV', slow_ones(20))
    service.look_up()
    gate.clear()
    clock.now += 1
    service.source.refresh_now()
    assert service.source.look_up() < 1
    clock.now += 1
    assert service.source.look_up() < 1, 'for the records'
    gate.set()
    service.look_up()
    assert min(server.count('slow%d.example.com' % number, 'A') for number in range(20)) >= 2


def test_the_first_look_up_does_not_end_before_a_target_is_known(server, gate):
    """Whatever is due meanwhile: clients would be told that there is no server."""
    clock = Clock()
    service = Service(server.address, clock=clock)
    server.zone.set(NAME, 'SRV', slow_ones(2))
    looking = gevent.spawn(service.source.look_up)
    wait_until('they are asked for', lambda: server.count('slow1.example.com', 'A'))
    clock.now += 5
    looking.join(0.5)
    assert (looking.ready(), service.source.state) == (False, 'pending')
    gate.set()
    looking.join()
    assert (service.source.state, len(service.members())) == ('ok', 2)


def test_a_server_that_is_missed_while_slow_targets_are_waited_for_is_looked_up(server, gate):
    clock = Clock()
    service = Service(server.address, clock=clock, refresh=60.0, check_fall=1)
    server.zone.set_addresses('db1.example.com', ['10.9.0.1'], ttl=60)
    server.zone.set(NAME, 'SRV', slow_ones(2) + ['10 10 5432 db1.example.com.'], ttl=60)
    loop = gevent.spawn(service.source.run)
    try:
        wait_until('one is known', lambda: len(service.members()) == 1)
        service.pool.report_failure(service.pool.addresses()[0], 'refused')
        server.zone.set_addresses('db1.example.com', ['10.9.0.7'], ttl=60)
        clock.now += 1
        service.wait_for([('db1.example.com', ['10.9.0.7:5432'])])
        assert server.count(NAME, 'SRV') == 2
    finally:
        loop.kill()


def test_those_that_are_overdue_longest_are_looked_up_first():
    clock, asked = Clock(), []

    def look_up(host):
        asked.append(host.name)
        host.asked, host.pause = clock(), 1
    hosts = Hosts(look_up, lambda: None, lambda endpoint: False, clock, 1, 60)
    for name in 'bca':
        hosts.keep([(one, 1) for one in 'abc' if one == name or one in asked])
        hosts.ask(True)
        hosts.wait(10)
        clock.now += 0.1
    assert asked == ['b', 'c', 'a']
    hosts.keep([(name, 1) for name in 'abcd'])
    clock.now += 9
    hosts.ask(True)
    hosts.wait(10)
    assert asked[3:] == ['d', 'b', 'c', 'a']


def test_a_target_that_comes_late_does_not_come_back_after_the_end(server, gate):
    service = Service(server.address, clock=Clock())
    server.zone.set(NAME, 'SRV', slow_ones(1) + ['10 10 5432 db1.example.com.'])
    loop = gevent.spawn(service.source.run)
    service.wait_for([DB1])
    loop.kill()
    wait_until('nobody is waited for', lambda: not service.source._hosts.busy, timeout=5)
    service.pool.update(service.source.source, [])
    gate.set()
    wait_until('it is answered for', lambda: not server.at_once)
    assert service.members() == []


def test_the_smallest_ttl_of_records_and_addresses_is_the_pace(server):
    server.zone.set(NAME, 'SRV', ['10 30 5432 db1.example.com.'], ttl=60)
    server.zone.set('db1.example.com', 'A', ['10.9.0.1'], ttl=5)
    server.zone.set('db1.example.com', 'AAAA', ['2001:db8::1'], ttl=60)
    with Service(server.address, refresh=120.0).running() as service:
        assert service.source.snapshot()['ttl'] == 5


def test_what_stands_in_the_additional_section_is_asked_for_all_the_same(server):
    def additional(server, query, protocol):
        response = dns.message.from_wire(server.usual(query, protocol))
        response.additional.append(dns.rrset.from_text('db1.example.com.', 60, 'IN', 'AAAA', '2001:db8::bad'))
        return response.to_wire()
    server.misbehave(additional, NAME, 'SRV')
    with Service(server.address).running() as service:
        assert service.members() == [DB1, DB2]


# --- who is asked when -----------------------------------------------------------------------------------------------

class Paced(Service):
    """Twenty targets of an SRV name with TTL 0, and a clock of the test's."""

    def __init__(self, server, ttl, **values):
        self.server, self.clock, self.records = server, Clock(), []
        for number in range(20):
            self.add(number, ttl)
        Service.__init__(self, server.address, clock=self.clock, **dict(dict(refresh=60.0), **values))
        self.look_up()

    def add(self, number, ttl, ttl_of_records=0):
        self.server.zone.set_addresses('n%d.example.com' % number, ['10.9.1.%d' % number], ttl=ttl)
        self.records.append('10 1 5432 n%d.example.com.' % number)
        self.server.zone.set(NAME, 'SRV', self.records, ttl=ttl_of_records)

    def move(self, number, ttl):
        self.server.zone.set_addresses('n%d.example.com' % number, ['10.9.2.%d' % number], ttl=ttl)

    def asked_within(self, seconds):
        """(questions for the records, for A of targets) while it looks up once a second."""
        before = len(self.server.asked)
        for _ in range(seconds):
            self.clock.now += 1
            self.look_up()
        types = [rdtype for _, rdtype, _ in self.server.asked[before:]]
        assert types.count('AAAA') == types.count('A')
        return types.count('SRV'), types.count('A')

    def knows(self, ip):
        return ip in [address.endpoint[0] for address in self.pool.addresses()]

    def fail(self, *ips):
        for address in self.pool.addresses():
            if not ips or address.endpoint[0] in ips:
                self.pool.report_failure(address, 'refused', self.clock())


def test_records_that_do_not_change_cost_one_question_however_many_their_targets(server):
    service = Paced(server, ttl=60)
    assert service.asked_within(59) == (59, 0)
    assert service.asked_within(2) == (2, 20)
    assert service.asked_within(50) == (50, 0)


def test_targets_with_ttl_0_are_asked_four_a_second(server):
    service = Paced(server, ttl=0)
    assert service.asked_within(4) == (4, 0)
    assert service.asked_within(20) == (20, 80)


def test_a_target_that_moves_is_found_when_its_ttl_has_passed(server):
    service = Paced(server, ttl=10)
    service.move(7, ttl=10)
    service.asked_within(9)
    assert service.knows('10.9.1.7')
    service.asked_within(1)
    assert service.knows('10.9.2.7') and not service.knows('10.9.1.7')


def test_a_new_target_is_asked_at_once_and_others_are_not(server):
    service = Paced(server, ttl=60)
    service.add(20, ttl=60)
    assert service.asked_within(1) == (1, 1)
    assert service.knows('10.9.1.20')


def test_a_look_up_that_a_person_wants_asks_for_all(server):
    service = Paced(server, ttl=60)
    service.source.refresh_now()
    assert service.asked_within(1) == (1, 20)
    assert service.asked_within(1) == (1, 0)


def test_a_target_that_is_down_is_asked_at_its_own_ttl_whatever_others_need(server):
    service = Paced(server, ttl=1, check_fall=1)
    service.fail('10.9.1.7')
    service.move(7, ttl=1)
    assert service.asked_within(1) == (1, 1)
    assert service.knows('10.9.2.7')


def test_targets_that_are_down_are_asked_four_a_second_however_many_they_are(server):
    """In an outage of a zone whose TTL is 0 each of hundreds was asked for every second."""
    service = Paced(server, ttl=0, check_fall=1)
    service.fail(*['10.9.1.%d' % number for number in range(1, 20)])
    assert 110 <= service.asked_within(25)[1] <= 130, 'and the one that is up every second'


def test_when_nobody_is_up_no_ttl_of_a_target_counts(server):
    service = Paced(server, ttl=60, check_fall=1)
    service.asked_within(10)
    service.fail()
    service.move(7, ttl=60)
    assert service.asked_within(1) == (1, 20)
    assert service.knows('10.9.2.7')


def test_when_nobody_is_up_the_ttl_of_the_records_does_not_count_either(server):
    service = Paced(server, ttl=60, check_fall=1)
    service.add(20, ttl=60, ttl_of_records=60)
    service.asked_within(1)
    assert service.asked_within(10) == (0, 0)
    service.fail()
    assert service.asked_within(1) == (1, 21)


def test_a_target_that_cannot_be_looked_up_is_asked_with_back_off(server):
    service = Paced(server, ttl=60)
    server.misbehave(nameserver.rcode('SERVFAIL'), 'n20.example.com')
    service.add(20, ttl=60)
    service.asked_within(31)
    assert 5 <= server.count('n20.example.com', 'A') <= 6


def test_each_target_is_looked_up_in_its_own_time_when_the_records_last_longer(server):
    service = Paced(server, ttl=60)
    service.add(20, ttl=40, ttl_of_records=60)
    service.clock.now += 1
    assert service.look_up() == 40
    service.clock.now += 40
    assert service.look_up() == pytest.approx(19)


# --- with real name servers ------------------------------------------------------------------------------------------

RECORDS = ['db1 A 10.9.0.1', 'db1 AAAA 2001:db8::1', 'db2 A 10.9.0.2', '_postgres._tcp 1 SRV 10 30 5432 db1',
           '_postgres._tcp 1 SRV 20 0 5433 db2']


def test_knot_is_understood():
    with Knot('db.example.com', RECORDS) as knot:
        with Service(knot.address).running() as service:
            assert service.members() == [
                ('db1.db.example.com', ['10.9.0.1:5432', '[2001:db8::1]:5432']), ('db2.db.example.com', ['10.9.0.2:5433'])]
            assert service.options() == {'db1.db.example.com': (1, 1), 'db2.db.example.com': (1, 2)}
            knot.set_records(RECORDS[:3] + ['_postgres._tcp 1 SRV 10 30 5432 db2'])
            service.wait_for([('db2.db.example.com', ['10.9.0.2:5432'])])
            knot.set_records(RECORDS[:3] + ['_postgres._tcp 1 SRV 0 0 0 .'])
            wait_until('it is held', lambda: service.source.state == 'holding')


def test_knot_answers_a_hundred_targets_by_tcp():
    records = ['pod%d A 10.9.1.%d' % (number, number) for number in range(100)]
    records += ['_postgres._tcp 1 SRV 0 1 5432 pod%d' % number for number in range(100)]
    with Knot('db.example.com', records) as knot:
        with Service(knot.address).running() as service:
            wait_until('all answers', lambda: len(service.members()) == 100)


def test_kubernetes_pods_are_servers_by_their_names_and_leave_when_they_are_not_ready():
    """As CoreDNS answers for a headless service `db` of a StatefulSet, with a port named pg; all weights are 100/n."""
    pods = ['db-0.db A 10.9.0.1', 'db-1.db A 10.9.0.2', 'db-2.db A 10.9.0.3']
    records = ['_pg._tcp.db 1 SRV 0 33 5432 db-%d.db' % number for number in range(3)]
    name = '_pg._tcp.db.prod.svc.cluster.local.'
    with Knot('prod.svc.cluster.local', pods + records) as knot:
        with Service(knot.address, ring_domains=name).running() as service:
            pods_of = dict(service.members())
            assert sorted(pods_of) == ['db-%d.db.prod.svc.cluster.local' % number for number in range(3)]
            assert set(service.options().values()) == set([(1, 1)])
            knot.set_records([pods[0], pods[2]] + [record.replace(' 33 ', ' 50 ') for record in records[::2]])
            service.wait_for([('db-%d.db.prod.svc.cluster.local' % number, pods_of[
                'db-%d.db.prod.svc.cluster.local' % number]) for number in (0, 2)])


def test_consul_nodes_have_the_weights_of_their_health_and_a_node_may_serve_twice():
    """As a Consul agent answers for the service `db`: nodes or addr names as targets, weights by passing and warning."""
    records = ['db1.node.dc1 A 10.9.0.1', '0a090002.addr.dc1 A 10.9.0.2', '_db._tcp.service 1 SRV 1 10 5432 db1.node.dc1',
               '_db._tcp.service 1 SRV 1 10 5433 db1.node.dc1', '_db._tcp.service 1 SRV 1 1 5432 0a090002.addr.dc1']
    with Knot('consul', records) as knot:
        with Service(knot.address, ring_domains='_db._tcp.service.consul.').running() as service:
            assert service.members() == [
                ('0a090002.addr.dc1.consul', ['10.9.0.2:5432']), ('db1.node.dc1.consul', ['10.9.0.1:5432']),
                ('db1.node.dc1.consul', ['10.9.0.1:5433'])]
            weights = [member.weight for member in service.pool.members]
            assert [round(weight / weights[0]) for weight in weights] == [1, 10, 10]


def test_unbound_is_understood():
    records = host_records('db1.example.com', ['10.9.0.1', '2001:db8::1']) + host_records('db2.example.com', ['10.9.0.2'])
    records += ['%s. 1 IN SRV 10 30 5432 db1.example.com.' % NAME, '%s. 1 IN SRV 10 10 5433 db2.example.com.' % NAME]
    with Unbound(records) as unbound:
        with Service((unbound.ip, unbound.port)).running() as service:
            assert service.members() == [DB1, DB2]
            unbound.set_records(NAME, ['%s. 1 IN SRV 10 10 5433 db2.example.com.' % NAME])
            service.wait_for([DB2])
