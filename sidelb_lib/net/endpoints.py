"""Addresses, ports and host names as people write them.

What can't be read raises ValueError, whose text says what is wrong and how to write it.
"""
from __future__ import absolute_import, division, print_function

import os
import re
import socket
from collections import namedtuple

_MAX_PORT = 65535
UNIX = 'unix:'
ABSTRACT = '@'                     # begins the name of a socket that is no file
MAX_SOCKET_PATH = 107              # bytes, unix(7)
_ABSTRACT_NAME = re.compile(r'@[A-Za-z0-9_./:-]{1,%d}\Z' % (MAX_SOCKET_PATH - 1))

#: Hyphens inside, as RFC 1123 wants; and the underscore that compose files and SRV records use.
_LABEL = re.compile(r'[A-Za-z0-9_]([A-Za-z0-9_-]*[A-Za-z0-9_])?\Z')


class Endpoint(namedtuple('Endpoint', 'host port')):
    """Where something can be connected to: an IP, or a name that is yet to be looked up, and a port; or the path of a
    unix-domain socket, or its @name where it has no file, and 0.

    It equals the plain pair (host, port), and stands where one is expected.
    """

    __slots__ = ()

    @property
    def family(self):
        return family_of(self.host)

    @property
    def sockaddr(self):
        """What the calls of a socket take."""
        return socket_name(self.host) if is_unix(self.host) else (self.host, self.port)

    @property
    def sort_key(self):
        """The order that people expect: IPv4 before IPv6, by number, by port. For IPs alone."""
        if is_unix(self.host):
            return 2, self.host, 0
        return is_ipv6(self.host), socket.inet_pton(self.family, self.host.split('%')[0]), self.port

    def __str__(self):
        return endpoint_text(self.host, self.port)


def is_ipv6(host):
    """Is this an IPv6 address? Neither an IPv4 one nor a name has a colon. The one place that asks."""
    return ':' in host and not is_unix(host)


def is_unix(host):
    """Is this the path of a unix-domain socket, or the name of an abstract one?"""
    return host[:1] in ('/', ABSTRACT)


def socket_name(path):
    """What the calls of a unix-domain socket take; unix(7) has a NUL for our @."""
    return '\0' + path[1:] if path[:1] == ABSTRACT else path


def parse_unix(text):
    """Read `unix:/path` or `unix:@name`, as (path, 0)."""
    path = text[len(UNIX):]
    if _ABSTRACT_NAME.match(path):
        return path, 0
    if path[:1] != '/' or '\0' in path:
        raise ValueError('write the whole path, like unix:/run/app.sock, or unix:@name for a socket without a file')
    return os.path.normpath(checked_socket_path(path)), 0


def checked_socket_path(path):
    """`path`, if a unix-domain socket can have it."""
    data = path if isinstance(path, bytes) else path.encode('utf-8', 'surrogateescape')
    if b'\0' in data or len(data) > MAX_SOCKET_PATH:
        raise ValueError('the path of a socket has at most %d bytes' % MAX_SOCKET_PATH)
    return path


def canonical_ip(text):
    """`text` as inet_ntop prints it, or None when it is no IP address."""
    for family in (socket.AF_INET, socket.AF_INET6):
        try:
            return socket.inet_ntop(family, socket.inet_pton(family, text))
        except (EnvironmentError, ValueError, TypeError):
            pass
    return None


def unmapped(ip):
    """An IPv4 address in IPv6 form, `::ffff:10.0.0.1`, is that IPv4 address to the kernel; any other is what it is."""
    return ip[7:] if ip.startswith('::ffff:') and '.' in ip else ip


def endpoint_text(host, port):
    """`10.0.0.1:5432`, `[2001:db8::1]:5432` or `unix:/run/app.sock`."""
    if is_unix(host):
        return UNIX + host
    return '[%s]:%d' % (host, port) if is_ipv6(host) else '%s:%d' % (host, port)


def endpoint_key(endpoint):
    """`sort_key` of an (ip, port)."""
    return Endpoint(*endpoint).sort_key


