"""A short form of `python -m bench soak`, and that it finds what it is for."""
from __future__ import absolute_import, division, print_function

import re
import sys

import pytest

from ..support.processes import run
from ..support.program import PROJECT, clean_environ

pytestmark = pytest.mark.once

if sys.version_info[0] == 2:
    pytest.skip('bench/ runs on Python 3 alone', allow_module_level=True)

import bench.soak               # noqa: E402 - after the skip


def soak(*arguments):
    return run([sys.executable, '-m', 'bench', 'soak', '--minutes=0.15'] + list(arguments), cwd=PROJECT,
               environ=clean_environ(), timeout=55)


def test_nothing_is_lost_blamed_or_left_behind_while_every_call_fails_servers_flap_and_sighup_comes():
    finished = soak()                    # with all kinds of faults: one that never came would be a finding
    assert finished.returncode == 0, finished
    assert 'nothing found' in finished.stdout and re.search('injected: accept .* splice [1-9]', finished.stdout)


def test_what_has_grown_is_named():
    before = {'descriptors': 10, 'memory': 30000, 'greenlets': 8}
    assert bench.soak.compare(before, dict(before, memory=31000)) == []
    assert bench.soak.compare(before, dict(before, descriptors=40)) == ['descriptors grew from 10 to 40']


def test_a_datagram_without_an_answer_is_owed_to_an_injected_fault():
    before = {'drops': {'send_failed': 2}, 'injected': {'send': 2, 'socket': 1}}
    after = {'drops': {'send_failed': 5, 'no_server': 1}, 'injected': {'send': 5, 'socket': 2}}
    assert bench.soak.unexplained(4, before, after) == []
    assert bench.soak.unexplained(5, before, after) == ['5 datagrams had no answer, 4 were dropped']
    fewer = dict(after, injected={'send': 4, 'socket': 2})
    assert bench.soak.unexplained(4, before, fewer) == ['3 drops (upstream_full, send_failed) by 2 faults']
    other = dict(after, drops=dict(after['drops'], session_failed=1))
    assert bench.soak.unexplained(4, before, other) == ['1 drops: session_failed']
