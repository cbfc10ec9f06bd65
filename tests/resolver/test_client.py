"""The resolver against real name servers that behave or misbehave. Nothing connects to the addresses."""
from __future__ import absolute_import, division, print_function

import os
import socket
import time

import gevent
import pytest
from gevent.event import Event

from sidelb_lib.net.endpoints import canonical_ip
from sidelb_lib.resolver.answers import EMPTY, FAILED, FOUND, found
from sidelb_lib.resolver.client import Resolver
from sidelb_lib.resolver.resolv_conf import candidates, parse_resolv_conf
from tests.support import nameserver
from tests.support.nameserver import name_server
from tests.support.waiting import wait_until

RING = 'db.example.com'


@pytest.fixture
def server():
    with name_server() as server:
        server.zone.set_addresses(RING, ['10.9.0.2', '10.9.0.1', '2001:db8::1'], ttl=7)
        yield server


def resolver_of(*servers, **options):
    """A Resolver of these name servers. It is patient: the machine may be busy."""
    options.setdefault('attempt', 20)
    options.setdefault('lifetime', 20)
    return Resolver([server.address for server in servers], **options)


def impatient(*servers, **options):
    """A Resolver that soon gives up, for servers that do not answer."""
    return resolver_of(*servers, **dict({'attempt': 0.5, 'lifetime': 0.5}, **options))


def look_up(resolver, name=RING):
    return dict(resolver.addresses(name))


class GoneServer(object):
    """The address of a server that is not there."""

    def __init__(self):
        sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        sock.bind(('127.0.0.1', 0))
        self.address = sock.getsockname()
        sock.close()


# --- good answers -----------------------------------------------------------------------------------------

def test_both_families_are_found_with_their_ttl(server):
    answers = look_up(resolver_of(server))
    assert answers['A'] == found(('10.9.0.1', '10.9.0.2'), 7, (RING,))
    assert answers['AAAA'].values == ('2001:db8::1',)


def test_both_families_are_asked_at_the_same_time(server):
    gate = Event()
    server.misbehave(nameserver.until(gate))
    job = gevent.spawn(look_up, resolver_of(server))
    wait_until('both questions at the server', lambda: server.at_once == 2)
    gate.set()
    assert job.get(timeout=5)['A'].kind == FOUND


def test_one_family_is_there_while_the_other_is_waited_for(server):
    gate = Event()
    server.misbehave(nameserver.until(gate), rdtype='AAAA')
    answers = resolver_of(server).addresses(RING)
    assert next(answers)[0] == 'A'
    gate.set()
    assert next(answers)[0] == 'AAAA'


def test_a_chain_of_aliases_counts_with_its_smallest_ttl(server):
    zone = server.zone
    zone.set('www.example.com', 'CNAME', ['lb.example.com'], ttl=5)
    zone.set('lb.example.com', 'CNAME', [RING], ttl=90)
    answers = look_up(resolver_of(server), 'www.example.com')
    assert answers['A'].values == ('10.9.0.1', '10.9.0.2')
    assert answers['A'].names == ('www.example.com', 'lb.example.com', RING)
    assert answers['A'].ttl == answers['AAAA'].ttl == 5


def test_an_alias_of_nothing_is_empty(server):
    server.zone.set('www.example.com', 'CNAME', ['nobody.example.com'])
    assert look_up(resolver_of(server), 'www.example.com')['A'].kind == EMPTY


def test_an_answer_cut_short_is_fetched_by_tcp(server):
    server.zone.set(RING, 'A', ['10.9.1.%d' % n for n in range(200)])
    assert len(look_up(resolver_of(server))['A'].values) == 200
    assert server.count(RING, 'A', 'tcp') == 1


def test_a_name_server_with_an_ipv6_address_is_asked():
    with name_server(host='::1') as server:
        server.zone.set_addresses(RING, ['10.9.0.1'])
        assert look_up(resolver_of(server))['A'].kind == FOUND


def test_pointers_are_found_in_both_families(server):
    server.zone.set_pointer('10.9.0.1', ['DB1.example.com', 'db9.example.com'], ttl=9)
    server.zone.set_pointer('2001:db8::1', ['db1.example.com'])
    resolver = resolver_of(server)
    assert resolver.pointers('10.9.0.1') == found(('db1.example.com', 'db9.example.com'), 9, ('1.0.9.10.in-addr.arpa',))
    assert resolver.pointers('2001:db8::1').values == ('db1.example.com',)
    assert resolver.pointers('10.9.0.77').kind == EMPTY


