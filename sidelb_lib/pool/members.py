"""One server and its addresses: what is known of their health.

The state of an address is the first of these that holds:

| state       | set by                                            | new sessions                             | last resort |
|-------------|---------------------------------------------------|------------------------------------------|-------------|
| `draining`  | a person, a check that says so, weight 0          | no                                       | weight 0    |
| `down`      | `check_fall` failures in a row                    | no                                       | yes         |
| `standby`   | a check for a role: alive, and not what is wanted | no                                       | never       |
| `unchecked` | no result of a check yet                          | at the start, and while nobody is up;    | -           |
|             |                                                   | with a check for a role never            | never       |
| `up`        | else                                              | yes                                      | -           |

In last resort those of weight 0 that are up come before those that are down. Nobody is taken where a check is for a role:
a write must not reach a replica for want of the primary.
"""
from __future__ import absolute_import, division, print_function

from operator import attrgetter

from ..net.endpoints import Endpoint
from .merging import tier_of

UP, DOWN, STANDBY, UNCHECKED, DRAINING = 'up', 'down', 'standby', 'unchecked', 'draining'
DEPARTING = 'departing'          # of a member: it has left every source, and has sessions still

#: The state of a member is the best of its addresses'.
BEST_FIRST = (UP, UNCHECKED, STANDBY, DRAINING, DOWN)

_NEVER = float('-inf')


class Verdict(object):
    """What attempts of one kind, clients' connects or probes, say of an address. Kinds have separate verdicts: a connect
    that succeeds must not lift what failing probes have put down."""

    __slots__ = ('is_down', 'streak', 'last_success')

    def __init__(self):
        self.is_down = False
        self.streak = 0                # results in a row that contradict `is_down`
        self.last_success = _NEVER     # when it ended

    def succeeded(self, now, rise):
        """Returns whether that has turned the verdict."""
        self.last_success = now
        self.streak = self.streak + 1 if self.is_down else 0
        return self._turned(rise)

    def failed(self, began, fall):
        """Returns whether that has turned the verdict. An attempt that began before the last success says nothing: the
        server has recovered since."""
        if began < self.last_success:
            return False
        self.streak = 0 if self.is_down else self.streak + 1
        return self._turned(fall)

    def _turned(self, wanted):
        if self.streak < wanted:
            return False
        self.is_down = not self.is_down
        self.streak = 0
        return True


class Address(object):
    """One IP and port of a member: what is known of its health, and what it has carried.

    `up`: nothing holds it down; `state` is a word of the table above. `since` is the
    time (of the pool's clock, in seconds) of the last change of `state`. `active`, `total`, `failed` count sessions and
    failed attempts, `sent` and `received` the bytes to and from the server in *ended* sessions. The counts live here and
    not in the member because addresses keep their identity when look-ups regroup them.
    """

    __slots__ = ('endpoint', 'host', 'port', 'family', 'sockaddr', 'member', 'connects', 'probes', 'early', 'up', 'state',
                 'since', 'streak', 'changes', 'is_newcomer', 'is_drained', 'came_up', 'damping', 'role',
                 'former_role', 'found', 'last_error',
                 'last_error_at', 'last_probe', 'probe_seconds', 'not_after', 'active', 'total', 'failed', 'failed_probes',
                 'sent', 'received')

    def __init__(self, host, port, now):
        self.endpoint = endpoint = Endpoint(host, port)
        self.host = host
        self.port = port
        self.family = endpoint.family
        self.sockaddr = endpoint.sockaddr
        self.member = None
        self.connects = Verdict()
        self.probes = Verdict()
        self.early = None         # Verdict of sessions that ended at once without a byte, if there were any
        self.up = True            # until shown otherwise: a sidecar serves from its first moment
        self.state = UP
        self.since = now
        self.streak = 0           # results in a row that contradict `up`
        self.changes = 0
        self.is_newcomer = False  # it came while others were up, and has not been checked yet
        self.is_drained = False   # by a person
        self.came_up = None       # when, after it had been down
        self.damping = 1          # so many times `check_rise` successes bring it up, see `flapping`
        self.role = None          # what a check says it is: a word
        self.former_role = None   # the one that it had before, if any
        self.found = None         # the state that the last check that passed has told: UP, STANDBY or DRAINING
        self.last_error = None
        self.last_error_at = None
        self.last_probe = None    # when it ended, on the pool's clock
        self.probe_seconds = None
        self.not_after = None     # when its certificate ends, in Unix time, where a check of TLS has seen one
        self.active = 0
        self.total = 0
        self.failed = 0
        self.failed_probes = 0    # those of `failed` that no client's session made
        self.sent = 0
        self.received = 0

    @property
    def ends_early(self):
        """Do its sessions' early ends hold it down?"""
        return self.early is not None and self.early.is_down

    @property
    def is_held_down(self):
        """Does one of the verdicts say so?"""
        return self.connects.is_down or self.probes.is_down or self.ends_early

    def __str__(self):
        return str(self.endpoint)

    def __repr__(self):
        return '<Address %s %s active=%d>' % (self, self.state, self.active)


