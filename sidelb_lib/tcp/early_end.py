"""Servers that end a session at once without a byte: something that accepts, and a dead program behind it.

With `early_close=failure` that is a failure like a refused connect. A client that had sent nothing by then is given another
server and never notices, see `watched_session`.
"""
from __future__ import absolute_import, division, print_function

import gevent
from gevent.pool import Group

from ..hub import never_waits

EARLY_SECONDS = 1.0               # after the server had been reached
MAX_DOUBLINGS = 5                 # of the time until a server that went down by this gets another session


class EarlyEnds(object):
    """Tells `pool` of them. A server that went down by them is tried after the interval of checks, which is doubled each
    time until one of its sessions has got a byte: one client is sent there, and no other before it is seen how that ends.
    While nobody else is up all clients are.
    """

    def __init__(self, pool, clock, server):
        self._pool = pool
        self._clock = clock
        self._server = server         # for its settings, which may change, its sessions and its `take`
        self._last = {}               # Address -> (when its last early end was, bytes from it by then, were some of them
        #                               those of sessions that lived?)
        self._times = {}              # Address -> how often it went down by this
        self._due = []                # Addresses that the next clients are sent to, one each
        self._trials = {}             # Address -> the Lease of the session that it is tried by
        self._timers = Group()

    def close(self):
        """The server takes nobody any more. Idempotent."""
        self._timers.kill(block=False)

    def _later(self, seconds, function, *arguments):
        self._timers.add(gevent.spawn_later(seconds, function, *arguments))

    @property
    def wanted(self):
        return self._server.settings.early_close == 'failure'

    @never_waits
    def noticed(self, session):
        """The server of `session` has ended it before the client did, and without a byte. Returns whether that is early."""
        now = self._clock()
        if not self.wanted or now - session.relay.opened >= EARLY_SECONDS:
            return False
        address = session.address
        on_trial = self._trials.get(address) is session.lease
        if self._counts(session, address, now) and self._pool.report_early_end(address) or on_trial:
            self._trials.pop(address, None)
            times = self._times.get(address, 0)
            self._times[address] = min(times + 1, MAX_DOUBLINGS)
            self._later(self._server.settings.check_interval * 2 ** times, self._is_due, address)
        return True

    def _counts(self, session, address, now):
        """What has come from the server since the last time shows that it is there: then the streak begins anew. And if
        other sessions live that it has answered, an end after a question may be an answer, too: a client of PostgreSQL
        cancels a statement by such a session. That counts only where nothing comes from any session for a while.
        """
        if address.ends_early:
            return True
        when, before, had_living = self._last.get(address, (None, 0, False))
        is_question = bool(session.relay.outbound.moved)
        if is_question and had_living and now - when < EARLY_SECONDS:
            return False
        living = sum(one.relay.inbound.moved for one in self._server.sessions if one.address is address)
        came = address.received + living
        self._note(address, (now, came, bool(living)))
        if address.early is not None and came > before:
            self._pool.report_byte(address)
        return not (is_question and living) or came == before

    def _note(self, address, last):
        if address not in self._last:                # what has left must not be kept
            self._last = dict(item for item in self._last.items() if not item[0].member.departing)
            self._times = dict(item for item in self._times.items() if not item[0].member.departing)
        self._last[address] = last

    @never_waits
    def session_ended(self, session):
        """If it has got a byte, and began after the last early end, it shows that its server is there."""
        address = session.address
        if address.early is not None and session.relay.inbound.moved:
            if address not in self._last or session.relay.opened > self._last[address][0]:
                self._disproved(address)

    def _disproved(self, address):
        """A session of the address has got a byte."""
        self._forget(address)
        self._pool.report_byte(address)

    def _is_due(self, address):
        """Have it tried by the next client."""
        if address in self._due or address in self._trials:
            return
        if address.ends_early and self.wanted and self._pool.healthy:
            self._due.append(address)
            self._server.take = self._take
        else:
            self._forgive(address)

    @never_waits
    def _take(self, tried=None, key=None):
        """`Pool.take`, while a server is to be tried."""
        for address in () if tried else list(self._due):
            lease = self._pool.try_out(address)
            if lease is not None:
                self._due.remove(address)
                self._trials[address] = lease
                self._later(EARLY_SECONDS, self._trial_over, address, lease)
                return lease
            if address.member.departing or not (address.ends_early and self.wanted):
                self._forgive(address)
        if not self._due:
            self._server.take = self._pool.take
        return self._pool.take(tried, key)

    def _trial_over(self, address, lease):
        """The session cannot end early any more, or ended without showing anything: its client left, or it never came to
        be. While the server has not been reached nothing is shown."""
        if self._trials.get(address) is not lease:
            return
        relays = [session.relay for session in self._server.sessions if session.lease is lease]
        if relays == [None] and not lease.ended:
            self._later(EARLY_SECONDS, self._trial_over, address, lease)
            return
        del self._trials[address]
        if lease.ended:
            self._is_due(address)
        elif any(relay.inbound.moved for relay in relays):
            self._disproved(address)
        else:
            self._pool.forgive_early_ends(address)

    def _forgive(self, address):
        self._forget(address, times=address.member.departing)
        self._pool.forgive_early_ends(address)

    def _forget(self, address, times=True):
        self._trials.pop(address, None)
        if address in self._due:
            self._due.remove(address)
        if times:
            self._times.pop(address, None)
