"""A real Patroni cluster behind the real program: its fail-overs are waits for clients, not errors."""
from __future__ import absolute_import, division, print_function

import collections
import contextlib
import os

import pytest

from ..support.patroni import LOOP_SECONDS, TTL_SECONDS, PatroniCluster
from ..support.processes import Process
from ..support.program import Sidelb
from ..support.waiting import wait_until

CHECK_SECONDS = 0.5

#: One session for each insert; each number is tried once, and what became of it and when is told in a line.
WRITER = '''
number=0
while [ ! -e stop ]; do
    number=$((number + 1))
    began=$(date +%s.%N)
    if said=$({pgbench} -n -t 1 -D number=$number -f insert.sql 2>&1); then word=written; else word=failed; fi
    echo $word $number $began $(date +%s.%N) $(echo "$said" | grep error | tr '\\n' ' ')
done
'''


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
        stop = os.path.join(cluster.directory, 'stop')
        with Process(['sh', '-c', WRITER.format(pgbench=cluster.pgbench)], environ=cluster.environ(balancer.address),
                     cwd=cluster.directory) as writer:
            writer.wait_for_output('^written', times=5)
            try:
                yield writer
            finally:
                open(stop, 'w').close()
            assert writer.wait() == 0
            os.remove(stop)
            done = writer.done = attempts(writer)
            there = set(cluster.query(balancer.address, 'select number from numbers').split())
    print('%d written, the slowest session took %.1f s; failed: %s' % (
        len([each for each in done if each.is_written]), max(each.seconds for each in done),
        [each.error for each in done if not each.is_written]))
    assert set(each.number for each in done if each.is_written) <= there
    assert not [each.error for each in done if 'read-only' in each.error]
    assert max(each.seconds for each in done) < TTL_SECONDS + 5 * LOOP_SECONDS + CHECK_SECONDS


# These take some 15 s each: two servers are made, and Patroni waits its ttl for a leader that was killed.
@pytest.mark.once
@pytest.mark.patience(180)
def test_a_switch_over_is_a_wait_for_clients(cluster):
    """A server that stops in good order still accepts, and refuses itself, until the next check finds it."""
    former = cluster.leader()
    with writing(cluster) as writer:
        cluster.switch_over()
        write_on(writer)
    assert cluster.leader() not in (former, None)
    failed = [each for each in writer.done if not each.is_written]
    assert all(any(words in each.error for words in ('shutting down', 'closed the connection', 'administrator'))
               for each in failed), failed
    assert not failed or failed[-1].began - failed[0].began < 2 * CHECK_SECONDS, failed


@pytest.mark.once
@pytest.mark.patience(180)
def test_a_leader_that_was_killed_takes_one_session_with_it_and_others_wait(cluster):
    wait_until('no replica', lambda: cluster.roles() == {'leader': 1, 'sync_standby': 1}, 30)
    with writing(cluster) as writer:
        cluster.kill(cluster.leader())
        write_on(writer, 30)
    assert len([each for each in writer.done if not each.is_written]) <= 1


#: What the writer tells of one session: its number, seconds, and why it failed.
Attempt = collections.namedtuple('Attempt', 'is_written number began seconds error')


def attempts(writer):
    found = []
    for line in writer.stdout.splitlines(True):
        if line.endswith('\n'):
            word, number, began, ended = line.split()[:4]
            found.append(Attempt(word == 'written', number, float(began), float(ended) - float(began),
                                 ' '.join(line.split()[4:])))
    return found


def write_on(writer, timeout=20):
    """Wait until ten more were written."""
    writer.wait_for_output('^written', times=writer.stdout.count('written') + 10, timeout=timeout)
