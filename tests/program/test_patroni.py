"""A real Patroni cluster behind the real program: its fail-overs are waits for clients, not errors."""
from __future__ import absolute_import, division, print_function

import contextlib
import os

import pytest

from ..support.patroni import LOOP_SECONDS, TTL_SECONDS, PatroniCluster
from ..support.program import Sidelb
from ..support.waiting import wait_until
from ..support.writer import Writer

CHECK_SECONDS = 0.5


@pytest.fixture(scope='module')
def cluster():
    with PatroniCluster(['127.0.0.2', '127.0.0.3']) as running:
        with open(os.path.join(running.directory, 'insert.sql'), 'w') as stream:
            stream.write('insert into numbers values (:number);\n')
        running.query(running.addresses[0], 'create role sidelb login; create table numbers (number int)')
        yield running


@contextlib.contextmanager
def writing(cluster):
    """A writer whose sessions go through SideLB. The servers themselves are asked for their role: Patroni's REST API says
    200 to /primary of a new leader before its promotion ends, and a write then meets `cannot execute INSERT in a read-only
    transaction` (3.0.2, measured). At the end all that was committed must be there.
    """
    with Sidelb('check=postgres/primary', 'check_interval=%gs' % CHECK_SECONDS, 'on_down=close',
                *['%s:%d' % address for address in cluster.addresses]) as balancer:
        cluster.query(balancer.address, 'truncate numbers')
        with Writer('%s -n -t 1 -D number=$number -f insert.sql' % cluster.pgbench, cluster.environ(balancer.address),
                    cluster.directory) as writer:
            yield writer
        there = set(cluster.query(balancer.address, 'select number from numbers').split())
    assert set(each.number for each in writer.written) <= there
    assert not [each.error for each in writer.failed if 'read-only' in each.error]
    assert max(each.seconds for each in writer.attempts) < TTL_SECONDS + 5 * LOOP_SECONDS + CHECK_SECONDS


# These take some 15 s each: two servers are made, and Patroni waits its ttl for a leader that was killed.
@pytest.mark.once
@pytest.mark.patience(180)
def test_a_switch_over_is_a_wait_for_clients(cluster):
    """A server that stops in good order still accepts, and refuses itself: one session meets that, or two, and has SideLB
    look at it again at once."""
    former = cluster.leader()
    with writing(cluster) as writer:
        cluster.switch_over()
        writer.write_on()
    assert cluster.leader() not in (former, None)
    assert all(any(words in each.error for words in ('shutting down', 'closed the connection', 'administrator'))
               for each in writer.failed), writer.failed
    assert not writer.failed or writer.failed[-1].began - writer.failed[0].began < CHECK_SECONDS, writer.failed


@pytest.mark.once
@pytest.mark.patience(180)
def test_a_leader_that_was_killed_takes_one_session_with_it_and_others_wait(cluster):
    wait_until('no replica', lambda: cluster.roles() == {'leader': 1, 'sync_standby': 1}, 30)
    with writing(cluster) as writer:
        cluster.kill(cluster.leader())
        writer.write_on(30)
    assert len(writer.failed) <= 1
