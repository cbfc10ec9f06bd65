"""Which name servers to ask, and for what names: resolv.conf(5)."""
from __future__ import absolute_import, division, print_function

import os
from collections import namedtuple

from ..net.endpoints import canonical_ip

#: What resolv.conf says; `note` explains servers that it does not name.
Configuration = namedtuple('Configuration', 'servers search ndots note')

_MAX_SERVERS = 8
_MAX_SEARCHED = 32
_MAX_BYTES = 65536


def parse_resolv_conf(text, port=53):
    """The Configuration in the text of a resolv.conf(5). As in libc, wrong lines are ignored."""
    servers, search, ndots = [], [], 1
    for line in text.splitlines():
        words = line.split('#')[0].split(';')[0].split()
        if len(words) > 1:
            if words[0] == 'nameserver' and canonical_ip(words[1].split('%')[0]):
                servers.append((str(words[1]), port))
            elif words[0] in ('search', 'domain'):
                search = [str(word) for word in words[1:]]
            elif words[0] == 'options':
                for word in words[1:]:
                    if word.startswith('ndots:') and word[6:].isdigit():
                        ndots = min(int(word[6:]), 15)
    note = None
    if not servers:
        servers, note = [('127.0.0.1', port)], 'resolv.conf names no server'
    return Configuration(servers[:_MAX_SERVERS], search[:_MAX_SEARCHED], ndots, note)


def candidates(name, search, ndots):
    """The absolute names to try for `name`, in order, as resolv.conf(5) has it."""
    if name.endswith('.'):
        return [name]
    searched = ['%s.%s.' % (name, domain.strip('.')) for domain in search if domain.strip('.')]
    if name.count('.') >= ndots:
        return [name + '.'] + searched
    return searched + [name + '.']


class ResolvConf(object):
    """A resolv.conf that is read again when it has changed. `port` is that of the servers in it."""

    def __init__(self, path, port=53):
        self._path = path
        self._port = port
        self._read = None            # the Configuration read last
        self._signature = None       # tells whether the file has changed since

    def configuration(self):
        """The Configuration in force. A file that has become unreadable leaves the last one in force."""
        signature = _signature(self._path)
        if self._read is None or signature != self._signature:
            self._signature = signature
            try:
                with open(self._path, 'rb') as lines:
                    text = lines.read(_MAX_BYTES).decode('latin-1')
                self._read = parse_resolv_conf(text, self._port)
            except EnvironmentError as error:
                # As libc does, see resolv.conf(5): without the file, ask the name server of this machine.
                note = '%s: %s' % (self._path, error.strerror)
                self._read = self._read or Configuration([('127.0.0.1', self._port)], [], 1, note)
        return self._read


def _signature(path):
    try:
        status = os.stat(path)
    except EnvironmentError:
        return None
    return status.st_mtime, status.st_ctime, status.st_size, status.st_ino
