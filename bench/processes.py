"""Child processes: found, started, waited for and always ended."""
from __future__ import absolute_import, division, print_function

import glob
import os
import pwd
import shutil
import signal
import socket
import subprocess
import tempfile
import time

import bench.errors
import bench.machine

START_SECONDS = 15    # a server that is not up by then will not come up
STOP_SECONDS = 5      # after its stop signal; then it is killed


def find(name, package, places=()):
    """The path of program `name`: in PATH, then in `places` (globs, the last match wins); or `Missing`."""
    path = os.environ.get('PATH', os.defpath) + os.pathsep + '/usr/sbin' + os.pathsep + '/sbin'
    found = shutil.which(name, path=path)
    for place in places:
        found = found or (sorted(glob.glob(os.path.join(place, name))) or [None])[-1]
    if not found:
        raise bench.errors.Missing('{0} is not installed (Debian: {1})'.format(name, package))
    return found


def unprivileged(*names):
    """The first existing user of `names` when we are root, else None: we may stay who we are."""
    if os.geteuid() != 0:
        return None
    for name in names:
        try:
            return pwd.getpwnam(name)
        except KeyError:
            pass
    raise bench.errors.Missing('none of the users {0} exists'.format(', '.join(names)))


class Child(object):
    """A process of ours in a session of its own, with its output in a file.

    argv: the command; core: the core to pin it to, or None; user: a pwd entry to run as, or None;
    stop_signal: what asks it to end. `stop()` ends its whole process group and may be called twice.
    """

    def __init__(self, argv, core=None, user=None, stop_signal=signal.SIGTERM, pipes=False):
        self.name = os.path.basename(argv[0])
        self._stop_signal = stop_signal
        self._output = tempfile.TemporaryFile()
        pipe = subprocess.PIPE if pipes else None
        self.process = subprocess.Popen(
            argv, stdin=pipe or subprocess.DEVNULL, stdout=pipe or self._output, stderr=self._output,
            preexec_fn=bench.machine.child_setup(core, user), start_new_session=True,
            cwd='/' if user else None, env=as_installed(os.environ))
        self.pid = self.process.pid

    def cpu(self):
        """Seconds of processor time used so far."""
        return bench.machine.cpu_seconds(self.pid)

    def resident(self):
        """Bytes of memory resident now."""
        return bench.machine.resident_bytes(self.pid)

    def output(self):
        """What it has written so far (with `pipes`: to stderr only), as text."""
        self._output.seek(0)
        return self._output.read().decode('utf-8', 'replace')

    def check(self):
        """Raises `BenchError` with the end of its output when it has ended by itself."""
        if self.process.poll() is not None:
            raise bench.errors.BenchError('{0} ended with code {1}: {2}'.format(
                self.name, self.process.returncode, tail(self.output())))

    def stop(self):
        try:
            self._signal(self._stop_signal)
            self.process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            pass
        finally:
            self._signal(signal.SIGKILL)    # what is left of the group
            self.process.wait()
            for pipe in (self.process.stdin, self.process.stdout):
                if pipe:
                    pipe.close()
            self._output.close()

    def _signal(self, number):
        try:
            os.killpg(self.pid, number)
        except ProcessLookupError:
            pass


def wait_for_port(child, address, seconds=START_SECONDS):
    """Return when `child` accepts TCP connections at `address`; else `BenchError` says why."""
    def connects():
        with socket.socket() as probe:
            probe.settimeout(1)
            return probe.connect_ex(address) == 0
    wait_until(child, connects, seconds)


def wait_until(child, ready, seconds=START_SECONDS):
    """Poll `ready()` until it is true, `child` has ended or the time is over."""
    deadline = time.monotonic() + seconds
    while not ready():
        child.check()
        if time.monotonic() > deadline:
            raise bench.errors.BenchError('{0} was not ready after {1} s: {2}'.format(
                child.name, seconds, tail(child.output())))
        time.sleep(0.005)


def as_installed(environ):
    """The environment in which a Python program keeps its bytecode: pip compiles what it installs, a checkout has it from
    its first start on."""
    return {name: value for name, value in environ.items() if name != 'PYTHONDONTWRITEBYTECODE'}


def run(argv, seconds, core=None, user=None, stdin=b''):
    """Run a tool to its end and return its stdout as text; `BenchError` if it fails or outlives `seconds`."""
    process = subprocess.Popen(
        argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, start_new_session=True,
        preexec_fn=bench.machine.child_setup(core, user), cwd='/' if user else None)
    name = os.path.basename(argv[0])
    try:
        out, err = process.communicate(stdin, timeout=seconds)
    except subprocess.TimeoutExpired:
        raise bench.errors.BenchError('{0} did not end within {1:.0f} s'.format(name, seconds))
    finally:
        try:
            os.killpg(process.pid, signal.SIGKILL)
        except ProcessLookupError:
            pass
        process.wait()
    out, err = out.decode('utf-8', 'replace'), err.decode('utf-8', 'replace')
    if process.returncode:
        raise bench.errors.BenchError('{0} failed with code {1}: {2}'.format(
            name, process.returncode, tail(err or out)))
    return out


def tail(text, lines=3):
    """The end of a program's output on one line."""
    return ' / '.join(line.strip() for line in text.strip().splitlines()[-lines:]) or '(it wrote nothing)'
