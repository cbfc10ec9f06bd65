"""Rings, backends by name and static ones: what reaches the pool, when, and what the log says."""
from __future__ import absolute_import, division, print_function

import contextlib
import os
import subprocess
import sys

import gevent
import pytest
from gevent.event import Event

from sidelb_lib.config.settings import defaults
from sidelb_lib.discovery.addresses import AddressBook
from sidelb_lib.discovery.named_server import NamedServer
from sidelb_lib.discovery.ring import Ring
from sidelb_lib.discovery.static import Static
from sidelb_lib.pool.pool import Pool
from sidelb_lib.policies.registry import policy_named
from sidelb_lib.resolver.answers import empty, failed, found
from sidelb_lib.resolver.client import Resolver
from sidelb_lib.discovery.server_names import ServerNames
from tests.support import nameserver
from tests.support.clock import Clock
from tests.support.nameserver import name_server
from tests.support.recording import RecordingLog
from tests.support.waiting import wait_until

RING = 'db.example.com'
SOURCE = 'ring db.example.com:5432'
PORT = 5432
A4, B4, C4 = ('10.9.0.1', PORT), ('10.9.0.2', PORT), ('10.9.0.3', PORT)
A6, B6 = ('2001:db8::1', PORT), ('2001:db8::2', PORT)


class FakePool(object):
    """Remembers what each source has told."""

    def __init__(self):
        self.groups = {}
        self.updates = []
        self.error = None

    def update(self, source, groups):
        if self.error:
            raise self.error
        pairs = [(name, endpoints) for name, endpoints, _ in groups]
        self.groups[source] = pairs
        self.updates.append((source, pairs))


class ScriptedBook(object):
    """An AddressBook whose next answers the test sets."""

    def __init__(self):
        self.a = self.aaaa = None
        self.error = None
        self.asked = 0

    def say(self, a, aaaa=None):
        self.a, self.aaaa = a, aaaa or empty('no such records')

    def answers(self, name, port):
        self.asked += 1
        if self.error:
            raise self.error
        yield 'A', self.a
        yield 'AAAA', self.aaaa


def addresses(*ips, **fields):
    return found(ips, fields.get('ttl', 20), fields.get('names', (RING,)))


NXDOMAIN = empty('no such name (NXDOMAIN)')
TIMEOUT = failed('127.0.0.1:53 does not answer')


# --- one look-up after the other, on a clock of the test --------------------------------------------------

@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def pool():
    return FakePool()


@pytest.fixture
def log():
    return RecordingLog()


@pytest.fixture
def book():
    return ScriptedBook()


@pytest.fixture
def ring(pool, book, log, clock):
    """A Ring to be driven by `look_up()`; names are off."""
    return Ring(RING, PORT, pool, ServerNames(None, group='off'), book, log, refresh=60.0, hold=30.0,
                clock=clock, random=lambda: 0.0)


def known(pool):
    """The endpoints that the pool has of the ring, in order."""
    return [endpoint for _, group in pool.groups[SOURCE] for endpoint in group]


@pytest.mark.parametrize('a, aaaa, delay', [
    (addresses('10.9.0.1', ttl=20), addresses('2001:db8::1', ttl=30), 20),
    (addresses('10.9.0.1', ttl=30), addresses('2001:db8::1', ttl=20), 20),
    (addresses('10.9.0.1', ttl=20), None, 20),
    (addresses('10.9.0.1', ttl=0), None, 1),
    (addresses('10.9.0.1', ttl=86400), None, 60),
    (addresses('10.9.0.1', ttl=None), addresses(ttl=None), 60),
])
def test_the_smallest_ttl_sets_the_pace_within_its_limits(ring, book, a, aaaa, delay):
    book.say(a, aaaa)
    assert ring.look_up() == delay


def test_a_changed_answer_reaches_the_pool(ring, book, pool):
    book.say(addresses('10.9.0.2', '10.9.0.1'), addresses('2001:db8::1'))
    ring.look_up()
    assert pool.groups[SOURCE] == [(None, [A4]), (None, [B4]), (None, [A6])]
    book.say(addresses('10.9.0.3', '10.9.0.1'), addresses('2001:db8::1'))
    ring.look_up()
    assert known(pool) == [A4, C4, A6]


