from __future__ import absolute_import, division, print_function

import random
import socket

import pytest

from sidelb_lib.net.access import Network, is_allowed, parse_network


def networks(*texts):
    return [parse_network(text) for text in texts]


@pytest.mark.parametrize('text, canonical', [
    ('10.0.0.0/8', '10.0.0.0/8'), ('10.1.2.3', '10.1.2.3/32'), ('0.0.0.0/0', '0.0.0.0/0'),
    ('2001:DB8::/32', '2001:db8::/32'), ('::1', '::1/128'), ('::/0', '::/0'), ('10.1.2.128/25', '10.1.2.128/25')])
def test_a_network_is_read_and_written(text, canonical):
    assert str(parse_network(text)) == canonical


@pytest.mark.parametrize('text, complaint', [
    ('', 'write a network like 10.0.0.0/8 or 2001:db8::/32, or one address'),
    ('db.example.com', 'write a network like'), ('10.0.0/8', 'write a network like'), ('10.0.0.0.0', 'write a network like'),
    ('10.0.0.0/33', 'the part after the slash is the number of bits: 0 to 32'),
    ('10.0.0.0/', 'the part after the slash'), ('10.0.0.0/-1', 'the part after the slash'),
    ('10.0.0.0/255.0.0.0', 'the part after the slash'), ('::/129', '0 to 128'),
    ('10.0.0.1/8', '10.0.0.1 has bits beyond the first 8: did you mean 10.0.0.0/8?'),
    ('2001:db8::1/32', 'did you mean 2001:db8::/32?')])
def test_a_mistake_is_told_with_the_way_out(text, complaint):
    with pytest.raises(ValueError) as caught:
        parse_network(text)
    assert complaint in str(caught.value)


@pytest.mark.parametrize('ip, allow, deny, allowed', [
    ('192.0.2.1', [], [], True),
    ('10.1.2.3', ['10.0.0.0/8'], [], True),
    ('11.1.2.3', ['10.0.0.0/8'], [], False),
    ('10.1.2.3', [], ['10.0.0.0/8'], False),
    ('11.1.2.3', [], ['10.0.0.0/8'], True),
    ('10.1.2.3', ['10.0.0.0/8'], ['10.1.0.0/16'], False),      # deny is asked first
    ('10.2.2.3', ['10.0.0.0/8'], ['10.1.0.0/16'], True),
    ('2001:db8::9', ['2001:db8::/32'], [], True),
    ('2001:db9::9', ['2001:db8::/32'], [], False),
    ('2001:db8::9', ['0.0.0.0/0'], [], False),                 # another family
    ('::ffff:10.1.2.3', ['10.0.0.0/8'], [], True),
    ('fe80::1%eth0', ['fe80::/10'], [], True),
])
def test_who_may_come_in(ip, allow, deny, allowed):
    assert is_allowed(ip, networks(*allow), networks(*deny)) is allowed


def test_a_network_has_the_addresses_that_a_look_bit_by_bit_finds():
    seed = random.randrange(1 << 30)
    print('seed %d' % seed)
    chance = random.Random(seed)
    for _ in range(2000):
        bits, number, other = chance.randrange(33), chance.getrandbits(32), chance.getrandbits(32)
        if chance.random() < 0.5:                              # near the edge of the network
            other = number ^ 1 << chance.randrange(32)
        network = ''.join('%d' % (number >> 31 - bit & 1) for bit in range(bits))
        allow = [Network(socket.AF_INET, number >> 32 - bits, bits)]
        ip = socket.inet_ntoa(bytes(bytearray(other >> shift & 255 for shift in (24, 16, 8, 0))))
        expected = ''.join('%d' % (other >> 31 - bit & 1) for bit in range(bits)) == network
        assert is_allowed(ip, allow, []) is expected, (allow, ip)
