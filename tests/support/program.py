"""The real program in a process of its own: starting it, watching it, talking to it."""
from __future__ import absolute_import, division, print_function

import json
import os
import re
import shutil
import signal
import socket
import sys
import tempfile

from .clients import connect, read_all, read_line
from .processes import Process, run
from .waiting import wait_until

PROJECT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
#: SIDELB_TEST_PROGRAM is another sidelb.py, of an older version: does a test of a fault fail there?
COMMAND = [sys.executable, os.environ.get('SIDELB_TEST_PROGRAM') or os.path.join(PROJECT, 'sidelb.py')]
NO_RESOLVER = '127.0.0.1:1'      # refuses: no test asks the name server of the machine it happens to run on
START_SECONDS = 20.0             # a loaded machine that runs nine interpreters' tests at once is slow


def run_sidelb(*arguments, **options):
    """Run the program to its end: `run_sidelb('--version').stdout`. Options are those of `processes.run`."""
    options['environ'] = clean_environ(options.get('environ'))
    return run(COMMAND + [str(argument) for argument in arguments], **options)


def install_program(directory):
    """Make `sidelb` this program, for a PATH that begins with `directory`, which exists. Returns that PATH."""
    path = os.path.join(directory, 'sidelb')
    with open(path, 'w') as stream:
        stream.write('#!/bin/sh\nexec %s "$@"\n' % ' '.join(COMMAND))
    os.chmod(path, 0o755)
    return '%s:%s' % (directory, os.environ['PATH'])


def copy_project(directory):
    """Copy what a contributor has of this project, without what was built or installed, into `directory`, which exists."""
    left_out = shutil.ignore_patterns('.git', '.tox', '.venv', '.eggs', '*.egg-info', 'build', 'dist', '__pycache__',
                                      '.pytest_cache', '*.py[cod]')
    for name in set(os.listdir(PROJECT)) - left_out(PROJECT, os.listdir(PROJECT)):
        source, target = os.path.join(PROJECT, name), os.path.join(directory, name)
        if os.path.isdir(source):
            shutil.copytree(source, target, ignore=left_out)
        else:
            shutil.copy(source, target)


def clean_environ(additions=None):
    """Our environment without what would configure SideLB or gevent, plus `additions`; None removes one.

    A program keeps its bytecode, as one that pip installed does: compiling anew is half of what a start costs.
    """
    environ = dict((name, value) for name, value in os.environ.items()
                   if not name.startswith(('SIDELB_', 'GEVENT_', 'GEVENTARES_')) and name != 'PYTHONDONTWRITEBYTECODE')
    environ.update(additions or {})
    return dict((name, value) for name, value in environ.items() if value is not None)


