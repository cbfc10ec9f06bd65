"""The checks that there are, and how a user chooses one: `check=KIND[:PORT][/WHAT]`, or a script.

A kind's module is loaded when it is used. Its contract:

    parse(arguments) -> options, any value. `arguments` is WHAT, None where it is left out; of a script the whole text.
        ValueError says what is wrong. Where `options` has an attribute `protocols`, it stands for that of the row.
    make(options, context) -> probe(address, deadline) -> Result; see `exchange`.

`address` has `host`, `port`, `family`, `sockaddr` and `member`; `deadline` is an `exchange.Deadline`.
"""
from __future__ import absolute_import, division, print_function

import importlib
import os
import re
from collections import namedtuple

from ..compat import new_socket
from ..errors import SidelbError
from ..net.small_file import read_small_file

#: One kind. `protocols`: for whose servers it is; `arguments`: what may follow the name; `meaning`: what passes.
Check = namedtuple('Check', 'name protocols arguments meaning')

_ROLE = '[:PORT][/primary|replica|prefer-replica]'

CHECKS = (
    Check('tcp', ('tcp',), '[:PORT]', 'a connection can be opened; the server does not notice'),
    Check('udp', ('udp',), '', 'a line break is not refused; silence passes'),
    Check('dns', ('udp',), '[/NAME]', 'a question is answered'),
    Check('http', ('tcp',), '[:PORT][/PATH]', 'a request is answered with a status that passes, see check_expect'),
    Check('https', ('tcp',), '[:PORT][/PATH]', 'as http, over TLS'),
    Check('postgres', ('tcp',), _ROLE, 'PostgreSQL takes sessions; or has the role'),
    Check('mysql', ('tcp',), _ROLE, 'MySQL or MariaDB evaluates logins; or has the role'),
    Check('redis', ('tcp',), _ROLE, 'PING is answered; or has the role'),
    Check('tls', ('tcp',), '[:PORT][/NAME]', 'a TLS handshake ends well'),
    Check('run', ('tcp', 'udp'), ':PATH[,role]', 'a program says so'),
    Check('script', ('tcp', 'udp'), 'want:TEXT,ask:TEXT,...', 'a conversation goes as written'),
)

#: How a script begins; it has no name of its own.
SCRIPT_WORDS = ('want', 'ask', 'send', 'expect')

#: Kinds that open no conversation over TCP.
_SILENT = ('tcp', 'udp', 'dns')

DEFAULTS = {'tcp': 'tcp', 'udp': 'udp'}

#: YAML reads an unquoted `off` as false.
_OFF_WORDS = ('off', 'false', 'no')

_PARTS = re.compile(r'([^:/]*)(?::([^/]*))?(?:/(.*))?\Z', re.DOTALL)


class Context(object):
    """What a check's module may use. `settings` are those in force; `clock` gives seconds."""

    def __init__(self, settings, clock):
        self.settings = settings
        self.clock = clock
        self._read = None              # (time of the last change, password) of check_password_file

    def password(self):
        """The password for logins, None without one; the file is read again when it has changed. Raises Misconfigured."""
        path = self.settings.check_password_file
        if not path:
            secret = self.settings.check_password
            return secret.text if secret else None
        from .exchange import Misconfigured
        try:
            changed = os.stat(path).st_mtime
            if self._read is None or self._read[0] != changed:
                line = read_small_file(path, 1024).partition(b'\n')[0]
                self._read = changed, line.rstrip(b'\r').decode('utf-8')
        except (EnvironmentError, UnicodeError) as error:
            raise Misconfigured('check_password_file=%s: %s' % (path, getattr(error, 'strerror', None) or error))
        return self._read[1]


class Choice(object):
    """A check that was chosen: the name of its kind, an own port or None, what its module made of the rest, and for which
    protocols it is. `str()` is what the user wrote."""

    __slots__ = ('name', 'port', 'options', 'protocols', '_text')

    def __init__(self, name, port, options, protocols, text):
        self.name = name
        self.port = port
        self.options = options
        self.protocols = protocols
        self._text = text

    @property
    def role(self):
        """The role that a server must have to be wanted; None where any will do."""
        return getattr(self.options, 'role', None)

    def __str__(self):
        return self._text

    def __repr__(self):
        return '<Choice %s>' % self

    def __eq__(self, other):
        return isinstance(other, Choice) and self._text == other._text

    def __ne__(self, other):
        return not self == other

    def __hash__(self):
        return hash(self._text)


#: Programs that somebody may name -> the check that speaks with them.
_OTHER_NAMES = {'pg': 'postgres', 'pg_isready': 'postgres', 'pgsql': 'postgres', 'mariadb': 'mysql', 'galera': 'mysql',
                'valkey': 'redis', 'sentinel': 'redis', 'patroni': 'http', 'connect': 'tcp', 'port': 'tcp', 'ping': 'tcp',
                'script': 'want', 'smtp': 'want', 'imap': 'want', 'ftp': 'want', 'memcached': 'want'}


