"""Hands on a running process: sidelb drain, enable."""
from __future__ import absolute_import, division, print_function

import contextlib
import os
import re

import pytest

from ..support.clients import read_line
from ..support.program import Sidelb, run_sidelb
from ..support.servers import servers_on


@pytest.fixture
def two():
    with servers_on(['127.0.0.2', '127.0.0.3'], ['A', 'B']) as servers:
        with Sidelb(*servers) as balancer:
            balancer.wait_until_up(*servers)
            yield balancer, servers


def hand(balancer, *arguments):
    return run_sidelb(*(arguments + ('--socket=' + balancer.status_path,)))


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
    (('enable', 'nobody'), 'there is no server nobody$'),
    (('drain', '127.0.0.2', '--service=db'), 'there is no service db: there is default'),
])
def test_a_wrong_name_is_told_with_near_ones(two, arguments, text):
    finished = hand(two[0], *arguments)
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
def test_only_a_whole_line_is_a_command(two, request_, answer):
    assert two[0].ask(request_) == answer
