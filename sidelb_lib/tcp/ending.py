"""How a session ends, and why.

What was read from one side is owed to the other, as long as that one goes on taking bytes: a reset throws away what is in
the send queue, so it comes after the delivery, whether a peer was reset, a server went down, or a time-out passed. The only
clock of a delivery is its progress: one that makes none for `idle_timeout`, or PATIENCE where that is off, is given up.
Nothing of this costs the relay anything: a sweep compares counters, and asks the kernel only about sessions that are
silent.
"""
from __future__ import absolute_import, division, print_function

import heapq
import itertools

import gevent
from gevent.event import Event

from ..compat import paced
from ..errors import FAILED, IDLE
from ..net.resets import unacknowledged

# Why a session has ended, in a word for logs and metrics, beside those of `errors`.
CLIENT_END, SERVER_END = 'client_end', 'server_end'            # who said EOF first
CLIENT_RESET, SERVER_RESET = 'client_reset', 'server_reset'
ENDS_OF_SERVERS = (SERVER_END, SERVER_RESET)
HALF_CLOSE, MAX_AGE = 'half_close', 'max_session_age'          # time-outs, beside IDLE
DEMOTED = 'demoted'
REFUSED, LEFT = 'refused', 'left'                              # no server; the client left before

PATIENCE = 120.0                   # seconds without progress
QUIET = 2.0                        # seconds of silence after which a session may be ended for its age
FIRST_LOOK, LONGEST_LOOK = 0.005, 0.5        # seconds between two looks at a delivery: each is half as long again
SLOWEST_SWEEP = 10.0               # seconds between two looks for silent sessions
SWEPT_AT_ONCE = 32                 # sessions that are looked at before traffic gets its turn


def reason_of(relay):
    """Why a relay that was not ended from outside has ended."""
    if relay.failure is not None:
        return FAILED
    if relay.failed_side is not None:
        return relay.failed_side + '_reset'
    return relay.first_end + '_end'


def age_of_end(session, seconds):
    """`seconds`, 10 % more or less: a pool's connections are not to be renewed in step.

    They come from neighbouring ports, or from one process by a unix-domain socket, and at nearly the same time; what is
    mixed out of that differs widely.
    """
    mixed = (session.peer[1] + int(1e6 * session.opened)) * 0x9e3779b1 & 0xffffffff
    return seconds * (0.9 + 0.2 * mixed / 2.0 ** 32)


class Silence(object):
    """What the sweep saw of a session, and since when nothing has changed."""

    __slots__ = ('since', '_moved', '_half_closed', '_owed')

    def __init__(self, now):
        self.since = now
        self._moved = 0
        self._half_closed = False
        self._owed = 0                 # bytes that a peer had not acknowledged yet

    def seconds(self, relay, now):
        """For how long, at least, nothing has moved."""
        return max(0.0, now - self.since) if relay.moved == self._moved and not relay.held else 0.0

    def look(self, session, now, settings):
        """The reason to end the session for, or None."""
        relay = session.relay
        if settings.max_session_age and self._is_too_old(session, now, settings.max_session_age):
            return MAX_AGE
        if (relay.moved, relay.half_closed) != (self._moved, self._half_closed):
            self._moved, self._half_closed, self.since = relay.moved, relay.half_closed, now
            return None
        vanished = relay.vanished_peer()
        if vanished:
            relay.failed_side = vanished
            return vanished + '_reset'
        reason, limit = self._limit(relay, settings)
        if limit is None or now - self.since < limit:
            return None
        owed = relay.held + unacknowledged(relay.outbound.source) + unacknowledged(relay.outbound.sink)
        if owed != self._owed:         # a slow reader is no silent one
            self._owed, self.since = owed, now
            return None
        return reason

    def _is_too_old(self, session, now, seconds):
        """Is it old, and silent? One that never is silent is left alone: a dump takes its time."""
        if now - session.opened < age_of_end(session, seconds):
            return False
        return session.relay.moved == self._moved and not session.relay.held and now - self.since >= QUIET

    @staticmethod
    def _limit(relay, settings):
        """(reason, seconds) of the shorter time-out that is in force, seconds None for none."""
        limits = []
        if settings.idle_timeout:
            limits.append((settings.idle_timeout, IDLE))
        if relay.half_closed and settings.half_close_timeout:
            limits.append((settings.half_close_timeout, HALF_CLOSE))
        if relay.held:
            gone = relay.gone_while_held()
            if gone:
                limits.append((PATIENCE, gone + '_reset'))
        if not limits:
            return None, None
        seconds, reason = min(limits)
        return reason, seconds


