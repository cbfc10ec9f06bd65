"""What counts as an answer, which server is believed, and how it is asked."""
from __future__ import absolute_import, division, print_function

import os
import socket
import struct

import dns.flags
import dns.message
import dns.rcode
import dns.rrset
import pytest

from sidelb_lib.resolver.answers import EMPTY, FAILED, FOUND
from sidelb_lib.resolver.client import Resolver
from sidelb_lib.resolver.resolv_conf import ResolvConf, parse_resolv_conf
from tests.support import nameserver
from tests.support.nameserver import name_server

NAME = 'db.example.com'


@pytest.fixture
def server():
    with name_server() as server:
        server.zone.set_addresses(NAME, ['10.9.0.1', '2001:db8::1'], ttl=7)
        yield server


@pytest.fixture
def other():
    """Another name server, with other addresses."""
    with name_server() as server:
        server.zone.set_addresses(NAME, ['10.9.66.6', '2001:db8::66'])
        yield server


def resolver_of(*servers, **options):
    options = dict(dict(attempt=20, lifetime=20), **options)
    return Resolver([server.address for server in servers], environ={}, **options)


def message(*sections, **options):
    """A behaviour: an answer with these (section, record line), `rcode` and flags."""
    def behaviour(server, query, protocol):
        response = dns.message.make_response(query)
        response.set_rcode(getattr(dns.rcode, options.get('rcode', 'NOERROR')))
        if options.get('authoritative'):
            response.flags |= dns.flags.AA
        for section, line in sections:
            name, ttl, kind, data = line.split(None, 3)
            getattr(response, section).append(dns.rrset.from_text(name, int(ttl), 'IN', kind, data))
        return response.to_wire()
    return behaviour


NS = ('authority', 'example.com. 60 NS ns.example.com.')
SOA = ('authority', 'example.com. 60 SOA ns.example.com. x.example.com. 1 3600 600 86400 9')
ALIAS = ('answer', NAME + '. 60 CNAME elsewhere.example.net.')


# --- answers that are none -------------------------------------------------------------------------------------------

@pytest.mark.parametrize('nonsense, reason', [
    (message(NS), 'refers to other name servers'),
    (message(ALIAS, ('authority', 'net. 60 NS a.gtld.net.')), 'refers to other name servers'),
    (message(ALIAS, ('authority', 'net. 60 NS a.gtld.net.'), authoritative=True), 'refers to other name servers'),
    (message(('answer', NAME + '. 60 A 10.9.0.9'), rcode='NXDOMAIN'), 'NXDOMAIN beside records'),
    (message(ALIAS, ('answer', 'elsewhere.example.net. 60 CNAME %s.' % NAME)), 'circles'),
    (message(('answer', NAME + '. 60 CNAME %s.' % NAME)), 'circles'),
    (message(ALIAS, *[('answer', '%s.example.net. 60 CNAME n%d.example.net.' % ('n%d' % n if n else 'elsewhere', n + 1))
                      for n in range(20)]), 'more than 16 aliases'),
])
def test_nonsense_is_no_negative_answer_and_the_next_server_is_asked(server, other, nonsense, reason):
    other.misbehave(nonsense)
    answer = dict(resolver_of(other).addresses(NAME))['A']
    assert answer.kind == FAILED
    assert reason in answer.reason
    assert dict(resolver_of(other, server).addresses(NAME))['A'].values == ('10.9.0.1',)
    assert other.count(NAME, 'A') == 2, 'it is not asked again in the same look-up'


@pytest.mark.parametrize('answer', [
    message(SOA), message(SOA, authoritative=True), message(NS, SOA), message(), message(NS, authoritative=True),
    message(SOA, rcode='NXDOMAIN'), message(NS, rcode='NXDOMAIN'), message(ALIAS, SOA), message(ALIAS),
    message(ALIAS, SOA, rcode='NXDOMAIN')])
def test_negative_answers_of_all_kinds_are_believed(server, other, answer):
    """RFC 2308, sections 2.1 and 2.2."""
    other.misbehave(answer)
    assert dict(resolver_of(other, server).addresses(NAME))['A'].kind == EMPTY


@pytest.mark.parametrize('ttl, minimum, believed', [(60, 9, 9), (5, 9, 5), (0, 9, 0)])
def test_a_negative_answer_tells_how_long_it_may_be_believed(server, ttl, minimum, believed):
    server.misbehave(message(('authority', 'example.com. %d SOA ns. x. 1 3600 600 86400 %d' % (ttl, minimum))))
    assert resolver_of(server).ask(NAME + '.', 'A').ttl == believed
    server.behave()
    assert resolver_of(server).ask('nobody.example.com.', 'A').ttl is None


