"""PTR names: asked, confirmed, cached and bounded, against a real name server."""
from __future__ import absolute_import, division, print_function

import time

import gevent
import pytest
from gevent.event import Event

from sidelb_lib.discovery import grouping
from sidelb_lib.resolver.client import Resolver
from sidelb_lib.discovery.server_names import ServerNames
from tests.support import nameserver
from tests.support.clock import Clock
from tests.support.nameserver import name_server
from tests.support.waiting import wait_until

A4, B4, A6 = '10.9.0.1', '10.9.0.2', '2001:db8::1'


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def server():
    with name_server() as server:
        server.zone.set_server('db1.example.com', [A4, A6], ttl=20)
        server.zone.set_server('db2.example.com', [B4], ttl=20)
        yield server


@pytest.fixture
def make_names(server, clock):
    def make_names(**options):
        options.setdefault('timeout', 20)
        resolver = Resolver([server.address], attempt=20, lifetime=20)
        return ServerNames(resolver, clock=clock, random=lambda: 0.0, **options)
    return make_names


@pytest.fixture
def names(make_names):
    return make_names()


def learn(names, ip):
    """Look the address up if that is due; its Naming."""
    names.look_up(names.most_due([ip], 1))
    return names.namings([ip])[ip]


def usable(names, ip):
    return learn(names, ip).names


def kind(names, ip):
    naming = learn(names, ip)
    assert naming.names == ()
    return naming.why.kind


def test_a_name_that_resolves_back_is_confirmed_in_both_families(names, server):
    names.look_up([A4, A6, B4])
    assert names.namings([A4, A6, B4]) == {
        A4: (('db1.example.com',), None), A6: (('db1.example.com',), None), B4: (('db2.example.com',), None)}
    assert server.count('db1.example.com', 'A') == server.count('db1.example.com', 'AAAA') == 1


def test_nothing_is_known_before_the_look_up(names):
    assert names.namings([A4]) == {}
    assert names.most_due([A4], 5) == [A4]
    assert names.due_in([A4]) == 0
    assert names.due_in([]) is None


def test_a_missing_pointer_gives_no_name(names, server):
    server.zone.remove_pointer(A4)
    assert kind(names, A4) == grouping.NO_PTR


def test_a_wrong_pointer_gives_no_name(names, server):
    server.zone.set_pointer(A4, ['db2.example.com'])
    assert kind(names, A4) == grouping.UNCONFIRMED
    assert 'db2.example.com' in learn(names, A4).why.text


def test_a_pointer_to_nowhere_gives_no_name(names, server):
    server.zone.set_pointer(A4, ['nobody.example.com'])
    assert kind(names, A4) == grouping.UNCONFIRMED


def test_a_pointer_confirmed_in_the_other_family_alone_gives_no_name(names, server):
    server.zone.remove('db1.example.com', 'A')
    assert kind(names, A4) == grouping.UNCONFIRMED
    assert usable(names, A6) == ('db1.example.com',)


def test_a_name_that_is_an_alias_is_confirmed_by_what_it_leads_to(names, server):
    server.zone.set('alias.example.com', 'CNAME', ['db1.example.com'])
    server.zone.set_pointer(A4, ['alias.example.com'])
    assert usable(names, A4) == ('alias.example.com',)


def test_of_several_pointers_all_confirmed_ones_count(names, server):
    server.zone.set_addresses('second.example.com', [A4])
    server.zone.set_pointer(A4, ['wrong.example.com', 'second.example.com', 'db1.example.com'])
    assert usable(names, A4) == ('db1.example.com', 'second.example.com')


def test_of_too_many_pointers_only_some_are_asked_for(names, server):
    server.zone.set_pointer(A4, ['n%02d.example.com' % n for n in range(40)])
    assert kind(names, A4) == grouping.UNCONFIRMED
    assert sum(1 for name, _, _ in server.asked if name.startswith('n')) == 8


@pytest.mark.parametrize('text', ['a\\032b.example.com', 'a\\010b.example.com', '<script>.example.com',
                                  'a\\"b.example.com', '\\255\\254.example.com', '.', '-a.example.com',
                                  '10.9.0.2'])
def test_a_pointer_that_is_no_host_name_is_not_used(make_names, server, text):
    server.zone.set_pointer(A4, [text])
    for group in ('confirmed', 'ptr'):
        names = make_names(group=group)
        assert kind(names, A4) == grouping.UNCONFIRMED
        assert len(learn(names, A4).why.text) < 150
        assert '\n' not in learn(names, A4).why.text


