"""The settings: one table, and how arguments and the environment become the values in force.

An argument beats the environment, which beats the default. Everything is checked before anything is started, and every
mistake is listed in one go.
"""
from __future__ import absolute_import, division, print_function

import re
from collections import namedtuple

from ..checks import registry as checks
from ..net.endpoints import canonical_ip, endpoint_text
from ..errors import SettingsError
from ..net.own_listener import bind_the_same, never, would_come_back
from .values import (
    duration, number, one_of, one_of_or_off, parse_backend, parse_http, parse_listener,
    parse_resolver, parse_ring_domain, parse_socket_path, parse_switch, printable, value_text)

PREFIX = 'SIDELB_'
TESTS_PREFIX = 'SIDELB_TEST_'        # the test suite's own variables

#: What Kubernetes puts into every container beside a Service whose name is, or begins with, `sidelb`.
_OF_KUBERNETES = re.compile(
    r'SIDELB_(.+_)?(SERVICE_HOST|SERVICE_PORT(_.+)?|PORT_[0-9]+_(TCP|UDP|SCTP)(_(PROTO|PORT|ADDR))?)=|'
    r'SIDELB_(.+_)?PORT=(tcp|udp|sctp)://')

_DAY = 24 * 3600


# --- the table ---

class Setting(namedtuple('Setting', 'key parse default meaning value proto many')):
    """One row. `default` is its text for people, `value` what is then in force.

    `proto`: the only one that it is for, or None. `many`: the text is a list with commas, `parse` reads one item, and
    the value is a tuple.
    """

    __slots__ = ()

    @property
    def variable(self):
        return PREFIX + ('BIND_ADDR' if self.key == 'listener' else self.key.upper())

    @property
    def attribute(self):
        return 'ring_domains' if self.key == 'ring_domain' else self.key


def _setting(key, parse, default, meaning, proto=None):
    return Setting(key, parse, default, meaning, parse(default), proto, False)


def _setting_without_default(key, parse, default, meaning, proto=None):
    return Setting(key, parse, default, meaning, None, proto, False)


def _list_setting(key, parse, default, meaning):
    return Setting(key, parse, default, meaning, (), None, True)


