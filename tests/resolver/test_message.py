"""Reading answers of name servers, good ones as dnspython writes them and hostile ones byte by byte."""
from __future__ import absolute_import, division, print_function

import os
import random
import struct

import dns.flags
import dns.message
import dns.rrset
import pytest

from sidelb_lib.resolver import message as dns_message
from sidelb_lib.resolver.message import Malformed, read_reply

NAME = 'db.example.com.'
REVERSE = '1.0.9.10.in-addr.arpa.'
POINTER_TO_QUESTION = b'\xc0\x0c'
A, CNAME, PTR = 1, 5, 12


def answer(query, *lines):
    """The answer to `query` in wire form as dnspython makes it, from lines like 'name ttl IN A 10.9.0.1'."""
    response = dns.message.make_response(query)
    for line in lines:
        name, ttl, rdclass, rdtype, value = line.split()
        response.answer.append(dns.rrset.from_text(name, int(ttl), rdclass, rdtype, value))
    return response.to_wire()


def record(name, rdtype, data, ttl=60):
    """A record in wire form; `name` and `data` are bytes."""
    return name + struct.pack('!HHIH', rdtype, 1, ttl, len(data)) + data


def handmade(query, *records):
    """An answer whose records are bytes."""
    wire = query.to_wire()
    return wire[:2] + struct.pack('!HHHHH', 0x8180, 1, len(records), 0, 0) + wire[12:] + b''.join(records)


@pytest.fixture
def query():
    return dns_message.without_edns(dns_message.question(NAME, 'A'))


def test_addresses_are_read(query):
    wire = answer(query, NAME + ' 60 IN A 10.9.0.1', NAME + ' 60 IN A 10.9.0.2')
    assert read_reply(query, wire) == ('NOERROR', False, ('10.9.0.1', '10.9.0.2'), 60, ('db.example.com',))


def test_ipv6_addresses_are_read():
    query = dns_message.question(NAME, 'AAAA')
    assert read_reply(query, answer(query, NAME + ' 60 IN AAAA 2001:DB8:0::1')).values == ('2001:db8::1',)


def test_pointers_are_read():
    query = dns_message.without_edns(dns_message.question(REVERSE, 'PTR'))
    wire = answer(query, REVERSE + ' 60 IN PTR DB1.example.com.')
    assert read_reply(query, wire).values == ('db1.example.com',)


def test_a_chain_of_aliases_is_followed_in_any_order_of_its_records(query):
    lines = [NAME + ' 30 IN CNAME a.example.net.', 'A.example.net. 20 IN CNAME b.example.net.',
             'b.example.net. 40 IN A 10.9.0.1', 'c.example.net. 1 IN A 10.9.66.6']
    for _ in lines:
        lines.append(lines.pop(0))
        assert read_reply(query, answer(query, *lines)) == (
            'NOERROR', False, ('10.9.0.1',), 20, ('db.example.com', 'a.example.net', 'b.example.net'))


def test_records_of_other_names_and_types_are_passed_over(query):
    wire = answer(query, 'other.example.com. 60 IN A 10.9.66.6', NAME + ' 60 IN TXT x',
                  NAME + ' 60 IN A 10.9.0.1')
    assert read_reply(query, wire).values == ('10.9.0.1',)


def test_records_of_another_class_are_passed_over(query):
    wire = bytearray(answer(query, NAME + ' 60 IN A 10.9.66.6'))
    wire[len(query.to_wire()) + 5] = 3
    assert read_reply(query, bytes(wire)).values == ()


def test_an_answer_without_records_has_no_values(query):
    assert read_reply(query, answer(query)) == ('NOERROR', False, (), None, ('db.example.com',))


def test_letters_may_be_of_any_case(query):
    wire = handmade(query, record(b'\x02DB\x07Example\x03com\0', A, b'\x0a\x09\0\x01'))
    assert read_reply(query, wire).values == ('10.9.0.1',)


@pytest.mark.parametrize('sent, ttl', [(0, 0), (0x7fffffff, 0x7fffffff), (0x80000000, 0), (0xffffffff, 0)])
def test_a_ttl_beyond_all_bounds_is_none(query, sent, ttl):
    wire = handmade(query, record(POINTER_TO_QUESTION, A, b'\x0a\x09\0\x01', sent))
    assert read_reply(query, wire).ttl == ttl


def test_what_is_not_plain_in_a_name_is_escaped():
    query = dns_message.without_edns(dns_message.question(REVERSE, 'PTR'))
    wire = handmade(query, record(POINTER_TO_QUESTION, PTR, b'\x06a\n.\x1b\\"\x02\xff_\0'),
                    record(POINTER_TO_QUESTION, PTR, b'\0'))
    assert read_reply(query, wire).values == ('a\\010\\046\\027\\092\\034.\\255_', '.')


def test_a_failure_may_come_without_the_question(query):
    wire = query.to_wire()[:2] + struct.pack('!HHHHH', 0x8182, 0, 0, 0, 0)
    assert read_reply(query, wire).rcode == 'SERVFAIL'
    with pytest.raises(Malformed):
        read_reply(query, wire[:2] + struct.pack('!HHHHH', 0x8183, 0, 0, 0, 0))


