"""Clients that wait for a server, first come first served: while nobody may be taken, or all are full."""
from __future__ import absolute_import, division, print_function

import bisect
import itertools

from gevent import get_hub, getcurrent

from ..compat import READ
from ..durations import Durations
from ..errors import ALL_TRIED, NobodyReachable
from ..hub import never_waits
from ..net.connect import PeerLeft, has_left
from ..net.resets import connection_is_gone, peer_has_ended

LOOK_SECONDS = 1.0           # between two looks at a client that has sent something already
STOOD_STILL = 0.5            # seconds too late: this process did nothing meanwhile (SIGSTOP), not the servers

WOKEN, READABLE, TICK = 'woken', 'readable', 'tick'

#: Events of the pool after which somebody may be taken.
NEWS = ('room', 'available', 'up', 'added', 'filled')


def seconds_to_wait(settings, pool):
    """The setting `server_wait`, or what stands for it: where a check asks for a role a failover takes so long (Patroni's
    ttl and loop_wait, and a margin), and a server that is full has room soon. At the start a name that has not answered yet
    may have servers, whatever is set."""
    first_answers = settings.connect_timeout if pool.expected else 0.0
    if settings.server_wait is not None:
        return max(settings.server_wait, first_answers)
    return max(60.0 if settings.check.role else 0.0, settings.connect_timeout if pool.has_limits else 0.0, first_answers)


class Queue(object):
    """The clients that wait for one of `pool`'s servers.

    News of the pool wake the one that came first. It tells by `served` that it has a server, which wakes the next; what
    finds none waits on in its place.
    """

    def __init__(self, pool, clock):
        self.times = Durations()         # of those that got a server
        self._clock = clock
        self._waiting = []               # _Places, the oldest first
        self._numbers = itertools.count()
        pool.observers.append(self._pool_changed)

    def __len__(self):
        return len(self._waiting)

    def ticket(self):
        """A place behind all others."""
        return next(self._numbers)

    def wait(self, ticket, client, seconds, patience):
        """Wait in the current greenlet until there are news. Returns whether there are: False after `seconds`.

        Raises PeerLeft when `client` is reset, or ends before it has sent a byte. One that has sent something and ended is
        waited for `patience` seconds more: it may want the answer.
        """
        hub, place, woken = get_hub(), _Place(ticket, getcurrent()), False
        end, asked = self._clock() + seconds, None
        readable = hub.loop.io(client.fileno(), READ)
        bisect.insort(self._waiting, place)
        try:
            readable.start(place.greenlet.switch, READABLE)
            while self._clock() < end:
                event = self._next_event(hub, min(LOOK_SECONDS, end - self._clock()))
                woken = event is WOKEN
                if woken:
                    return True
                if event is READABLE:
                    if has_left(client):
                        raise PeerLeft('the client has left')
                    readable.stop()          # more cannot be told without reading what it has sent
                elif connection_is_gone(client):
                    raise PeerLeft('the client has left')
                elif peer_has_ended(client):
                    asked = asked or self._clock()
                    if self._clock() - asked >= patience:
                        raise PeerLeft('the client has left')
            return False
        finally:
            place.greenlet = None
            self._waiting.remove(place)
            readable.stop()
            readable.close()
            if not woken:
                self.wake_first()            # the next one may have waited for this one alone

    @staticmethod
    def _next_event(hub, seconds):
        tick = hub.loop.timer(seconds)
        try:
            tick.start(getcurrent().switch, TICK)
            return hub.switch()
        finally:
            tick.stop()
            tick.close()

    def served(self, seconds):
        """A client that waited `seconds` has a server: there may be another for the next one."""
        self.times.add(seconds)
        self.wake_first()

    @never_waits
    def _pool_changed(self, event, subject):
        if self._waiting and event in NEWS:
            self.wake_first()

    @never_waits
    def wake_first(self):
        """Soon; who is the first is seen then, so that those who are woken at once are different ones."""
        if self._waiting:
            get_hub().loop.run_callback(self._wake)

    @never_waits
    def _wake(self):
        if self._waiting:
            self._waiting[0].greenlet.switch(WOKEN)


class Turn(object):
    """One client's way through the queue of `server`: behind those that wait already, then until there is a server.

    It begins now, or began before if `tried`, a Tried or None, says so.
    """

    def __init__(self, server, client, tried):
        self._server = server
        self._client = client
        self._seconds = seconds_to_wait(server.settings, server.members)
        self._began = server.clock() if not tried or tried.since is None else tried.since
        self._end = self._began + self._seconds
        self._ticket = None

    def wait_behind_them(self):
        """Others wait already: wait until it is this client's turn, or its time is over. Raises PeerLeft."""
        self._line_up(self._end)

    def wait(self, error):
        """Wait for a server after `error`, a NobodyReachable. Raises it when the time is over, PeerLeft when the client has
        left."""
        now = self._server.clock()
        if now >= self._end and self._ticket is None:
            raise error
        if now < self._end:
            # One that has tried everybody does so again, at a pace; for the others there will be news.
            again = now + LOOK_SECONDS if error.kind == ALL_TRIED else self._end
            until = min(again, self._end)
            if self._line_up(until) or again < self._end or self._server.clock() - until > STOOD_STILL:
                return
        raise NobodyReachable(error.kind, 'no server became available within %g s: %s' % (self._seconds, error))

    def over(self):
        """The client has a server."""
        if self._ticket is not None:
            self._server.queue.served(self._server.clock() - self._began)

    def _line_up(self, until):
        if self._ticket is None:
            self._ticket = self._server.queue.ticket()
        return self._server.queue.wait(self._ticket, self._client, until - self._server.clock(),
                                       self._server.settings.connect_timeout)


class _Place(object):
    __slots__ = ('ticket', 'greenlet')

    def __init__(self, ticket, greenlet):
        self.ticket = ticket
        self.greenlet = greenlet

    def __lt__(self, other):
        return self.ticket < other.ticket
