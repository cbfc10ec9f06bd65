"""The options of a command, as its JSON has them: read, checked, refused."""
from __future__ import absolute_import, division, print_function

import json

from ..errors import SidelbError, printable
from ..pool.merging import MAX_WEIGHT

MAX_NAME = 512                   # characters; a name of DNS has 253 at most
TEXT = type(u'')                # what json makes of a string on either Python


class Refused(SidelbError):
    """A command that is not carried out; the text says why. `mistakes` are those of a configuration, a line each."""

    def __init__(self, text, mistakes=()):
        SidelbError.__init__(self, text)
        self.mistakes = list(mistakes)


def text_in(options, key):
    value = options.get(key, '')
    if not isinstance(value, TEXT):
        raise Refused('%s: %s is no text' % (key, shown(value)))
    return printable(value, MAX_NAME)


def shown(value):
    """What was given for an option, for the text that refuses it. What is nested may be so too deeply for json.dumps."""
    return 'a list or an object' if isinstance(value, (list, dict)) else printable(json.dumps(value))


def number_of(options, key, default, least, most):
    """The number in the options. Raises Refused unless it is one from `least` to `most`."""
    value = options.get(key, default)
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not least <= value <= most:
        raise Refused('%s: %s is no number from %g to %g' % (key, shown(value), least, most))
    return value


def weight_of(wanted, written):
    """The weight that `3`, `50%` or `default` ask for, None for the written one. Raises Refused."""
    text = printable(wanted) if isinstance(wanted, TEXT) else ''
    if text == 'default':
        return None
    digits = text[:-1] if text.endswith('%') else text
    weight = int(digits) if digits.isdigit() and len(digits) < 9 else -1
    if text.endswith('%'):
        weight = weight * written / 100.0
    if not 0 <= weight <= MAX_WEIGHT:
        raise Refused('weight %s: write a whole number from 0 to %d, part of the written one (%g) like 50%%, or default' % (
            text or shown(wanted), MAX_WEIGHT, written))
    return weight
