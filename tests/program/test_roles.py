"""Checks for a role through the real program: servers that lose it while clients come."""
from __future__ import absolute_import, division, print_function

import contextlib
import struct

from ..support.clients import connect, read_all
from ..support.program import Sidelb
from ..support.servers import Server
from ..support.waiting import wait_until

STOPS = b'E' + struct.pack('!I', 53) + b'SFATAL\0C57P03\0Mthe database system is shutting down\0\0'


class Database(Server):
    """Says of itself what a PostgreSQL says: `standby` is `on` or `off`, or None while it stops."""

    def __init__(self, ip, standby):
        Server.__init__(self, ip, ip, behaviour=self._serve)
        self.standby = standby
        self.sessions_begun = []             # those of clients, of which a probe is none

    def _serve(self, session):
        if b'application_name' not in session.recv():
            self.sessions_begun.append(session)
        if self.standby is None:
            return session.sock.sendall(STOPS)
        parameter = b'in_hot_standby\0' + self.standby + b'\0'
        session.sock.sendall(b'R' + struct.pack('!II', 8, 0) + b'S' + struct.pack('!I', len(parameter) + 4) + parameter +
                             b'Z' + struct.pack('!I', 5) + b'I')
        while session.recv():
            session.sock.sendall(b'Z' + struct.pack('!I', 5) + b'I')


def begun(balancer):
    """What a client that begins a session, and ends it, is told."""
    with contextlib.closing(connect(balancer.address)) as client:
        client.sendall(struct.pack('!II', 8, 3 << 16))
        client.settimeout(20)
        said = client.recv(100)
        if said[:1] == b'E':
            read_all(client)
        return said


def test_one_client_meets_a_server_that_stops_and_the_next_ones_wait_for_another_primary():
    with Database('127.0.0.2', b'off') as former, Database('127.0.0.3', b'on') as other, \
            Sidelb('check=postgres/primary', 'check_interval=60s', former, other) as balancer:
        balancer.wait_for_status('there is no primary', lambda status: sorted(
            member['state'] for member in status['members']) == ['standby', 'up'])
        assert begun(balancer)[:1] == b'R'
        former.standby = None
        assert begun(balancer) == STOPS                # it was said before anybody could know
        balancer.wait_for_status('it is not looked at again', lambda status: not any(
            member['state'] == 'up' for member in status['members']))
        other.standby = b'off'
        assert begun(balancer)[:1] == b'R'
        assert other.served and balancer.status()['connections']['refused'] == {}


def test_new_sessions_go_to_the_primary_while_there_is_no_replica_and_back():
    with Database('127.0.0.2', b'off') as primary, Database('127.0.0.3', b'on') as replica, \
            Sidelb('check=postgres/prefer-replica', 'check_interval=200ms', primary, replica) as balancer:
        balancer.wait_for_status('not all are up', lambda status: all(
            member['state'] == 'up' and member['role'] for member in status['members']))

        def reached(server):
            before = len(server.sessions_begun)
            begun(balancer)
            return len(server.sessions_begun) > before
        assert reached(replica)
        replica.refuse()
        assert reached(primary)                        # at once: the connect fails over
        balancer.wait_for_status('the replica is up', lambda status: 'down' in [
            member['state'] for member in status['members']])
        assert reached(primary)
        replica.listen()
        wait_until('the replica gets nobody', lambda: reached(replica))
