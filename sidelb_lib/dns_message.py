"""DNS questions and answers in wire form, by dnspython.

The only module of the program itself that imports dnspython, and at its head: import it at the first use, for
that costs start-up time. It stays with dnspython's messages, which have hardly changed between 1.16 and 2.9,
and leaves `dns.resolver` alone, which has: its search list, its time-outs, its names and what one forged
packet does to it.
"""
from __future__ import absolute_import, division, print_function

import struct
from collections import namedtuple

import dns.message
import dns.name
import dns.rcode
import dns.rdatatype
import dns.reversename

#: `rcode` as text ('NOERROR'), `truncated`, `values` (texts of addresses or names), their `ttl` in seconds
#: (the smallest of the chain; None without values) and `names`: the name asked for and each that it is an
#: alias of.
Reply = namedtuple('Reply', 'rcode truncated values ttl names')

_MOST_ALIASES = 16
_TRUNCATED = 0x0200
_RESPONSE = 0x8000


class Malformed(Exception):
    """Bytes that are no answer to the question."""


def question(name, rdtype):
    """A query message for the absolute `name`. ValueError for what is no name."""
    try:
        return dns.message.make_query(dns.name.from_text(name), rdtype)
    except Exception as error:    # DNSException, UnicodeError, and others in old versions
        raise ValueError('%s is no DNS name (%s)' % (name, type(error).__name__))


def reverse_name(ip):
    """The name under which the PTR records of `ip` are. ValueError for what is no IP."""
    try:
        return dns.reversename.from_address(ip).to_text()
    except Exception:
        raise ValueError('%s is no IP address' % ip)


def read_reply(query, wire):
    """The Reply in `wire`, which came from the network. Malformed when it is none to `query`."""
    if len(wire) < 12:
        raise Malformed('too short')
    identity, flags = struct.unpack('!HH', wire[:4])
    if identity != query.id or not flags & _RESPONSE:
        raise Malformed('not an answer to the question')
    if flags & _TRUNCATED:
        return Reply('NOERROR', True, (), None, ())
    try:
        # In one RRset for each record, because dnspython 1.16 takes seconds to put a thousand records into
        # one.
        response = dns.message.from_wire(wire, one_rr_per_rrset=True)
    except Exception as error:    # whatever hostile bytes do to the parser
        raise Malformed('malformed (%s)' % type(error).__name__)
    rcode = dns.rcode.to_text(response.rcode())
    answered = response.question == query.question
    if not answered and (response.question or rcode in ('NOERROR', 'NXDOMAIN')):
        raise Malformed('an answer to another question')
    values, ttl, names = _follow(response, query.question[0].name, query.question[0].rdtype)
    return Reply(str(rcode), False, values, ttl, names)


def _follow(response, name, rdtype):
    """The values of `name` and of what it is an alias of: (values, ttl, names)."""
    records = {}
    for rrset in response.answer:
        records.setdefault((rrset.name, rrset.rdtype), []).append(rrset)
    names, ttls = [], []
    while len(names) <= _MOST_ALIASES:
        names.append(name_text(name))
        found = records.get((name, rdtype))
        if found:
            values = tuple(_value(rrset[0], rdtype) for rrset in found)
            return values, min(ttls + [rrset.ttl for rrset in found]), tuple(names)
        aliases = records.get((name, dns.rdatatype.CNAME))
        if not aliases:
            break
        ttls.append(aliases[0].ttl)
        name = aliases[0][0].target
    return (), None, tuple(names)


def _value(rdata, rdtype):
    return name_text(rdata.target) if rdtype == dns.rdatatype.PTR else str(rdata.address)


def name_text(name):
    """A name as the text in use here: small letters, no final dot, anything unprintable escaped."""
    return str(name.to_text(True)).lower()
