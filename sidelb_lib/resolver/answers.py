"""What becomes of a question to name servers."""
from __future__ import absolute_import, division, print_function

from collections import namedtuple

FOUND, EMPTY, FAILED = 'found', 'empty', 'failed'

#: What became of a question. `kind` FOUND: `values` (a tuple of texts), `ttl` in seconds or None where there
#: is none, `names`: the name asked for and all that it is an alias of. EMPTY: there is no such name or it has
#: no such records. FAILED: nobody gave a usable answer. `reason` tells the last two to a person.
Answer = namedtuple('Answer', 'kind values ttl names reason')


def found(values, ttl, names):
    return Answer(FOUND, tuple(values), ttl, tuple(names), None)


def empty(reason, names=()):
    return Answer(EMPTY, (), None, tuple(names), reason)


def failed(reason):
    return Answer(FAILED, (), None, (), reason)
