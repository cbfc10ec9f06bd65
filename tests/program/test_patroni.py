"""A real Patroni cluster behind the real program: its fail-overs are waits for clients, not errors."""
from __future__ import absolute_import, division, print_function

import os
import re
import time

import pytest

from ..support.patroni import PatroniCluster
from ..support.program import Sidelb
from ..support.waiting import wait_until
from ..support.writer import Writer

CHECK_SECONDS = 0.5
WRITERS = 3

# What a client may need beside Patroni's own time and one interval. Probes have a jitter of a tenth of the interval, and
# those that fall due within another tenth run together; then there are a login and a query by the probe, and two sessions
# and a write by the client. In 60 of 62 runs, on two cores with a load of 3 to 10, the last client that had waited was
# served within 0.7 s of the promotion, one interval included. (In two it took 1.5 and 2.1 s: those that had tried every
# server got on one a second, which is mended.) A second more is for a machine that runs other tests beside this one.
MARGIN_SECONDS = 1.5

# None of these may reach a client: it would have been sent to a replica, to a server that begins, or to nobody.
NEVER = ('read-only', 'starting up', 'not yet accepting', 'refused', 'timeout')

PRIMARY = re.compile(r'^([0-9.]+)\|f$', re.MULTILINE)


@pytest.fixture(scope='module')
def cluster():
    with PatroniCluster(['127.0.0.2', '127.0.0.3']) as running:
        with open(os.path.join(running.directory, 'insert.sql'), 'w') as stream:
            stream.write('insert into numbers values (:number);\n')
        running.query(running.addresses[0], 'create role sidelb login; create table numbers (number int)')
        yield running


def write_during(cluster, fail_over):
    """Sessions go through SideLB while `fail_over(leader)` makes Patroni choose another. Returns the attempts that failed.

    The servers themselves are asked for their role: Patroni's REST API says 200 to /primary of a new leader before its
    promotion ends, and a write then meets `cannot execute INSERT in a read-only transaction` (3.0.2, measured).
    """
    wait_until('no replica', lambda: cluster.roles() == {'leader': 1, 'sync_standby': 1}, 30)
    leader = cluster.leader()
    other = next(member['name'] for member in cluster.members() if member['name'] != leader)
    with Sidelb('check=postgres/primary', 'check_interval=%gs' % CHECK_SECONDS, 'on_down=close',
                *['%s:%d' % address for address in cluster.addresses]) as balancer, cluster.ask_for_role(other) as asking:
        cluster.query(balancer.address, 'truncate numbers')
        asking.wait_for_output(r'^[0-9.]+\|t$')
        with Writer('%s -n -t 1 -D number=$number -f insert.sql' % cluster.pgbench, cluster.environ(balancer.address),
                    cluster.directory, WRITERS) as writer:
            began = time.time()
            fail_over(leader)
            asking.wait_for_output(PRIMARY.pattern, timeout=30)
            writer.write_on(30)
        primary = float(PRIMARY.search(asking.stdout).group(1))
        there = set(cluster.query(balancer.address, 'select number from numbers').split())
        assert set(each.number for each in writer.written) <= there
        assert not [each for each in writer.failed if any(words in each.error for words in NEVER)], writer.failed
        waits = [each for each in writer.attempts if each.began <= primary]
        print('Patroni took %.2f s; the longest wait was %.2f s and ended %.2f s after; %d failed, within %.2f s' % (
            primary - began, max(each.ended - each.began for each in waits), max(each.ended for each in waits) - primary,
            len(writer.failed), spread(writer.failed)))
        late = [each for each in writer.attempts
                if each.ended > max(each.began, primary) + CHECK_SECONDS + MARGIN_SECONDS]
        assert not late, (began, primary, late)
    return writer.failed


def spread(attempts):
    """Seconds between the first that ended and the last."""
    ends = [each.ended for each in attempts] or [0]
    return max(ends) - min(ends)


# Why some sessions fail: PostgreSQL itself had accepted them, before anybody could know, and says that it shuts down, or
# ends. SideLB can't take back what a server has said. It asks a server that ends a session at once, and again after an
# eighth of a second at the earliest; for so long a writer, which needs 25 ms for a session, may meet the old primary.

# These take some 15 s each: two servers are made, and Patroni waits its ttl for a leader that was killed.
@pytest.mark.once
@pytest.mark.patience(180)
def test_at_a_switch_over_clients_wait_for_patroni_and_hardly_longer(cluster):
    """Measured: 0 to 8 sessions of three writers fail, within 0.1 s."""
    failed = write_during(cluster, lambda leader: cluster.switch_over())
    assert len(failed) <= 5 * WRITERS, failed
    assert spread(failed) < CHECK_SECONDS, failed


@pytest.mark.once
@pytest.mark.patience(180)
def test_when_the_leader_was_killed_clients_wait_for_patroni_and_hardly_longer(cluster):
    """Measured: 0 to 4 sessions of three writers fail, within 0.1 s: nobody listens any more, so others go on waiting."""
    failed = write_during(cluster, cluster.kill)
    assert len(failed) <= 2 * WRITERS, failed
    assert spread(failed) < CHECK_SECONDS, failed
