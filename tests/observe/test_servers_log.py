"""Which servers there are, as events of the log."""
from __future__ import absolute_import, division, print_function

import random
import re

import pytest

from sidelb_lib.config import settings
from sidelb_lib.observe.servers_log import ServersLog
from sidelb_lib.policies.registry import policy_of
from sidelb_lib.pool.merging import Group
from sidelb_lib.pool.pool import Pool

from ..support.clock import Clock
from ..support.program import Sidelb
from ..support.recording import RecordingLog
from ..support.servers import servers_on
from ..support.waiting import wait_until


def pool_and_log():
    log, clock = RecordingLog(), Clock()
    values = settings.defaults()
    pool = Pool(policy_of(values, 'app', lambda: 0.0, clock, lambda event, subject: None), log, clock, values)
    return pool, log, ServersLog(log, pool)


def group(number, *ports):
    return Group('db%d.example.com' % number, [('10.0.0.%d' % number, port) for port in ports or (5432,)], None)


def told(log):
    return [(message, fields) for _, event, message, fields in log.lines if event == 'servers_changed']


def test_ten_new_servers_are_one_line_and_replaying_the_events_gives_the_servers():
    pool, log, servers_log = pool_and_log()
    replayed = {}
    steps = [[group(n) for n in range(1, 11)], [group(n) for n in range(2, 11)] + [group(11)],
             [group(2, 5432, 5433)] + [group(n) for n in range(3, 12)]]
    for groups in steps:
        pool.update('ring', groups)
        servers_log.tell()
        fields = told(log)[-1][1]
        for server in fields['added'] + fields['changed']:
            replayed[server['name']] = server['addresses']
        for name in fields['removed']:
            del replayed[name]
        assert replayed == dict((member.name, list(map(str, member.addresses))) for member in pool.members)
        assert fields['known'] == len(replayed)
    assert [message for message, _ in told(log)] == [
        'servers: 10 new (db1, db2, db3 and 7 more, *.example.com), 10 known',
        'servers: 1 new (db11.example.com), 1 left (db1.example.com), 10 known',
        'servers: 1 changed (db2.example.com), 10 known']
    servers_log.tell()
    assert len(told(log)) == 3


def test_very_many_servers_are_several_lines():
    pool, log, servers_log = pool_and_log()
    pool.update('ring', [Group('db%d' % n, [('10.0.%d.%d' % (n // 250, n % 250 + 1), 1)], None) for n in range(250)])
    servers_log.tell()
    assert [len(fields['added']) for _, fields in told(log)] == [100, 100, 50]


def test_changes_are_gathered():
    pool, log, servers_log = pool_and_log()
    pool.observers.append(servers_log.observe)
    pool.update('ring', [group(1)])
    pool.update('ring', [group(1), group(2)])
    wait_until('it is told', lambda: told(log))
    assert [fields['known'] for _, fields in told(log)] == [2]


@pytest.mark.slow
def test_a_start_with_ten_servers_is_a_dozen_lines_at_most_and_ends_in_the_verdict():
    with servers_on(['127.0.0.%d' % n for n in range(2, 12)]) as servers:
        with Sidelb('http=127.0.0.1:0', *servers) as sidelb:
            sidelb.wait_for_log('checked')
            wait_until('HTTP is there', lambda: 'status page' in sidelb.log)
            lines = re.findall(r'^20\S+Z \w+ (.*)$', sidelb.log, re.MULTILINE)
    assert len(lines) <= 12 and 'checked: all 10 up' in lines[-2:]
    first = [line for line in lines if line.startswith('listening')][0]
    assert re.match(r'listening on \S+ \(tcp, round-robin, check tcp; servers from .* and 7 more; SideLB \S+; '
                    r'first server by (number \d+ of host \S+|chance \(.*\))\)$', first)


@pytest.mark.parametrize('round_', range(5))
def test_whoever_replays_the_events_knows_the_servers_however_they_are_regrouped(round_):
    """Names come and go, addresses move from one server to another, and none is left over."""
    seed = random.randrange(10 ** 9)
    chance = random.Random(seed)
    pool, log, servers_log = pool_and_log()
    servers, names, begun = {}, {}, 0
    for step in range(100):
        pool.update(chance.choice(['ring', 'file']), [
            Group(chance.choice([None, 'a', 'b', 'c']),
                  [('10.0.0.%d' % chance.randrange(6), chance.choice([5432, 5433]))], None)
            for _ in range(chance.randrange(6))])
        servers_log.tell()
        for _, event, _, fields in log.lines[begun:]:
            if event == 'servers_changed':
                servers.update((one['name'], one['addresses']) for one in fields['added'] + fields['changed'])
                for name in fields['removed']:
                    del servers[name]
            elif event in ('member_added', 'member_changed'):
                names.update((address, fields['member']) for address in fields['addresses'].split(', '))
            elif event == 'member_removed':
                del names[fields['address']]
        begun = len(log.lines)
        what = 'seed %d, step %d' % (seed, step)
        assert names == dict((str(one), member.name) for member in pool.members for one in member.addresses), what
        assert sorted(servers.values()) == sorted(list(map(str, member.addresses)) for member in pool.members), what
