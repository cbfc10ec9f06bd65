"""A small authoritative name server for the demo and the tests. It is not meant for a network."""
from __future__ import absolute_import, division, print_function

import errno
import struct

import dns.flags
import dns.message
import dns.name
import dns.rcode
import dns.rdata
import dns.rdataclass
import dns.rdatatype
import dns.reversename
import dns.rrset
from gevent.server import DatagramServer, StreamServer

from ..net.reading import read_exactly

_MAX_UDP_BYTES = 512         # without EDNS: RFC 1035, section 4.2.1
_MAX_ALIASES = 16
_TCP_SECONDS = 10.0


class Zone(object):
    """Records, by name and type, that may be changed at any time. `ttl` is for those set without one, `negative_ttl` says
    how long it may be believed that there are none: in the SOA record of such answers, or nowhere when it is None."""

    def __init__(self, ttl=60, negative_ttl=None):
        self.ttl = ttl
        self.negative_ttl = negative_ttl
        self._records = {}      # dns.name.Name -> {type as text: (ttl, [value as text, ...])}

    def set(self, name, rdtype, values, ttl=None):
        """Replace the records of one type: set('db.example.com', 'A', ['10.0.0.1'], ttl=5)."""
        ttl = self.ttl if ttl is None else ttl
        self._records.setdefault(_name(name), {})[rdtype] = (ttl, list(values))

    def remove(self, name, rdtype=None):
        """Remove the records of one type, or all. Without any type left the name does not exist."""
        types = self._records.get(_name(name), {})
        if rdtype:
            types.pop(rdtype, None)
        if not rdtype or not types:
            self._records.pop(_name(name), None)

    def set_addresses(self, name, ips, ttl=None):
        """Replace both A and AAAA records of the name by these IPs, in this order."""
        self.remove(name)
        for rdtype, is_ipv6 in (('A', False), ('AAAA', True)):
            values = [ip for ip in ips if (':' in ip) == is_ipv6]
            if values:
                self.set(name, rdtype, values, ttl)

    def set_pointer(self, ip, names, ttl=None):
        """Replace the PTR records of `ip`: set_pointer('10.0.0.1', ['db1.example.com'])."""
        self.set(reverse_name(ip), 'PTR', names, ttl)

    def remove_pointer(self, ip):
        self.remove(reverse_name(ip))

    def set_server(self, name, ips, ttl=None):
        """A server as it should be: the name has these IPs, and each IP has the name."""
        self.set_addresses(name, ips, ttl)
        for ip in ips:
            self.set_pointer(ip, [name], ttl)

    def answer(self, query):
        """The response message to a query message; aliases are followed inside the zone."""
        response = dns.message.make_response(query)
        response.flags |= dns.flags.AA
        name, rdtype = query.question[0].name, dns.rdatatype.to_text(query.question[0].rdtype)
        for _ in range(_MAX_ALIASES):
            types = self._records.get(name)
            if types is None:
                response.set_rcode(dns.rcode.NXDOMAIN)
                break
            alias = rdtype not in types and types.get('CNAME')
            kind = 'CNAME' if alias else rdtype
            ttl, values = types.get(kind, (0, ()))
            for value in values:
                # In one RRset each, because dnspython 1.16 takes seconds to put a thousand records into one.
                response.answer.append(dns.rrset.from_rdata(name, ttl, _rdata(kind, value)))
            if not alias:
                break
            name = _name(values[0])
        if self.negative_ttl is not None and not any(rrset.rdtype == query.question[0].rdtype for rrset in response.answer):
            soa = '. . 1 3600 600 86400 %d' % self.negative_ttl
            response.authority.append(dns.rrset.from_text(dns.name.root, self.negative_ttl, 'IN', 'SOA', soa))
        return response


class NameServer(object):
    """Serves a Zone by UDP and TCP on one port of `host`; `address` is the (ip, port), after `start()`."""

    def __init__(self, zone, host='127.0.0.1', port=0):
        self.zone = zone
        self.address = (host, port)
        self._servers = []

    def start(self):
        """Bind and serve. OSError when it can't be bound."""
        host, port = self.address
        for _ in range(50):
            udp = DatagramServer((host, port), self._serve_datagram)
            udp.start()
            tcp = StreamServer((host, udp.server_port), self._serve_connection)
            try:
                tcp.start()
            except EnvironmentError as error:
                udp.stop()     # the port that the kernel chose for UDP may be taken for TCP: choose again
                if port or error.errno != errno.EADDRINUSE:
                    raise
                continue
            self.address = (host, udp.server_port)
            self._servers = [udp, tcp]
            return
        raise EnvironmentError(errno.EADDRINUSE, 'no port is free for both UDP and TCP')

    def stop(self):
        for server in self._servers:
            server.stop(timeout=0)
        self._servers = []

    def respond(self, wire, protocol):
        """The bytes that answer the query in `wire`, or None for no answer. `protocol` is 'udp' or 'tcp'."""
        try:
            query = dns.message.from_wire(wire)
            question = query.question[0]
        except Exception:    # whatever hostile bytes do to the parser
            return None
        return self.respond_to(query, question, protocol)

    def respond_to(self, query, question, protocol):
        """As `respond`, for a query that has been read. `question` has `name` and `rdtype`."""
        response = self.zone.answer(query)
        wire = response.to_wire(max_size=65535)
        limit = max(_MAX_UDP_BYTES, query.payload if query.edns >= 0 else 0)
        if protocol == 'udp' and len(wire) > limit:
            wire = truncated(query)
        return wire

    def _serve_datagram(self, wire, peer):
        reply = self.respond(wire, 'udp')
        if reply is not None:
            self._send_datagram(reply, peer)

    def _send_datagram(self, data, peer):
        try:
            self._servers[0].socket.sendto(data, peer)
        except (EnvironmentError, IndexError):    # the asker is gone, or we are
            pass

    def _serve_connection(self, sock, peer):
        try:
            sock.settimeout(_TCP_SECONDS)
            while True:
                length, = struct.unpack('!H', read_exactly(sock, 2))
                reply = self.respond(read_exactly(sock, length), 'tcp')
                if reply is None:
                    return
                sock.sendall(struct.pack('!H', len(reply)) + reply)
        except (EnvironmentError, EOFError):
            pass
        finally:
            sock.close()


def truncated(query):
    """The bytes that tell the asker to come again by TCP."""
    response = dns.message.make_response(query)
    response.flags |= dns.flags.TC
    return response.to_wire()


def reverse_name(ip):
    return dns.reversename.from_address(ip).to_text()


def _rdata(rdtype, value):
    """The record's content; names are made from bytes, for dnspython 1.16 takes other text through IDNA."""
    kind = dns.rdatatype.from_text(rdtype)
    if rdtype in ('CNAME', 'PTR'):
        wire = _name(value).to_wire()
        return dns.rdata.from_wire(dns.rdataclass.IN, kind, wire, 0, len(wire))
    return dns.rdata.from_text(dns.rdataclass.IN, kind, value)


def _name(text):
    return dns.name.from_text(text)
