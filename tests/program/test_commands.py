"""Hands on a running process: sidelb drain, enable, weight, sessions, close, rebalance, events."""
from __future__ import absolute_import, division, print_function

import contextlib
import json
import os
import re
import socket
import time

import pytest

from ..support.clients import read_line
from ..support.processes import Process
from ..support.program import COMMAND, Sidelb, run_sidelb
from ..support.servers import servers_on
from ..support.waiting import wait_until


@contextlib.contextmanager
def balancer_of_two(*settings):
    """(Sidelb, its two servers)."""
    with servers_on(['127.0.0.2', '127.0.0.3'], ['A', 'B']) as servers:
        with Sidelb(*(servers + list(settings))) as balancer:
            balancer.wait_until_up(*servers)
            yield balancer, servers


@pytest.fixture
def two():
    with balancer_of_two() as parts:
        yield parts


@pytest.fixture(scope='module')
def untouched():
    """One for all tests of what changes nothing."""
    with balancer_of_two() as parts:
        yield parts


def hand(balancer, *arguments):
    return run_sidelb(*(arguments + ('--socket=' + balancer.status_path,)))


def command(balancer, name, **options):
    """As `hand`, without starting a program."""
    return json.loads(balancer.ask(('%s %s\n' % (name, json.dumps(options))).encode('ascii')).decode('ascii'))


def test_a_drained_server_gets_nothing_new_and_keeps_its_sessions(two):
    balancer, (first, second) = two
    with contextlib.closing(balancer.connect()) as client:
        name = read_line(client)
        server = first if name == 'A' else second
        finished = hand(balancer, 'drain', str(server))
        assert finished.stdout == '%s is draining, 1 session\n' % server and not finished.stderr, finished
        assert set(balancer.who() for _ in range(4)) == {'B' if name == 'A' else 'A'}
        client.sendall(b'still there\n')
        assert read_line(client) == 'still there'
    assert balancer.members()[str(server)]['state'] == 'draining'
    log = balancer.wait_for_log(r'drain (\S+) by uid (\d+), pid \d+, was up')
    assert log.group(1) == str(server) and int(log.group(2)) == os.getuid()
    shown = balancer.members()[str(server)]
    assert (shown['by'], shown['note']) == ('uid %d' % os.getuid(), 'drained by uid %d' % os.getuid())
    change = balancer.status()['changes'][0]
    assert (change['word'], change['text']) == ('drain', '%s: by uid %d' % (server, os.getuid()))


def test_a_server_is_enabled_again(two):
    balancer, (first, _) = two
    hand(balancer, 'drain', str(first))
    assert hand(balancer, 'enable', str(first)).stdout == '%s is up, 0 sessions\n' % first
    assert set(balancer.who() for _ in range(4)) == {'A', 'B'}


def test_an_address_without_its_port_names_a_server_too(two):
    balancer, (first, _) = two
    assert hand(balancer, 'drain', '127.0.0.2').stdout == '%s is draining, 0 sessions\n' % first


def test_waiting_ends_with_the_last_session(two):
    balancer, (first, second) = two
    client = balancer.connect()
    server = first if read_line(client) == 'A' else second
    finished = hand(balancer, 'drain', str(server), '--wait', '--timeout=100ms')
    assert finished.returncode == 1
    assert finished.stderr == 'sidelb: %s still has 1 session after 0.1 s; it goes on draining\n' % server
    client.close()
    finished = hand(balancer, 'drain', str(server), '--wait', '--timeout=20s', '--force')
    assert (finished.returncode, finished.stdout) == (0, '%s is draining, 0 sessions\n' % server)


def test_closing_cuts_what_is_left(two):
    balancer, (first, second) = two
    with contextlib.closing(balancer.connect()) as client:
        server = first if read_line(client) == 'A' else second
        assert hand(balancer, 'drain', str(server), '--close').stdout == '%s is draining, 0 sessions\n' % server
        with pytest.raises(EnvironmentError):
            client.recv(10)