def test_an_answer_in_another_order_is_no_change(ring, book, pool):
    book.say(addresses('10.9.0.1', '10.9.0.2'))
    ring.look_up()
    updates = len(pool.updates)
    book.say(addresses('10.9.0.2', '10.9.0.1', ttl=5))
    ring.look_up()
    assert len(pool.updates) == updates


@pytest.mark.parametrize('trouble', [TIMEOUT, failed('127.0.0.1:53 answers SERVFAIL')])
def test_failures_keep_the_members_and_are_retried_with_back_off(ring, book, pool, log, clock, trouble):
    book.say(addresses('10.9.0.1'))
    ring.look_up()
    book.say(trouble, trouble)
    for delay in (1, 2, 4, 8, 16, 32, 60, 60, 60):
        assert ring.look_up() == delay
        clock.now += delay
        assert known(pool) == [A4]
    assert log.events('dns_failing') == [
        '%s cannot be looked up: %s; what is known stays: 1 address' % (SOURCE, trouble.reason)]
    book.say(addresses('10.9.0.1'))
    assert ring.look_up() == 20
    assert len(log.events('dns_resolved')) == 2
    book.say(trouble, trouble)
    assert ring.look_up() == 1


def test_an_empty_answer_is_distrusted_for_a_while_and_then_believed(ring, book, pool, log, clock):
    book.say(addresses('10.9.0.1', '10.9.0.2'))
    ring.look_up()
    book.say(NXDOMAIN, NXDOMAIN)
    began = clock.now
    while clock.now < began + 30:
        delay = ring.look_up()
        assert known(pool) == [A4, B4]
        clock.now += delay
    assert clock.now == began + 30
    ring.look_up()
    assert pool.groups[SOURCE] == []
    assert log.events('dns_empty') == [
        SOURCE + ': no such name (NXDOMAIN); addresses known before are kept for 30 s']
    assert log.events('dns_let_go') == [SOURCE + ' has had no addresses for 30 s: its servers are let go']


def test_an_answer_within_the_hold_starts_it_anew(ring, book, pool, clock):
    for _ in range(3):
        book.say(addresses('10.9.0.1'))
        ring.look_up()
        book.say(NXDOMAIN, NXDOMAIN)
        ring.look_up()
        clock.now += 29
        ring.look_up()
        assert known(pool) == [A4]


def test_failures_within_the_hold_let_nothing_go(ring, book, pool, clock):
    book.say(addresses('10.9.0.1'))
    ring.look_up()
    book.say(NXDOMAIN, NXDOMAIN)
    ring.look_up()
    book.say(TIMEOUT, TIMEOUT)
    clock.now += 100
    ring.look_up()
    assert known(pool) == [A4]


def test_a_name_that_never_had_addresses_is_reported_and_retried(ring, book, log, pool):
    book.say(NXDOMAIN, NXDOMAIN)
    assert [ring.look_up() for _ in range(3)] == [1, 2, 4]
    assert log.events('dns_empty') == [SOURCE + ' has no addresses: no such name (NXDOMAIN)']
    assert pool.groups[SOURCE] == []


def test_one_failing_family_keeps_its_known_addresses(ring, book, pool, log):
    book.say(addresses('10.9.0.1'), addresses('2001:db8::1'))
    ring.look_up()
    book.say(addresses('10.9.0.2'), TIMEOUT)
    assert ring.look_up() == 1
    assert known(pool) == [B4, A6]
    assert ring.snapshot()['state'] == 'partial'
    book.say(TIMEOUT, addresses('2001:db8::2'))
    ring.look_up()
    assert known(pool) == [B4, B6]
    assert len(log.events('dns_failing')) == 1


def test_one_family_that_always_fails_does_not_slow_the_other_down(ring, book):
    book.say(addresses('10.9.0.1', ttl=5), TIMEOUT)
    assert [ring.look_up() for _ in range(6)] == [1, 2, 4, 5, 5, 5]


def test_one_family_that_becomes_empty_is_held_as_well(ring, book, pool, clock):
    book.say(addresses('10.9.0.1'), addresses('2001:db8::1'))
    ring.look_up()
    book.say(addresses('10.9.0.1'))
    ring.look_up()
    assert (ring.snapshot()['state'], known(pool)) == ('holding', [A4, A6])
    clock.now += 30
    ring.look_up()
    assert (ring.snapshot()['state'], known(pool)) == ('ok', [A4])


