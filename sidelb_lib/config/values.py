"""The kinds of values that settings have: from the text that a user writes, and back.

A parser takes a text and returns the value, or raises ValueError with what is wrong and how to write it.
"""
from __future__ import absolute_import, division, print_function

import re

from ..errors import printable
from ..net.endpoints import UNIX, canonical_ip, checked_socket_path, endpoint_text, is_one_host, parse_endpoint, parse_unix
from .servers import refuse_options, server_address

#: YAML reads an unquoted `on` and `off` as true and false, and passes those on.
_ON = ('on', 'true', 'yes')
_OFF = ('off', 'false', 'no')

_UNITS = {'s': 1, 'm': 60, 'h': 3600}
_DURATION = re.compile(r'([0-9]+(?:\.[0-9]+)?)(ms|s|m|h)?\Z')


def parse_listener(text):
    """(ip, port) to bind; port 0 is any free one."""
    text, slash, options = text.partition('/')
    if slash and not options.startswith('/'):
        raise ValueError('a listener has no options: leave out /%s' % printable(options))
    text += slash + options
    host, colon, port = text.rpartition(':')
    if host in ('', '*') and re.match(r'[0-9]{1,5}\Z', port):
        raise ValueError('name the address, too: 127.0.0.1:%s for this machine only, 0.0.0.0:%s for all its '
                         'networks' % (port, port))
    if ':' not in text and not canonical_ip(text):
        raise ValueError('write ip:port, like 127.0.0.1:5432 for this machine only')
    host, port = parse_endpoint(text, least_port=0)
    if not canonical_ip(host):
        raise ValueError('a listener is an IP address, no name: write 127.0.0.1:%d' % port)
    return host, port


def parse_service_listener(text):
    """Like a listener, or (path, 0) of unix:/path."""
    if text.startswith(UNIX):
        refuse_options(text, 'a listener')
        return parse_unix(text)
    return parse_listener(text)


def parse_source(text):
    """An IP of this host."""
    ip = canonical_ip(text)
    if not ip or not is_one_host(ip):
        raise ValueError('write an IP address of this host, like 10.0.0.5; the port is chosen by itself')
    return ip


class Mode(int):
    """Who may read and write a file."""

    def __str__(self):
        return '%04o' % self


def parse_mode(text):
    """A Mode, like 0660."""
    if not re.match(r'0?[0-7]{3}\Z', text):
        raise ValueError('write three octal digits, like 0660')
    return Mode(int(text, 8))


def parse_http(text):
    """Like a listener, or None for `off`."""
    if text.startswith(UNIX):
        raise ValueError('HTTP is served at ip:port')
    if text.lower() in _ON:
        raise ValueError('say where: http=127.0.0.1:8404 is for this machine only')
    return None if text.lower() in _OFF else parse_listener(text)


def parse_resolver(text):
    """(ip, port) of a name server."""
    host, port = parse_endpoint(text, default_port=53)
    if not canonical_ip(host):
        raise ValueError('a resolver is an IP address, no name')
    return server_address(host, port)


def one_of(*words):
    """A parser of one of these words, in any case of letters."""
    def parse_choice(text):
        if text.lower() not in words:
            raise ValueError('choose %s or %s' % (', '.join(words[:-1]), words[-1]))
        return text.lower()
    return parse_choice


def one_of_or_off(*words):
    """A parser of one of these words or of what means off, which it gives as 'off'."""
    parse_choice = one_of(*(words + ('off',)))

    def parse_choice_or_off(text):
        return 'off' if text.lower() in _OFF else parse_choice(text)
    return parse_choice_or_off


def parse_switch(text):
    """A bool."""
    if text.lower() not in _ON + _OFF:
        raise ValueError('choose on or off')
    return text.lower() in _ON


def duration(minimum, maximum):
    """A parser of seconds from `minimum` to `maximum`; where 0 is allowed, `off` is 0."""
    def parse_duration(text):
        if not minimum and text.lower() in _OFF:
            return 0.0
        parts = _DURATION.match(text.lower())
        if not parts:
            raise ValueError('write a duration like 500ms, 5s, 2m or 1h')
        amount, unit = float(parts.group(1)), parts.group(2) or 's'
        seconds = amount / 1000 if unit == 'ms' else amount * _UNITS[unit]
        if not minimum <= seconds <= maximum:
            raise ValueError('must be %s to %s%s' % (duration_text(minimum), duration_text(maximum),
                                                     '' if parts.group(2) else '; a bare number is seconds'))
        return seconds
    return parse_duration


def number(minimum, maximum):
    """A parser of a whole number from `minimum` to `maximum`."""
    def parse_number(text):
        if not re.match(r'[0-9]+\Z', text):
            raise ValueError('write a whole number')
        if len(text) > 12 or not minimum <= int(text) <= maximum:
            raise ValueError('must be %d to %d' % (minimum, maximum))
        return int(text)
    return parse_number


