from __future__ import absolute_import, division, print_function

import binascii
import socket
import struct

import pytest

from sidelb_lib.net.proxy_protocol import SIGNATURE, BadHeader, Reader, crc32c, header, local_header

CLIENT, LISTENER = ('192.0.2.1', 56324), ('10.0.0.1', 5432)
CLIENT6, LISTENER6 = ('2001:db8::1', 56324), ('2001:db8::2', 5432)
PAYLOAD = b'\x00\x00\x00\x08\x04\xd2\x16\x2f' * 8192


def unhex(text):
    return binascii.unhexlify(text.replace(' ', ''))


def v2(command, family, block):
    return SIGNATURE + struct.pack('!BBH', command, family, len(block)) + block


BLOCK4 = socket.inet_aton('192.0.2.1') + socket.inet_aton('10.0.0.1') + struct.pack('!HH', 56324, 5432)
BLOCK6 = (socket.inet_pton(socket.AF_INET6, '2001:db8::1') + socket.inet_pton(socket.AF_INET6, '2001:db8::2') +
          struct.pack('!HH', 56324, 5432))
WITH_CHECKSUM = unhex('0d0a0d0a000d0a515549540a 21110013 c0000201 0a000001 dc041538 030004 e0d546b7')


# --- towards servers -------------------------------------------------------------------------------------------------

@pytest.mark.parametrize('version, client, local, sent', [
    ('v1', CLIENT, LISTENER, b'PROXY TCP4 192.0.2.1 10.0.0.1 56324 5432\r\n'),
    ('v1', CLIENT6, LISTENER6, b'PROXY TCP6 2001:db8::1 2001:db8::2 56324 5432\r\n'),
    ('v1', CLIENT, LISTENER6, b'PROXY UNKNOWN\r\n'),
    ('v1', None, LISTENER, b'PROXY UNKNOWN\r\n'),
    ('v2', CLIENT, LISTENER, unhex('0d0a0d0a000d0a515549540a 21 11 000c c0000201 0a000001 dc04 1538')),
    ('v2', CLIENT6, LISTENER6, v2(0x21, 0x21, BLOCK6)),
    ('v2', CLIENT, LISTENER6, v2(0x21, 0x21, unhex('00000000000000000000ffffc0000201') +
                                 socket.inet_pton(socket.AF_INET6, '2001:db8::2') + struct.pack('!HH', 56324, 5432))),
    ('v2', None, LISTENER, unhex('0d0a0d0a000d0a515549540a 20 00 0000')),
])
def test_a_server_is_told_of_the_client(version, client, local, sent):
    assert header(version, client, local) == sent


@pytest.mark.parametrize('version', ['v1', 'v2'])
@pytest.mark.parametrize('client, local', [(CLIENT, LISTENER), (CLIENT6, LISTENER6)])
def test_what_is_sent_is_what_is_read(version, client, local):
    assert read_whole(header(version, client, local)).client == client


@pytest.mark.parametrize('version', ['v1', 'v2'])
def test_a_probe_says_that_it_is_no_clients_connection(version):
    reader = read_whole(local_header(version))
    assert reader.client is None and reader.is_local == (version == 'v2')


def test_the_checksum_is_the_one_of_the_standard():
    assert crc32c(b'123456789') == 0xe3069283


# --- from clients ----------------------------------------------------------------------------------------------------

def read_whole(data):
    """The Reader after a header that came in one piece, glued to a payload of which it takes nothing."""
    reader = Reader()
    assert reader.take(data + PAYLOAD) == len(data)
    assert reader.done
    return reader


def read_bytewise(data):
    """The same, a byte at a time."""
    reader = Reader()
    for position in range(len(data)):
        assert not reader.done
        assert reader.take(data[position:position + 1]) == 1
    assert reader.done
    return reader


GOOD = [
    ('v1 TCP4', b'PROXY TCP4 192.0.2.1 10.0.0.1 56324 5432\r\n', CLIENT),
    ('v1 TCP6', b'PROXY TCP6 2001:db8::1 2001:db8::2 56324 5432\r\n', CLIENT6),
    ('v1 UNKNOWN', b'PROXY UNKNOWN\r\n', None),
    ('v1 UNKNOWN junk', b'PROXY UNKNOWN ffff::1 junk\r\n', None),
    ('v1 longest', b'PROXY UNKNOWN ' + b'x' * 91 + b'\r\n', None),
    ('v1 leading zero', b'PROXY TCP4 192.0.2.1 10.0.0.1 056324 5432\r\n', CLIENT),
    ('v1 mapped', b'PROXY TCP6 ::ffff:192.0.2.1 2001:db8::2 56324 5432\r\n', CLIENT),
    ('v2 TCP4', v2(0x21, 0x11, BLOCK4), CLIENT),
    ('v2 TCP6', v2(0x21, 0x21, BLOCK6), CLIENT6),
    ('v2 unknown TLV', v2(0x21, 0x11, BLOCK4 + b'\xee\x00\x03abc'), CLIENT),
    ('v2 empty TLV', v2(0x21, 0x11, BLOCK4 + b'\x04\x00\x00'), CLIENT),
    ('v2 checksum', WITH_CHECKSUM, CLIENT),
    ('v2 LOCAL', v2(0x20, 0x00, b''), None),
    ('v2 LOCAL with a block', v2(0x20, 0x11, BLOCK4), None),
    ('v2 UNSPEC', v2(0x21, 0x00, b''), None),
    ('v2 UNIX', v2(0x21, 0x31, b'\0' * 216), None),
    ('v2 longest', v2(0x21, 0x11, BLOCK4 + b'\xee' + struct.pack('!H', 4081) + b'x' * 4081), CLIENT),
]