def test_a_pointer_behind_an_alias_is_found(server):
    """As RFC 2317 delegates the reverse names of small networks."""
    server.zone.set('1.0.9.10.in-addr.arpa', 'CNAME', ['1.0-31.0.9.10.in-addr.arpa'], ttl=3)
    server.zone.set('1.0-31.0.9.10.in-addr.arpa', 'PTR', ['db1.example.com'])
    answer = resolver_of(server).pointers('10.9.0.1')
    assert (answer.values, answer.ttl) == (('db1.example.com',), 3)


# --- bad answers ------------------------------------------------------------------------------------------

def test_a_dead_server_fails_within_the_lifetime(server):
    server.misbehave(nameserver.dead)
    started = time.time()
    answer = look_up(impatient(server))['A']
    assert time.time() - started < 15
    assert answer.kind == FAILED
    assert answer.reason == '127.0.0.1:%d does not answer' % server.address[1]


def test_a_lost_question_is_asked_again(server):
    def lost_once(server, query, protocol):
        return server.usual(query, protocol) if server.count(RING, 'A') > 1 else None
    server.misbehave(lost_once, rdtype='A')
    assert look_up(resolver_of(server, attempt=0.1))['A'].kind == FOUND


def test_a_server_that_is_gone_fails_at_once():
    answer = look_up(resolver_of(GoneServer()))['A']
    assert answer.kind == FAILED
    assert 'refused' in answer.reason.lower()


@pytest.mark.parametrize('rcode', ['SERVFAIL', 'REFUSED', 'FORMERR'])
def test_a_server_s_failure_is_named_and_not_repeated_in_the_same_look_up(server, rcode):
    server.misbehave(nameserver.rcode(rcode))
    answer = look_up(resolver_of(server))['A']
    assert answer.kind == FAILED
    assert answer.reason.endswith('answers ' + rcode)
    assert server.count(RING, 'A') == (2 if rcode == 'FORMERR' else 1)      # the second time without EDNS


def test_no_such_name_is_empty(server):
    answer = look_up(resolver_of(server), 'nobody.example.com')['AAAA']
    assert answer.kind == EMPTY
    assert 'NXDOMAIN' in answer.reason


def test_no_such_records_are_empty(server):
    server.misbehave(nameserver.empty)
    assert look_up(resolver_of(server))['A'].kind == EMPTY


def test_garbage_fails(server):
    server.misbehave(nameserver.garbage)
    answer = look_up(impatient(server))['A']
    assert answer.kind == FAILED
    assert 'no usable answer' in answer.reason


@pytest.mark.parametrize('noise', [b'', b'\xff', b'\0' * 600, nameserver.garbage, nameserver.forged])
def test_garbage_and_forgeries_before_the_right_answer_do_not_matter(server, noise):
    server.misbehave(nameserver.after(noise, noise))
    assert look_up(resolver_of(server))['A'].values == ('10.9.0.1', '10.9.0.2')


def test_an_answer_to_another_question_does_not_count(server):
    def other_question(server, query, protocol):
        query.question[0].name = query.question[0].name.parent()
        return server.usual(query, protocol)
    server.misbehave(other_question)
    assert look_up(impatient(server))['A'].kind == FAILED


def test_a_flood_of_garbage_ends_the_look_up_and_is_not_asked_for_again(server):
    server.misbehave(nameserver.after(*[b'x'] * 100))
    assert 'no usable answer' in look_up(resolver_of(server))['A'].reason
    assert server.count(RING, 'A') == 1


def test_an_answer_cut_short_by_tcp_as_well_fails(server):
    server.misbehave(nameserver.endlessly_shortened)
    answer = look_up(resolver_of(server))['A']
    assert answer.kind == FAILED
    assert 'cuts its answer short' in answer.reason


def test_whoever_can_not_be_asked_by_tcp_is_told_so(server):
    def silent_by_tcp(server, query, protocol):
        return nameserver.shortened(server, query, protocol) if protocol == 'udp' else None
    server.misbehave(silent_by_tcp)
    reason = look_up(impatient(server))['A'].reason
    assert reason.startswith('127.0.0.1:%d ' % server.address[1]) and ' by TCP' in reason
    server._servers[1].stop()
    assert look_up(impatient(server))['A'].reason == (
        '127.0.0.1:%d fails by TCP (Connection refused)' % server.address[1])


