"""Network namespaces: for tests that need addresses, a hosts file or a resolv.conf to themselves."""
from __future__ import absolute_import, division, print_function

import contextlib
import ctypes
import itertools
import os
import re
import shutil
import subprocess

from .waiting import wait_until

CONFIGURATION = '/etc/netns'           # `ip netns exec` binds the files below it over /etc, ip-netns(8)
_counter = itertools.count(1)


class NetworkNamespace(object):
    """A context manager: `lo` is up inside, with all of 127.0.0.0/8, ::1 and `addresses` (IPv4 or IPv6).

    Needs root and iproute2 (see `requirements.need_namespaces`). The namespace and its configuration files go
    when the `with` ends; processes and sockets in it are their owners' to end.
    """

    def __init__(self, addresses=()):
        self.name = 'sidelb-test-%d-%d' % (os.getpid(), next(_counter))
        self._addresses = list(addresses)
        self._directory = os.path.join(CONFIGURATION, self.name)

    def __enter__(self):
        remove_leftovers()
        os.makedirs(self._directory)
        # `ip netns exec` binds what is there at that moment, so both must be there; later writes show inside.
        self.write_hosts('127.0.0.1 localhost\n')
        self.write_resolv_conf('nameserver 127.0.0.1\n')
        try:
            _ip('netns', 'add', self.name)
            _ip('-n', self.name, 'link', 'set', 'lo', 'up')
            for address in self._addresses:
                self.add_address(address)
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_):
        remove(self.name)

    def add_address(self, address):
        suffix = ['/128', 'nodad'] if ':' in address else ['/32']
        _ip('-n', self.name, 'address', 'add', address + suffix[0], 'dev', 'lo', *suffix[1:])
        # The kernel makes an IPv6 address' route a moment later; until then connecting to it is 'unreachable'.
        wait_until('no route to %s' % address, lambda: 'local' in _ip('-n', self.name, 'route', 'get', address))

    def command(self, command):
        """The command line that runs `command` (a list) inside."""
        return ['ip', 'netns', 'exec', self.name] + list(command)

    def write_hosts(self, text):
        self._write('hosts', text)

    def write_resolv_conf(self, text):
        self._write('resolv.conf', text)

    def _write(self, name, text):
        """Write in place: what was bound over /etc inside is this very file."""
        with open(os.path.join(self._directory, name), 'w') as stream:
            stream.write(text)


@contextlib.contextmanager
def entered(namespace):
    """Sockets made inside the `with` belong to `namespace` for good; None changes nothing. No waiting inside.

    The whole thread moves, with everything that gevent runs in it: so only make sockets, and connect none.
    """
    if namespace is None:
        yield
        return
    home = os.open('/proc/self/ns/net', os.O_RDONLY)
    try:
        _set_namespace('/run/netns/%s' % namespace.name)
        try:
            yield
        finally:
            _set_namespace('/proc/self/fd/%d' % home)
    finally:
        os.close(home)


def _set_namespace(path):
    descriptor = os.open(path, os.O_RDONLY)
    try:
        if ctypes.CDLL(None, use_errno=True).setns(descriptor, 0) != 0:
            code = ctypes.get_errno()
            raise OSError(code, os.strerror(code), path)
    finally:
        os.close(descriptor)


def in_namespace(namespace):
    """A `new_socket` whose sockets belong to `namespace`."""
    from sidelb_lib.compat import new_socket

    def new_socket_there(family, kind):
        with entered(namespace):
            return new_socket(family, kind)
    return new_socket_there


def remove_leftovers():
    """Remove the namespaces of test runs that were killed."""
    for name in os.listdir('/run/netns') if os.path.isdir('/run/netns') else []:
        ours = re.match(r'sidelb-test-(\d+)-\d+$', name)
        if ours and not os.path.exists('/proc/' + ours.group(1)):
            remove(name)


def remove(name):
    subprocess.Popen(['ip', 'netns', 'del', name], stderr=subprocess.PIPE).communicate()
    shutil.rmtree(os.path.join(CONFIGURATION, name), ignore_errors=True)


def _ip(*arguments):
    process = subprocess.Popen(('ip',) + arguments, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    output = process.communicate()[0].decode('utf-8', 'replace')
    if process.returncode != 0:
        raise AssertionError('ip %s: %s' % (' '.join(arguments), output))
    return output