BAD = [
    ('nothing of the kind', b'GET / HTTP/1.1\r\n\r\n'),
    ('v1 LF only', b'PROXY TCP4 192.0.2.1 10.0.0.1 56324 5432\n'),
    ('v1 108 bytes', b'PROXY UNKNOWN ' + b'x' * 92 + b'\r\n'),
    ('v1 without an end', b'PROXY UNKNOWN ' + b'x' * 200),
    ('v1 small letters', b'proxy TCP4 192.0.2.1 10.0.0.1 56324 5432\r\n'),
    ('v1 TCP4 with IPv6', b'PROXY TCP4 2001:db8::1 10.0.0.1 56324 5432\r\n'),
    ('v1 TCP6 with IPv4', b'PROXY TCP6 192.0.2.1 10.0.0.1 56324 5432\r\n'),
    ('v1 other family', b'PROXY UDP4 192.0.2.1 10.0.0.1 56324 5432\r\n'),
    ('v1 port too large', b'PROXY TCP4 192.0.2.1 10.0.0.1 65536 5432\r\n'),
    ('v1 port with a sign', b'PROXY TCP4 192.0.2.1 10.0.0.1 +5632 5432\r\n'),
    ('v1 two blanks', b'PROXY TCP4  192.0.2.1 10.0.0.1 56324 5432\r\n'),
    ('v1 a word too many', b'PROXY TCP4 192.0.2.1 10.0.0.1 56324 5432 x\r\n'),
    ('v1 a word too few', b'PROXY TCP4 192.0.2.1 10.0.0.1 56324\r\n'),
    ('v2 other version', v2(0x31, 0x11, BLOCK4)),
    ('v2 other command', v2(0x22, 0x11, BLOCK4)),
    ('v2 UDP4', v2(0x21, 0x12, BLOCK4)),
    ('v2 UDP6', v2(0x21, 0x22, BLOCK6)),
    ('v2 unknown family', v2(0x21, 0x41, BLOCK4)),
    ('v2 block of 8 for TCP4', v2(0x21, 0x11, BLOCK4[:8])),
    ('v2 block of 12 for TCP6', v2(0x21, 0x21, BLOCK4)),
    ('v2 TLV longer than the rest', v2(0x21, 0x11, BLOCK4 + b'\xee\x00\x09abc')),
    ('v2 TLV cut short', v2(0x21, 0x11, BLOCK4 + b'\xee\x00')),
    ('v2 wrong checksum', WITH_CHECKSUM[:-1] + b'\xb8'),
    ('v2 checksum of 3 bytes', v2(0x21, 0x11, BLOCK4 + b'\x03\x00\x03abc')),
    ('v2 too long', SIGNATURE + struct.pack('!BBH', 0x21, 0x11, 4097)),
]


@pytest.mark.parametrize('read', [read_whole, read_bytewise])
@pytest.mark.parametrize('name, data, client', GOOD, ids=[row[0] for row in GOOD])
def test_a_header_names_the_client_however_it_comes(name, data, client, read):
    reader = read(data)
    assert reader.client == client
    assert reader.is_local == ('LOCAL' in name)


@pytest.mark.parametrize('name, data', BAD, ids=[row[0] for row in BAD])
def test_a_bad_header_is_refused_in_one_piece(name, data):
    with pytest.raises(BadHeader):
        Reader().take(data + PAYLOAD)


@pytest.mark.parametrize('name, data', BAD, ids=[row[0] for row in BAD])
def test_a_bad_header_is_refused_byte_by_byte(name, data):
    reader = Reader()
    with pytest.raises(BadHeader):
        for position in range(len(data)):
            reader.take(data[position:position + 1])


def test_what_can_be_no_header_is_refused_at_its_first_byte():
    with pytest.raises(BadHeader):
        Reader().take(b'G')