def test_the_last_server_is_not_drained_by_mistake(two):
    balancer, (first, second) = two
    assert hand(balancer, 'drain', str(first)).returncode == 0
    refused = hand(balancer, 'drain', str(second))
    assert refused.returncode == 1
    assert refused.stderr == 'sidelb: %s is the last server that is up: --force drains it all the same\n' % second
    assert hand(balancer, 'drain', str(second), '--force').returncode == 0


@pytest.mark.parametrize('arguments, text', [
    (('drain', '127.0.0.22'), r'there is no server 127\.0\.0\.22: did you mean 127\.0\.0\.'),
    (('enable', 'nobody'), 'there is no server nobody: sidelb status and sidelb sessions list them$'),
    (('drain', '127.0.0.2', '--service=db'), 'there is no service db: there is default'),
])
def test_a_wrong_name_is_told_with_near_ones(untouched, arguments, text):
    finished = hand(untouched[0], *arguments)
    assert finished.returncode == 1 and re.search('^sidelb: ' + text, finished.stderr.strip()), finished


def test_a_wrong_time_is_told():
    finished = run_sidelb('drain', 'db1', '--timeout=soon')
    assert finished.returncode == 2 and '--timeout=soon: write a duration like 500ms' in finished.stderr


@pytest.mark.parametrize('request_, answer', [
    (b'Q', b'HEALTHY\n'), (b'', b'HEALTHY\n'), (b'drain', b'HEALTHY\n'), (b'drain {', b'HEALTHY\n'),
    (b"frobnicate {}\n", b"HEALTHY\n"),
    (b"drain {\n", b'{"error": "the options of drain are no JSON object", "ok": false}\n'),
    (b'drain []\n', b'{"error": "the options of drain are no JSON object", "ok": false}\n'),
    (b'drain ' + b'x' * 4000, b'HEALTHY\n'), (b'\xff\xfe\n', b'HEALTHY\n'),
])
def test_only_a_whole_line_is_a_command(untouched, request_, answer):
    assert untouched[0].ask(request_) == answer


# --- weight -------------------------------------------------------------------------------------------------------

def test_a_weight_is_in_force_at_once_and_given_back(two):
    balancer, (first, second) = two
    finished = hand(balancer, 'weight', str(first), '3')
    assert finished.stdout == '%s is up, weight 3, 0 sessions\n' % first and not finished.stderr, finished
    assert sorted(balancer.who() for _ in range(8)) == ['A'] * 6 + ['B'] * 2
    assert hand(balancer, 'weight', str(first), '50%').stdout == '%s is up, weight 0.5, 0 sessions\n' % first
    assert [balancer.who() for _ in range(9)].count('A') in (2, 3, 4)
    assert hand(balancer, 'weight', str(first), '0').stdout == '%s is draining, weight 0, 0 sessions\n' % first
    assert set(balancer.who() for _ in range(4)) == {'B'}
    assert hand(balancer, 'weight', str(second), '0').stderr == (
        'sidelb: %s is the last server that is up: --force takes its weight away all the same\n' % second)
    assert hand(balancer, 'weight', str(first), 'default').stdout == '%s is up, weight 1, 0 sessions\n' % first
    assert [balancer.who() for _ in range(12)].count('A') in (5, 6, 7)         # one of them may be owed a session
    balancer.wait_for_log(r'weight %s by uid \d+, pid \d+, was 0\.5' % re.escape(str(first)))


@pytest.mark.parametrize('weight', ['heavy', '257', '1.5', '%', '25700%', ''])
def test_a_weight_that_is_none_is_told(untouched, weight):
    answer = command(untouched[0], 'weight', server=str(untouched[1][0]), weight=weight)
    assert not answer['ok'] and 'write a whole number from 0 to 256' in answer['error']


def test_a_refusal_is_told_on_stderr(untouched):
    finished = hand(untouched[0], 'weight', str(untouched[1][0]), 'heavy')
    assert finished.returncode == 1 and 'weight heavy: write a whole number from 0 to 256' in finished.stderr, finished


# --- sessions, close ----------------------------------------------------------------------------------------------

def name_of(client):
    return '%s:%d' % client.getsockname()


