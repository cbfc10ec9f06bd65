"""Hosts files, resolv.conf and DNS messages that were mutated from good ones: nothing breaks, and where the C library can be
asked, it says the same. Each run has another seed, which a failure shows; SIDELB_TEST_SEED repeats one.
"""
from __future__ import absolute_import, division, print_function

import contextlib
import os
import random
import re
import socket
import time

import dns.message
import dns.rrset
import pytest

from sidelb_lib.net.endpoints import canonical_ip, unmapped
from sidelb_lib.resolver import message
from sidelb_lib.resolver.hosts_file import addresses_in_hosts
from sidelb_lib.resolver.message import Malformed, Nonsense, Reply, read_reply
from sidelb_lib.resolver.resolv_conf import ResolvConf, candidates, parse_resolv_conf
from tests.support import nameserver
from tests.support.nameserver import name_server
from tests.support.netns import NetworkNamespace, entered
from tests.support.processes import run
from tests.support.requirements import need_namespaces

NAME = 'db.example.com'
SECONDS = 8.0                 # at most, for each of the tests that ask the C library

PIECES = [b'\n', b' ', b'\t', b'\r', b'\r\n', b'\x0b', b'\x0c', b'\x1c', b'\x85', b'\xa0', b'\xc2\x85',
          b'\xe2\x80\xa8', b'#',
          b'\0', b'.', b':', b'%lo', b'::ffff:', b'10.9.0.7', b'2001:db8::7', b'0', b'DB.EXAMPLE.COM', b'db.example.com',
          b'db.example.com.', b'\xc5\x9bl\xc4\x85sk', b'-', b'999']


@pytest.fixture
def chance():
    """Chance whose seed is told when the test fails."""
    seed = int(os.environ.get('SIDELB_TEST_SEED') or random.SystemRandom().randrange(10 ** 9))
    print('SIDELB_TEST_SEED=%d' % seed)
    return random.Random(seed)


def mutated(data, chance, pieces=PIECES):
    """A few pieces put in, bytes taken out, changed, lines doubled or swapped."""
    data = bytearray(data)
    for _ in range(chance.randrange(1, 6)):
        where = chance.randrange(len(data) + 1)
        kind = chance.randrange(5)
        if kind <= 1:
            data[where:where] = chance.choice(pieces)
        elif kind == 2:
            del data[where:where + chance.randrange(1, 8)]
        elif kind == 3 and where < len(data):
            data[where] = bytearray(chance.choice(pieces))[0]
        else:
            lines = bytes(data).split(b'\n')
            line = chance.choice(lines)
            lines.insert(chance.randrange(len(lines) + 1), line)
            data = bytearray(b'\n'.join(lines))
    return bytes(data)


# --- DNS messages ----------------------------------------------------------------------------------------------------

def good_answers():
    for rdtype, values in [('A', ['10.9.0.1', '10.9.0.2']), ('AAAA', ['2001:db8::1']), ('PTR', ['db1.example.com.']),
                           ('SRV', ['10 20 5432 db1.example.com.'])]:
        query = message.without_edns(message.question(NAME + '.', rdtype))
        response = dns.message.make_response(query)
        response.answer.append(dns.rrset.from_text(NAME + '.', 60, 'IN', 'CNAME', 'a.example.com.'))
        response.answer.append(dns.rrset.from_text('a.example.com.', 60, 'IN', rdtype, *values))
        response.authority.append(dns.rrset.from_text('example.com.', 60, 'IN', 'SOA', 'ns. x. 1 2 3 4 5'))
        yield query, response.to_wire()


def test_mutated_messages_are_read_or_refused(chance):
    outcomes = {}
    for query, wire in good_answers():
        for _ in range(4000):
            data = mutated(wire, chance, [b'\0', b'\x01', b'\xc0', b'\xc0\x0c', b'\xff', b'\x3f', b'\x00\x05', b'\x00\x21'])
            if chance.random() < 0.7:
                data = wire[:12] + data[12:]         # what is broken in the header is soon refused
            if chance.random() < 0.1:
                data = data[:3] + b'\x03' + data[4:]         # NXDOMAIN, beside records: by chance it comes too seldom
            try:
                reply = read_reply(query, data)
            except (Malformed, Nonsense) as error:
                outcomes[type(error)] = outcomes.get(type(error), 0) + 1
                continue
            outcomes[Reply] = outcomes.get(Reply, 0) + 1
            check(reply, query, data)
    assert len(outcomes) == 3, outcomes


def check(reply, query, data):
    """What is read stands in the message, and is what it says it is."""
    kind = query.question[0].rdtype
    assert reply.ttl is None or 0 <= reply.ttl < 1 << 31
    for value in reply.values:
        if kind in (1, 28):
            family = socket.AF_INET if kind == 1 else socket.AF_INET6
            assert socket.inet_pton(family, value) in data
        else:
            assert all(' ' <= character <= '~' for character in value)
        if kind == 33:
            priority, weight, port, _ = value.split(' ')
            assert max(int(priority), int(weight), int(port)) <= 65535


