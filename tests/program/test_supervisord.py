"""SideLB under a real supervisord, with the programs in packaging/supervisor."""
from __future__ import absolute_import, division, print_function

import contextlib
import io
import os
import re
import shutil
import signal
import tempfile

import pytest

from sidelb_lib.config.settings import parse

from ..support.clients import connect, how_connecting_ends, how_it_ends, read_line
from ..support.load import ClientLoop
from ..support.places import Reservation
from ..support.processes import Process, read_text, run, wrapped
from ..support.program import COMMAND, NO_RESOLVER, PROJECT, clean_environ
from ..support.requirements import need_program
from ..support.servers import Server
from ..support.waiting import wait_until

PROGRAMS = os.path.join(PROJECT, 'packaging', 'supervisor')
START_SECONDS = 20

CONFIGURATION = '''
[supervisord]
nodaemon=true
logfile={directory}/supervisord.log
pidfile={directory}/supervisord.pid
childlogdir={directory}
environment=SIDELB_RESOLVER="{resolver}",SIDELB_STATUS_SOCKET="{directory}/sidelb.sock"

[unix_http_server]
file={directory}/supervisor.sock

[rpcinterface:supervisor]
supervisor.rpcinterface_factory=supervisor.rpcinterface:make_main_rpcinterface

[supervisorctl]
serverurl=unix://{directory}/supervisor.sock

{programs}
'''

#: The application: it writes down whether it reaches its database when it starts, and when it is stopped.
APPLICATION = '''#!/bin/bash
reach() {{ (: </dev/tcp/{ip}/{port}) 2>/dev/null && echo "$1: reached" >>"{log}" || echo "$1: nobody there" >>"{log}"; }}
trap 'reach stop; exit 0' TERM
reach start
while :; do sleep 0.05; done
'''


class Supervisord(object):
    """A supervisord of our own that runs one of our program files, inside the `with`. It has unix sockets and files below a
    directory of its own, and nothing else.

    Of the program file only paths, addresses and servers are changed; `settings` are further ones for SideLB.
    """

    def __init__(self, program_file, address, server, settings=''):
        self._program = need_program('supervisord', 'supervisor')
        self._control = need_program('supervisorctl', 'supervisor')
        self._address = address
        self._directory = tempfile.mkdtemp(prefix='sidelb-supervisord-')
        self._configuration = self.path('supervisord.conf')
        with open(self.path('app'), 'w') as stream:
            stream.write(APPLICATION.format(ip=address[0], port=address[1], log=self.path('app.log')))
        os.chmod(self.path('app'), 0o755)
        programs = program_text(program_file)
        for before, after in (
                ('127.0.0.1:5432 ring_domain=db.example.com:5432', '%s:%d %s %s' % (address + (server, settings))),
                ('/opt/sidelb/bin/sidelb', ' '.join(wrapped(COMMAND))),
                ('/usr/local/bin/app', self.path('app')),
                ('/run/', self.path('')),
                ('/dev/stdout', self.path('%(program_name)s_%(process_num)s.log'))):
            programs = programs.replace(before, after)
        with io.open(self._configuration, 'w', encoding='utf-8') as stream:
            stream.write(type(u'')(CONFIGURATION).format(directory=self._directory, resolver=NO_RESOLVER, programs=programs))

    def path(self, name):
        return os.path.join(self._directory, name)

    def text(self, name):
        """What is in one of its files; nothing while there is none."""
        return read_text(self.path(name)) if os.path.exists(self.path(name)) else ''

    def __enter__(self):
        self._process = Process([self._program, '-n', '-c', self._configuration], environ=clean_environ())
        return self

    def __exit__(self, kind, *_):
        try:
            self.shut_down()
        finally:
            if kind is not None:
                print(self._process.describe() + self.text('sidelb_0.log') + self.text('sidelb_1.log'))
            self._process.close()
            shutil.rmtree(self._directory)

    def shut_down(self):
        """Its programs end with it, in good order."""
        if self._process.returncode is None:
            self._process.signal(signal.SIGTERM)
        assert self._process.wait(20) == 0

    def control(self, *arguments):
        """Run supervisorctl to its end. Returns what it prints."""
        return run(self.control_command(*arguments)).stdout.strip()

    def control_command(self, *arguments):
        return [self._control, '-c', self._configuration] + list(arguments)

    def wait_until_serving(self, program='sidelb', other_than=None):
        """Wait until a process of `program` runs, and somebody listens. Returns its pid."""
        def pid():
            text = self.control('pid', program)
            return text.isdigit() and int(text) not in (0, other_than) and int(text)
        found = wait_until('%s does not run' % program, pid, START_SECONDS)
        wait_until('nobody listens', lambda: how_connecting_ends(self._address, 0.2) != 'refused', START_SECONDS)
        return found


