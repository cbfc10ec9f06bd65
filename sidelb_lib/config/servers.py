"""Servers and rings as users write them: HOST:PORT[/weight=N][/tier=N][/max=N], and how they are shown.

A parser takes a text and returns the record, or raises ValueError with what is wrong and how to write it.
"""
from __future__ import absolute_import, division, print_function

import re
from collections import namedtuple

from ..errors import printable
from ..net.endpoints import UNIX, canonical_ip, endpoint_text, is_one_host, parse_endpoint, parse_unix
from ..pool.merging import MAX_WEIGHT, Options


class Backend(namedtuple('Backend', 'addresses name port options')):
    """One server: its `addresses` ((ip, port), ...), or () and its `name` and `port`; `options`: Options or None."""

    __slots__ = ()

    def __str__(self):
        endpoints = self.addresses or ((self.name, self.port),)
        return '+'.join(endpoint_text(*endpoint) for endpoint in endpoints) + _options_text(self.options)


class RingDomain(namedtuple('RingDomain', 'name port options')):
    """A name whose addresses are servers. `port` may be None for an SRV name, whose records have it."""

    __slots__ = ()

    def __str__(self):
        endpoint = self.name if self.port is None else endpoint_text(self.name, self.port)
        return endpoint + _options_text(self.options)

    @property
    def srv_protocol(self):
        """'tcp' or 'udp' of a name like _postgres._tcp.db.example.com, which is looked up as SRV; else None."""
        labels = _SRV_NAME.match(self.name)
        return labels and labels.group(1)


#: option -> (smallest, largest value), in the order in which they are shown.
OPTIONS = (('weight', (0, MAX_WEIGHT)), ('tier', (1, 9)), ('max', (1, 1000000)))

_SRV_NAME = re.compile(r'_[^.]+\._(tcp|udp)\.')


def parse_backend(text):
    """A Backend: one server by address, by several joined with `+`, or by name."""
    if text.startswith(UNIX):
        return _parse_unix_backend(text)
    text, options = _split(text)
    if '+' in text:
        return Backend(tuple(_parse_address(part.strip()) for part in text.split('+')), None, None, options)
    host, port = parse_endpoint(text)
    if canonical_ip(host):
        return Backend((server_address(host, port),), None, None, options)
    return Backend((), host, port, options)


def _parse_unix_backend(text):
    if re.search(r'/(%s)=[^/]*\Z' % '|'.join(key for key, _ in OPTIONS), text):
        raise ValueError('a unix: server has no options')
    return Backend((parse_unix(text),), None, None, None)


def parse_ring_domain(text):
    """A RingDomain."""
    text, options = _split(text)
    name, port = parse_endpoint(text, default_port=0)
    if canonical_ip(name):
        raise ValueError('that is an address, no domain: use backends=%s' % (
            endpoint_text(name, port) if port else 'ip:port'))
    ring = RingDomain(name, port or None, options)
    if not port and not ring.srv_protocol:
        raise ValueError('the port is missing: write %s:PORT, or an SRV name like _postgres._tcp.%s' % (name, name))
    return ring


def server_address(ip, port):
    """(ip, port) that a server may have: not the wildcard, multicast and broadcast ones."""
    if not is_one_host(ip):
        raise ValueError('%s is not the address of a server' % ip)
    return ip, port


def _parse_address(text):
    host, port = parse_endpoint(text)
    if not canonical_ip(host):
        raise ValueError("'+' joins the addresses of one server; a name stands alone")
    return server_address(host, port)


# --- options ---

def _split(text):
    """(what stands before the options, Options or None)."""
    if '//' in text:
        parse_endpoint(text)                     # a URL, and says so
    parts = text.split('/')
    if len(parts) == 1:
        return text, None
    if '+' in text[text.index('/'):]:
        raise ValueError("options stand once, after the last address of a server: a+b/weight=2")
    return parts[0].strip(), _parse_options(parts[1:])


def _parse_options(texts):
    values, mistakes = {}, []
    for text in texts:
        key, _, value = text.partition('=')
        key = key.strip()
        try:
            if key in values:
                raise ValueError('/%s= is given twice: keep one' % key)
            values[key] = None
            values[key] = _option(key, value.strip())
        except ValueError as error:
            mistakes.append(str(error))
    if mistakes:
        raise ValueError('; '.join(mistakes))
    return Options(*[values.get(key) for key, _ in OPTIONS])


def _option(key, text):
    import difflib
    keys = [one for one, _ in OPTIONS]
    if key not in keys:
        near = difflib.get_close_matches(key, keys, 1)
        raise ValueError('/%s: no such option: %s' % (
            printable(key), 'did you mean %s=?' % near[0] if near else 'there are weight=, tier= and max='))
    smallest, largest = dict(OPTIONS)[key]
    if not re.match(r'[0-9]{1,9}\Z', text) or not smallest <= int(text) <= largest:
        raise ValueError('/%s= is a whole number of %d to %d' % (key, smallest, largest))
    return int(text)


def _options_text(options):
    """`/weight=3`; '' for None."""
    return ''.join('/%s=%d' % (key, getattr(options, key)) for key, _ in OPTIONS if getattr(options, key, None) is not None)
