"""The roles that checks of databases know, `check=postgres/ROLE` and the like: how one is written, and who has it."""
from __future__ import absolute_import, division, print_function

from collections import namedtuple

from .exchange import Result

PRIMARY, REPLICA, PREFER_REPLICA = 'primary', 'replica', 'prefer-replica'

#: Other words for them.
_MEANT = {'master': PRIMARY, 'leader': PRIMARY, 'writer': PRIMARY, 'slave': REPLICA, 'standby': REPLICA,
          'secondary': REPLICA, 'reader': REPLICA, 'prefer_replica': PREFER_REPLICA, 'any': PREFER_REPLICA}

#: The options of such a check. `role`: the one that is wanted, or None.
Wanted = namedtuple('Wanted', 'role')


def parse(arguments):
    """The options that WHAT means."""
    if arguments is None or arguments in (PRIMARY, REPLICA, PREFER_REPLICA):
        return Wanted(arguments)
    import difflib
    word = arguments.lower()
    near = difflib.get_close_matches(word, [PRIMARY, REPLICA, PREFER_REPLICA] + sorted(_MEANT), 1)
    meant = near and _MEANT.get(near[0], near[0])
    raise ValueError('the role is primary, replica or prefer-replica' + (' (did you mean %s?)' % meant if meant else ''))


def result(role, wanted):
    """The Result for a server that has `role`. With prefer-replica the pool knows of primaries that they come second."""
    return Result('up' if wanted in (role, PREFER_REPLICA) else 'standby', role, None, None)