def program_text(name):
    with io.open(os.path.join(PROGRAMS, name), encoding='utf-8') as stream:
        return stream.read()


@pytest.fixture
def server():
    with Server('A') as one:
        yield one


@pytest.fixture
def address():
    with Reservation(['127.0.0.1']) as reservation:
        yield reservation.addresses[0]


# --- one instance beside an application ------------------------------------------------------------------------------

def test_the_application_finds_sidelb_from_its_start_to_its_end(server, address):
    with Supervisord('sidelb.conf', address, server) as supervisord:
        wait_until('the application does not start', lambda: supervisord.text('app.log'), START_SECONDS)
        supervisord.shut_down()
        assert supervisord.text('app.log').splitlines() == ['start: reached', 'stop: reached']


def test_killed_it_is_started_again_and_serves(server, address):
    with Supervisord('sidelb.conf', address, server) as supervisord:
        first = supervisord.wait_until_serving()
        with contextlib.closing(connect(address)) as client:
            assert read_line(client) == 'A'
            os.kill(first, signal.SIGKILL)
            assert how_it_ends(client) in ('eof', 'reset')
        supervisord.wait_until_serving(other_than=first)
        with contextlib.closing(connect(address)) as client:
            assert read_line(client) == 'A'
        # Its status socket was left behind, and has been replaced.
        assert run(COMMAND + ['--health-check-uds', '--socket=' + supervisord.path('sidelb.sock')]).returncode == 0


def test_stopped_it_waits_for_sessions_to_end(server, address):
    with Supervisord('sidelb.conf', address, server) as supervisord:
        supervisord.wait_until_serving()
        with contextlib.closing(connect(address)) as client:
            assert read_line(client) == 'A'
            with Process(supervisord.control_command('stop', 'sidelb')) as stop:
                wait_until('it does not drain', lambda: 'draining: 1 session' in supervisord.text('sidelb_0.log'), 10)
                client.sendall(b'still there?\n')
                assert read_line(client) == 'still there?'
                client.close()
                assert stop.wait() == 0
        assert 'stopped: 0 sessions cut' in supervisord.text('sidelb_0.log')
        assert_ended_by_itself(supervisord)


def test_stopped_it_cuts_sessions_that_do_not_end_and_needs_no_sigkill(server, address):
    with Supervisord('sidelb.conf', address, server, 'drain_timeout=500ms') as supervisord:
        supervisord.wait_until_serving()
        with contextlib.closing(connect(address)) as client:
            assert read_line(client) == 'A'
            supervisord.control('stop', 'sidelb')
            assert how_it_ends(client) == 'reset'
        assert 'stopped: 1 session cut' in supervisord.text('sidelb_0.log')
        assert_ended_by_itself(supervisord)


def assert_ended_by_itself(supervisord):
    log = supervisord.text('supervisord.log')
    assert 'stopped: sidelb (exit status 0)' in log and 'SIGKILL' not in log


@pytest.mark.parametrize('program_file', ['sidelb.conf', 'sidelb-two-cores.conf'])
def test_supervisord_waits_for_longer_than_the_drain_takes(program_file):
    default = parse(['127.0.0.1:1', '127.0.0.1:2'], {}).drain_timeout
    seconds, = re.findall(r'^stopwaitsecs=(\d+)$', program_text(program_file), re.MULTILINE)
    assert int(seconds) >= default + 2


def test_a_restart_refuses_clients_for_a_moment_and_serves_all_others(server, address):
    with Supervisord('sidelb.conf', address, server) as supervisord:
        supervisord.wait_until_serving()
        with ClientLoop(address, clients=4, pause=0.01) as load:
            be_used(load)
            supervisord.control('restart', 'sidelb')
            be_used(load)
        assert load.kinds() == ['refused']


def be_used(load):
    served = load.served
    wait_until('nobody is served', lambda: load.served > served + 50, START_SECONDS)


# --- two instances with one listener ---------------------------------------------------------------------------------

def test_of_two_instances_each_can_be_restarted_and_no_client_fails(server, address):
    with Supervisord('sidelb-two-cores.conf', address, server) as supervisord:
        pids = [supervisord.wait_until_serving('sidelb:sidelb_%d' % number) for number in (0, 1)]
        with ClientLoop(address, clients=4, pause=0.01) as load:
            be_used(load)
            for number in (0, 1):
                supervisord.control('restart', 'sidelb:sidelb_%d' % number)
                supervisord.wait_until_serving('sidelb:sidelb_%d' % number, other_than=pids[number])
                be_used(load)
        assert not load.failures
        status = run(COMMAND + ['status'] + ['--socket=' + supervisord.path('sidelb-%d.sock' % number) for number in (0, 1)])
        assert '2 instances on %s:%d' % address in status.stdout