class Sweeper(object):
    """Looks at all sessions again and again. `sessions` is the living set; the time-outs are those of `server.settings`.

    The time that the process stood still (SIGSTOP, a paused container) counts as nobody's silence.
    """

    def __init__(self, sessions, clock, server):
        self._sessions = sessions
        self._clock = clock
        self._server = server

    def run(self):
        """For ever, in a greenlet of its own."""
        while True:
            seconds = self._pace()
            due = self._clock() + seconds
            gevent.sleep(seconds)
            stood_still = self._clock() - due
            if stood_still > seconds:
                self._forgive(stood_still)
            for session in paced(list(self._sessions), SWEPT_AT_ONCE):
                if session in self._sessions and session.relay is not None:
                    self._look(session)

    def _pace(self):
        """Seconds between two looks: time-outs act up to an eighth too late."""
        settings = self._server.settings
        limits = [limit / 8 for limit in (settings.idle_timeout, settings.half_close_timeout) if limit]
        if settings.max_session_age:
            limits.append(min(QUIET / 2, settings.max_session_age / 8))
        return min(limits + [SLOWEST_SWEEP])

    def _look(self, session):
        """An exception ends this session alone."""
        try:
            if session.silence is None:
                session.silence = Silence(session.opened)
                session.keep_alive()
            reason = session.silence.look(session, self._clock(), self._server.settings)
        except Exception:
            return session.crashed()
        if reason == MAX_AGE:
            session.cut(reason)
        elif reason:
            session.silent(reason)

    def _forgive(self, seconds):
        for session in self._sessions:
            if session.silence is not None:
                session.silence.since += seconds


class Deliveries(object):
    """Sessions whose relay has ended while a peer has not acknowledged everything yet: each ends when it has, or makes no
    progress any more. One greenlet for all of them, for a server that drops 1,500 slow readers must not fill a core."""

    def __init__(self, clock, server):
        self._clock = clock
        self._server = server
        self._turn = itertools.count()
        self._due = []                 # heap of (when, turn, Delivery)
        self._changed = Event()

    def add(self, session):
        """Call `session.delivered()` when it owes nothing more (`session.owed()`), or is taken nothing any more."""
        delivery = Delivery(session, self._clock())
        if delivery.left:
            self._schedule(delivery)
        else:
            session.delivered()

    def run(self):
        """For ever, in a greenlet of its own."""
        while True:
            wait = self._due[0][0] - self._clock() if self._due else None
            if wait is None or wait > 0:
                self._changed.clear()
                self._changed.wait(wait)
                continue
            _, _, delivery = heapq.heappop(self._due)
            try:
                self._look(delivery)
            except Exception:
                delivery.session.crashed()

    def _look(self, delivery):
        if delivery.session.ended:
            return
        now = self._clock()
        left = delivery.session.owed()
        if left != delivery.left:
            delivery.left, delivery.since = left, now
        if not left or now - delivery.since >= (self._server.settings.idle_timeout or PATIENCE):
            delivery.session.delivered()
        else:
            delivery.pause = min(1.5 * delivery.pause, LONGEST_LOOK)
            self._schedule(delivery)

    def _schedule(self, delivery):
        turn = next(self._turn)
        heapq.heappush(self._due, (self._clock() + delivery.pause, turn, delivery))
        if self._due[0][1] == turn:
            self._changed.set()


class Delivery(object):
    """What one session still owes, and since when it has made no progress."""

    __slots__ = ('session', 'left', 'since', 'pause')

    def __init__(self, session, now):
        self.session = session
        self.left = session.owed()
        self.since = now
        self.pause = FIRST_LOOK