def test_a_family_that_the_hosts_file_does_not_have_is_gone_at_once(ring, book, pool):
    book.say(addresses('10.9.0.1'), addresses('2001:db8::1'))
    ring.look_up()
    book.say(addresses('10.9.0.2', ttl=None), addresses(ttl=None))
    ring.look_up()
    assert known(pool) == [B4]


def test_the_snapshot_tells_what_is_known(ring, book, clock):
    assert ring.snapshot() == {'kind': 'ring', 'name': RING, 'port': PORT, 'addresses': [], 'age': None,
                               'ttl': None, 'error': None, 'state': 'pending', 'lookups': {}}
    book.say(addresses('10.9.0.1', ttl=20), addresses('2001:db8::1', ttl=9))
    ring.look_up()
    clock.now += 7
    book.say(TIMEOUT, failed('127.0.0.1:53 answers SERVFAIL'))
    ring.look_up()
    assert ring.snapshot() == {
        'kind': 'ring', 'name': RING, 'port': PORT, 'addresses': ['10.9.0.1:5432', '[2001:db8::1]:5432'],
        'age': 7, 'ttl': 9, 'state': 'failing', 'lookups': {},
        'error': 'A: 127.0.0.1:53 does not answer; AAAA: 127.0.0.1:53 answers SERVFAIL'}


def test_an_answer_of_many_thousand_addresses_is_cut(ring, book, pool):
    book.say(addresses(*['10.%d.%d.%d' % (n >> 16, n >> 8 & 255, n & 255) for n in range(5000)]))
    ring.look_up()
    assert len(known(pool)) == 4096


# --- the loop ---------------------------------------------------------------------------------------------

@contextlib.contextmanager
def running(*sources):
    """Runs the sources as the service does."""
    greenlets = [gevent.spawn(source.run) for source in sources]
    try:
        yield
    finally:
        gevent.killall(greenlets)


@pytest.mark.parametrize('culprit', ['book', 'pool'])
def test_an_unexpected_exception_is_logged_once_and_the_loop_goes_on(book, pool, log, culprit):
    ring = Ring(RING, PORT, pool, ServerNames(None, group='off'), book, log, refresh=0.02, shortest=0.01)
    book.say(addresses('10.9.0.1'))
    tries = []

    class Counting(KeyError):
        def __str__(self):
            tries.append(1)
            return 'a bug'
    culprit = {'book': book, 'pool': pool}[culprit]
    culprit.error = Counting()
    with running(ring):
        wait_until('several tries', lambda: len(tries) > 5)
        assert ring.settled
        assert ring.snapshot()['state'] == 'failing'
        culprit.error = None
        wait_until('the answer', lambda: pool.groups.get(SOURCE))
        wait_until('the state', lambda: ring.snapshot()['state'] == 'ok')
    assert len(log.events('discovery_crashed')) == 1
    assert 'Counting: a bug (test_domain.py line' in log.events('discovery_crashed')[0]


class Setting(object):
    """A name server, and what a service builds upon it."""

    def __init__(self, server):
        self.server = server
        self.zone = server.zone
        self.pool = FakePool()
        self.log = RecordingLog()
        self.resolver = Resolver([server.address], attempt=20, lifetime=20)
        self.book = AddressBook(self.resolver, self.log, hosts=None)
        self.names = self.make_names()

    def make_names(self, **options):
        options = dict(dict(longest=60.0, timeout=20), **options)
        self.names = ServerNames(self.resolver, **options)
        return self.names

    def ring(self, name=RING, **timing):
        """Looks up every few milliseconds unless `timing` says otherwise."""
        timing = dict(dict(refresh=0.03, shortest=0.01), **timing)
        return Ring(name, PORT, self.pool, self.names, self.book, self.log, **timing)

    def groups(self, source=SOURCE):
        return self.pool.groups.get(source)

    def wait_for(self, groups, source=SOURCE):
        def there():
            assert self.groups(source) == groups, self.groups(source)
            return True
        wait_until('the groups %r' % (groups,), there)


@pytest.fixture
def setting():
    with name_server() as server:
        yield Setting(server)


