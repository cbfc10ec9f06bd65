"""Child processes of tests: output in files, signals by pid alone, and none outlives the test run."""
from __future__ import absolute_import, division, print_function

import os
import re
import shutil
import subprocess
import tempfile
from signal import SIGKILL, SIGTERM

from .requirements import find_program
from .waiting import wait_until


class Process(object):
    """A child process that runs from construction until it ends or `stop()` (or the `with`) ends it.

    `environ` is the whole environment (default: ours), `namespace` a NetworkNamespace to run in, `user` a
    name to run as (for root only), `nofile` the limit of open files, as (soft, hard). The output is in files,
    so the child never waits for us to read, and all of it is there when the child is gone.
    """

    def __init__(self, command, environ=None, namespace=None, user=None, nofile=None, cwd=None):
        self.command = list(command)
        self._directory = tempfile.mkdtemp(prefix='sidelb-process-')
        self._popen = None
        full_command = wrapped(self.command, namespace, user, nofile)
        with open(os.devnull) as stdin, open(self._path('stdout'), 'wb') as stdout, \
                open(self._path('stderr'), 'wb') as stderr:
            try:
                self._popen = subprocess.Popen(full_command, stdin=stdin, stdout=stdout, stderr=stderr,
                                               cwd=cwd, env=environ, close_fds=True)
            finally:
                if self._popen is None:
                    shutil.rmtree(self._directory)
        self.pid = self._popen.pid

    # --- what it said ---------------------------------------------------------------------------------------

    @property
    def stdout(self):
        return read_text(self._path('stdout'))

    @property
    def stderr(self):
        return read_text(self._path('stderr'))

    @property
    def output(self):
        """Both streams, standard error last."""
        return self.stdout + self.stderr

    def wait_for_output(self, pattern, times=1, timeout=10.0):
        """Wait until `pattern` (multi-line) occurs at least so often in the output. Returns the last match.

        Fails at once if the process ends without.
        """
        compiled = re.compile(pattern, re.MULTILINE)

        def found():
            ended = self.returncode is not None    # asked first: what it wrote before its end must be seen
            matches = list(compiled.finditer(self.output))
            if len(matches) >= times:
                return matches[-1]
            if ended:
                raise ProcessEnded('%s\nended with %s' % (self.describe(), self.returncode))
            return None
        try:
            return wait_until('%r did not come up %d times in the output' % (pattern, times), found, timeout)
        except AssertionError as error:
            raise AssertionError('%s\n%s' % (error, self.describe()))

    def describe(self):
        """The command and its output, for the report of a failed test."""
        return '--- %s (pid %d)\n%s---' % (' '.join(self.command), self.pid, self.output)

    # --- its life -------------------------------------------------------------------------------------------

    @property
    def returncode(self):
        """The exit code, minus a signal's number, or None while it runs."""
        return self._popen.poll()

    def wait(self, timeout=30.0):
        """Wait for its end by itself. Returns the exit code."""
        try:
            wait_until('the process did not end', lambda: self.returncode is not None, timeout)
        except AssertionError as error:
            raise AssertionError('%s\n%s' % (error, self.describe()))
        return self.returncode

    def signal(self, number):
        """Send a signal, if it still runs."""
        if self.returncode is None:
            os.kill(self.pid, number)

    def stop(self, number=SIGTERM, timeout=10.0):
        """End it by a signal (or by SIGKILL after `timeout`, which is a failure). Returns the exit code."""
        self.signal(number)
        try:
            return self.wait(timeout)
        except AssertionError:
            self.kill()
            raise

    def kill(self):
        """End it at once."""
        self.signal(SIGKILL)
        self._popen.wait()

    def close(self):
        """Kill it if it runs, and remove its files."""
        self.kill()
        shutil.rmtree(self._directory, ignore_errors=True)

    def __enter__(self):
        return self

    def __exit__(self, kind, *_):
        if kind is not None:
            print(self.describe())
        self.close()

    # --- what it uses (Linux) -------------------------------------------------------------------------------

    def resident_bytes(self):
        """Memory that is in RAM now, proc(5)."""
        return 1024 * int(re.search(r'VmRSS:\s+(\d+) kB', read_text('/proc/%d/status' % self.pid)).group(1))

    def descriptors(self):
        """How many files it has open."""
        return len(os.listdir('/proc/%d/fd' % self.pid))

    def cpu_seconds(self):
        """Processor time so far, its own and the kernel's for it."""
        fields = read_text('/proc/%d/stat' % self.pid).rpartition(')')[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf('SC_CLK_TCK')

    def _path(self, name):
        return os.path.join(self._directory, name)


class ProcessEnded(Exception):
    """A process ended while something was awaited from it."""


def run(command, timeout=30.0, **options):
    """Run a command to its end. Returns the ended Process' (returncode, stdout, stderr) as a `Finished`."""
    with Process(command, **options) as process:
        process.wait(timeout)
        return Finished(process.returncode, process.stdout, process.stderr)


class Finished(object):
    """What is left of a process: `returncode`, `stdout`, `stderr`, `output`."""

    def __init__(self, returncode, stdout, stderr):
        self.returncode = returncode
        self.stdout = stdout
        self.stderr = stderr
        self.output = stdout + stderr

    def __repr__(self):
        return 'exit code %s, output:\n%s' % (self.returncode, self.output)


def wrapped(command, namespace=None, user=None, nofile=None):
    """The command line that runs `command` so. Each wrapper execs the next: the pid stays that of the child.

    Where setpriv(1) is, the kernel kills the child when this process dies, however it dies.
    """
    setpriv = find_program('setpriv')
    if setpriv:
        privileges = ['--pdeathsig', 'KILL']
        if user:
            privileges += ['--reuid', user, '--regid', user, '--init-groups']
        command = [setpriv] + privileges + command
    elif user:
        raise AssertionError('setpriv (of util-linux) is needed to run a server as another user')
    if nofile:
        command = [find_program('prlimit'), '--nofile=%d:%d' % nofile] + command
    if namespace:
        command = namespace.command(command)
    return command


def read_text(path):
    """A file's content as native str, whatever bytes it holds."""
    with open(path, 'rb') as stream:
        data = stream.read()
    return data if isinstance(data, str) else data.decode('utf-8', 'replace')
