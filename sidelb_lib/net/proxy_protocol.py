"""The PROXY protocol, versions 1 and 2: who the client is, said before its first byte. Pure.

The specification is HAProxy's doc/proxy-protocol.txt (2.2 is version 2). What a header that bends it means was compared
with HAProxy 2.6 and nginx 1.22: what both take is taken, what the specification forbids and one of them refuses is refused.
"""
from __future__ import absolute_import, division, print_function

import re
import socket
import struct

from ..errors import SidelbError
from .endpoints import canonical_ip, family_of

SIGNATURE = b'\r\n\r\n\0\r\nQUIT\n'
VERSIONS = ('v1', 'v2')
MAX_V1_BYTES = 107                 # of a line with its end, section 2.1
MAX_V2_BYTES = 16 + 4096           # the length may say 65,535; nobody needs that many
LOCAL, PROXY = 0, 1                # commands of version 2
UNSPECIFIED, TCP4, TCP6, UNIX = 0x00, 0x11, 0x21, 0x31
CHECKSUM = 3                       # PP2_TYPE_CRC32C

_ADDRESS_BYTES = {UNSPECIFIED: 0, TCP4: 12, TCP6: 36, UNIX: 216}
_PORT = re.compile(b'[0-9]{1,6}\\Z')         # leading zeros are forbidden, and taken by both others
_MAPPED = '::ffff:'


class BadHeader(SidelbError):
    """What a client sent is no PROXY header that can be believed; the text says why."""


# --- towards servers -------------------------------------------------------------------------------------------------

def header(version, client, local):
    """The bytes that tell a server of `client`, which connected to our `local` address. Both are (ip, port); None where
    the client has none, like that of a Unix socket."""
    if client is None or local is None:
        return local_header(version)
    if version == 'v1':
        if family_of(client[0]) != family_of(local[0]):
            return local_header(version)
        kind = 'TCP6' if family_of(client[0]) == socket.AF_INET6 else 'TCP4'
        return ('PROXY %s %s %s %d %d\r\n' % (kind, client[0], local[0], client[1], local[1])).encode('ascii')
    ipv6 = socket.AF_INET6 in (family_of(client[0]), family_of(local[0]))
    addresses = _packed(client[0], ipv6) + _packed(local[0], ipv6) + struct.pack('!HH', client[1], local[1])
    return SIGNATURE + struct.pack('!BBH', 0x20 | PROXY, TCP6 if ipv6 else TCP4, len(addresses)) + addresses


def local_header(version):
    """What a health check sends: the connection is our own, and no client's."""
    return b'PROXY UNKNOWN\r\n' if version == 'v1' else SIGNATURE + struct.pack('!BBH', 0x20 | LOCAL, UNSPECIFIED, 0)


def _packed(ip, ipv6):
    """Where the families differ, IPv4 is written as IPv6: ::ffff:192.0.2.1."""
    if ipv6 and family_of(ip) == socket.AF_INET:
        ip = _MAPPED + ip
    return socket.inet_pton(family_of(ip), ip)


# --- from clients ----------------------------------------------------------------------------------------------------