class Member(object):
    """One server: its addresses, and the number of sessions that they carry together.

    `departing` members have left every source. They take nothing new and are forgotten when their last session ends.
    `weight` is the one in force, `tier` and `limit` (or None) are as its options say. `standing` says how it is taken (see
    `choosing`): `usable` are the addresses that are taken so and are of the preferred family, `spare` those of the other
    one, `rest` those that are taken when nothing else is left. `turn` is the policy's.
    """

    __slots__ = ('name', 'order', 'addresses', 'options', 'wanted_weight', 'weight', 'tier', 'limit', 'active', 'departing',
                 'standing', 'usable', 'spare', 'rest', 'turn', '_next')

    def __init__(self, name, addresses, order=None, options=None):
        self.name = name
        self.order = order        # its place among members, see `merging.Group.order`
        self.addresses = addresses
        self.active = 0
        self.departing = False
        self.standing = None
        self.usable = self.spare = self.rest = ()
        self.turn = None
        self.wanted_weight = None     # by a person, who overrules what is written
        self._next = 0
        self.take_options(options)

    def take_options(self, options):
        """merging.Options, or None where none were written."""
        self.options = options
        self.weight = self.full_weight
        self.tier = tier_of(options)
        self.limit = options and options.max or None

    @property
    def full_weight(self):
        """As a person wants it, or else as it is written, whatever is in force."""
        return self.written_weight if self.wanted_weight is None else self.wanted_weight

    @property
    def written_weight(self):
        return 1 if self.options is None or self.options.weight is None else self.options.weight

    @property
    def weight_on_paper(self):
        """What has to change before another weight counts as written."""
        return self.written_weight if self.options is None or self.options.record is None else self.options.record

    @property
    def is_full(self):
        return self.limit is not None and self.active >= self.limit

    @property
    def up(self):
        """Does nothing hold one of its addresses down?"""
        return any(address.up for address in self.addresses)

    @property
    def state(self):
        if self.departing:
            return DEPARTING
        states = [address.state for address in self.addresses]
        return min(states, key=BEST_FIRST.index) if states else DOWN

    @property
    def text(self):
        """What hashes take it by: name:port, or the address of a member without a name."""
        return '%s:%d' % (self.name, self.addresses[0].port) if self.order and self.order[0] else self.name

    @property
    def place(self):
        """Where it stands in the order of members now that its addresses may be another member's."""
        return self.addresses[0].member.order if self.addresses else self.order

    def best_address(self, tried=()):
        """The address to connect to: a usable one, or else a spare one, that is not in `tried`; or None.

        Sessions go round, to the one with the fewest: where several servers were taken for one, that costs weight and no
        server.
        """
        usable = self.usable
        if len(usable) == 1 and not tried:
            return usable[0]
        left = [address for address in usable if address not in tried]
        if not left:
            left = [address for address in self.spare if address not in tried]
        if not left:
            return None
        first = self._next % len(left)
        self._next += 1
        return min(left[first:] + left[:first], key=attrgetter('active'))

    def __lt__(self, other):
        return self.order < other.order

    def __repr__(self):
        return '<Member %s %s active=%d %r>' % (self.name, self.state, self.active, self.addresses)