def parse_endpoint(text, least_port=1, default_port=None):
    """Read `ip:port`, `[ipv6]:port` or `name:port`. Returns (canonical IP or lower-case name, port).

    With a `default_port` the port, and then the brackets, may be left out.
    """
    if '//' in text:
        raise ValueError('that is a URL: leave all out but host:port')
    host, port = _split(text, default_port is not None)
    if not host:
        raise ValueError('the host is missing: write ip:port, [ipv6]:port or name:port')
    host = _parse_host(host)
    if port is None and default_port is not None:
        return host, default_port
    if not port:
        raise ValueError('the port is missing: write %s:PORT' % ('[%s]' % host if is_ipv6(host) else host))
    return host, _parse_port(port, least_port)


def _split(text, bare_ipv6):
    """(host, port) as texts; port is None where there is no colon for it."""
    if text.startswith('['):
        host, bracket, rest = text[1:].partition(']')
        if not bracket or rest and not rest.startswith(':'):
            raise ValueError('write an IPv6 address and its port like [2001:db8::1]:5432')
        if '%' in host:
            raise ValueError('an address with a zone (%eth0) cannot be used: give the server a routable one')
        if not is_ipv6(host) or not canonical_ip(host):
            raise ValueError('there is no IPv6 address in the brackets')
        return host, rest[1:] if rest else None
    if text.count(':') > 1:
        if bare_ipv6 and canonical_ip(text):
            return text, None
        raise ValueError(_say_brackets(text))
    host, colon, port = text.partition(':')
    return host, port if colon else None


def _say_brackets(text):
    """2001:db8::1:5432 can be read in two ways; say how to write the likelier one."""
    head, _, tail = text.rpartition(':')
    if canonical_ip(head) and re.match(r'[1-9][0-9]{2,4}\Z', tail):
        return 'an IPv6 address with a port needs brackets: [%s]:%s' % (head, tail)
    if canonical_ip(text):
        return 'an IPv6 address needs brackets and a port: [%s]:PORT' % text
    return 'too many colons: write ip:port, [ipv6]:port or name:port'


def _parse_port(text, least):
    if not re.match('[0-9]+\\Z', text):
        raise ValueError('the port is no number of %d to %d' % (least, _MAX_PORT))
    if len(text) > 5 or not least <= int(text) <= _MAX_PORT:
        raise ValueError('the port is out of range: %d to %d' % (least, _MAX_PORT))
    return int(text)


def _parse_host(text):
    ip = canonical_ip(text)
    if ip:
        return unmapped(ip)
    if re.match(r'[0-9]+\Z', text.rpartition('.')[2]):  # no top-level domain is a number: RFC 3696
        raise ValueError('that is no IPv4 address: four numbers of 0 to 255, without leading zeros')
    return _parse_name(text)


def _parse_name(text):
    if any(ord(character) > 126 for character in text):
        raise ValueError('a host name is ASCII here: write an international one in its xn-- form')
    name = text[:-1] if text.endswith('.') else text        # a final dot keeps the search list out
    if len(name) > 253:
        raise ValueError('a host name has at most 253 characters')
    for label in name.split('.'):
        if not label or len(label) > 63:
            raise ValueError('each part of a host name has 1 to 63 characters')
        if not _LABEL.match(label):
            raise ValueError('a host name has letters, digits, hyphens (inside) and dots only')
    return text.lower()


def family_of(ip):
    """The address family of an IP, of a path, or of a name: that has no colon."""
    return socket.AF_INET6 if is_ipv6(ip) else socket.AF_UNIX if is_unix(ip) else socket.AF_INET


def is_loopback(host):
    """Does connecting to `host`, an IP, stay on this machine? The unspecified address does, too."""
    return host in ('::1', '::', '0.0.0.0') or host.startswith('127.') and bool(canonical_ip(host))


def is_wildcard(host):
    return host in ('0.0.0.0', '::')


def is_one_host(ip):
    """Can a server have this IP? Not the wildcard, multicast and broadcast ones."""
    if is_ipv6(ip):
        return ip != '::' and not ip.startswith('ff')
    return not (ip.startswith('0.') or 224 <= int(ip.split('.')[0]) <= 239 or ip == '255.255.255.255')


def is_local(ip):
    """Is `ip` an address of this machine? Only those can be bound."""
    sock = socket.socket(family_of(ip), socket.SOCK_DGRAM)
    try:
        sock.bind((ip, 0))
        return True
    except EnvironmentError:
        return False
    finally:
        sock.close()
