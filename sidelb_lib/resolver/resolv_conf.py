"""Which name servers to ask, how, and for what names: resolv.conf(5)."""
from __future__ import absolute_import, division, print_function

import os
from collections import namedtuple

from ..net.endpoints import canonical_ip
from ..net.small_file import BLANKS, lines_of, read_small_file, words_of

#: The number that an option of resolv.conf has at most, as in libc.
_LARGEST = {'ndots': 15, 'timeout': 30, 'attempts': 5}
_FLAGS = ('rotate', 'use-vc', 'no-aaaa')

_MAX_SERVERS = 8
_MAX_SEARCHED = 32
_MAX_BYTES = 65536


class Configuration(namedtuple('Configuration', 'servers search note options')):
    """What resolv.conf says: `servers` are [(ip, port)], `search` the domains of the search list; `note` explains
    servers that it does not name, else it is None. `options` are those that were written: {name: number or True}."""

    __slots__ = ()

    def __new__(cls, servers, search=(), note=None, options=None):
        return super(Configuration, cls).__new__(cls, list(servers), list(search), note, options or {})

    @property
    def ndots(self):
        """Names with fewer dots go through the search list first."""
        return self.options.get('ndots', 1)

    @property
    def timeout(self):
        """Seconds for one attempt at a server; None where nothing is written."""
        return self.options.get('timeout')

    @property
    def attempts(self):
        """How often to ask each server; None where nothing is written."""
        return self.options.get('attempts')

    @property
    def rotate(self):
        """Begin each query with another server."""
        return 'rotate' in self.options

    @property
    def use_tcp(self):
        """Ask by TCP alone."""
        return 'use-vc' in self.options

    @property
    def no_aaaa(self):
        """Ask for no IPv6 addresses."""
        return 'no-aaaa' in self.options


def parse_resolv_conf(text, port=53, environ=()):
    """The Configuration in the text of a resolv.conf(5), and in LOCALDOMAIN and RES_OPTIONS of `environ`, which come
    before the file. As in libc, keywords stand at the beginning of a line, and wrong lines are ignored."""
    servers, search, options = [], [], {}
    for line in lines_of(text):
        words = words_of(line.split('#')[0].split(';')[0], BLANKS)
        if len(words) > 1 and line.startswith(words[0] or ' '):
            if words[0] == 'nameserver' and words[1] and canonical_ip(words[1].split('%')[0]):
                servers.append((words[1], port))
            elif words[0] in ('search', 'domain'):
                search = _domains(words[1:2 if words[0] == 'domain' else None])
            elif words[0] == 'options':
                options.update(_options(words[1:]))
    if 'LOCALDOMAIN' in environ:
        search = _domains(words_of(environ['LOCALDOMAIN'], BLANKS))
    options.update(_options(words_of(environ['RES_OPTIONS'], BLANKS) if 'RES_OPTIONS' in environ else ()))
    note = None
    if not servers:
        servers, note = [('127.0.0.1', port)], 'resolv.conf names no server'
    return Configuration(servers[:_MAX_SERVERS], search[:_MAX_SEARCHED], note, options)


def _domains(words):
    """Those of the words that can be domains: a name that can't be asked for would look like one that nobody answers for."""
    return [word for word in words if word and all(0 < len(label) < 64 for label in word.strip('.').split('.'))]


def _options(words):
    options = {}
    for word in words:
        key, _, number = (word or '').partition(':')
        if key in _LARGEST and number.isdigit():
            options[key] = min(int(number[:9]), _LARGEST[key])
        elif word in _FLAGS:
            options[word] = True
    if not options.get('timeout', 1):
        del options['timeout']
    if not options.get('attempts', 1):
        del options['attempts']
    return options


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

    def __init__(self, path, port=53, environ=()):
        self._path = path
        self._port = port
        self._environ = environ
        self._read = None            # the Configuration read last
        self._signature = None       # tells whether the file has changed since

    def configuration(self):
        """The Configuration in force. A file that has become unreadable leaves the last one in force."""
        signature = _signature(self._path)
        if self._read is None or signature != self._signature:
            self._signature = signature
            try:
                data = read_small_file(self._path, _MAX_BYTES)
                if len(data) > _MAX_BYTES:           # the last line may be half an address
                    data = data[:data.rfind(b'\n') + 1]
                self._read = parse_resolv_conf(data.decode('latin-1'), self._port, self._environ)
            except EnvironmentError as error:
                # As libc does, see resolv.conf(5): without the file, ask the name server of this machine.
                note = '%s: %s' % (self._path, error.strerror)
                self._read = self._read or parse_resolv_conf('', self._port, self._environ)._replace(note=note)
        return self._read


def _signature(path):
    try:
        status = os.stat(path)
    except EnvironmentError:
        return None
    return status.st_mtime, status.st_ctime, status.st_size, status.st_ino
