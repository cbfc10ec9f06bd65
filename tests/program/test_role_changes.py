"""Real databases whose roles people change, behind the real program, while a client writes through it."""
from __future__ import absolute_import, division, print_function

import signal
import time

import pytest

from ..support.mariadb import MariaServer
from ..support.postgres import StreamingPair
from ..support.program import Sidelb
from ..support.requirements import need_program
from ..support.writer import Writer

pytestmark = [pytest.mark.once, pytest.mark.patience(120)]


def wait_for_states(balancer, *wanted):
    balancer.wait_for_status('the states are others', lambda status: sorted(
        member['state'] for member in status['members']) == sorted(wanted))


def test_a_replica_that_is_promoted_gets_the_writes_and_the_old_primary_none_when_it_returns(tmpdir):
    """Without Patroni: it is stopped, the replica is promoted by hand, and the old one comes back as what it was."""
    with StreamingPair(['127.0.0.2', '127.0.0.3']) as pair:
        former, other = pair.servers
        pair.query(former.address, 'create role sidelb login; create table numbers (number int)')
        command = "%s -XAtqc \"insert into numbers values ($number)\"" % pair.programs['psql']
        with Sidelb('check=postgres/primary', 'check_interval=500ms', former, other) as balancer:
            wait_for_states(balancer, 'up', 'standby')
            with Writer(command, pair.client_environ(balancer.address), str(tmpdir)) as writer:
                former.stop(signal.SIGINT)
                wait_for_states(balancer, 'down', 'standby')
                noticed = time.time()
                assert pair.query(other.address, 'select pg_promote()') == 't'
                writer.write_on()
                former.start()
                wait_for_states(balancer, 'standby', 'up')
                writer.write_on()
            assert balancer.status()['two_primaries'] == 1
        there = set(pair.query(other.address, 'select number from numbers').split())
        assert set(each.number for each in writer.written) <= there
        assert set(pair.query(former.address, 'select number from numbers').split()) < there
    assert not [each for each in writer.failed if 'read-only' in each.error or each.began > noticed], writer.failed


def test_read_only_that_is_switched_on_and_off_moves_the_writes(tmpdir):
    """Nothing is written where read_only is on, and what is written is there. A session may begin, and fail, between the
    switch and the next check; none does once SideLB has seen it: they wait."""
    with MariaServer('127.0.0.2') as one, MariaServer('127.0.0.3') as other:
        for server in (one, other):
            server.query("create user sidelb@'%'; create user app@'%'; create database app; grant all on app.* to app@'%'; "
                         'create table app.numbers (number int)')
        other.query('set global read_only=1')
        with Sidelb('check=mysql/primary', 'check_interval=500ms', one, other) as balancer:
            wait_for_states(balancer, 'up', 'standby')
            command = '%s --no-defaults -h %s -P %d -u app -e \"insert into app.numbers values ($number)\"' % (
                need_program('mariadb', 'mariadb-server'), balancer.address[0], balancer.address[1])
            unnoticed = []                             # (from, to) between a switch and the check that has seen it
            with Writer(command, None, str(tmpdir)) as writer:
                for former, next_one in ((one, other), (other, one)):
                    began = time.time()
                    former.query('set global read_only=1')
                    wait_for_states(balancer, 'standby', 'standby')
                    unnoticed.append((began, time.time()))
                    next_one.query('set global read_only=0')
                    writer.write_on()
        there = [set(server.query('select number from app.numbers').split()) for server in (one, other)]
        assert set(each.number for each in writer.written) <= there[0] | there[1] and not there[0] & there[1]
        assert there[0] and there[1]
    for each in writer.failed:
        assert any(begin < each.ended and each.began < end for begin, end in unnoticed), writer.failed