def test_a_server_that_ends_the_tcp_connection_early_fails(server):
    def closed_by_tcp(server, query, protocol):
        return nameserver.truncated(query) if protocol == 'udp' else None
    server.misbehave(closed_by_tcp)
    answer = look_up(resolver_of(server))['A']
    assert answer.kind == FAILED
    assert 'ends the connection early' in answer.reason


def test_one_family_may_fail_alone(server):
    server.misbehave(nameserver.rcode('SERVFAIL'), rdtype='AAAA')
    answers = look_up(resolver_of(server))
    assert (answers['A'].kind, answers['AAAA'].kind) == (FOUND, FAILED)


@pytest.mark.parametrize('name', ['x' * 64 + '.example.com', 'a..b', '.'.join(['x' * 60] * 9), ''])
def test_what_is_no_name_fails(server, name):
    assert set(answer.kind for answer in look_up(resolver_of(server), name).values()) <= set([FAILED, EMPTY])


# --- several servers --------------------------------------------------------------------------------------

def test_the_next_server_is_asked_when_the_first_fails(server):
    with name_server() as failing:
        failing.misbehave(nameserver.rcode('SERVFAIL'))
        for first in (failing, GoneServer()):
            assert look_up(resolver_of(first, server))['A'].kind == FOUND


def test_the_next_server_is_asked_when_the_first_is_silent(server):
    with name_server() as silent:
        silent.misbehave(nameserver.dead)
        assert look_up(resolver_of(silent, server, attempt=0.3))['A'].kind == FOUND


def test_the_failure_of_all_servers_names_each(server):
    server.misbehave(nameserver.rcode('SERVFAIL'))
    gone = GoneServer()
    reason = look_up(resolver_of(gone, server))['A'].reason
    assert '127.0.0.1:%d' % gone.address[1] in reason
    assert '127.0.0.1:%d answers SERVFAIL' % server.address[1] in reason


# --- resolv.conf ------------------------------------------------------------------------------------------

def test_resolv_conf_is_read():
    text = ('# a comment\nnameserver 10.9.0.53 ; here too\nnameserver 2001:db8::53\nnameserver fe80::1%lo\n'
            'nameserver dns.example.com\nnameserver\ndomain old.example\nsearch one.example two.example\n'
            'options timeout:1 ndots:3 ndots:x\nsortlist 1.2.3.4\n')
    configuration = parse_resolv_conf(text)
    assert configuration.servers == [('10.9.0.53', 53), ('2001:db8::53', 53), ('fe80::1%lo', 53)]
    assert configuration.search == ['one.example', 'two.example']
    assert (configuration.ndots, configuration.timeout, configuration.note) == (3, 1, None)


def test_resolv_conf_without_a_server_means_this_machine():
    configuration = parse_resolv_conf('search one.example\n')
    assert configuration.servers == [('127.0.0.1', 53)]
    assert configuration.note


def test_the_search_list_is_tried_as_resolv_conf_says():
    search = ['one.example', 'two.example.']
    assert candidates('db', search, 1) == ['db.one.example.', 'db.two.example.', 'db.']
    assert candidates('db.eu', search, 1) == ['db.eu.', 'db.eu.one.example.', 'db.eu.two.example.']
    assert candidates('db.eu', search, 2) == ['db.eu.one.example.', 'db.eu.two.example.', 'db.eu.']
    assert candidates('db.eu.', search, 5) == ['db.eu.']
    assert candidates('db', [], 1) == ['db.']


class ResolvConf(object):
    def __init__(self, directory):
        self.path = str(directory.join('resolv.conf'))

    def write(self, *lines):
        """Replace the file in one step, as all good tools do."""
        with open(self.path + '.new', 'w') as new:
            new.write('\n'.join(lines) + '\n')
        os.rename(self.path + '.new', self.path)

    def resolver(self, port, **options):
        options.setdefault('attempt', 20)
        options.setdefault('lifetime', 20)
        return Resolver(resolv_conf=self.path, port=port, **options)


@pytest.fixture
def resolv_conf(tmpdir):
    return ResolvConf(tmpdir)