def test_mode_ptr_takes_the_pointer_as_it_is(make_names, server):
    server.zone.set_pointer(A4, ['nobody.example.com'])
    assert usable(make_names(group='ptr'), A4) == ('nobody.example.com',)
    assert not server.count('nobody.example.com')


def test_mode_off_is_not_enabled(make_names):
    assert not make_names(group='off').enabled
    assert make_names(group='ptr').enabled


def test_a_failing_look_up_gives_no_name(names, server):
    server.misbehave(nameserver.rcode('SERVFAIL'), rdtype='PTR')
    assert kind(names, A4) == grouping.FAILED
    assert 'SERVFAIL' in learn(names, A4).why.text


def test_a_failing_confirmation_gives_no_name(names, server):
    server.misbehave(nameserver.rcode('SERVFAIL'), 'db1.example.com')
    assert kind(names, A4) == grouping.FAILED
    assert 'could not be confirmed' in learn(names, A4).why.text


@pytest.mark.parametrize('what', [dict(rdtype='PTR'), dict(name='db1.example.com')])
@pytest.mark.parametrize('trouble', [nameserver.dead, nameserver.rcode('SERVFAIL'), nameserver.garbage])
def test_a_confirmed_name_is_kept_while_look_ups_fail(make_names, server, clock, trouble, what):
    names = make_names(timeout=0.3)
    wait_until('the name is confirmed', lambda: names.look_up([A4]) or names.namings([A4])[A4].names)
    clock.now += 100
    asked = server.count()
    server.misbehave(trouble, **what)
    assert usable(names, A4) == ('db1.example.com',)
    assert server.count() > asked


def test_a_confirmed_name_is_given_up_when_it_is_gone_or_another(names, server, clock):
    assert usable(names, A4) == ('db1.example.com',)
    clock.now += 100
    server.zone.remove('db1.example.com')
    assert kind(names, A4) == grouping.UNCONFIRMED
    clock.now += 100
    server.zone.set_server('db9.example.com', [A4])
    assert usable(names, A4) == ('db9.example.com',)
    clock.now += 100
    server.zone.remove_pointer(A4)
    assert kind(names, A4) == grouping.NO_PTR


@pytest.mark.parametrize('ttl', [0, 1, 20, 86400])
def test_names_are_kept_for_the_longest_time_whatever_their_ttl(make_names, server, clock, ttl):
    """With TTL 0 they would be asked for every second, and servers be renamed as often."""
    server.zone.set_server('db1.example.com', [A4], ttl=ttl)
    names = make_names(longest=60, shortest=1)
    learn(names, A4)
    assert names.due_in([A4]) == 60
    clock.now += 59
    learn(names, A4)
    assert server.pointer_count(A4) == 1
    clock.now += 1
    learn(names, A4)
    assert server.pointer_count(A4) == 2


def test_that_there_is_no_name_is_cached_for_the_longest_time(make_names, server):
    server.zone.remove_pointer(A4)
    names = make_names(longest=60)
    learn(names, A4)
    assert names.due_in([A4]) == 60


def test_failures_are_retried_after_a_delay_that_doubles(make_names, server, clock):
    names = make_names(longest=6)
    server.misbehave(nameserver.rcode('SERVFAIL'))
    for delay in (1, 2, 4, 6, 6):
        learn(names, A4)
        assert names.due_in([A4]) == delay
        clock.now += delay
    server.behave()
    assert usable(names, A4) == ('db1.example.com',)


def test_what_is_expired_is_asked_again_and_known_meanwhile(names, server):
    learn(names, A4)
    names.expire([A4, B4])
    assert names.namings([A4])[A4].names == ('db1.example.com',)
    assert names.most_due([A4], 1) == [A4]
    learn(names, A4)
    assert server.pointer_count(A4) == 2


def test_those_never_looked_up_come_first(names, clock):
    learn(names, A4)
    clock.now += 100
    assert names.most_due([A4, B4, A6], 2) == [B4, A6]


def test_at_most_sixteen_are_asked_at_once(names, server):
    """And as many indeed: the bound is neither above nor below."""
    gate = Event()
    server.misbehave(nameserver.until(gate), rdtype='PTR')
    job = gevent.spawn(names.look_up, ['10.9.1.%d' % n for n in range(50)])
    wait_until('sixteen questions', lambda: server.at_once == 16)
    gevent.sleep(0.05)
    assert server.most_at_once == 16
    gate.set()
    job.get(timeout=10)
    assert server.pointer_count() == 50
    assert server.most_at_once == 16


