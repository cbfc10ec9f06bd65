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
        """What stands for the protocol in an SRV name: 'tcp' of _postgres._tcp.db.example.com, or a tag of Consul's. None
        for other names."""
        return _srv_protocol(self.name)


#: option -> (smallest, largest value), in the order in which they are shown.
OPTIONS = (('weight', (0, MAX_WEIGHT)), ('tier', (1, 9)), ('max', (1, 1000000)))

#: What other programs call them, and what to write here.
_OTHER_WORDS = dict((word, hint) for words, hint in (
    ('w weights', '/weight=3'), ('backup failover fallback tiers level prio priority zone region locality', '/tier=2'),
    ('maxconn maxconns max_conn max_conns max_connections max_sessions limit', '/max=100'),
    ('down drain disabled', '/weight=0, which takes no new session')) for word in words.split())

TWO_ENTRIES = re.compile(r'[^\s+/=]\s+[^\s+/=]')         # blanks may stand around + / =
_SRV_NAME = re.compile(r'_[^./]+\._([^./:]+)')
_SRV_PROTOCOLS = ('tcp', 'udp')
_WRITE = 'options stand behind the port, each after a slash: HOST:PORT%s'


def _srv_protocol(name):
    labels = _SRV_NAME.match(name)
    return labels and labels.group(1).lower()


def parse_backend(text):
    """A Backend: one server by address, by several joined with `+`, or by name."""
    if text.startswith(UNIX):
        refuse_options(text, 'a unix: server')
        return Backend((parse_unix(text),), None, None, None)
    if _srv_protocol(text):
        raise ValueError('an SRV name is many servers: write ring_domain=%s' % printable(text))
    text, options = _split(text)
    if '+' in text:
        return Backend(tuple(_parse_address(part.strip()) for part in text.split('+')), None, None, options)
    host, port = parse_endpoint(text)
    if canonical_ip(host):
        return Backend((server_address(host, port),), None, None, options)
    return Backend((), host, port, options)


def refuse_options(path, what):
    """ValueError where `unix:/path` ends in what is meant for an option; `what` has none."""
    found = re.search(r'/([A-Za-z_]+)=[^/]*\Z', path)
    if found and (found.group(1) in _OTHER_WORDS or _nearest(found.group(1))):
        raise ValueError('%s has no options: leave out %s' % (what, printable(found.group(0))))


def parse_ring_domain(text):
    """A RingDomain."""
    if text.startswith(UNIX):
        raise ValueError('that is a server, no domain: use backends=%s' % printable(text))
    text, options = _split(text)
    name, port = parse_endpoint(text, default_port=0)
    if canonical_ip(name):
        raise ValueError('that is an address, no domain: use backends=%s%s' % (
            endpoint_text(name, port) if port else 'ip:port', _options_text(options)))
    ring = RingDomain(name, port or None, options)
    if ring.srv_protocol:
        _check_srv_protocol(ring)
    elif not port:
        raise ValueError('the port is missing: write %s:PORT, or an SRV name like _postgres._tcp.%s' % (name, name))
    return ring


def _check_srv_protocol(ring):
    """Consul takes a tag there: _db._primary.service.consul. What looks like a slip is none."""
    import difflib
    near = difflib.get_close_matches(ring.srv_protocol, _SRV_PROTOCOLS, 1)
    if near and ring.srv_protocol not in _SRV_PROTOCOLS:
        raise ValueError('_%s is no protocol: did you mean _%s?' % (ring.srv_protocol, near[0]))


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

def refuse_other_spellings(text):
    """ValueError where an entry of a list has options as other programs write them: `10.0.0.1:1 weight=3`,
    `10.0.0.1:1;weight=3`, `10.0.0.1:1?weight=3`, `10.0.0.1:1 backup`, or alone after a comma."""
    words = ' '.join(text.split())               # in a long run of blanks the expression would search for very long
    found = re.search(r'(?:\A|[^/ ] ?[ ;?&#] ?)([A-Za-z_]+)(?:(?: ?= ?| )([0-9]+))?\Z', words)
    word = found and found.group(1).lower()
    if word in dict(OPTIONS) and found.group(2):
        raise ValueError(_WRITE % '/%s=%s' % (word, found.group(2)))
    if word in _OTHER_WORDS and found.group(0) != word:
        raise ValueError(_WRITE % _OTHER_WORDS[word])


def _split(text):
    """(what stands before the options, Options or None)."""
    if '//' in text:
        if '://' not in text:
            raise ValueError('one slash before each option is enough: HOST:PORT/weight=3')
        parse_endpoint(text)                     # a URL, and says so
    head, slash, rest = text.partition('/')
    if not slash:
        return text, None
    if not head:
        option = rest.partition('=')[0].strip() in dict(OPTIONS)
        raise ValueError((_WRITE if option else 'a socket of this host is written unix:%s') % printable(text))
    if re.search(r'\+[^/+]*:', rest):
        raise ValueError("options stand once, after the last address of a server: a+b/weight=2")
    if re.search(r':[0-9]+\Z', rest) and (head.startswith('[') and ']' not in head or ':' not in head):
        raise ValueError(_WRITE % '/weight=3')
    return head.strip(), _parse_options(rest.split('/'))


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
            if str(error) not in mistakes:
                mistakes.append(str(error))
    if mistakes:
        raise ValueError('; '.join(mistakes))
    return Options(*[values.get(key) for key, _ in OPTIONS])


def _option(key, text):
    if key not in dict(OPTIONS):
        if not key + text:
            raise ValueError('an option is missing after a slash: leave the slash out')
        near, hint = _nearest(key), _OTHER_WORDS.get(key.lower())
        raise ValueError('/%s: no such option: %s' % (
            printable(key), 'write %s' % hint if hint else 'did you mean %s=?' % near if near else
            'there are weight=, tier= and max='))
    smallest, largest = dict(OPTIONS)[key]
    if not re.match(r'[0-9]{1,9}\Z', text) or not smallest <= int(text) <= largest:
        raise ValueError('/%s= is a whole number of %d to %d' % (key, smallest, largest))
    return int(text)


def _nearest(word):
    """The option that `word` may have been meant for, or None."""
    import difflib
    near = difflib.get_close_matches(word.lower(), [key for key, _ in OPTIONS], 1)
    return near[0] if near else None


def _options_text(options):
    """`/weight=3`; '' for None."""
    return ''.join('/%s=%d' % (key, getattr(options, key)) for key, _ in OPTIONS if getattr(options, key, None) is not None)