class Reader(object):
    """Reads one header, in whatever pieces it comes, and not a byte of what follows it.

    `take(data)` is given what is there and not read yet, and says how many of its bytes belong to the header: those the
    caller reads. `done` is true at the header's end; then `client` is the (ip, port) that it names, or None: then the
    peer itself is the client. `is_local` tells a connection that is the sender's own, its health check.
    """

    def __init__(self):
        self.done = False
        self.client = None
        self.is_local = False
        self._data = b''

    @property
    def begun(self):
        return bool(self._data)

    def take(self, data):
        """Raises BadHeader, as soon as it is clear."""
        before = len(self._data)
        whole = self._data + data[:MAX_V2_BYTES - before]
        if SIGNATURE.startswith(whole[:12]):
            end = self._take_v2(whole)
        elif b'PROXY '.startswith(whole[:6]):
            end = self._take_v1(whole)
        else:
            raise BadHeader('no PROXY header')
        self._data = whole[:end]
        return end - before

    def _take_v1(self, whole):
        """The number of bytes of `whole` that belong to the header."""
        end = whole.find(b'\n', 0, MAX_V1_BYTES) + 1
        if not end:
            if len(whole) >= MAX_V1_BYTES:
                raise BadHeader('no end of the line within %d bytes' % MAX_V1_BYTES)
            return len(whole)
        if not whole[:end].endswith(b'\r\n'):
            raise BadHeader('the line does not end in CR LF')
        self.client = client_of_line(whole[:end - 2])
        self.done = True
        return end

    def _take_v2(self, whole):
        if len(whole) < 16:
            return len(whole)
        command, family, length = struct.unpack('!BBH', whole[12:16])
        if command >> 4 != 2:
            raise BadHeader('version %d of the header' % (command >> 4))
        if command & 15 not in (LOCAL, PROXY):
            raise BadHeader('command %d of the header' % (command & 15))
        if length > MAX_V2_BYTES - 16:
            raise BadHeader('a header of %d bytes' % length)
        end = 16 + length
        if len(whole) < end:
            return len(whole)
        if command & 15 == LOCAL:
            self.is_local = True
        else:
            self.client = client_of_block(family, whole[:end])
        self.done = True
        return end


def client_of_line(line):
    """(ip, port) out of a version 1 header without its end; None where it says UNKNOWN."""
    words = line.split(b' ')
    if words[1:2] == [b'UNKNOWN']:
        return None                        # whatever follows is to be ignored
    families = {b'TCP4': socket.AF_INET, b'TCP6': socket.AF_INET6}
    if len(words) != 6 or words[1] not in families:
        raise BadHeader('no line of the PROXY protocol')
    ips = [canonical_ip(word.decode('latin-1')) for word in words[2:4]]
    if any(ip is None or family_of(ip) != families[words[1]] for ip in ips):
        raise BadHeader('no addresses of %s' % words[1].decode('ascii'))
    if any(not _PORT.match(word) or int(word) > 65535 for word in words[4:]):
        raise BadHeader('no port')
    return _folded(ips[0]), int(words[4])


def client_of_block(family, data):
    """(ip, port) out of a whole version 2 header; None where it names none that we could use."""
    if family not in _ADDRESS_BYTES:
        raise BadHeader('family and protocol 0x%02x of the header' % family)
    size = _ADDRESS_BYTES[family]
    if len(data) < 16 + size:
        raise BadHeader('a block of %d bytes is too short' % (len(data) - 16))
    check_extensions(data, 16 + size)
    if family == TCP4:
        return socket.inet_ntop(socket.AF_INET, data[16:20]), struct.unpack('!H', data[24:26])[0]
    if family == TCP6:
        return _folded(socket.inet_ntop(socket.AF_INET6, data[16:32])), struct.unpack('!H', data[48:50])[0]
    return None


def check_extensions(data, start):
    """Walk through the TLVs, and verify the checksum where there is one: a receiver that knows it must, section 2.2.3."""
    while start < len(data):
        if start + 3 > len(data):
            raise BadHeader('an extension is cut short')
        kind, length = struct.unpack('!BH', data[start:start + 3])
        value = start + 3
        if value + length > len(data):
            raise BadHeader('an extension is longer than the header')
        if kind == CHECKSUM:
            if length != 4:
                raise BadHeader('a checksum of %d bytes' % length)
            said, = struct.unpack('!I', data[value:value + 4])
            if crc32c(data[:value] + b'\0\0\0\0' + data[value + 4:]) != said:
                raise BadHeader('a wrong checksum')
        start = value + length


def crc32c(data):
    """The checksum of RFC 3720, appendix B.4. Bit by bit: at most 4 KiB, once a connection, and only where one is sent."""
    crc = 0xffffffff
    for byte in bytearray(data):
        crc ^= byte
        for _ in range(8):
            crc = crc >> 1 ^ (0x82f63b78 if crc & 1 else 0)
    return crc ^ 0xffffffff


def _folded(ip):
    """IPv4 in IPv6 as IPv4: one client is one client."""
    return ip[len(_MAPPED):] if ip.startswith(_MAPPED) and '.' in ip else ip
