"""One session's hold on an address, and what it has tried before."""
from __future__ import absolute_import, division, print_function

from ..net.blame import HOST, SERVER


class Tried(object):
    """The addresses that have failed one client. Adding one and asking costs the same however many there are.

    `last` is the latest, `exhausted` the members with no usable address left, `error` the last error that was this host's
    own, `leftovers` what the pool takes when all usable ones have been tried, `short` those towards which this host had no
    local port, which passes; `since`, if not None, from when on its wait for a server counts.
    """

    __slots__ = ('last', 'exhausted', 'error', 'leftovers', 'short', 'since', '_addresses')

    def __init__(self, addresses=()):
        self.last = None
        self.exhausted = set()
        self.error = None
        self.leftovers = None
        self.short = ()
        self.since = None
        self._addresses = set()
        for address in addresses:
            self.add(address)

    def __len__(self):
        return len(self._addresses)

    def __contains__(self, address):
        return address in self._addresses

    def __iter__(self):
        return iter(self._addresses)

    def without_short(self):
        """Another one that gives those in `short` another chance."""
        again = Tried(address for address in self._addresses if address not in self.short)
        again.error, again.since = self.error, self.since
        return again

    def add(self, address):
        self.last = address
        self._addresses.add(address)
        if address.member.best_address(self) is None:
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
            self._pool.report_failure(self.address, error, self.began)
        elif fault == HOST:
            self.tried.error = error

    def succeeded(self):
        """The address could be connected to."""
        self._pool.report_success(self.address)

    @property
    def ended(self):
        return self._ended

    def end(self):
        """Idempotent."""
        if not self._ended:
            self._ended = True
            self._pool.release(self.address)