def test_servers_are_grouped_by_their_confirmed_names(setting):
    setting.zone.set_server('db1.example.com', ['10.9.0.1', '2001:db8::1'])
    setting.zone.set_server('db2.example.com', ['10.9.0.2', '2001:db8::2'])
    setting.zone.set_addresses(RING, ['10.9.0.1', '2001:db8::1', '10.9.0.2', '2001:db8::2', '10.9.0.3'])
    with running(setting.ring()):
        setting.wait_for([(None, [C4]), ('db1.example.com', [A4, A6]), ('db2.example.com', [B4, B6])])


def test_the_pool_has_the_addresses_while_their_names_are_waited_for(setting):
    gate = Event()
    setting.server.misbehave(nameserver.until(gate), rdtype='PTR')
    setting.zone.set_server('db1.example.com', ['10.9.0.1', '2001:db8::1'])
    setting.zone.set_addresses(RING, ['10.9.0.1', '2001:db8::1'])
    ring = setting.ring()
    with running(ring):
        setting.wait_for([(None, [A4]), (None, [A6])])
        wait_until('the first look-up has ended', lambda: ring.settled)
        setting.zone.set_addresses(RING, ['10.9.0.1', '2001:db8::1', '10.9.0.2'])
        setting.wait_for([(None, [A4]), (None, [B4]), (None, [A6])])
        gate.set()
        setting.wait_for([(None, [B4]), ('db1.example.com', [A4, A6])])


def test_the_pool_has_one_family_while_the_other_is_waited_for(setting):
    gate = Event()
    setting.server.misbehave(nameserver.until(gate), rdtype='AAAA')
    setting.zone.set_addresses(RING, ['10.9.0.1', '2001:db8::1'])
    ring = setting.ring()
    with running(ring):
        setting.wait_for([(None, [A4])])
        assert not ring.settled
        gate.set()
        setting.wait_for([(None, [A4]), (None, [A6])])
        wait_until('the first look-up has ended', lambda: ring.settled)


def test_a_returning_address_is_grouped_from_the_first_moment(setting):
    setting.zone.set_server('db1.example.com', ['10.9.0.1', '2001:db8::1'])
    setting.zone.set_addresses(RING, ['10.9.0.1', '2001:db8::1', '10.9.0.2'])
    with running(setting.ring()):
        setting.wait_for([(None, [B4]), ('db1.example.com', [A4, A6])])
        setting.zone.set_addresses(RING, ['10.9.0.1', '10.9.0.2'])
        setting.zone.set(RING, 'AAAA', ['2001:db8::2'])
        setting.wait_for([(None, [B4]), (None, [B6]), ('db1.example.com', [A4])])
        del setting.pool.updates[:]
        setting.zone.set(RING, 'AAAA', ['2001:db8::1', '2001:db8::2'])
        setting.wait_for([(None, [B4]), (None, [B6]), ('db1.example.com', [A4, A6])])
        assert all(groups[-1] != (None, [A6]) for _, groups in setting.pool.updates)
        assert setting.server.pointer_count('2001:db8::1') == 1


def test_a_dead_name_server_at_the_start_is_waited_for(setting):
    setting.resolver = Resolver([setting.server.address], attempt=0.05, lifetime=0.1)
    setting.book = AddressBook(setting.resolver, setting.log, hosts=None)
    setting.server.misbehave(nameserver.dead)
    setting.zone.set_addresses(RING, ['10.9.0.1'])
    ring = setting.ring()
    with running(ring):
        wait_until('the first look-up has ended', lambda: ring.settled)
        assert ring.snapshot()['state'] == 'failing'
        assert 'does not answer' in ring.snapshot()['error']
        setting.server.behave()
        setting.wait_for([(None, [A4])])


@pytest.mark.parametrize('trouble', [
    nameserver.rcode('SERVFAIL'), nameserver.rcode('REFUSED'), nameserver.garbage, nameserver.dead,
    nameserver.endlessly_shortened])
