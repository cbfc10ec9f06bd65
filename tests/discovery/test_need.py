"""When names are looked up again: as their zone says, and at once when a server is missed; what answers leave out."""
from __future__ import absolute_import, division, print_function

import contextlib

import gevent
import pytest

from sidelb_lib.compat import monotonic
from sidelb_lib.config import settings
from sidelb_lib.discovery.family import FamilyState
from sidelb_lib.discovery.sources import Sources
from sidelb_lib.errors import NobodyReachable
from sidelb_lib.policies.round_robin import RoundRobin
from sidelb_lib.pool.pool import Pool
from sidelb_lib.resolver.answers import empty, failed, found
from tests.support.clock import Clock
from tests.support.nameserver import TestNameServer
from tests.support.recording import RecordingLog
from tests.support.waiting import wait_until

NAME = 'db.example.com'
A, B = ('10.9.0.1', 5432), ('10.9.0.2', 5432)


class Service(object):
    """A pool and its sources, as the service builds them, with a name server."""

    def __init__(self, server, **values):
        self.server = server
        self.zone = server.zone
        self.log = RecordingLog()
        values = dict(dict(listener='127.0.0.1:5432', ring_domains=NAME + ':5432', group='off', check_fall=1), **values)
        self.settings = settings.defaults(resolver=(server.address,), **values)
        self.pool = Pool(RoundRobin(lambda: 0.0), self.log, monotonic, self.settings)

    @contextlib.contextmanager
    def running(self):
        self.sources = Sources(self.settings, self.pool, self.log, monotonic, lambda: 0.0, ('127.0.0.1', 5432), None,
                               '/nonexistent').all()
        greenlets = [gevent.spawn(source.run) for source in self.sources]
        try:
            wait_until('the first look-up has ended', lambda: all(source.settled for source in self.sources))
            yield
        finally:
            gevent.killall(greenlets)

    def endpoints(self):
        return [tuple(address.endpoint) for address in self.pool.addresses()]

    def fail(self, endpoint):
        address, = [address for address in self.pool.addresses() if address.endpoint == endpoint]
        self.pool.report_failure(address, 'refused', monotonic())

    def asked(self):
        return self.server.count(NAME, 'A')


@pytest.fixture
def server():
    server = TestNameServer()
    server.start()
    yield server
    server.stop()


@pytest.mark.parametrize('setting', [dict(ring_domains=NAME + ':5432'), dict(ring_domains=(), backends=NAME + ':5432')])
def test_when_the_last_server_of_a_name_goes_down_it_is_looked_up_at_once(server, setting):
    server.zone.set_addresses(NAME, [A[0]], ttl=60)
    service = Service(server, **setting)
    with service.running():
        assert service.endpoints() == [A]
        server.zone.set_addresses(NAME, [B[0]], ttl=60)
        service.fail(A)
        wait_until('the new server', lambda: service.endpoints() == [B])


def test_while_another_server_of_the_name_is_up_its_ttl_counts(server):
    server.zone.set_addresses(NAME, [A[0], B[0]], ttl=60)
    service = Service(server)
    with service.running():
        gevent.sleep(1.1)
        service.fail(A)
        gevent.sleep(0.2)
        assert service.asked() == 1


def test_a_name_without_a_server_that_is_up_is_looked_up_once_a_second_at_most(server):
    server.zone.set_addresses(NAME, [A[0]], ttl=60)
    service = Service(server)
    with service.running():
        for _ in range(60):
            service.fail(A)
            gevent.sleep(0.04)
        assert 2 <= service.asked() <= 4


def test_a_client_that_finds_nobody_has_the_name_looked_up(server):
    server.zone.negative_ttl = 60
    service = Service(server)
    with service.running():
        assert service.asked() == 1
        server.zone.set_addresses(NAME, [A[0]])
        with pytest.raises(NobodyReachable):
            service.pool.take()
        wait_until('the server', lambda: service.endpoints() == [A])


def test_a_name_that_does_not_exist_is_asked_for_again_when_its_zone_says_so(server):
    server.zone.negative_ttl = 1
    service = Service(server)
    with service.running():
        server.zone.set_addresses(NAME, [A[0]])
        wait_until('the server', lambda: service.endpoints() == [A])
        assert service.asked() == 2


# --- on a clock of the test ------------------------------------------------------------------------------------------

class ScriptedBook(object):
    def __init__(self):
        self.answer = None

    def answers(self, name, port):
        yield 'A', self.answer
        yield 'AAAA', empty('no such records', ttl=3600)


@pytest.fixture
def make_ring():
    from sidelb_lib.discovery.ring import Ring
    from sidelb_lib.discovery.server_names import ServerNames
    log, clock, book = RecordingLog(), Clock(), ScriptedBook()
    pool = Pool(RoundRobin(lambda: 0.0), log, clock, settings.defaults())

    def make_ring(**timing):
        timing = dict(dict(refresh=60.0, hold=30.0, random=lambda: 0.0, clock=clock), **timing)
        ring = Ring(NAME, 5432, pool, ServerNames(None, group='off'), book, log, **timing)
        ring.book, ring.clock, ring.log = book, clock, log
        return ring
    return make_ring