TABLE = (
    _setting_without_default(
        'listener', parse_listener, '-',
        'where clients connect, ip:port or [ipv6]:port; the first bare argument (with listener= all bare ones are '
        'servers). [::] is IPv6 alone. Port 0: any free one, which the log tells'),
    _list_setting(
        'ring_domain', parse_ring_domain, '-',
        'host:port; looked up and refreshed, every address a server. May be given more than once'),
    _list_setting(
        'backends', parse_backend, '-',
        'servers, with commas, or as bare arguments after the listener: ip:port, [ipv6]:port or name:port. '
        'A name is one server with all its addresses, looked up again and again; '
        '10.0.0.1:5432+[2001:db8::1]:5432 names the addresses of one server by hand'),
    _setting('mode', one_of('round-robin', 'least-connections'), 'round-robin', 'or least-connections'),
    _setting('proto', one_of('tcp', 'udp'), 'tcp', 'or udp'),
    _setting(
        'group', one_of_or_off('confirmed', 'ptr'), 'confirmed',
        'how addresses become servers: confirmed (by the PTR name, if it resolves back), ptr (by the PTR '
        'name alone) or off'),
    _list_setting(
        'resolver', parse_resolver, 'resolv.conf',
        'name servers to ask instead, ip[:port], with commas'),
    _setting(
        'refresh', duration(1, _DAY), '60s',
        'longest time between two look-ups; a shorter TTL shortens it, to not less than 1s'),
    _setting(
        'dns_hold', duration(0, _DAY), '30s',
        'how long an empty DNS answer is distrusted before the servers are let go'),
    _setting(
        'check', checks.parse, 'tcp',
        'how servers are probed: tcp (connects) or off; for proto=udp: udp (the default there; a refusal is '
        'a failure), dns (wants an answer), send:HEX,expect:HEX (wants a reply that begins so) or off'),
    _setting(
        'check_interval', duration(0.1, 3600), '5s',
        'time between two probes of an address; within 1s while its state is changing'),
    _setting('check_timeout', duration(0.01, 300), '2s', 'a probe that takes longer has failed'),
    _setting('check_fall', number(1, 100), '2', 'failures in a row that take a server down'),
    _setting('check_rise', number(1, 100), '2', 'successes in a row that bring it back up'),
    _setting(
        'connect_timeout', duration(0.01, 300), '3s',
        'time for one attempt to reach a server, and that a client waits for the first DNS answer'),
    _setting(
        'idle_timeout', duration(0, 30 * _DAY), '0',
        'a session in which neither side sent a byte for so long is ended; 0: never', 'tcp'),
    _setting(
        'half_close_timeout', duration(0.01, 30 * _DAY), '5m',
        'silence that is allowed once one side has ended', 'tcp'),
    _setting('drain_timeout', duration(0, _DAY), '8s', 'time that sessions have to end on SIGTERM'),
    _setting(
        'on_down', one_of('keep', 'close'), 'keep',
        'or close: what happens to the sessions of a server that went down'),
    _setting(
        'on_removed', one_of('keep', 'close'), 'keep',
        'or close: what happens to the sessions of a server that left DNS'),
    _setting_without_default(
        'max_connections', number(1, 10000000), 'automatic',
        'most clients at once, by default what the limit of open files allows; more wait in the kernel',
        'tcp'),
    _setting(
        'session_timeout', duration(0.01, _DAY), '60s',
        'a UDP client without a datagram either way for so long is forgotten', 'udp'),
    _setting(
        'responses', number(0, 1000000), '0',
        'replies after which a UDP session ends, 1 for services like DNS; 0: any number', 'udp'),
    _setting_without_default(
        'max_sessions', number(1, 10000000), 'automatic',
        'most UDP clients at once, by default what the limit of open files allows; the one idle for longest '
        'makes room', 'udp'),
    _setting('status_socket', parse_socket_path, '/run/sidelb.sock', 'path of the status socket, or off'),
    _setting('http', parse_http, 'off', 'ip:port for health, metrics and a status page'),
    _setting(
        'reuse_port', parse_switch, 'off',
        'on: several instances may have the same listener (SO_REUSEPORT)'),
    _setting(
        'log_level', one_of('debug', 'info', 'warning', 'error'), 'info',
        'least level that is logged: debug (each connection), info, warning or error'),
    _setting('log_format', one_of('text', 'json'), 'text', 'or json: one object a line'),
)

_BY_KEY = dict((setting.key, setting) for setting in TABLE)
_BY_VARIABLE = dict((setting.variable, setting) for setting in TABLE)
_ADD_UP = ('ring_domain', 'backends')      # may be given more than once

#: Words that somebody may expect for a setting, beside its near misses.
_OTHER_WORDS = {
    'bind': 'listener', 'bind_addr': 'listener', 'listen': 'listener', 'ring': 'ring_domain',
    'domain': 'ring_domain', 'servers': 'backends', 'protocol': 'proto'}

#: What the other protocol has in its place.
_TWINS = {'idle_timeout': 'session_timeout', 'session_timeout': 'idle_timeout',
          'max_connections': 'max_sessions', 'max_sessions': 'max_connections'}

#: What is in force. `origins`: each key -> 'argument', 'environment SIDELB_X' or 'default'.
Settings = namedtuple('Settings', [setting.attribute for setting in TABLE] + ['origins'])

#: What a user wrote for one key: where, and [(how to name it in a mistake, text)].
_Given = namedtuple('_Given', 'origin texts')


# --- from what is given to what is in force ---

