"""The machine that the guides talk of: their names, addresses and ports are real there, and it is nobody else's."""
from __future__ import absolute_import, division, print_function

import contextlib
import os
import shutil
import tempfile

from .netns import NetworkNamespace, entered
from .processes import Process, run
from .program import clean_environ, install_program
from .requirements import need_namespaces, need_program
from .unbound import Unbound

NAME_SERVER = '127.0.0.2'


class World(object):
    """A context manager: a network namespace with `addresses`, a name server with `records` for it, a /run of its own, and
    `sidelb` on the PATH.

    Commands run in `directory`, which is empty at first. Of the file system they see what everybody sees, but for /run,
    /etc/hosts and /etc/resolv.conf.
    """

    def __init__(self, records=(), addresses=()):
        need_namespaces()
        self._programs = [need_program(name, 'util-linux') for name in ('unshare', 'nsenter', 'mount')]
        self._records = records
        self._stack = []
        self.namespace = NetworkNamespace(addresses)
        self.directory = None

    def __enter__(self):
        try:
            self._enter(self.namespace)
            self.namespace.write_resolv_conf('nameserver %s\n' % NAME_SERVER)
            self._enter(Unbound(self._records, NAME_SERVER, 53, self.namespace))
            self.directory = self._make_directory()
            os.mkdir(os.path.join(self.directory, 'run'))
            os.mkdir(os.path.join(self.directory, 'bin'))
            self._path = install_program(os.path.join(self.directory, 'bin'))
            self._enter(self._hold())
        except BaseException:
            self.__exit__(None, None, None)
            raise
        return self

    def __exit__(self, *exception):
        while self._stack:
            self._stack.pop().__exit__(*exception)

    def _enter(self, part):
        value = part.__enter__()
        self._stack.append(part)
        return value

    def _make_directory(self):
        directory = tempfile.mkdtemp(prefix='sidelb-world-')
        self._stack.append(_Cleanup(lambda: shutil.rmtree(directory)))
        return directory

    def _hold(self):
        """A process that holds the mounts, which are its own, for all others to join."""
        unshare, _, _ = self._programs
        self._holder = Process([unshare, '--mount', '--propagation', 'private', 'sh', '-c',
                                'mount --bind "$0" /run && echo ready && exec sleep 600',
                                os.path.join(self.directory, 'run')], namespace=self.namespace)
        self._holder.wait_for_output('^ready')
        return self._holder

    # --- what runs in it --------------------------------------------------------------------------------------------

    def command(self, shell_text):
        """The command line that runs a piece of shell here; it ends at the first command that fails."""
        _, nsenter, _ = self._programs
        return [nsenter, '--target', str(self._holder.pid), '--mount', '--net', 'bash', '-e', '-o', 'pipefail', '-c',
                'cd "$0" && ' + shell_text, self.directory]

    @property
    def environ(self):
        return clean_environ({'PATH': self._path, 'HOME': self.directory})

    def run(self, shell_text, timeout=20.0):
        """Run a piece of shell to its end. Returns it as `processes.Finished`."""
        return run(self.command(shell_text), environ=self.environ, timeout=timeout)

    def start(self, shell_text):
        """Run one command until the caller ends it: a Process, whose signals go to that command."""
        return Process(self.command('exec ' + shell_text), environ=self.environ)

    @contextlib.contextmanager
    def inside(self):
        """Servers of the tests' own that are started inside the `with` listen in this world."""
        with entered(self.namespace):
            yield


class _Cleanup(object):
    """Calls `function` at its end."""

    def __init__(self, function):
        self._function = function

    def __exit__(self, *_):
        self._function()