def test_the_members_outlive_the_name_server_s_trouble(setting, trouble):
    setting.resolver = Resolver([setting.server.address], attempt=0.3, lifetime=0.3)
    setting.book = AddressBook(setting.resolver, setting.log, hosts=None)
    setting.zone.set_addresses(RING, ['10.9.0.1', '10.9.0.2'])
    ring = setting.ring()
    with running(ring):
        setting.wait_for([(None, [A4]), (None, [B4])])
        setting.server.misbehave(trouble)
        setting.zone.set_addresses(RING, ['10.9.0.3'])
        wait_until('it is noticed', lambda: ring.snapshot()['state'] == 'failing')
        assert setting.groups() == [(None, [A4]), (None, [B4])]
        setting.server.behave()
        setting.wait_for([(None, [C4])])


@pytest.mark.parametrize('nothing', [nameserver.rcode('NXDOMAIN'), nameserver.empty])
def test_an_empty_name_is_let_go_after_the_hold(setting, nothing):
    setting.zone.set_addresses(RING, ['10.9.0.1'])
    with running(setting.ring(hold=0.1)):
        setting.wait_for([(None, [A4])])
        setting.server.misbehave(nothing)
        setting.wait_for([])
        assert [event for _, event, _, _ in setting.log.lines if event.startswith('dns_')] == [
            'dns_resolved', 'dns_empty', 'dns_let_go']
        setting.server.behave()
        setting.wait_for([(None, [A4])])


def test_an_answer_too_long_for_udp_is_used_whole(setting):
    setting.zone.set(RING, 'A', ['10.9.1.%d' % n for n in range(100)])
    with running(setting.ring()):
        wait_until('all addresses', lambda: len(setting.groups() or ()) == 100)


def test_the_ttl_sets_the_pace_of_the_loop(book, pool, log):
    ring = Ring(RING, PORT, pool, ServerNames(None, group='off'), book, log, refresh=1000, shortest=0.01)
    book.say(addresses('10.9.0.1', ttl=0.02))
    with running(ring):
        wait_until('several look-ups', lambda: book.asked > 3)
        book.say(addresses('10.9.0.1', ttl=1000))
        wait_until('the long TTL', lambda: ring.snapshot()['ttl'] == 1000)
        asked = book.asked
        gevent.sleep(0.1)
        assert book.asked == asked


def test_when_a_ring_is_ended_nobody_updates_the_pool_for_it_any_more(book, pool, log):
    ring, begun, ended = Ring(RING, PORT, pool, ServerNames(None, group='off'), book, log), Event(), []

    def group():
        begun.set()
        try:
            Event().wait()
        finally:
            ended.append(True)
    ring.grouper.run = group
    greenlet = gevent.spawn(ring.run)
    assert begun.wait(10)
    greenlet.kill()
    assert ended


def test_the_names_of_a_chain_of_aliases_are_no_servers_names(setting):
    setting.zone.set(RING, 'CNAME', ['lb.example.com'])
    setting.zone.set_addresses('lb.example.com', ['10.9.0.1', '2001:db8::1'])
    setting.zone.set_pointer('10.9.0.1', ['lb.example.com'])
    setting.zone.set_pointer('2001:db8::1', ['db.example.com'])
    with running(setting.ring()):
        wait_until('both reasons', lambda: len(setting.log.events('address_alone')) == 2)
        assert setting.groups() == [(None, [A4]), (None, [A6])]
    assert sorted(setting.log.events('address_alone')) == [
        '10.9.0.1:5432 stands alone: its PTR name lb.example.com is that of a ring',
        '[2001:db8::1]:5432 stands alone: its PTR name db.example.com is that of a ring']


def test_the_ring_s_own_name_is_no_server_s_name_for_a_static_backend_either(setting):
    setting.zone.set_server(RING, ['10.9.0.1', '2001:db8::1'])
    static = Static([[A4], [A6]], setting.pool, setting.names, setting.log)
    setting.ring()
    with running(static):
        wait_until('both reasons', lambda: len(setting.log.events('address_alone')) == 2)
        assert setting.groups('backends') == [(None, [A4]), (None, [A6])]


def test_a_static_backend_learns_later_that_its_name_is_that_of_a_ring(setting):
    setting.zone.set(RING, 'CNAME', ['lb.example.com'])
    setting.zone.set_server('lb.example.com', ['10.9.0.1', '2001:db8::1'])
    static = Static([[A4], [A6]], setting.pool, setting.names, setting.log)
    ring = setting.ring()
    with running(static):
        setting.wait_for([('lb.example.com', [A4, A6])], 'backends')
        with running(ring):
            setting.wait_for([(None, [A4]), (None, [A6])], 'backends')