def parse(arguments, environ):
    """The Settings out of the command line's arguments, without the program's name, and an environment.

    Raises SettingsError with every mistake. The values, beside words and numbers:

    - durations are float seconds, 0.0 where they are off
    - `listener` is (ip, port); `http` too, or None when off
    - `ring_domains` is ((name, port), ...), `backends` (Backend, ...)
    - `resolver` is ((ip, port), ...), () for resolv.conf
    - `check` is a checks.registry.Choice, whose name is 'off' when off; `group` is 'off' when off
    - `status_socket` is None when off; `reuse_port` is a bool
    - `max_connections` and `max_sessions` are None when the descriptor limit decides
    """
    mistakes = []
    given = _from_environment(environ, mistakes)
    listens = 'listener' in given
    given.update(_from_arguments(arguments, mistakes))
    values = {}
    origins = {}
    for setting in TABLE:
        written = given.get(setting.key, _Given('default', ()))
        origins[setting.key] = written.origin
        values[setting.attribute] = setting.value
        if written.texts:
            values[setting.attribute] = _value(setting, written.texts, mistakes)
    if values['proto'] == 'udp' and origins['check'] == 'default':
        values['check'] = checks.parse(checks.DEFAULTS['udp'])
    mistakes += _missing(given, listens)
    mistakes += _wrong_protocol(values, origins)
    mistakes += _repeated_servers(values)
    mistakes += _loops(values)
    if mistakes:
        raise SettingsError(mistakes)
    return Settings(origins=origins, **values)


def parse_one(key, text):
    """The value of one setting alone. Raises SettingsError."""
    mistakes = []
    value = _value(_BY_KEY[key], [(_BY_KEY[key].variable + '=', text)], mistakes)
    if mistakes:
        raise SettingsError(mistakes)
    return value


def _from_environment(environ, mistakes):
    """{key: _Given} of an environment. An empty variable counts as unset: compose files pass such."""
    given = {}
    for variable in sorted(environ):
        text = environ[variable].strip()
        if not variable.startswith(PREFIX) or variable.startswith(TESTS_PREFIX) or not text:
            continue
        if variable in _BY_VARIABLE:
            given[_BY_VARIABLE[variable].key] = _Given('environment ' + variable, [(variable + '=', text)])
        elif not _OF_KUBERNETES.match('%s=%s' % (variable, text)):
            near = did_you_mean(variable[len(PREFIX):], lambda setting: setting.variable)
            mistakes.append('%s: no such setting%s' % (printable(variable), near))
    return given


def _from_arguments(arguments, mistakes):
    """{key: _Given} of the command line's arguments."""
    given = {}
    bare = []
    for argument in arguments:
        key, equals, text = argument.partition('=')
        if not equals and argument not in _BY_KEY:
            bare.append(argument)
        elif key not in _BY_KEY:
            near = did_you_mean(key, lambda setting: setting.key + '=')
            mistakes.append('%s: no such setting%s' % (printable(key + '='), near))
        elif not text.strip():
            mistakes.append('%s=: the value is missing: write %s=VALUE, or leave it out' % (key, key))
        else:
            texts = given.setdefault(key, _Given('argument', [])).texts
            texts.append((key + '=', text.strip()))
            if len(texts) == 2 and key not in _ADD_UP:
                mistakes.append('%s= is given twice: keep one' % key)
    if bare and 'listener' not in given:
        given['listener'] = _Given('argument', [('listener ', bare.pop(0).strip())])
    if bare:
        texts = given.setdefault('backends', _Given('argument', [])).texts
        texts += [('server ', argument.strip()) for argument in bare]
    return given


def _value(setting, texts, mistakes):
    """The value of what was written; None, or without the item in a list, where that was a mistake."""
    values = []
    for name, text in texts:
        for item in text.split(',') if setting.many else [text]:
            item = item.strip()
            try:
                if not item:
                    raise ValueError('nothing is here' + (' between commas' if setting.many else ''))
                values.append(setting.parse(item))
            except ValueError as error:
                quoted = item[:1] in ('"', "'")       # `docker run --env-file` passes quotes on
                mistakes.append('%s%s: %s%s' % (name, printable(item), error,
                                                ' (leave the quotes out)' if quoted else ''))
    if setting.many:
        return tuple(values)
    return values[0] if values else None


# --- what does not go together ---

def _missing(given, variable_listens):
    if 'listener' not in given:
        yield 'no listener: name it first, like sidelb 127.0.0.1:5432 ..., or in SIDELB_BIND_ADDR'
    if 'ring_domain' not in given and 'backends' not in given:
        taken = variable_listens and given['listener'].origin == 'argument'
        yield 'no server: name some as ring_domain=host:port, backends=ip:port or further arguments%s' % (
            ' (the first bare argument is the listener, before SIDELB_BIND_ADDR)' if taken else '')


