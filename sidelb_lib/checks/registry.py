"""The checks that there are, and how a user chooses one: `check=KIND[:PORT][/WHAT]`, or a script.

A kind's module is loaded when it is used. Its contract:

    parse(arguments) -> options, any value. `arguments` is WHAT, None where it is left out; of a script the whole text.
        ValueError says what is wrong. Where `options` has an attribute `protocols`, it stands for that of the row.
    make(options, context) -> probe(address, deadline) -> Result; see `exchange`.

`address` has `host`, `port`, `family`, `sockaddr` and `member`; `deadline` is an `exchange.Deadline`.
"""
from __future__ import absolute_import, division, print_function

import importlib
import re
from collections import namedtuple

#: One kind. `protocols`: for whose servers it is; `arguments`: what may follow the name; `meaning`: what passes.
Check = namedtuple('Check', 'name protocols arguments meaning')

CHECKS = (
    Check('tcp', ('tcp',), '', 'a connection can be opened'),
    Check('udp', ('udp',), '', 'the port does not refuse a line break'),
    Check('dns', ('udp',), '', 'a question is answered'),
    Check('script', ('udp',), 'send:HEX,expect:HEX', 'a reply begins as said'),
)

#: How a script begins; it has no name of its own.
SCRIPT_WORDS = ('send',)

DEFAULTS = {'tcp': 'tcp', 'udp': 'udp'}

#: YAML reads an unquoted `off` as false.
_OFF_WORDS = ('off', 'false', 'no')

_PARTS = re.compile(r'([a-zA-Z0-9_-]+)(?::([^/]*))?(?:/(.*))?\Z', re.DOTALL)

#: What a check's module may use. `settings`: those in force; `clock` gives seconds.
Context = namedtuple('Context', 'settings clock')


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


def parse(text):
    """The Choice that `text` means; ValueError says how to write it. `off` is a Choice, too."""
    if text.lower() in _OFF_WORDS:
        return Choice('off', None, None, ('tcp', 'udp'), 'off')
    if text.partition(':')[0].lower() in SCRIPT_WORDS:
        return _choice(_check('script'), None, text, text)
    parts = _PARTS.match(text)
    check = parts and _check(parts.group(1).lower())
    if not check:
        raise ValueError(_no_such_check(text))
    port, what = parts.group(2), parts.group(3)
    try:
        return _choice(check, _port(check, port), what, check.name + text[len(check.name):])
    except ValueError as error:
        raise ValueError('%s: write %s' % (error, grammar(check)))


def grammar(check):
    """How a Check is written."""
    return check.arguments if check.name == 'script' else check.name + check.arguments


def words(proto):
    """The ways to write a check for servers of `proto`, in the table's order, and `off`."""
    return [grammar(check) for check in CHECKS if proto in check.protocols] + ['off']


def make(choice, context):
    """The probe function of a Choice that is not `off`."""
    return _module(choice.name).make(choice.options, context)


def _choice(check, port, arguments, text):
    options = _module(check.name).parse(arguments)
    return Choice(check.name, port, options, getattr(options, 'protocols', check.protocols), text)


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
        raise ValueError('the port is a number of 1 to 65535')
    return int(text)


def _no_such_check(text):
    ways = [grammar(check) for check in CHECKS] + ['off']
    return 'choose %s or %s' % (', '.join(ways[:-1]), ways[-1])