def test_a_name_shared_by_all_addresses_groups_none(setting):
    ips = ['10.9.0.1', '10.9.0.2', '10.9.0.3']
    setting.zone.set_server('alias.example.com', ips)
    setting.zone.set_addresses(RING, ips)
    with running(setting.ring()):
        wait_until('all reasons', lambda: len(setting.log.events('address_alone')) == 3)
        assert setting.groups() == [(None, [A4]), (None, [B4]), (None, [C4])]
    assert 'all addresses claim the name alias.example.com' in setting.log.events('address_alone')[0]


def test_each_address_that_stands_alone_is_logged_once_with_its_reason(setting):
    setting.make_names(longest=0.03, shortest=0.01)
    setting.zone.set_server('db1.example.com', ['10.9.0.1', '2001:db8::1'])
    setting.zone.set_pointer('10.9.0.2', ['db1.example.com'])
    setting.zone.set_addresses(RING, ['10.9.0.1', '2001:db8::1', '10.9.0.2', '10.9.0.3', '2001:db8::2'])
    setting.server.misbehave_for(nameserver.rcode('SERVFAIL'), '2001:db8::2')
    with running(setting.ring()):
        wait_until('many look-ups', lambda: setting.server.pointer_count('10.9.0.3') > 5)
        wait_until('many failed ones', lambda: setting.server.pointer_count('2001:db8::2') > 5)
        alone = sorted(setting.log.events('address_alone'))
        assert len(alone) == 3
        assert alone[0] == ('10.9.0.2:5432 stands alone: its PTR name db1.example.com does not resolve back'
                            ' to it')
        assert alone[1] == '10.9.0.3:5432 stands alone: it has no PTR name'
        assert alone[2].startswith('[2001:db8::2]:5432 stands alone: its PTR look-up failed: ')
        assert alone[2].endswith('answers SERVFAIL')
        setting.zone.set_pointer('10.9.0.3', ['db1.example.com'])
        wait_until('the new reason', lambda: len(setting.log.events('address_alone')) == 4)
        assert 'does not resolve back' in setting.log.events('address_alone')[3]


def test_one_address_whose_names_nobody_answers_for_delays_no_other(setting):
    gate = Event()
    ips = ['10.9.1.%d' % n for n in range(100)]
    for ip in ips:
        setting.zone.set_server('db-%s.example.com' % ip, [ip])
    setting.server.misbehave_for(nameserver.until(gate), ips[0])
    setting.zone.set_addresses(RING, ips)
    with running(setting.ring()):
        wait_until('the names of all others', lambda: len([1 for name, _ in setting.groups() or () if name]) == 99)
        gate.set()
        wait_until('its name', lambda: len([1 for name, _ in setting.groups() if name]) == 100)


def test_names_with_ttl_0_are_not_asked_for_again_and_again(setting):
    setting.zone.set_server('db1.example.com', ['10.9.0.1', '2001:db8::1'], ttl=0)
    setting.zone.set_addresses(RING, ['10.9.0.1', '2001:db8::1'], ttl=0)
    with running(setting.ring()):
        setting.wait_for([('db1.example.com', [A4, A6])])
        wait_until('many look-ups', lambda: setting.server.count(RING, 'A') > 10)
        assert setting.server.pointer_count() == 2


def test_a_changed_name_regroups(setting):
    setting.make_names(longest=0.03, shortest=0.01)
    setting.zone.set_server('db1.example.com', ['10.9.0.1', '2001:db8::1'])
    setting.zone.set_addresses(RING, ['10.9.0.1', '2001:db8::1', '10.9.0.2'])
    with running(setting.ring()):
        setting.wait_for([(None, [B4]), ('db1.example.com', [A4, A6])])
        setting.zone.set_server('db2.example.com', ['2001:db8::1', '10.9.0.2'])
        setting.wait_for([('db1.example.com', [A4]), ('db2.example.com', [B4, A6])])