# --- whose answer ----------------------------------------------------------------------------------------------------

@pytest.mark.parametrize('rdtype', ['AAAA', 'PTR'])
def test_a_server_that_is_silent_for_optional_questions_keeps_its_place(server, other, rdtype):
    """The next one may know less: its NXDOMAIN would be believed."""
    server.misbehave(nameserver.dead, rdtype=rdtype)
    other.misbehave(nameserver.rcode('NXDOMAIN'))
    resolver = resolver_of(server, other, attempt=0.3, lifetime=2)
    for _ in range(3):
        resolver.pointers('10.9.0.1')
        assert dict(resolver.addresses(NAME))['A'].values == ('10.9.0.1',)


def test_a_server_that_was_silent_for_a_while_is_the_first_again_at_once(server, other):
    server.misbehave(nameserver.dead)
    resolver = resolver_of(server, other, attempt=0.3, lifetime=5)
    assert resolver.ask(NAME + '.', 'A').values == ('10.9.66.6',)
    server.behave()
    assert resolver.ask(NAME + '.', 'A').values == ('10.9.0.1',)


def test_every_server_gets_its_turn_within_the_time_of_an_optional_question(server):
    with name_server() as one, name_server() as two:
        one.misbehave(nameserver.dead)
        two.misbehave(nameserver.dead)
        server.zone.set_pointer('10.9.0.1', ['db1.example.com'])
        assert resolver_of(one, two, server, attempt=20).pointers('10.9.0.1', lifetime=1.5).kind == FOUND


# --- EDNS ------------------------------------------------------------------------------------------------------------

def test_sixty_addresses_come_by_udp(server):
    server.zone.set(NAME, 'A', ['10.9.1.%d' % n for n in range(60)])
    server.misbehave(lambda server, query, protocol: None if protocol == 'tcp' else server.usual(query, protocol))
    assert len(resolver_of(server).ask(NAME + '.', 'A').values) == 60
    assert not server.count(NAME, 'A', 'tcp')


@pytest.mark.parametrize('rcode', ['FORMERR', 'NOTIMP'])
def test_a_server_that_does_not_know_edns_is_asked_without(server, rcode):
    def old(server, query, protocol):
        if query.edns >= 0:
            return plain(query, rcode)
        return server.usual(query, protocol)
    server.misbehave(old)
    assert resolver_of(server).ask(NAME + '.', 'A').values == ('10.9.0.1',)
    server.zone.set(NAME, 'A', ['10.9.1.%d' % n for n in range(60)])
    assert len(resolver_of(server).ask(NAME + '.', 'A').values) == 60


def plain(query, rcode):
    """The answer of an old server: a header alone."""
    return struct.pack('!HHHHHH', query.id, 0x8000 | int(getattr(dns.rcode, rcode)), 0, 0, 0, 0)


def test_a_firewall_that_drops_edns_is_got_through(server):
    server.misbehave(lambda server, query, protocol: None if query.edns >= 0 else server.usual(query, protocol))
    assert resolver_of(server, attempt=0.3).ask(NAME + '.', 'A').values == ('10.9.0.1',)


# --- resolv.conf -----------------------------------------------------------------------------------------------------

def test_timeout_attempts_rotate_use_vc_and_the_environment_are_read():
    text = 'nameserver 10.9.0.53\nsearch one.example\noptions timeout:1 attempts:2\noptions rotate use-vc ndots:2\n'
    plain = parse_resolv_conf(text)
    assert (plain.timeout, plain.attempts, plain.rotate, plain.use_tcp, plain.ndots) == (1, 2, True, True, 2)
    environ = {'RES_OPTIONS': 'attempts:4 ndots:7', 'LOCALDOMAIN': 'two.example three.example'}
    changed = parse_resolv_conf(text, environ=environ)
    assert (changed.timeout, changed.attempts, changed.ndots) == (1, 4, 7)
    assert changed.search == ['two.example', 'three.example']
    assert parse_resolv_conf(text, environ={'LOCALDOMAIN': ''}).search == []
    assert parse_resolv_conf('').timeout is None


@pytest.mark.parametrize('words, key, value', [
    ('timeout:99', 'timeout', 30), ('attempts:99', 'attempts', 5), ('ndots:99', 'ndots', 15), ('timeout:0', 'timeout', None),
    ('attempts:0', 'attempts', None), ('timeout:', 'timeout', None), ('timeout:x', 'timeout', None),
    ('timeout:-1', 'timeout', None), ('no-aaaa', 'no_aaaa', True), ('edns0 trust-ad', 'timeout', None),
    ('ndots:99999999999999999999', 'ndots', 15)])
