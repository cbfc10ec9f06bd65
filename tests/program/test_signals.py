"""Signals beside the ones that drain: what a parent has left blocked, what means nothing, children that nobody waits for;
and what the service manager hears."""
from __future__ import absolute_import, division, print_function

import contextlib
import os
import re
import signal
import socket
import subprocess
import sys

import pytest

from ..support.processes import Process
from ..support.program import COMMAND, Sidelb, clean_environ
from ..support.requirements import need
from ..support.servers import Server
from ..support.waiting import wait_until

BLOCKED = """
import ctypes, os, sys
library, mask = ctypes.CDLL(None), ctypes.create_string_buffer(128)
library.sigfillset(mask)
library.sigprocmask(0, mask, None)
os.execv(sys.argv[1], sys.argv[1:])
"""


@pytest.mark.parametrize('number', [signal.SIGTERM, signal.SIGINT])
def test_a_signal_that_the_parent_left_blocked_ends_it(number):
    with Server('A') as server:
        with Process([sys.executable, '-c', BLOCKED] + COMMAND + ['127.0.0.1:0', str(server), 'status_socket=off'],
                     environ=clean_environ()) as process:
            process.wait_for_output('listening on')
            os.kill(process.pid, number)
            assert process.wait(10) == 0


@pytest.mark.parametrize('number', [signal.SIGUSR1, signal.SIGUSR2, signal.SIGALRM, signal.SIGVTALRM, signal.SIGPROF,
                                    signal.SIGIO, signal.SIGXCPU])
def test_a_signal_that_means_nothing_is_a_line_in_the_log(number):
    with Server('A') as server, Sidelb(server) as sidelb:
        sidelb.signal(number)
        sidelb.wait_for_log('signal %d means nothing here' % number)
        assert sidelb.who() == 'A'


def test_as_pid_1_it_collects_orphans():
    need('needs root, for a PID namespace of its own', os.geteuid() == 0)
    with Server('A') as server:
        command = ['unshare', '--pid', '--fork', '--mount-proc'] + COMMAND + [
            '127.0.0.1:0', str(server), 'status_socket=off']
        with Process(command, environ=clean_environ()) as process:
            process.wait_for_output('listening on')
            init = int(subprocess.check_output(['ps', '-o', 'pid=', '--ppid', str(process.pid)]).split()[0])
            subprocess.check_call(['nsenter', '-t', str(init), '-p', 'sh', '-c', '(true & true & sleep 0.2 &) & :'])
            wait_until('orphans are left', lambda: not subprocess.Popen(
                ['ps', '-o', 'pid=', '--ppid', str(init)], stdout=subprocess.PIPE).communicate()[0].strip())
            os.kill(init, signal.SIGTERM)
            assert process.wait(10) == 0


@contextlib.contextmanager
def service_manager(tmpdir):
    path = str(tmpdir.join('notify'))
    with contextlib.closing(socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)) as manager:
        manager.bind(path)
        manager.settimeout(10)
        yield manager, path


def test_the_service_manager_hears_of_a_reload_and_that_the_loop_turns(tmpdir):
    with service_manager(tmpdir) as (manager, path), Server('A') as server:
        with Sidelb(server, environ={'NOTIFY_SOCKET': path, 'WATCHDOG_USEC': '400000'}) as sidelb:
            assert manager.recv(1000).startswith(b'READY=1')
            assert [manager.recv(1000) for _ in range(3)] == [b'WATCHDOG=1'] * 3
            sidelb.signal(signal.SIGHUP)
            said = []
            while not said or not said[-1].startswith(b'READY=1'):
                said.append(manager.recv(1000))
            reloading = [text for text in said if text.startswith(b'RELOADING=1')]
            assert len(reloading) == 1 and re.search(br'MONOTONIC_USEC=\d+', reloading[0])


def test_a_watchdog_of_another_process_is_left_alone(tmpdir):
    with service_manager(tmpdir) as (manager, path), Server('A') as server:
        environ = {'NOTIFY_SOCKET': path, 'WATCHDOG_USEC': '100000', 'WATCHDOG_PID': '1'}
        with Sidelb(server, environ=environ) as sidelb:
            assert manager.recv(1000).startswith(b'READY=1')
            sidelb.signal(signal.SIGHUP)
            assert manager.recv(1000).startswith(b'RELOADING=1')