def test_names_stay_grouped_while_the_name_server_is_in_trouble(setting):
    setting.make_names(longest=0.03, shortest=0.01)
    setting.zone.set_server('db1.example.com', ['10.9.0.1', '2001:db8::1'])
    setting.zone.set_addresses(RING, ['10.9.0.1', '2001:db8::1'])
    with running(setting.ring()):
        setting.wait_for([('db1.example.com', [A4, A6])])
        setting.server.misbehave(nameserver.rcode('SERVFAIL'))
        asked = setting.server.pointer_count()
        wait_until('more look-ups', lambda: setting.server.pointer_count() > asked + 4)
        assert setting.groups() == [('db1.example.com', [A4, A6])]
    assert not setting.log.events('address_alone')


def test_with_names_off_every_address_stands_alone_and_nothing_is_asked(setting):
    setting.make_names(group='off')
    setting.zone.set_server('db1.example.com', ['10.9.0.1', '2001:db8::1'])
    setting.zone.set_addresses(RING, ['10.9.0.1', '2001:db8::1'])
    ring = setting.ring()
    static = Static([[C4, B4]], setting.pool, setting.names, setting.log)
    with running(ring, static):
        setting.wait_for([(None, [A4]), (None, [A6])])
        setting.wait_for([(None, [B4, C4])], 'backends')
        wait_until('several look-ups', lambda: setting.server.count(RING, 'A') > 3)
    assert not setting.server.pointer_count()
    assert not setting.log.events('address_alone')


def test_a_refresh_on_demand_looks_up_addresses_and_names(setting):
    setting.zone.set_server('db1.example.com', ['10.9.0.1'])
    setting.zone.set_addresses(RING, ['10.9.0.1'])
    ring = setting.ring(refresh=1000, shortest=500)
    with running(ring):
        setting.wait_for([('db1.example.com', [A4])])
        wait_until('the first look-up has ended', lambda: ring.settled)
        setting.zone.set_server('new.example.com', ['10.9.0.1', '10.9.0.2'])
        setting.zone.set_addresses(RING, ['10.9.0.1', '10.9.0.2', '10.9.0.3'])
        ring.refresh_now()
        setting.wait_for([(None, [C4]), ('new.example.com', [A4, B4])])


def test_a_refresh_on_demand_during_a_look_up_is_not_lost(setting):
    gate = Event()
    setting.server.misbehave(nameserver.until(gate))
    setting.zone.set_addresses(RING, ['10.9.0.1'])
    ring = setting.ring(refresh=1000, shortest=500)
    with running(ring):
        wait_until('the look-up is under way', lambda: setting.server.count(RING) == 2)
        ring.refresh_now()
        gate.set()
        wait_until('another one', lambda: setting.server.count(RING) == 4)


def test_several_rings_do_not_disturb_each_other(setting):
    other = 'ring cache.example.com:5432'
    setting.zone.set_addresses(RING, ['10.9.0.1'])
    setting.zone.set_addresses('cache.example.com', ['10.9.0.2'])
    with running(setting.ring(hold=0.05), setting.ring('cache.example.com', hold=0.05)):
        setting.wait_for([(None, [A4])])
        setting.wait_for([(None, [B4])], other)
        setting.server.misbehave(nameserver.rcode('NXDOMAIN'), RING)
        setting.wait_for([])
        setting.zone.set_addresses('cache.example.com', ['10.9.0.3'])
        setting.wait_for([(None, [C4])], other)


def test_the_hosts_file_is_used_and_dns_when_it_points_at_ourselves(setting, tmpdir):
    hosts = tmpdir.join('hosts')
    hosts.write('10.9.0.1 db.example.com\n2001:db8::1 db.example.com\n')
    setting.book = AddressBook(setting.resolver, setting.log, str(hosts), [('127.0.0.1', PORT)])
    setting.zone.set_addresses(RING, ['10.9.0.3'])
    with running(setting.ring()):
        setting.wait_for([(None, [A4]), (None, [A6])])
        assert not setting.server.count(RING)
        hosts.write('127.0.0.1 db.example.com\n')
        setting.wait_for([(None, [C4]), (None, [A6])])    # AAAA is empty in DNS: what was there is held