def test_sessions_are_listed_and_closed_one_by_one(two):
    balancer, (first, second) = two
    with contextlib.closing(balancer.connect()) as one, contextlib.closing(balancer.connect()) as other:
        servers = dict((read_line(client), client) for client in (one, other))
        listed = hand(balancer, 'sessions').stdout.splitlines()
        assert listed[0].split() == ['CLIENT', 'SERVER', 'AGE', 'SILENT', 'SENT', 'RECEIVED'] and len(listed) == 3
        assert [line.split()[:2] for line in listed[1:]] == [
            [name_of(servers[name]), str(first if name == 'A' else second)]
            for name in [read for client in (one, other) for read in servers if servers[read] is client]]
        found = json.loads(hand(balancer, 'sessions', str(first), '--json').stdout)
        assert [(row['session'], row['server']) for row in found['sessions']] == [(name_of(servers['A']), str(first))]
        assert hand(balancer, 'close', name_of(servers['A'])).stdout == '1 session closed\n'
        with pytest.raises(EnvironmentError):
            servers['A'].recv(10)
        again = hand(balancer, 'close', name_of(servers['A']))
        assert again.returncode == 1 and 'there is no session or server %s' % name_of(servers['A']) in again.stderr
        assert hand(balancer, 'close', str(second)).stdout == '1 session closed\n'
        with pytest.raises(EnvironmentError):
            servers['B'].recv(10)
    assert balancer.status()['connections']['ended']['admin'] == 2
    balancer.wait_for_log(r'close %s by uid \d+, pid \d+, 1 sessions' % re.escape(str(second)))


# --- rebalance ----------------------------------------------------------------------------------------------------

@pytest.fixture
def twelve_on_one():
    """A balancer that notices silence quickly, the address of a server with 12 sessions, and their clients."""
    with balancer_of_two('half_close_timeout=80ms') as (balancer, (first, second)):
        assert command(balancer, 'drain', server=str(second))['ok']
        clients = [balancer.connect() for _ in range(12)]
        assert set(read_line(client) for client in clients) == {'A'}
        assert command(balancer, 'enable', server=str(second))['ok']
        yield balancer, first, clients
        for client in clients:
            client.close()


def test_rebalancing_closes_what_is_above_the_share_and_silent(twelve_on_one):
    balancer, first, clients = twelve_on_one
    finished = hand(balancer, 'rebalance', '--per-second=100', '--silent=0', '--wait')
    assert finished.stdout == '6 of 6 sessions closed that servers have above their share\n', finished
    balancer.wait_for_status('not six were left', lambda snapshot: snapshot['connections']['active'] == 6)
    assert balancer.status()['connections']['ended'] == {'rebalance': 6}
    for client in clients[:6]:                    # the oldest
        with pytest.raises(EnvironmentError):
            client.recv(10)
    balancer.wait_for_log(r'rebalance by uid \d+, pid \d+, 6 sessions above their share')
    balancer.wait_for_log('6 of 6 sessions were closed that servers had above their share')


def test_rebalancing_spares_who_is_not_silent(twelve_on_one):
    balancer, _, clients = twelve_on_one
    finished = hand(balancer, 'rebalance', '--per-second=100', '--silent=1h', '--wait')
    assert finished.stdout == '0 of 6 sessions closed that servers have above their share\n', finished
    assert balancer.status()['connections']['active'] == 12


def test_rebalancing_is_paced_and_not_begun_twice(twelve_on_one):
    balancer = twelve_on_one[0]
    waited = b'rebalance {"silent": 0, "wait": true, "seconds": 0}\n'
    assert re.match(br'{"error": "[0-2] of 6 sessions closed after 0 s; it goes on", "ok": false}', balancer.ask(waited))
    assert re.search(b'is going on already: [0-5] of 6 sessions closed', balancer.ask(waited))


def test_what_is_even_stays(untouched):
    assert hand(untouched[0], 'rebalance').stdout == 'no server has more than its share\n'


# --- events -------------------------------------------------------------------------------------------------------

def test_the_latest_events_are_told(two):
    balancer, (first, _) = two
    hand(balancer, 'drain', str(first))
    lines = hand(balancer, 'events').stdout.splitlines()
    assert re.match(r'\S+Z info drain %s by uid \d+, pid \d+, was up$' % re.escape(str(first)), lines[-1]), lines
    last = json.loads(hand(balancer, 'events', '--json').stdout.splitlines()[-1])
    assert (last['event'], last['command'], last['member']) == ('admin', 'drain', str(first))