def test_options_are_bounded_as_in_libc(words, key, value):
    assert getattr(parse_resolv_conf('options %s\n' % words), key) == value


def resolver_by(tmpdir, port, text, **options):
    path = tmpdir.join('resolv.conf')
    path.write(text)
    return Resolver(resolv_conf=str(path), port=port, environ=options.pop('environ', {}), **options)


def test_attempts_and_timeout_bound_a_look_up(server, tmpdir):
    server.misbehave(nameserver.dead)
    resolver = resolver_by(tmpdir, server.address[1], 'nameserver 127.0.0.1\noptions timeout:1 attempts:1\n')
    assert resolver.ask(NAME + '.', 'A').kind == FAILED
    assert server.count(NAME, 'A') == 1


def test_use_vc_asks_by_tcp_alone(server, tmpdir):
    resolver = resolver_by(tmpdir, server.address[1], 'nameserver 127.0.0.1\noptions use-vc\n')
    assert resolver.ask(NAME + '.', 'A').kind == FOUND
    assert (server.count(NAME, 'A', 'udp'), server.count(NAME, 'A', 'tcp')) == (0, 1)


def test_rotate_begins_with_another_server_each_time(server, tmpdir):
    with name_server(host='127.0.0.2', port=server.address[1]) as second:
        second.zone.set_addresses(NAME, ['10.9.0.2'])
        resolver = resolver_by(tmpdir, server.address[1], 'nameserver 127.0.0.1\nnameserver 127.0.0.2\noptions rotate\n')
        found = [resolver.ask(NAME + '.', 'A').values[0] for _ in range(4)]
    assert found == ['10.9.0.1', '10.9.0.2', '10.9.0.1', '10.9.0.2']


def test_no_aaaa_asks_for_none(server, tmpdir):
    resolver = resolver_by(tmpdir, server.address[1], 'nameserver 127.0.0.1\noptions no-aaaa\n')
    answers = dict(resolver.addresses(NAME))
    assert (answers['A'].kind, answers['AAAA'].kind) == (FOUND, EMPTY)
    assert not server.count(NAME, 'AAAA')


@pytest.mark.parametrize('text, servers, search', [
    (u'# \u017b\u00f3\u0142\u0105\u0107 \x85 g\u00e5 \x85nameserver 10.9.0.9\nnameserver 10.9.0.1\n', ['10.9.0.1'], []),
    (u'# a\x85nameserver 10.9.0.9\x0bnameserver 10.9.0.8\x0cnameserver 10.9.0.7\x1cnameserver 10.9.0.6\n'
     u'nameserver 10.9.0.1', ['10.9.0.1'], []),
    (u'nameserver 10.9.0.1\r\nsearch a.example b.example\r\n', ['10.9.0.1'], ['a.example', 'b.example']),
    (u'nameserver\t10.9.0.1\nsearch\u00a0evil.example\nsearch \u015bl\u0105sk.example a.example\n', ['10.9.0.1'],
     ['a.example']),
    (u' nameserver 10.9.0.9\nnameserver 10.9.0.1\nNAMESERVER 10.9.0.8\nnameserverx 10.9.0.7\n', ['10.9.0.1'], []),
    (u'domain a.example\nsearch b.example\n', ['127.0.0.1'], ['b.example']),
])
def test_lines_and_words_are_those_of_libc(text, servers, search, tmpdir):
    path = tmpdir.join('resolv.conf')
    path.write_binary(text.encode('utf-8'))
    configuration = ResolvConf(str(path), 53).configuration()
    assert [ip for ip, _ in configuration.servers] == servers
    assert configuration.search == search


def test_a_fifo_in_place_of_resolv_conf_blocks_nobody(server, tmpdir):
    path = str(tmpdir.join('resolv.conf'))
    os.mkfifo(path)
    resolver = Resolver(resolv_conf=path, port=server.address[1], environ={})
    assert resolver.ask(NAME + '.', 'A').kind == FOUND
    server.misbehave(nameserver.rcode('REFUSED'))
    assert 'no regular file' in resolver.ask(NAME + '.', 'A').reason


def test_the_port_of_a_server_that_is_not_there_is_not_taken_for_silence():
    sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    sock.bind(('127.0.0.1', 0))
    address = sock.getsockname()
    sock.close()
    answer = Resolver([address], environ={}).ask(NAME + '.', 'A')
    assert (answer.kind, answer.fault) == (FAILED, 'closed')