# --- the hosts file and resolv.conf ----------------------------------------------------------------------------------

HOSTS = (b'# hosts of the t\xc3\xa9st\n127.0.0.1\tlocalhost\n10.9.0.1 db.example.com db\n'
         b'2001:db8::1  x DB.example.com # too\n10.9.0.2\tother.example.com\tdb.example.com\n'
         b'::ffff:10.9.0.3 db.example.com\n'
         b'10.9.0.4 xdb.example.com\n')
OPTIONS = b'options ndots:2 timeout:1 attempts:1\n'
RESOLV_CONF = b'# by nobody\nsearch one.example two.example\ndomain three.example\nsearch one.example four.example\n'


def test_mutated_files_are_read(chance, tmpdir):
    path = tmpdir.join('resolv.conf')
    for _ in range(2000):
        ips = addresses_in_hosts(mutated(HOSTS, chance).decode('latin-1'), NAME)
        assert all(canonical_ip(ip) == ip for ip in ips)
        data = mutated(RESOLV_CONF + OPTIONS + b'nameserver 10.9.0.53\n', chance)
        configuration = parse_resolv_conf(data.decode('latin-1'))
        assert configuration.servers and 0 <= configuration.ndots <= 15
        assert all(canonical_ip(ip.split('%')[0]) for ip, _ in configuration.servers)
        assert candidates(NAME, configuration.search, configuration.ndots)
    path.write_binary(data)
    assert ResolvConf(str(path)).configuration() == configuration


@pytest.fixture
def namespace():
    need_namespaces()
    with NetworkNamespace(['10.9.0.99', '2001:db8::99']) as namespace:   # else the C library looks for no address
        yield namespace


def write(namespace, name, data):
    """Write in place: inside it is bound over the file in /etc."""
    with open(os.path.join('/etc/netns', namespace.name, name), 'wb') as stream:
        stream.write(data)


def getent(namespace, service, database, name):
    """The addresses that the C library gives a name."""
    finished = run(namespace.command(['getent', '-s', 'hosts:' + service, database, name]))
    return set(unmapped(canonical_ip(line.split()[0])) for line in finished.output.split('\n') if line.strip())


def test_the_c_library_finds_the_same_in_mutated_hosts_files(chance, namespace):
    """A zone, as in fe80::1%lo, aside: SideLB takes none."""
    deadline, count = time.time() + SECONDS, 0
    while time.time() < deadline and count < 300:
        data = mutated(HOSTS, chance, [piece for piece in PIECES if b'%' not in piece])
        write(namespace, 'hosts', data)
        ours = set(unmapped(ip) for ip in addresses_in_hosts(data.decode('latin-1'), NAME))
        theirs = getent(namespace, 'files', 'ahosts', NAME)
        if b'.com.' in data.lower():                         # a final dot makes no difference to SideLB
            theirs |= getent(namespace, 'files', 'ahosts', NAME + '.')
        assert ours == theirs, data
        count += 1


@contextlib.contextmanager
def name_server_inside(namespace):
    """One that knows nothing, at port 53 inside. Sockets are made there; the C library's process is there as well."""
    with entered(namespace):
        context = name_server(port=53)
        server = context.__enter__()
    try:
        server.misbehave(nameserver.rcode('NXDOMAIN'))
        yield server
    finally:
        context.__exit__(None, None, None)


@pytest.mark.parametrize('name', ['db', 'db.eu', 'db.eu.west'])
def test_the_c_library_asks_for_the_same_names_by_mutated_files(chance, namespace, name):
    """But for comments behind words, which the C library takes for words, carriage returns, which it keeps, and names with
    bytes that we ask nobody for."""
    pieces = [piece for piece in PIECES if b'#' not in piece and b'%' not in piece and b'\r' not in piece]
    deadline, count = time.time() + SECONDS / 3, 0
    with name_server_inside(namespace) as server:
        while time.time() < deadline and count < 100:
            data = b'nameserver 127.0.0.1\n' + OPTIONS + mutated(RESOLV_CONF, chance, pieces)
            if re.search(br'[. \t]\.', data):
                continue                         # no domain: where the C library ends the search, SideLB goes on
            if re.search(br'\S[^\n]*#', data):
                continue                         # a line of the good file lost its end before the comment
            write(namespace, 'resolv.conf', data)
            del server.asked[:]
            getent(namespace, 'dns', 'ahostsv4', name)
            theirs = [asked + '.' for asked, rdtype, _ in server.asked if rdtype == 'A' and '\\' not in asked]
            configuration = parse_resolv_conf(data.decode('latin-1'))
            ours = [one.lower() for one in candidates(name, configuration.search, configuration.ndots)]
            assert without_repetition(theirs) == without_repetition(ours), data
            count += 1


def without_repetition(names):
    kept = []
    for name in names:
        if name not in kept:
            kept.append(name)
    return kept