def test_truncation_is_told(query):
    response = dns.message.make_response(query)
    response.flags |= dns.flags.TC
    assert read_reply(query, response.to_wire()).truncated


@pytest.mark.parametrize('what', [
    'identity', 'no response', 'opcode', 'name', 'type', 'class', 'two questions'])
def test_what_does_not_answer_the_question_is_malformed(query, what):
    wire = bytearray(answer(query, NAME + ' 60 IN A 10.9.0.1'))
    end_of_question = len(query.to_wire())
    offset, flip = {'identity': (1, 1), 'no response': (2, 0x80), 'opcode': (2, 0x08), 'name': (13, 1),
                    'type': (end_of_question - 3, 1), 'class': (end_of_question - 1, 2),
                    'two questions': (5, 3)}[what]
    assert read_reply(query, bytes(wire)).values
    wire[offset] ^= flip
    with pytest.raises(Malformed):
        read_reply(query, bytes(wire))


@pytest.mark.parametrize('name', [
    b'\xc0\x20', b'\x01a\xc0\x20', b'\xff\xff', b'\x40' + b'a' * 64 + b'\0', b'\x80' + b'a' * 128 + b'\0',
    b'\x3f' + b'a' * 63, (b'\x3f' + b'a' * 63) * 4 + b'\0', b'\x05abc'])
def test_names_that_are_none_are_malformed(query, name):
    """0x20 is where the name itself stands: it would go round for ever."""
    with pytest.raises(Malformed):
        read_reply(query, handmade(query, record(name, A, b'\x0a\x09\0\x01')))


def test_addresses_of_a_wrong_size_are_malformed(query):
    for size in (0, 3, 5, 16):
        with pytest.raises(Malformed):
            read_reply(query, handmade(query, record(POINTER_TO_QUESTION, A, b'\0' * size)))


def test_an_answer_that_ends_too_early_is_malformed(query):
    wire = answer(query, NAME + ' 60 IN CNAME a.example.net.', 'a.example.net. 60 IN A 10.9.0.1')
    for length in range(len(wire)):
        with pytest.raises(Malformed):
            read_reply(query, wire[:length])


def test_broken_answers_are_malformed_or_read_but_never_anything_else():
    chance = random.Random(4)
    for rdtype, value in (('A', '10.9.0.1'), ('PTR', 'db1.example.com.')):
        query = dns_message.question(NAME, rdtype)
        good = answer(query, NAME + ' 60 IN CNAME a.example.net.',
                      'a.example.net. 60 IN %s %s' % (rdtype, value))
        for _ in range(5000):
            wire = bytearray(good)
            for _ in range(chance.randint(1, 6)):
                byte = chance.choice([0, 1, 0xc0, 0xff, chance.randrange(256)])
                wire[chance.randrange(2, len(wire))] = byte
            try:
                read_reply(query, bytes(wire))
            except Malformed:
                pass


def long_names(query):
    """As many PTR records as fit, each of a hundred labels: dnspython takes a minute for it."""
    first = len(handmade(query)) + len(POINTER_TO_QUESTION) + 10
    target = b'\x01a' * 110 + b'\0'
    records = [record(POINTER_TO_QUESTION, PTR, target)]
    records += [record(POINTER_TO_QUESTION, PTR, b'\x01b' + struct.pack('!H', 0xc000 | first))] * 4000
    return handmade(query, *records)


def long_owners(query):
    """As many records as fit, each of another name of a hundred labels."""
    first = len(handmade(query))
    records = [record(b'\x01a' * 110 + b'\0', A, b'\x0a\x09\0\x01')]
    records += [record(b'\x01b' + struct.pack('!H', 0xc000 | first), A, b'\x0a\x09\0\x01')] * 3000
    return handmade(query, *records)


def chain_of_pointers(query):
    """Names that point to names that point to names."""
    records, offset = [], len(handmade(query))
    for n in range(1000):
        target = offset - 16 if n else 12
        records.append(record(b'\x01a' + struct.pack('!H', 0xc000 | target), A, b'\0\0'))
        offset += 16
    return handmade(query, *records)


@pytest.mark.parametrize('rdtype, attack', [
    ('PTR', long_names), ('A', long_owners), ('A', chain_of_pointers)])
def test_answers_made_to_keep_us_busy_do_not(rdtype, attack):
    """The limit is far above what it takes, and far below what dnspython took."""
    query = dns_message.question(NAME, rdtype)
    wire = attack(query)
    began = os.times()[0]
    try:
        read_reply(query, wire[:65535])
    except Malformed:
        pass
    assert os.times()[0] - began < 2     # of computing, however busy the machine is


def test_only_so_many_pointers_are_read():
    query = dns_message.without_edns(dns_message.question(REVERSE, 'PTR'))
    assert len(read_reply(query, long_names(query)).values) == 64


def test_a_thousand_addresses_are_read(query):
    lines = ['%s 60 IN A 10.9.%d.%d' % (NAME, n >> 8, n & 255) for n in range(1000)]
    assert len(read_reply(query, answer(query, *lines)).values) == 1000
