"""check=run:PATH[,role]: a program decides."""
from __future__ import absolute_import, division, print_function

import os

import pytest

from sidelb_lib.checks import registry
from sidelb_lib.checks.exchange import PASSED, Deadline, Misconfigured, ProbeFailed
from sidelb_lib.pool.members import Address

from ..support.waiting import wait_until


@pytest.fixture
def run(tmpdir):
    def run_it(text, options='', seconds=5.0):
        script = tmpdir.join('check')
        script.write('#!/bin/sh\n' + text)
        script.chmod(0o755)
        probe = registry.make(registry.parse('run:%s%s' % (script, options)), None)
        return probe(Address('127.0.0.1', 5432, 0.0), Deadline(seconds))
    return run_it


def test_the_program_is_told_whom_to_check(run):
    assert run('test "$1 $2" = "127.0.0.1 5432" && test "$SIDELB_ADDRESS:$SIDELB_PORT" = 127.0.0.1:5432') == PASSED


def test_it_inherits_nothing_else(run, monkeypatch):
    monkeypatch.setenv('SIDELB_CHECK_PASSWORD', 'secret')
    assert run('test -z "$SIDELB_CHECK_PASSWORD" && ! test -e /proc/$$/fd/9') == PASSED


def test_its_first_line_says_why_it_failed(run):
    with pytest.raises(ProbeFailed) as raised:
        run('echo too late; echo more; exit 1')
    assert str(raised.value) == 'too late'
    with pytest.raises(ProbeFailed) as raised:
        run('exit 4')
    assert str(raised.value) == 'exit code 4'


def test_codes_that_say_more(run):
    assert run('exit 3').state == 'draining'
    assert run('echo a replica; exit 4', ',role')[:3] == ('standby', None, 'a replica')
    assert run('exit 0', ',role')[:2] == ('up', 'wanted')


@pytest.mark.parametrize('text, says', [('exit 127', 'ended with 127'), ('kill -9 $$', 'ended by signal 9')])
def test_a_program_that_can_not_run_is_not_the_servers_fault(run, text, says):
    with pytest.raises(Misconfigured) as raised:
        run(text)
    assert says in str(raised.value)


def test_a_program_that_is_not_there():
    probe = registry.make(registry.parse('run:/no/such/program'), None)
    with pytest.raises(Misconfigured) as raised:
        probe(Address('127.0.0.1', 1, 0.0), Deadline(1.0))
    assert str(raised.value) == '/no/such/program: No such file or directory'


def test_one_that_hangs_is_killed_with_its_children(run, tmpdir):
    pid_file = tmpdir.join('pid')
    with pytest.raises(ProbeFailed) as raised:
        run('sleep 600 & echo $! >%s; wait' % pid_file, seconds=1.0)
    assert str(raised.value) == 'no answer within 1 s'
    child = int(pid_file.read())
    wait_until('a child of it lives', lambda: not is_running(child))


def is_running(pid):
    try:
        with open('/proc/%d/stat' % pid) as stat:
            return stat.read().rpartition(')')[2].split()[0] != 'Z'
    except EnvironmentError:
        return os.path.exists('/proc/%d' % pid)


def test_much_output_is_no_memory_and_no_hang(run):
    assert run('head -c 1000000 /dev/zero') == PASSED


@pytest.mark.parametrize('text', ['run', 'run:', 'run:check', 'run:/a,roles'])
def test_a_wrong_one(text):
    with pytest.raises(ValueError) as raised:
        registry.parse(text)
    assert str(raised.value).endswith('write run:PATH[,role]')
