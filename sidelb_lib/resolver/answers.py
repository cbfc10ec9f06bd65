"""What becomes of a question to name servers."""
from __future__ import absolute_import, division, print_function

from collections import namedtuple

FOUND, EMPTY, FAILED = 'found', 'empty', 'failed'


class Answer(namedtuple('Answer', 'kind values ttl names reason fault doubt')):
    """What became of a question.

    - `kind` FOUND: `values` is a tuple of texts, `ttl` is in seconds, or None where there is none, `names` are the name
      asked for and all that it is an alias of. `doubt` is None, or says why another name might have been the right one.
    - EMPTY: there is no such name or it has no such records. `ttl` is how long that may be believed, None if not said.
    - FAILED: nobody gave a usable answer. `fault` is the kind of fault of the last server that was asked, see
      `exchange`, or None.

    `reason` tells the last two to a person.
    """

    __slots__ = ()


def found(values, ttl, names, doubt=None):
    return Answer(FOUND, tuple(values), ttl, tuple(names), None, None, doubt)


def empty(reason, names=(), ttl=None):
    return Answer(EMPTY, (), ttl, tuple(names), reason, None, None)


def failed(reason, fault=None):
    return Answer(FAILED, (), None, (), reason, fault, None)
