"""DNS questions and answers in wire form (RFC 1035, section 4).

Questions are made by dnspython, which costs start-up time: import this module at the first use. Answers are read here,
within bounds, and not by dnspython: one answer of 64 KiB, with thousands of names of a hundred labels, keeps its reader
busy for a minute, and nobody is served meanwhile. Whoever owns the reverse zone of a server could send that.
`dns.resolver` is not used for the same reason.
"""
from __future__ import absolute_import, division, print_function

import socket
import struct
from collections import namedtuple

import dns.message
import dns.name
import dns.rcode
import dns.rdataclass
import dns.rdatatype
import dns.reversename

#: `rcode` as text ('NOERROR'), `truncated`, `values` (texts of addresses or names), their `ttl` in seconds
#: (the smallest of the chain; without values how long that may be believed, or None) and `names`: the name asked for and
#: each that it is an alias of.
Reply = namedtuple('Reply', 'rcode truncated values ttl names')

UDP_BYTES = 1232              # of an answer: what passes everywhere unfragmented (DNS flag day 2020)

_MAX_ALIASES = 16
_SLICE = 256                  # records between two pauses
_MAX_POINTERS = 64           # PTR records of one answer
_MAX_LABELS = 32768          # read in one message, over and over again where it points back
_HEADER_BYTES = 12
_RESPONSE, _OPCODE, _AUTHORITATIVE, _TRUNCATED, _RCODE = 0x8000, 0x7800, 0x0400, 0x0200, 0x000f
_LONGEST_TTL = 0x7fffffff     # anything above is 0: RFC 2181, section 8
_PLAIN = frozenset(bytearray(b'abcdefghijklmnopqrstuvwxyz0123456789-_'))


class Malformed(Exception):
    """Bytes that are no answer to the question."""


class Nonsense(Exception):
    """An answer to the question that says neither yes nor no. To ask the same server again is no use."""


def question(name, rdtype):
    """A query message for the absolute `name`. ValueError for what is no name."""
    try:
        return dns.message.make_query(dns.name.from_text(name), rdtype, use_edns=0, payload=UDP_BYTES)
    except Exception as error:    # DNSException, UnicodeError, and others in old versions
        raise ValueError('%s is no DNS name (%s)' % (name, type(error).__name__))


def without_edns(query):
    """The same question, for servers and firewalls that don't know EDNS."""
    asked = query.question[0]
    return dns.message.make_query(asked.name, asked.rdtype)


def reverse_name(ip):
    """The name under which the PTR records of `ip` are. ValueError for what is no IP."""
    try:
        return dns.reversename.from_address(ip).to_text()
    except Exception:
        raise ValueError('%s is no IP address' % ip)


def read_reply(query, wire, pause=lambda: None):
    """The Reply in `wire`, which came from the network. Malformed when it is none to `query`, Nonsense when it is one
    that can't be used. `pause()` is called now and then: thousands of records take a while."""
    try:
        return _read_reply(query, wire, pause)
    except (IndexError, struct.error):
        raise Malformed('cut off')


def _read_reply(query, wire, pause):
    identity, flags, questions, answers, authorities = struct.unpack_from('!HHHHH', wire)
    if identity != query.id or not flags & _RESPONSE or flags & _OPCODE:
        raise Malformed('not an answer to the question')
    if flags & _TRUNCATED:
        return Reply('NOERROR', True, (), None, ())
    rcode = str(dns.rcode.to_text(flags & _RCODE))
    if not questions and rcode not in ('NOERROR', 'NXDOMAIN'):
        return Reply(rcode, False, (), None, ())
    asked = query.question[0]
    name, rdtype = tuple(label.lower() for label in asked.name.labels[:-1]), int(asked.rdtype)
    reader = _Reader(wire, pause)
    if questions != 1 or reader.question() != (name, rdtype, dns.rdataclass.IN):
        raise Malformed('an answer to another question')
    values, ttl, names = _follow(reader, reader.records(answers), name, rdtype)
    if values and rcode == 'NXDOMAIN':
        raise Nonsense('NXDOMAIN beside records')
    if not values:
        ttl, refers = _why_not(reader, authorities)
        if refers and rcode == 'NOERROR' and (len(names) > 1 or not flags & _AUTHORITATIVE):
            raise Nonsense('it refers to other name servers')
    return Reply(rcode, False, values, ttl, tuple(_text(labels) for labels in names))