class Sidelb(object):
    """A context manager around a running program, which listens when the `with` begins.

    `Sidelb(one, two, 'mode=least-connections')` balances between two servers (arguments are turned into text)
    on a free loopback port, with a status socket of its own. Options:
    `environ`    more environment variables, a dict; the value None removes a default of ours
    `listener`   the first argument, instead of 127.0.0.1:0; None gives none (then SIDELB_BIND_ADDR must)
    `namespace`  a NetworkNamespace to run in, where `connect()` connects too. Without one, SIDELB_RESOLVER
                 is a place where nobody answers, unless the test says otherwise
    `nofile`     (soft, hard) limit of open files
    `started`    what to wait for at the start, a pattern in the log

    At the end of the `with` it gets SIGTERM, and a second one if sessions are left, and must end with exit
    code 0. It fails the test if the program printed a traceback, said anything on stderr (`allow_stderr=True`
    permits it) or ended without being asked to. Its output is part of every failed test's report.
    """

    def __init__(self, *arguments, **options):
        self.listener = None             # as the log names it
        self._arguments = [str(argument) for argument in arguments]
        self._environ = options.pop('environ', None) or {}
        self._first = options.pop('listener', '127.0.0.1:0')
        self._namespace = options.pop('namespace', None)
        self._started = options.pop('started', r'listening on (\S+:\d+)')
        self._allow_stderr = options.pop('allow_stderr', False)
        self._nofile = options.pop('nofile', None)
        if options:
            raise TypeError('unknown options: %s' % ', '.join(sorted(options)))
        self._directory = None
        self._may_have_ended = False
        self.process = None

    def __enter__(self):
        self._directory = tempfile.mkdtemp(prefix='sidelb-test-')
        environ = {'SIDELB_STATUS_SOCKET': self.status_path}
        if not self._namespace:
            environ['SIDELB_RESOLVER'] = NO_RESOLVER
        environ.update(self._environ)
        first = [self._first] if self._first else []
        self.process = Process(COMMAND + first + self._arguments, environ=clean_environ(environ),
                               namespace=self._namespace, nofile=self._nofile)
        try:
            match = self.process.wait_for_output(self._started, timeout=START_SECONDS)
            self.listener = match.group(1) if match.groups() else None
        except BaseException:
            self.process.close()
            shutil.rmtree(self._directory)
            raise
        return self

    def __exit__(self, kind, *_):
        try:
            if kind is None:
                self._end_well()
        except AssertionError:
            kind = AssertionError
            raise
        finally:
            if kind is not None:
                print(self.process.describe())
            self.process.close()
            shutil.rmtree(self._directory)

    def _end_well(self):
        if not self._may_have_ended:
            assert self.process.returncode is None, 'SideLB ended by itself with %s' % self.process.returncode
            self.end_at_once()
        assert 'Traceback (most recent call last)' not in self.process.output, 'SideLB printed a traceback'
        stderr = self.process.stderr
        assert self._allow_stderr or not stderr, 'SideLB wrote to stderr: %s' % stderr

    # --- addresses and clients ------------------------------------------------------------------------------

    @property
    def status_path(self):
        """The path of the status socket, unless the test gave another."""
        return os.path.join(self._directory, 'status.sock')

    @property
    def address(self):
        """The bound listener as (ip, port)."""
        ip, port = re.match(r'\[?([^\]]+)\]?:(\d+)$', self.listener).groups()
        return ip, int(port)

    @property
    def port(self):
        return self.address[1]

    def connect(self, timeout=10.0):
        """A new client connection. The caller closes it."""
        return connect(self.address, timeout, self._namespace)

    def who(self, timeout=10.0):
        """The name of the server that greets a new connection, which is closed again; '' for none."""
        sock = self.connect(timeout)
        try:
            return read_line(sock)
        finally:
            sock.close()

    # --- what it says ---------------------------------------------------------------------------------------

    @property
    def log(self):
        return self.process.stdout

    def wait_for_log(self, pattern, times=1, timeout=10.0):
        """Wait until `pattern` is in the log (at least `times` times). Returns the last match."""
        return self.process.wait_for_output(pattern, times, timeout)

    def ask(self, request):
        """What the status socket answers to `request` (bytes), as bytes."""
        sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            sock.settimeout(10.0)
            sock.connect(self.status_path)
            sock.sendall(request)
            sock.shutdown(socket.SHUT_WR)
            return read_all(sock)
        finally:
            sock.close()

    def status(self):
        """The snapshot that the status socket gives, a dict."""
        return json.loads(self.ask(b'status\n').decode('utf-8'))

    def members(self):
        """The members of the snapshot, by name."""
        return dict((str(member['name']), member) for member in self.status()['members'])

    def wait_for_status(self, what_failed, predicate, timeout=10.0):
        """Wait until `predicate(snapshot)` is true. Returns that snapshot."""
        snapshots = []

        def satisfied():
            snapshots[:] = [self.status()]
            return predicate(snapshots[0])
        try:
            wait_until(what_failed, satisfied, timeout)
        except AssertionError as error:
            shown = json.dumps(snapshots, indent=1, sort_keys=True)
            raise AssertionError('%s; the last status was %s' % (error, shown))
        return snapshots[0]

    def wait_until_up(self, *names, **options):
        """Wait until the members of these names, and no others, are up. Returns the snapshot."""
        wanted = sorted(str(name) for name in names)
        return self.wait_for_status('not just %s are up' % wanted, lambda snapshot: wanted == sorted(
            str(member['name']) for member in snapshot['members'] if member['state'] == 'up'), **options)

    # --- its end --------------------------------------------------------------------------------------------

    def signal(self, number):
        """Send a signal. After this its end is no surprise, if the signal is one that ends it."""
        if number not in (signal.SIGHUP, signal.SIGSTOP, signal.SIGCONT):
            self._may_have_ended = True
        self.process.signal(number)

    def stop(self, timeout=15.0):
        """SIGTERM, and wait until the drain has ended. Returns the exit code."""
        self.signal(signal.SIGTERM)
        return self.process.wait(timeout)

    def end_at_once(self):
        """SIGTERM, and another one as soon as it drains, and check that it ends well."""
        self.signal(signal.SIGTERM)
        self.process.wait_for_output('draining|stopped')
        self.process.signal(signal.SIGTERM)
        code = self.process.wait(10.0)
        assert code == 0, 'SideLB ended with exit code %s' % code