def parse_instance(text):
    """A whole number, 'off', or a name, of which `policies.start` takes the number: as templates of systemd have it, or
    the name of a host."""
    if re.match(r'[0-9]+\Z', text):
        return number(0, 2 ** 32 - 1)(text)
    if not re.match(r'[A-Za-z0-9._-]*[A-Za-z][A-Za-z0-9._-]*\Z', text):
        raise ValueError('write a number, the name of the instance (app-17), or off')
    return text


class Factor(float):
    """A number that is no duration."""

    def __str__(self):
        return '%g' % self if self else 'off'


def parse_spill(text):
    """A Factor of 1 to 10, or 0 for `off`."""
    if text.lower() in _OFF:
        return Factor(0)
    if not re.match(r'[0-9]{1,2}(\.[0-9]{1,3})?\Z', text) or not 1 <= float(text) <= 10:
        raise ValueError('write a factor of 1 to 10, like 1.4, or off')
    return Factor(text)


def parse_socket_path(text):
    """A path, or None for `off`."""
    if text.lower() in _OFF:
        return None
    return checked_socket_path(text)


def parse_state_path(text):
    """The path of a file that may have yet to be made."""
    if parse_path(text).endswith('/'):
        raise ValueError('that is a folder: write the path of a file')
    return text


def parse_access_log(text):
    """None for off, `on`, or the whole path of a file."""
    word = text.lower()
    if word in _ON + _OFF:
        return 'on' if word in _ON else None
    try:
        return parse_state_path(text)
    except ValueError:
        raise ValueError('write on, off or the whole path of a file, from / on')


def value_text(value):
    """A parsed value (not a list) as a user would write it, in printable ASCII."""
    if value is None:
        return 'off'
    if isinstance(value, bool):
        return 'on' if value else 'off'
    if type(value) is float:
        return duration_text(value)
    if type(value) is tuple:
        return endpoint_text(*value)
    return printable(str(value))


def duration_text(seconds):
    """`500ms`, `90s`, `5m`, `2h`: the largest unit in which it is a whole number, other than 1m."""
    if 0 < seconds < 1:
        return '%.12gms' % (seconds * 1000)
    if seconds >= 3600 and seconds % 3600 == 0:
        return '%dh' % (seconds // 3600)
    if seconds >= 120 and seconds % 60 == 0:
        return '%dm' % (seconds // 60)
    return '%.12gs' % seconds if seconds else '0'


class Secret(object):
    """A password: `text` is never shown."""

    __slots__ = ('text',)

    def __init__(self, text):
        self.text = text

    def __str__(self):
        return '(not shown)'

    __repr__ = __str__

    def __eq__(self, other):
        return isinstance(other, Secret) and self.text == other.text

    def __ne__(self, other):
        return not self == other

    __hash__ = None


def parse_secret(text):
    return Secret(text)


class Statuses(tuple):
    """((low, high), ...) of HTTP."""

    __slots__ = ()

    def __str__(self):
        return ','.join('%d' % low if low == high else '%d-%d' % (low, high) for low, high in self)


def parse_statuses(text):
    """The Statuses of `200,204` or `200-399`."""
    ranges = []
    for part in text.split(','):
        match = re.match(r'([1-5][0-9]{2})(?:-([1-5][0-9]{2}))?\Z', part.strip())
        if not match or match.group(2) and int(match.group(2)) < int(match.group(1)):
            raise ValueError('write statuses like 200,204 or 200-399')
        ranges.append((int(match.group(1)), int(match.group(2) or match.group(1))))
    return Statuses(ranges)


def one_of_upper(*words):
    """A parser of one of these words, in any case of letters, which it gives in capitals."""
    def parse_choice(text):
        if text.upper() not in words:
            raise ValueError('choose %s or %s' % (', '.join(words[:-1]), words[-1]))
        return text.upper()
    return parse_choice


def parse_word(text):
    """A name that a server gets: up to 63 characters without blanks."""
    if not re.match(r'[!-~]{1,63}\Z', text):
        raise ValueError('write 1 to 63 printable ASCII characters without blanks')
    return text


def parse_host_name(text):
    """A host, with or without a port, as a Host header has it."""
    if not re.match(r'[A-Za-z0-9_.:\[\]-]{1,255}\Z', text):
        raise ValueError('write a host name, or host:port')
    return text


def parse_path(text):
    """An absolute path."""
    if not text.startswith('/') or '\0' in text or len(text) > 4000:        # PATH_MAX is 4096
        raise ValueError('write an absolute path, from / on')
    return text