def _wrong_protocol(values, origins):
    proto = values['proto']
    if proto is None:
        return
    for setting in TABLE:
        if setting.proto not in (None, proto) and origins[setting.key] != 'default':
            twin = _TWINS.get(setting.key)
            yield '%s= is for proto=%s%s' % (setting.key, setting.proto,
                                             ' (for %s use %s=)' % (proto, twin) if twin else '')
    check = values['check']
    if check is not None and proto not in check.protocols:
        words = checks.words(proto)
        yield 'check=%s is not for proto=%s: choose %s or %s' % (
            value_text(check), proto, ', '.join(words[:-1]), words[-1])


def _server_endpoints(values):
    """(host, port, how the entry was meant) of all servers that were named."""
    for backend in values['backends']:
        for host, port in backend.addresses or ((backend.name, backend.port),):
            yield host, port, 'backends'
    for name, port in values['ring_domains']:
        yield name, port, 'ring_domain'


def _repeated_servers(values):
    seen = {}
    for host, port, key in _server_endpoints(values):
        entry = (host.rstrip('.'), port)
        text = endpoint_text(host, port)
        if entry not in seen:
            seen[entry] = key
        elif seen[entry] == key:
            yield '%s is named twice in %s: leave one out' % (text, key)
        else:
            yield '%s is both a ring_domain (many servers) and a backend (one server): keep one' % text


def _loops(values):
    listener = values['listener']
    if listener is None:
        return
    own = endpoint_text(*listener)
    for host, port, _ in _server_endpoints(values):
        if _would_meet(listener, host, port):
            yield '%s is the listener %s itself, a loop: name the address of the server' % (
                endpoint_text(host, port), own)
    http = values['http']
    if http and values['proto'] == 'tcp' and bind_the_same(http, listener):
        yield 'http=%s is the address of the listener %s: give it another port' % (endpoint_text(*http), own)


def _would_meet(listener, host, port):
    """Would a connection to (host, port) come to the listener? Without asking for our own addresses."""
    ips = ('127.0.0.1', '::1') if host == 'localhost' else (canonical_ip(host),)
    return any(ip and would_come_back((ip, port), listener, never) for ip in ips)


# --- texts ---

def help_table(width=100):
    """Every setting with its default and meaning, as lines of at most `width` characters."""
    import textwrap
    lines = []
    for setting in TABLE:
        head = '  %-19s %-17s ' % (setting.key, setting.default)
        lines += textwrap.wrap(setting.meaning, width, initial_indent=head, subsequent_indent=' ' * 40,
                               break_on_hyphens=False)
    return '\n'.join(lines)


def describe(settings):
    """What is in force, one line a setting: key, value, origin."""
    rows = []
    for setting in TABLE:
        value = getattr(settings, setting.attribute)
        rows.append((setting.key, _value_text(setting, value), settings.origins[setting.key]))
    key_width = max(len(key) for key, _, _ in rows)
    value_width = min(40, max(len(value) for _, value, _ in rows))
    return '\n'.join('%-*s  %-*s  %s' % (key_width, key, value_width, value, origin)
                     for key, value, origin in rows)


def _value_text(setting, value):
    """A value as a user would write it."""
    if value == setting.value:
        return setting.default
    if setting.many:
        return ','.join(value_text(item) for item in value)
    return value_text(value)


def did_you_mean(word, name):
    """`: did you mean mode=?`, or a pointer to the help. `name(setting)` is how to propose a Setting."""
    key = nearest(word.lower().replace('-', '_'), list(_BY_KEY) + list(_OTHER_WORDS))
    if key is None:
        return ': sidelb --help lists all'
    return ': did you mean %s?' % name(_BY_KEY[_OTHER_WORDS.get(key, key)])


def nearest(word, words):
    """That of `words` which `word` may have been meant for, or None."""
    import difflib
    near = difflib.get_close_matches(word, words, 1)
    return near[0] if near else None