def parse(text, proto=None):
    """The Choice that `text` means. `off` is a Choice, too. ValueError says how to write it, for servers of `proto`."""
    if text.lower() in _OFF_WORDS:
        return Choice('off', None, None, ('tcp', 'udp'), 'off')
    name, port, what = _split(text)
    check = _check(name)
    if re.match('https?://', text):
        raise ValueError('that is a URL, but each server is asked itself: write %s/PATH, like %s/health' % (name, name))
    if not check or name == 'script' and what is not text:
        raise ValueError(_no_such_check(name, proto))
    try:
        options, port = _module(name).parse(what), _port(check, port)
    except ValueError as error:
        raise ValueError('%s: write %s' % (error, grammar(check)))
    protocols = getattr(options, 'protocols', check.protocols)
    if port:
        protocols += ('udp',)             # a UDP service may have a port for TCP beside it
    return Choice(name, port, options, protocols, text if name == 'script' else name + text[len(name):])


def _split(text):
    """(name of the kind, text of the port or None, WHAT or None)."""
    if text.partition(':')[0].lower() in SCRIPT_WORDS:
        return 'script', None, text
    if text[:4].lower() == 'run:':
        return 'run', None, text[4:]
    name, port, what = _PARTS.match(text).groups()
    return name.lower(), port, what


def grammar(check):
    """How a Check is written."""
    return check.arguments if check.name == 'script' else check.name + check.arguments


def words(proto):
    """The ways to write a check for servers of `proto`, in the table's order, and `off`."""
    return [grammar(check) for check in CHECKS if proto in check.protocols] + ['off']


def mistake_of(settings):
    """Why the check can't be made as it is set up: files that it needs. None where nothing is known to be wrong."""
    if settings.check_ca and settings.check.name != 'off':
        try:
            make(settings.check, Context(settings, None))
        except SidelbError as error:
            return str(error)
    return None


def make(choice, context):
    """The probe function of a Choice that is not `off`."""
    probe = _module(choice.name).make(choice.options, context)
    if choice.name == 'run':                  # a program of its own
        return probe
    if choice.port is None:
        return _approaching(probe, context.settings, choice.name not in _SILENT)
    probe = _approaching(probe, context.settings, False)
    is_tcp = context.settings.proto == 'tcp'

    def probe_other_port(address, deadline):
        """What clients found dead at the server's own port is well when that takes a connection, too: a check of another
        port would bring it back each time, for clients to find it dead again."""
        result = probe(OtherPort(address, choice.port), deadline)
        if is_tcp and address.connects.is_down:
            _approaching(_module('tcp').probe, context.settings, False)(address, deadline)
        return result
    return probe_other_port


def _approaching(probe, settings, says_header):
    """`probe` that comes to servers as clients' sessions do: from the `source` of the settings, and with a PROXY header,
    which names no client, where `says_header`."""
    def approach(address, deadline):
        greeting, make_socket = None, new_socket
        if says_header and settings.proxy != 'off':
            from ..net.proxy_protocol import local_header
            greeting = local_header(settings.proxy)
        if settings.source:
            from ..net.source import Source
            make_socket = Source(settings.source).new_socket
        elif greeting is None:
            return probe(address, deadline)
        return probe(Approach(address, greeting, make_socket), deadline)
    return approach


class Approach(object):
    """An address, with what its conversations begin with and what makes the sockets towards it."""

    __slots__ = ('host', 'port', 'family', 'sockaddr', 'member', 'greeting', 'new_socket')

    def __init__(self, address, greeting, make_socket):
        for name in self.__slots__[:5]:
            setattr(self, name, getattr(address, name))
        self.greeting = greeting
        self.new_socket = make_socket


class OtherPort(object):
    """An address as it is probed at a port of the check's own."""

    __slots__ = ('host', 'port', 'family', 'sockaddr', 'member')

    def __init__(self, address, port):
        self.host = address.host
        self.port = port
        self.family = address.family
        self.sockaddr = (address.host, port)
        self.member = address.member


def _check(name):
    for check in CHECKS:
        if check.name == name:
            return check
    return None


def _module(name):
    return importlib.import_module(__name__.rpartition('.')[0] + '.' + name)


def _port(check, text):
    if text is None:
        return None
    if 'PORT' not in check.arguments:
        raise ValueError('%s has no port of its own' % check.name)
    if not re.match(r'[0-9]{1,5}\Z', text) or not 1 <= int(text) <= 65535:
        means = '/' in check.arguments and re.match(r'[A-Za-z][\w.-]*\Z', text)
        raise ValueError('the port is a number of 1 to 65535%s' % (
            ' (did you mean %s/%s?)' % (check.name, text) if means else ''))
    return int(text)


def _no_such_check(name, proto):
    import difflib
    if name in ('none', 'disabled', 'disable', '0'):
        return 'write off to have no checks'
    checks = [check for check in CHECKS if proto is None or proto in check.protocols]
    names = [check.name for check in checks if check.name != 'script'] + list(SCRIPT_WORDS)
    near = [_OTHER_NAMES[name]] if _OTHER_NAMES.get(name) in names else difflib.get_close_matches(name, names, 1)
    if near:
        return 'did you mean %s? Write %s' % (near[0], grammar(_check(near[0]) or _check('script')))
    ways = [grammar(check) for check in checks] + ['off']
    return 'choose %s or %s' % (', '.join(ways[:-1]), ways[-1])
