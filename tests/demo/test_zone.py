"""The embedded name server, asked by dnspython itself and not by our resolver."""
from __future__ import absolute_import, division, print_function

import socket
import struct

import dns.flags
import dns.message
import dns.query
import dns.rcode
import pytest

from sidelb_lib.demo.zone import NameServer, Zone, reverse_name


@pytest.fixture
def server():
    server = NameServer(Zone(ttl=60))
    server.start()
    yield server
    server.stop()


def ask(server, name, rdtype, how=dns.query.udp):
    query = dns.message.make_query(name, rdtype)
    return how(query, server.address[0], port=server.address[1], timeout=5)


def records(response):
    """[(name, ttl, type and value), ...] of the answer section."""
    found = []
    for rrset in response.answer:
        for line in str(rrset).splitlines():
            name, ttl, _, rdtype, value = line.split()
            found.append((name, int(ttl), rdtype + ' ' + value))
    return found


@pytest.mark.parametrize('how', [dns.query.udp, dns.query.tcp])
def test_addresses_are_answered(server, how):
    server.zone.set_addresses('db.example.com', ['10.9.0.1', '10.9.0.2', '2001:db8::1'], ttl=7)
    assert sorted(records(ask(server, 'db.example.com', 'A', how))) == [
        ('db.example.com.', 7, 'A 10.9.0.1'), ('db.example.com.', 7, 'A 10.9.0.2')]
    assert records(ask(server, 'DB.example.com', 'AAAA', how))[0][1:] == (7, 'AAAA 2001:db8::1')


def test_a_server_has_its_pointers(server):
    server.zone.set_server('db1.example.com', ['10.9.0.1', '2001:db8::1'])
    for ip in ('10.9.0.1', '2001:db8::1'):
        pointers = records(ask(server, reverse_name(ip), 'PTR'))
        assert pointers == [(reverse_name(ip), 60, 'PTR db1.example.com.')]


def test_aliases_are_followed_each_with_its_own_ttl(server):
    server.zone.set('db.example.com', 'CNAME', ['lb.example.com'], ttl=30)
    server.zone.set('lb.example.com', 'CNAME', ['pool.example.com'], ttl=20)
    server.zone.set('pool.example.com', 'A', ['10.9.0.1'], ttl=10)
    assert records(ask(server, 'db.example.com', 'A')) == [
        ('db.example.com.', 30, 'CNAME lb.example.com.'), ('lb.example.com.', 20, 'CNAME pool.example.com.'),
        ('pool.example.com.', 10, 'A 10.9.0.1')]


def test_aliases_that_go_in_circles_end(server):
    server.zone.set('a.example.com', 'CNAME', ['b.example.com'])
    server.zone.set('b.example.com', 'CNAME', ['a.example.com'])
    assert ask(server, 'a.example.com', 'A').answer


def test_no_such_name_differs_from_no_such_records(server):
    server.zone.set('db.example.com', 'A', ['10.9.0.1'])
    nothing = ask(server, 'db.example.com', 'AAAA')
    assert (nothing.rcode(), nothing.answer) == (dns.rcode.NOERROR, [])
    assert ask(server, 'nobody.example.com', 'A').rcode() == dns.rcode.NXDOMAIN


def test_records_change_while_it_runs(server):
    server.zone.set('db.example.com', 'A', ['10.9.0.1'])
    assert records(ask(server, 'db.example.com', 'A'))[0][2] == 'A 10.9.0.1'
    server.zone.set('db.example.com', 'A', ['10.9.0.2'])
    assert records(ask(server, 'db.example.com', 'A'))[0][2] == 'A 10.9.0.2'
    server.zone.remove('db.example.com', 'A')
    assert ask(server, 'db.example.com', 'A').rcode() == dns.rcode.NXDOMAIN
    server.zone.set_pointer('10.9.0.2', ['db2.example.com'])
    server.zone.remove_pointer('10.9.0.2')
    assert ask(server, reverse_name('10.9.0.2'), 'PTR').rcode() == dns.rcode.NXDOMAIN


def test_an_answer_too_long_for_udp_is_cut_and_whole_by_tcp(server):
    server.zone.set('db.example.com', 'A', ['10.9.0.%d' % n for n in range(100)])
    response = ask(server, 'db.example.com', 'A')
    assert response.flags & dns.flags.TC
    assert not response.answer
    assert len(records(ask(server, 'db.example.com', 'A', dns.query.tcp))) == 100


def test_garbage_is_not_answered_and_does_not_hurt(server):
    server.zone.set('db.example.com', 'A', ['10.9.0.1'])
    sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    for garbage in (b'', b'x', b'\xff' * 12, b'\0' * 12):
        sock.sendto(garbage, server.address)
    sock.close()
    with_tcp = socket.create_connection(server.address, 5)
    with_tcp.sendall(struct.pack('!H', 12) + b'\xff' * 12)
    assert with_tcp.recv(1) == b''
    with_tcp.close()
    assert records(ask(server, 'db.example.com', 'A'))


def test_it_can_be_started_again_after_a_stop(server):
    server.stop()
    server.start()
    server.zone.set('db.example.com', 'A', ['10.9.0.1'])
    assert records(ask(server, 'db.example.com', 'A'))