def known(ring):
    return [ip for ip, _ in ring.endpoints()]


@pytest.mark.parametrize('ttl, delays', [(5, [5, 5, 5, 5]), (0, [1, 1, 1]), (3600, [60, 60]), (None, [1, 2, 4, 8])])
def test_the_negative_ttl_is_the_pace_of_a_name_that_does_not_exist(make_ring, ttl, delays):
    ring = make_ring()
    ring.book.answer = empty('no such name (NXDOMAIN)', ttl=ttl)
    ring._families.pop('AAAA')
    ring.book.answers = lambda name, port: iter([('A', ring.book.answer)])
    assert [ring.look_up() for _ in delays] == delays


def test_an_address_that_an_answer_leaves_out_is_kept_for_dns_obsolete(make_ring):
    ring = make_ring(obsolete=10.0)
    ring.book.answer = found(('10.9.0.1', '10.9.0.2'), 60, (NAME,))
    assert ring.look_up() == 60
    ring.book.answer = found(('10.9.0.2', '10.9.0.3'), 60, (NAME,))
    assert ring.look_up() == 10, 'it goes in time'
    assert known(ring) == ['10.9.0.1', '10.9.0.2', '10.9.0.3']
    ring.clock.now += 9.9
    ring.look_up()
    assert known(ring) == ['10.9.0.1', '10.9.0.2', '10.9.0.3']
    ring.clock.now += 0.1
    assert ring.look_up() == 60
    assert known(ring) == ['10.9.0.2', '10.9.0.3']


def test_an_address_that_is_kept_for_dns_obsolete_makes_no_look_ups_while_they_fail(make_ring):
    ring = make_ring(obsolete=10.0)
    for ips in ('10.9.0.1', '10.9.0.2'), ('10.9.0.2',):
        ring.book.answer = found(ips, 60, (NAME,))
        ring.look_up()
    ring.clock.now += 10
    ring.book.answer = failed('SERVFAIL')
    assert [ring.look_up() for _ in range(4)] == [1, 2, 4, 8]
    assert known(ring) == ['10.9.0.1', '10.9.0.2']


def test_rotating_parts_of_all_servers_make_none_come_and_go(make_ring):
    """Three of ten in each answer, as some name servers give them."""
    ring = make_ring(obsolete=10.0)
    ips = ['10.9.0.%d' % number for number in range(10)]
    for step in range(40):
        ring.book.answer = found(tuple(ips[(3 * step + n) % 10] for n in range(3)), 1, (NAME,))
        ring.look_up()
        ring.clock.now += 1
        if step >= 4:
            assert known(ring) == ips
    assert not ring.log.events('member_removed')


def test_without_dns_obsolete_an_answer_replaces_the_last_one(make_ring):
    ring = make_ring()
    ring.book.answer = found(('10.9.0.1',), 60, (NAME,))
    ring.look_up()
    ring.book.answer = found(('10.9.0.2',), 60, (NAME,))
    ring.look_up()
    assert known(ring) == ['10.9.0.2']


def test_what_is_obsolete_outlives_failures_and_goes_with_the_hold():
    family = FamilyState()
    family.take(found(('10.9.0.1', '10.9.0.2'), 5, (NAME,)), 0, 30, 10)
    family.take(found(('10.9.0.2',), 5, (NAME,)), 5, 30, 10)
    family.take(failed('SERVFAIL'), 20, 30, 10)
    assert family.ips == ('10.9.0.2', '10.9.0.1')
    family.take(found(('10.9.0.2',), 5, (NAME,)), 20, 30, 10)
    assert family.ips == ('10.9.0.2',)
    family.take(found(('10.9.0.1',), 5, (NAME,)), 21, 30, 10)
    family.take(empty('none'), 22, 30, 10)
    assert set(family.ips) == set(['10.9.0.1', '10.9.0.2'])
    family.take(empty('none'), 52, 30, 10)
    assert family.ips == ()


def test_the_hosts_file_leaves_nothing_obsolete():
    family = FamilyState()
    family.take(found(('10.9.0.1',), 5, (NAME,)), 0, 30, 10)
    family.take(found(('10.9.0.2',), None, (NAME,)), 1, 30, 10)
    assert family.ips == ('10.9.0.2',)


def test_what_is_found_in_doubt_is_looked_up_again_soon(make_ring):
    ring = make_ring()
    ring.book.answer = found(('10.9.0.1',), 60, (NAME,), doubt='db.one.example could not be looked up')
    assert [ring.look_up() for _ in range(4)] == [1, 2, 4, 8]
    assert ring.snapshot()['state'] == 'doubtful'
    assert 'db.one.example could not be looked up' in ring.log.events('dns_failing')[0]
    ring.book.answer = found(('10.9.0.1',), 60, (NAME,))
    assert ring.look_up() == 60