def _follow(reader, records, name, rdtype):
    """The values of `name` and of what it is an alias of: (values, ttl, names)."""
    names, ttls = [], []
    while True:
        if name in names:
            raise Nonsense('aliases that go in circles')
        if len(names) > _MAX_ALIASES:
            raise Nonsense('more than %d aliases' % _MAX_ALIASES)
        names.append(name)
        found = records.get((name, rdtype))
        if found:
            ttl = min(ttls + [record[0] for record in found])
            values = []
            for number, record in enumerate(found[:_limit(rdtype)]):
                reader.pause_after(number)
                values.append(_value(reader, rdtype, record))
            return tuple(values), ttl, names
        aliases = records.get((name, int(dns.rdatatype.CNAME)))
        if not aliases:
            return (), None, names
        ttls.append(aliases[0][0])
        name, _ = reader.name(aliases[0][1])


def _why_not(reader, authorities):
    """What the authority section says where there are no records: (seconds that this may be believed or None, does it
    refer to other name servers?). RFC 2308, sections 2.2 and 5."""
    try:
        records = reader.records(authorities)
    except (Malformed, IndexError, struct.error):
        return None, False             # only the answer is needed
    kinds = set(rdtype for _, rdtype in records)
    ttls = []
    for (_, rdtype), soas in records.items():
        if rdtype == dns.rdatatype.SOA:
            for ttl, offset, size in soas:
                minimum, = struct.unpack_from('!I', reader.wire, offset + size - 4)
                ttls.append(min(ttl, minimum))
    return min(ttls) if ttls else None, int(dns.rdatatype.NS) in kinds and not ttls


def _limit(rdtype):
    return _MAX_POINTERS if rdtype == dns.rdatatype.PTR else None


def _value(reader, rdtype, record):
    """The text of an A, AAAA, PTR or SRV record; of the last `priority weight port target`."""
    _, offset, size = record
    if rdtype == dns.rdatatype.SRV:
        numbers = struct.unpack_from('!HHH', reader.wire, offset)
        return '%d %d %d %s' % (numbers + (_text(reader.name(offset + 6)[0]),))
    if rdtype == dns.rdatatype.PTR:
        return _text(reader.name(offset)[0])
    family, width = (socket.AF_INET, 4) if rdtype == dns.rdatatype.A else (socket.AF_INET6, 16)
    if size != width:
        raise Malformed('an address of %d bytes' % size)
    return socket.inet_ntop(family, reader.wire[offset:offset + size])


def _text(labels):
    """A name as text, without the final dot; what is no letter, digit, hyphen or underscore as a number."""
    return '.'.join(''.join(chr(byte) if byte in _PLAIN else '\\%03d' % byte for byte in bytearray(label))
                    for label in labels) or '.'


class _Reader(object):
    """Reads the parts of a message. A name is a tuple of labels in small letters.

    IndexError and struct.error mean that the message ends too early.
    """

    def __init__(self, wire, pause):
        self.wire = wire
        self._pause = pause
        self._octets = bytearray(wire)
        self._labels_left = _MAX_LABELS
        self._pointed = {}        # offset -> name there; most names of an answer just point back to one name
        self._offset = _HEADER_BYTES

    def pause_after(self, number):
        if number % _SLICE == _SLICE - 1:
            self._pause()

    def question(self):
        name, end = self.name(self._offset)
        rdtype, rdclass = struct.unpack_from('!HH', self.wire, end)
        self._offset = end + 4
        return name, rdtype, rdclass

    def records(self, count):
        """The next records of class IN: {(name, type): [(ttl, offset of the data, its size), ...]}."""
        records = {}
        for number in range(count):
            self.pause_after(number)
            name, end = self.name(self._offset)
            rdtype, rdclass, ttl, size = struct.unpack_from('!HHIH', self.wire, end)
            self._offset = end + 10 + size
            if self._offset > len(self.wire):
                raise Malformed('cut off')
            if rdclass == dns.rdataclass.IN:
                ttl = ttl if ttl <= _LONGEST_TTL else 0
                records.setdefault((name, rdtype), []).append((ttl, end + 10, size))
        return records

    def name(self, offset):
        """The name at `offset` and the offset behind it."""
        if self._octets[offset] < 0xc0:
            return self._read_name(offset)
        target = self._target(offset)
        if target not in self._pointed:
            self._pointed[target] = self._read_name(offset)[0]
        return self._pointed[target], offset + 2

    def _read_name(self, offset):
        labels, size, end = [], 0, None
        while True:
            length = self._octets[offset]
            self._labels_left -= 1
            if self._labels_left < 0:        # as well as when it goes round for ever
                raise Malformed('too complicated')
            if length >= 0xc0:
                end = end or offset + 2
                offset = self._target(offset)
            elif length >= 0x40:
                raise Malformed('a label of an unknown kind')
            elif length:
                labels.append(self.wire[offset + 1:offset + 1 + length].lower())
                size += length + 1
                if size > 254:
                    raise Malformed('a name too long')
                offset += length + 1
            else:
                return tuple(labels), end or offset + 1

    def _target(self, offset):
        return (self._octets[offset] & 0x3f) << 8 | self._octets[offset + 1]