def test_the_servers_and_the_search_list_of_resolv_conf_are_used(server, resolv_conf):
    resolv_conf.write('nameserver 127.0.0.1', 'search nowhere.example example.com')
    answers = look_up(resolv_conf.resolver(server.address[1]), 'db')
    assert answers['A'].values == ('10.9.0.1', '10.9.0.2')
    assert answers['A'].names == (RING,)
    assert [name for name, rdtype, _ in server.asked if rdtype == 'A'] == ['db.nowhere.example', RING]


def test_a_changed_resolv_conf_is_noticed(server, resolv_conf):
    resolv_conf.write('nameserver 127.0.0.2')
    resolver = resolv_conf.resolver(server.address[1])
    assert look_up(resolver)['A'].kind == FAILED
    resolv_conf.write('nameserver 127.0.0.1')
    assert look_up(resolver)['A'].kind == FOUND


def test_a_resolv_conf_that_vanishes_stays_in_force(server, resolv_conf):
    resolv_conf.write('nameserver 127.0.0.1', 'search example.com')
    resolver = resolv_conf.resolver(server.address[1])
    assert look_up(resolver, 'db')['A'].kind == FOUND
    os.remove(resolv_conf.path)
    assert look_up(resolver, 'db')['A'].kind == FOUND


def test_without_resolv_conf_the_name_server_of_this_machine_is_asked(server, resolv_conf):
    resolver = resolv_conf.resolver(server.address[1])
    assert look_up(resolver)['A'].kind == FOUND
    server.misbehave(nameserver.rcode('REFUSED'))
    assert 'resolv.conf: No such file' in look_up(resolver)['A'].reason


def test_a_directory_or_bytes_in_place_of_resolv_conf_are_survived(server, resolv_conf):
    os.mkdir(resolv_conf.path)
    resolver = resolv_conf.resolver(server.address[1])
    assert look_up(resolver)['A'].kind == FOUND
    os.rmdir(resolv_conf.path)
    with open(resolv_conf.path, 'wb') as junk:
        junk.write(b'\xff\0\xfe nameserver\nnameserver \xff\noptions ndots:99999999999999999999\n')
    assert look_up(resolver)['A'].kind == FOUND


def test_of_a_very_long_resolv_conf_no_half_of_a_line_is_used(resolv_conf):
    resolv_conf.write('nameserver 10.0.0.1', '#' * (65536 - 39), 'nameserver 10.0.0.212')
    assert resolv_conf.resolver(53).configuration().servers == [('10.0.0.1', 53)]


def test_a_failing_candidate_that_was_right_before_does_not_lead_to_another(server, resolv_conf):
    """Else a moment of SERVFAIL would hand the connections to a wildcard further down the search list."""
    server.zone.set_addresses('db.other.example', ['10.9.66.6'])
    resolv_conf.write('nameserver 127.0.0.1', 'search example.com other.example')
    resolver = resolv_conf.resolver(server.address[1])
    assert look_up(resolver, 'db')['A'].values == ('10.9.0.1', '10.9.0.2')
    server.misbehave(nameserver.rcode('SERVFAIL'), RING)
    assert look_up(resolver, 'db')['A'].kind == FAILED
    server.behave()
    server.zone.remove(RING)
    assert look_up(resolver, 'db')['A'].values == ('10.9.66.6',)


def test_a_failing_candidate_makes_the_answer_a_failure_and_not_empty(server, resolv_conf):
    resolv_conf.write('nameserver 127.0.0.1', 'search broken.example')
    server.misbehave(nameserver.rcode('SERVFAIL'), 'db.broken.example')
    assert look_up(resolv_conf.resolver(server.address[1]), 'db')['A'].kind == FAILED


# --- small things -----------------------------------------------------------------------------------------

@pytest.mark.parametrize('text, canonical', [
    ('10.9.0.1', '10.9.0.1'), ('2001:DB8:0::1', '2001:db8::1'), ('::FFFF:10.9.0.1', '::ffff:10.9.0.1'),
    ('10.9.0', None), ('010.9.0.1.2', None), ('db1', None), ('', None), ('1\0', None),
    (u'10.9.0.\u0661', None)])
def test_an_ip_has_one_text(text, canonical):
    assert canonical_ip(text) == canonical
