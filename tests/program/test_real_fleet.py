"""A small form of `python -m bench.real_fleet`: the model of a fleet holds for real processes."""
from __future__ import absolute_import, division, print_function

import re
import sys

import pytest

from ..support.processes import run
from ..support.program import PROJECT, clean_environ
from ..support.requirements import need_namespaces, need_program

pytestmark = pytest.mark.once

if sys.version_info[0] == 2:
    pytest.skip('bench/ runs on Python 3 alone', allow_module_level=True)

import bench.real_fleet         # noqa: E402 - after the skip


def test_six_processes_that_begin_by_number_are_as_even_as_the_model_says_whenever_names_come():
    need_namespaces()
    need_program('unshare', 'util-linux')
    finished = run([sys.executable, '-m', 'bench.real_fleet', '--instances=6', '--servers=3', '--rounds=1', '--lifetime=0'],
                   cwd=PROJECT, environ=clean_environ(), timeout=55)
    assert finished.returncode == 0, finished
    assert 'all but chance: exactly as simulated' in finished.stdout
    measured = re.findall(r'^by number.* real +\S+ +\S+ +(\S+)', finished.stdout, re.MULTILINE)
    assert measured == ['1.00'] * 4, finished            # with three sessions each on three servers


def test_a_fleet_that_is_not_as_simulated_is_seen(capsys):
    assert bench.real_fleet.show_pair('by number', [1.0, 1.254], [1.0, 1.251])
    assert not bench.real_fleet.show_pair('by number', [1.0, 1.5], [1.0, 1.25])
