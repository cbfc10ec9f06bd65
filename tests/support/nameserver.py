"""A name server that misbehaves on demand, and remembers what it was asked."""
from __future__ import absolute_import, division, print_function

import contextlib

import dns.message
import dns.rcode
import dns.rdatatype
import gevent

from sidelb_lib.demo.zone import NameServer, Zone, reverse_name, truncated


class TestNameServer(NameServer):
    """Serves its `zone`, except for what `misbehave` says.

    `asked` is a list of (name, type, protocol) in the order of arrival. `at_once` and `most_at_once` count
    queries that have come and have not been answered yet.
    """

    __test__ = False      # the name is not that of a test class

    def __init__(self, zone=None, host='127.0.0.1', port=0):
        NameServer.__init__(self, zone or Zone(), host, port)
        self.asked = []
        self.at_once = 0
        self.most_at_once = 0
        self._rules = []

    def misbehave(self, behaviour, name=None, rdtype=None):
        """Answer questions for `name` and `rdtype` (None is any) by `behaviour(server, query, protocol)`.

        It returns the bytes to send, a list of several datagrams, or None. The newest rule that fits counts.
        """
        self._rules.insert(0, (behaviour, name and name.rstrip('.').lower(), rdtype))

    def misbehave_for(self, behaviour, ip):
        """As `misbehave`, for the PTR question of `ip`."""
        self.misbehave(behaviour, reverse_name(ip), 'PTR')

    def behave(self):
        """Answer everything out of the zone again."""
        self._rules = []

    def count(self, name=None, rdtype=None, protocol=None):
        """How often such questions came; None is any."""
        wanted = (name, rdtype, protocol)
        return sum(1 for asked in self.asked if all(w is None or w == a for w, a in zip(wanted, asked)))

    def pointer_count(self, ip=None):
        """How often the PTR records of `ip`, or of any IP, were asked for."""
        return self.count(reverse_name(ip).rstrip('.') if ip else None, 'PTR')

    def respond_to(self, query, question, protocol):
        name = str(question.name.to_text(True)).lower()
        rdtype = dns.rdatatype.to_text(question.rdtype)
        self.asked.append((name, rdtype, protocol))
        self.at_once += 1
        self.most_at_once = max(self.most_at_once, self.at_once)
        try:
            for behaviour, its_name, its_type in self._rules:
                if its_name in (None, name) and its_type in (None, rdtype):
                    return behaviour(self, query, protocol)
            return self.usual(query, protocol)
        finally:
            self.at_once -= 1

    def _send_datagram(self, data, peer):
        for datagram in data if isinstance(data, list) else [data]:
            NameServer._send_datagram(self, datagram, peer)

    def usual(self, query, protocol):
        """The answer of a server that behaves."""
        return NameServer.respond_to(self, query, query.question[0], protocol)


def dead(server, query, protocol):
    """No answer."""
    return None


def slow(seconds):
    """The right answer, late."""
    def behaviour(server, query, protocol):
        gevent.sleep(seconds)
        return server.usual(query, protocol)
    return behaviour


def until(event):
    """The right answer, as soon as the event is set."""
    def behaviour(server, query, protocol):
        event.wait()
        return server.usual(query, protocol)
    return behaviour


def rcode(name):
    """An answer with this code and nothing in it: 'SERVFAIL', 'REFUSED', 'NXDOMAIN'."""
    def behaviour(server, query, protocol):
        response = dns.message.make_response(query)
        response.set_rcode(dns.rcode.from_text(name))
        return response.to_wire()
    return behaviour


def empty(server, query, protocol):
    """NOERROR and nothing in it."""
    return dns.message.make_response(query).to_wire()


def garbage(server, query, protocol):
    """Bytes that begin like the answer and are none."""
    return query.to_wire()[:2] + b'\x84\x00' + b'\xff' * 40


def forged(server, query, protocol):
    """A wrong answer, in everything but its identity like the right one."""
    wire = bytearray(server.usual(query, protocol))
    wire[0] ^= 0xff
    wire[-1] ^= 0xff
    return bytes(wire)


def shortened(server, query, protocol):
    """By UDP 'too long, come by TCP', by TCP the right answer."""
    return truncated(query) if protocol == 'udp' else server.usual(query, protocol)


def endlessly_shortened(server, query, protocol):
    """'Too long' by UDP and by TCP."""
    return truncated(query)


def after(*datagrams):
    """The right answer, by UDP behind other datagrams: each a behaviour or the bytes themselves."""
    def behaviour(server, query, protocol):
        right = server.usual(query, protocol)
        if protocol == 'tcp':
            return right
        return [d(server, query, protocol) if callable(d) else d for d in datagrams] + [right]
    return behaviour


@contextlib.contextmanager
def name_server(zone=None, **options):
    """A TestNameServer that runs inside the `with`."""
    server = TestNameServer(zone, **options)
    server.start()
    try:
        yield server
    finally:
        server.stop()