def test_the_bound_is_one_for_all_sources(names, server):
    gate = Event()
    server.misbehave(nameserver.until(gate), rdtype='PTR')
    jobs = [gevent.spawn(names.look_up, ['10.9.%d.%d' % (source, n) for n in range(12)])
            for source in (1, 2, 3)]
    wait_until('sixteen questions', lambda: server.at_once == 16)
    gate.set()
    gevent.joinall(jobs, timeout=10, raise_error=True)
    assert server.pointer_count() == 36
    assert server.most_at_once == 16


def test_two_sources_that_have_one_address_ask_once(names, server):
    gate = Event()
    server.misbehave(nameserver.until(gate), rdtype='PTR')
    jobs = [gevent.spawn(names.look_up, [A4]) for _ in range(3)]
    wait_until('the question', lambda: server.at_once == 1)
    gate.set()
    gevent.joinall(jobs, timeout=10, raise_error=True)
    assert server.pointer_count() == 1


def test_a_name_that_many_addresses_claim_is_looked_up_once(names, server):
    ips = ['10.9.1.%d' % n for n in range(40)]
    for ip in ips:
        server.zone.set_pointer(ip, ['alias.example.com'])
    server.zone.set_addresses('alias.example.com', ips)
    names.look_up(ips)
    assert all(naming.names == ('alias.example.com',) for naming in names.namings(ips).values())
    assert server.count('alias.example.com', 'A', 'udp') == 1


def test_the_name_of_a_ring_is_no_server_s_name_and_not_asked_for(names, server):
    server.zone.set_addresses('db.example.com', [A4])
    server.zone.set_pointer(A4, ['db.example.com'])
    names.follow('ring', [A4], ['DB.example.com.'])
    assert kind(names, A4) == grouping.RING_NAME
    assert not server.count('db.example.com')


def test_observers_learn_of_new_names_of_rings(names):
    told = []
    names.observers.append(lambda: told.append(names.ring_names))
    names.follow('ring', [A4], ['db.example.com'])
    names.follow('ring', [A4, B4], ['db.example.com'])
    names.follow('ring', [A4], ['db.example.com', 'lb.example.com'])
    assert told == [set(['db.example.com']), set(['db.example.com', 'lb.example.com'])]


def test_a_look_up_that_raises_costs_one_address_its_name(names, server, monkeypatch):
    pointers = Resolver.pointers

    def broken(self, ip, lifetime=None):
        if ip == A4:
            raise KeyError('a bug')
        return pointers(self, ip, lifetime)
    monkeypatch.setattr(Resolver, 'pointers', broken)
    names.look_up([A4, B4])
    assert names.namings([A4])[A4].why.kind == grouping.FAILED
    assert 'a bug' in names.namings([A4])[A4].why.text
    assert names.namings([B4])[B4].names == ('db2.example.com',)


def test_what_is_no_ip_has_no_name(names):
    assert kind(names, 'nonsense') == grouping.FAILED


def test_the_names_of_an_address_are_confirmed_at_the_same_time(names, server):
    gate = Event()
    server.zone.set_pointer(A4, ['n%d.example.com' % n for n in range(8)])
    for n in range(8):
        server.misbehave(nameserver.until(gate), 'n%d.example.com' % n)
    job = gevent.spawn(names.look_up, [A4])
    wait_until('all questions', lambda: server.at_once == 8)
    gate.set()
    job.get(timeout=10)


def test_an_address_has_a_deadline_however_many_names_it_claims(make_names, server):
    names = make_names(timeout=0.3)
    server.zone.set_pointer(A4, ['n%d.example.com' % n for n in range(8)])
    for n in range(8):
        server.misbehave(nameserver.dead, 'n%d.example.com' % n)
    started = time.time()
    assert kind(names, A4) == grouping.FAILED
    assert time.time() - started < 2.0        # one after the other: 2.4 s and more


def test_an_address_that_is_being_looked_up_is_not_due(names, server):
    gate = Event()
    server.misbehave(nameserver.until(gate), rdtype='PTR')
    jobs = names.begin([A4])
    assert names.most_due([A4, B4], 2) == [B4]
    assert names.due_in([A4]) is None
    gate.set()
    gevent.joinall(jobs, timeout=10, raise_error=True)
    assert names.namings([A4])[A4].names == ('db1.example.com',)
