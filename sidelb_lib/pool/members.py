"""The records of the pool: an address, a member, a session's hold on an address."""
from __future__ import absolute_import, division, print_function

from ..net.blame import HOST, SERVER
from ..net.endpoints import endpoint_text, family_of


class Address(object):
    """One IP and port of a member: what is known of its health, and what it has carried.

    `since` is the time (of the pool's clock, in seconds) of the last change of `up`. `active`, `total`, `failed` count
    sessions and failed attempts, `sent` and `received` the bytes to and from the server in *ended* sessions. The counts
    live here and not in the member because addresses keep their identity when look-ups regroup them.
    """

    __slots__ = ('host', 'port', 'family', 'sockaddr', 'member', 'up', 'since', 'streak', 'changes',
                 'last_error', 'last_probe', 'probe_seconds', 'active', 'total', 'failed', 'failed_probes', 'sent',
                 'received')

    def __init__(self, host, port, now):
        self.host = host
        self.port = port
        self.family = family_of(host)
        self.sockaddr = (host, port)
        self.member = None
        self.up = True            # until shown otherwise: a sidecar serves from its first moment
        self.since = now
        self.streak = 0           # results in a row that speak against `up`
        self.changes = 0
        self.last_error = None
        self.last_probe = None    # when, on the pool's clock
        self.probe_seconds = None
        self.active = 0
        self.total = 0
        self.failed = 0
        self.failed_probes = 0    # those of `failed` that no client's session made
        self.sent = 0
        self.received = 0

    def __str__(self):
        return endpoint_text(self.host, self.port)

    def __repr__(self):
        return '<Address %s %s active=%d>' % (self, 'up' if self.up else 'down', self.active)


class Member(object):
    """One server: its addresses, and the number of sessions that they carry together.

    `departing` members have left every source. They take nothing new and are forgotten when their last session ends.
    """

    __slots__ = ('name', 'order', 'addresses', 'active', 'departing')

    def __init__(self, name, addresses, order=None):
        self.name = name
        self.order = order        # its place among members, see `group_order`
        self.addresses = addresses
        self.active = 0
        self.departing = False

    @property
    def up(self):
        return any(address.up for address in self.addresses)

    def best_address(self, tried=()):
        """The address to connect to: one that is up and not in `tried`, else any not in `tried`, else None.

        Among equals the first, which is the order of `Pool.update`: IPv4 before IPv6.
        """
        fallback = None
        for address in self.addresses:
            if address not in tried:
                if address.up:
                    return address
                fallback = fallback or address
        return fallback

    def __repr__(self):
        state = 'departing' if self.departing else 'up' if self.up else 'down'
        return '<Member %s %s active=%d %r>' % (self.name, state, self.active, self.addresses)


class Tried(object):
    """The addresses that have failed one client, in order. Adding one and asking costs the same however many there are.

    `exhausted` are the members of which no address is left to be tried, `error` the last error that was this host's own.
    """

    __slots__ = ('addresses', 'exhausted', 'error', '_seen')

    def __init__(self, addresses=()):
        self.addresses = []
        self.exhausted = set()
        self.error = None
        self._seen = set()
        for address in addresses:
            self.add(address)

    def __len__(self):
        return len(self.addresses)

    def __contains__(self, address):
        return address in self._seen

    def add(self, address):
        self.addresses.append(address)
        self._seen.add(address)
        if all(other in self._seen for other in address.member.addresses):
            self.exhausted.add(address.member)


class Lease(object):
    """A session's hold on one address, counted from its making until `end()`. A context manager that ends itself.

    It carries the verdict of the attempt that is made on it: `failed(error)` or `succeeded()`. `began` is when it was
    made, on the pool's clock. After a failure `tried` is what the next `Pool.take` wants.
    """

    __slots__ = ('address', 'began', 'tried', '_pool', '_ended')

    def __init__(self, pool, address, tried, now):
        self.address = address
        self.began = now
        self.tried = tried
        self._pool = pool
        self._ended = False
        address.active += 1
        address.member.active += 1

    def __enter__(self):
        return self

    def __exit__(self, *exception):
        self.end()

    def failed(self, error, fault=SERVER):
        """The attempt failed: `error` says how in a few words, `fault` whose it is (see `net.blame`). The server is held
        to account for its own alone. Does not end the lease."""
        if self.tried is None:
            self.tried = Tried()
        self.tried.add(self.address)
        if fault == SERVER:
            self._pool.report_failure(self.address, error)
        elif fault == HOST:
            self.tried.error = error

    def succeeded(self):
        """The address could be connected to."""
        self._pool.report_success(self.address)

    def end(self):
        """Idempotent."""
        if not self._ended:
            self._ended = True
            self._pool.release(self.address)