def test_a_backend_by_name_is_one_server_with_all_its_addresses(setting):
    setting.zone.set_addresses('db1.example.com', ['10.9.0.1', '10.9.0.2', '2001:db8::1'])
    backend = NamedServer('DB1.example.com', PORT, setting.pool, setting.book, setting.log, refresh=0.03,
                          shortest=0.01, hold=0.05)
    source = 'backend db1.example.com:5432'
    with running(backend):
        setting.wait_for([('db1.example.com', [A4, B4, A6])], source)
        setting.zone.set_addresses('db1.example.com', ['10.9.0.3', '2001:db8::1'])
        setting.wait_for([('db1.example.com', [C4, A6])], source)
        assert backend.snapshot()['kind'] == 'backend'
        setting.zone.remove('db1.example.com')
        setting.wait_for([], source)
    assert not setting.server.pointer_count()


def test_static_backends_are_in_the_pool_at_once_and_get_their_names(setting):
    setting.zone.set_server('db1.example.com', ['10.9.0.1', '2001:db8::1'])
    static = Static([[A4], [A6], [C4, B4]], setting.pool, setting.names, setting.log)
    static.publish()
    assert setting.groups('backends') == [(None, [A4]), (None, [B4, C4]), (None, [A6])]
    with running(static):
        setting.wait_for([(None, [B4, C4]), ('db1.example.com', [A4, A6])], 'backends')
        assert static.settled


def test_that_an_address_has_no_name_is_no_news_where_a_user_names_it(setting):
    static = Static([[A4], [A6]], setting.pool, setting.names, setting.log)
    with running(static):
        wait_until('the look-ups', lambda: set(static.grouper.alone) == set([A4, A6]))
    assert not setting.log.events('address_alone')


def test_one_server_from_a_static_entry_from_a_name_and_from_the_ring_is_one_member(setting):
    setting.zone.set_server('db1.example.com', ['10.9.0.1', '2001:db8::1'])
    setting.zone.set_server('db2.example.com', ['10.9.0.2'])
    setting.zone.set_addresses(RING, ['2001:db8::1', '10.9.0.2'])
    setting.pool = pool = Pool(policy_named('round-robin', lambda: 0.0), setting.log, Clock(), defaults())
    static = Static([[A4]], pool, setting.names, setting.log)
    named = NamedServer('db2.example.com', PORT, pool, setting.book, setting.log)

    def members():
        return [(member.name, [str(address) for address in member.addresses]) for member in pool.members]
    with running(static, named, setting.ring()):
        wait_until('two members', lambda: members() == [
            ('db1.example.com', ['10.9.0.1:5432', '[2001:db8::1]:5432']),
            ('db2.example.com', ['10.9.0.2:5432'])])


def test_a_ring_that_is_stopped_leaves_nothing_running(setting):
    names = setting.make_names(longest=0.03, shortest=0.01)
    looks, most_due = [], names.most_due

    def watched(ips, count):
        looks.append(ips)
        return most_due(ips, count)
    names.most_due = watched
    setting.zone.set_addresses(RING, ['10.9.0.1'])
    with running(setting.ring()):
        wait_until('names are looked up again and again', lambda: len(looks) > 5)
    gevent.sleep(0.05)
    ended = len(looks)
    gevent.sleep(0.2)
    assert len(looks) == ended


def test_an_unexpected_exception_among_the_names_is_logged_once(setting, monkeypatch):
    setting.zone.set_addresses(RING, ['10.9.0.1'])
    tries = []

    def broken(self, ips, count):
        tries.append(ips)
        raise KeyError('a bug')
    monkeypatch.setattr(ServerNames, 'most_due', broken)
    ring = setting.ring()
    with running(ring):
        wait_until('a try with the address', lambda: ['10.9.0.1'] in map(list, tries))
        ring.refresh_now()
        count = len(tries)
        wait_until('another try', lambda: len(tries) > count)
        assert setting.groups() == [(None, [A4])]
    assert len(setting.log.events('discovery_crashed')) == 1


def test_dnspython_is_loaded_at_the_first_question_and_not_before():
    """It takes longer to load than all else, and the listener accepts before that."""
    program = ('import sys; import sidelb_lib.discovery.sources\n'
               'import sidelb_lib.resolver.client\n'
               'sidelb_lib.resolver.client.Resolver([("127.0.0.1", 53)])\n'
               'sys.exit("dns" in sys.modules)')
    root = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
    assert subprocess.call([sys.executable, '-c', program], cwd=root) == 0