def test_events_are_followed_until_sidelb_ends(two):
    balancer, (first, _) = two
    with Process(COMMAND + ['events', '--follow', '--socket=' + balancer.status_path]) as follower:
        follower.wait_for_output('listening on')
        hand(balancer, 'drain', str(first))
        follower.wait_for_output('drain %s by' % re.escape(str(first)))
        balancer.stop()
        assert follower.wait(10.0) == 1 and 'SideLB has ended' in follower.stderr


def test_only_eight_follow_and_who_leaves_makes_room(two):
    balancer = two[0]
    followers = [follower_of(balancer) for _ in range(8)]
    assert [read_line(sock) for sock in followers] == ['{"ok": true}'] * 8
    refused = follower_of(balancer)
    assert '8 others follow the events already' in read_line(refused)
    followers.pop(3).close()
    wait_until('no place became free', lambda: followers.append(follower_of(balancer)) or
               read_line(followers[-1]) == '{"ok": true}')
    for sock in followers + [refused]:
        sock.close()


def follower_of(balancer):
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    sock.settimeout(10.0)
    sock.connect(balancer.status_path)
    sock.sendall(b'events {"follow": true}\n')
    return sock


def test_what_was_set_outlives_a_restart_where_a_file_keeps_it(tmpdir):
    setting = 'admin_state=%s' % tmpdir.join('state')
    with servers_on(['127.0.0.2', '127.0.0.3', '127.0.0.4'], ['A', 'B', 'C']) as servers:
        first, second = str(servers[0]), str(servers[1])
        with Sidelb(setting, *servers) as balancer:
            hand(balancer, 'drain', first)
            hand(balancer, 'weight', second, '3')
        with Sidelb(setting, *servers) as balancer:
            balancer.wait_until_up(*servers[1:])
            assert [balancer.who() for _ in range(8)].count('B') == 6
            shown = balancer.members()[first]
            assert (shown['state'], shown['by']) == ('draining', 'uid %d' % os.getuid())
            hand(balancer, 'enable', first)
        with Sidelb(setting, *servers) as balancer:
            balancer.wait_until_up(*servers)


def draining(balancer, server, *options):
    """The command's process, which waits."""
    return Process(COMMAND + ['drain', str(server), '--wait', '--socket=' + balancer.status_path] + list(options))


def wait_for_state(balancer, server, state):
    balancer.wait_for_status('%s is not %s' % (server, state), lambda status: [
        member['state'] for member in status['members'] if member['name'] == str(server)] == [state])


@contextlib.contextmanager
def sessions_that_stay(balancer):
    """A session with each server, before and after what is done meanwhile."""
    clients = [balancer.connect() for _ in range(2)]
    try:
        assert sorted(read_line(client) for client in clients) == ['A', 'B']
        yield
        for client in clients:
            client.sendall(b'hello\n')
            assert read_line(client) == 'hello'
    finally:
        for client in clients:
            client.close()


def test_whoever_waits_for_a_drain_is_told_that_somebody_has_enabled_the_server_and_nothing_is_cut(two):
    balancer, (first, _) = two
    with sessions_that_stay(balancer), draining(balancer, first, '--close', '--timeout=1h') as waiting:
        wait_for_state(balancer, first, 'draining')
        hand(balancer, 'enable', str(first))
        assert waiting.wait(10) == 1
        assert waiting.stderr == 'sidelb: somebody has enabled %s meanwhile: its sessions go on\n' % first


def test_who_gives_up_the_wait_for_a_drain_has_nothing_cut(two):
    balancer, (first, _) = two
    with sessions_that_stay(balancer):
        with draining(balancer, first, '--close', '--timeout=1s') as waiting:
            wait_for_state(balancer, first, 'draining')
            waiting.kill()
            began = time.time()
        wait_until('the second has passed', lambda: time.time() - began > 1.5)     # what is looked for must not come
        assert balancer.members()[str(first)]['state'] == 'draining'
