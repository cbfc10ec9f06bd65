"""UDP sessions, one for each client address, and the table of them: who is opened, moved to another server and ended."""
from __future__ import absolute_import, division, print_function

import collections
import traceback

import gevent
from gevent.event import Event

from ..compat import paced
from ..errors import DOWN, FAILED, IDLE, REMOVED, NobodyReachable
from ..hub import never_waits
from ..limits import most_within
from ..net.endpoints import endpoint_text
from .room import RoomMaker
from .upstreams import HostIsShort

MAX_BYTES = 65536                  # no datagram is longer: 65,507 bytes in IPv4, 65,527 in IPv6
MAX_KEPT_BYTES = 4096              # an unanswered datagram up to this size is sent again after a refusal
SLOWEST_SWEEP = 10.0               # seconds
SWEPT_AT_ONCE = 256                # sessions that are looked at before traffic gets its turn

# Why a session has ended, in a word for logs, beside those of `errors`.
ANSWERED, EVICTED = 'answered', 'evicted'      # as many replies as `responses` wants; it made room


class Session(object):
    """One client's flow: `client_socket` is the socket that its datagrams came to, `upstream` the one connected to
    `address`."""

    __slots__ = ('key', 'client', 'client_socket', 'upstream', 'lease', 'address', 'opened', 'last_used', 'ended',
                 'unanswered', 'sent_again', 'datagrams_sent', 'datagrams_received', 'bytes_sent', 'bytes_received')

    def __init__(self, key, client, client_socket, now):
        self.key = key                  # its place in the table
        self.client = client
        self.client_socket = client_socket
        self.upstream = None
        self.lease = None
        self.address = None
        self.opened = self.last_used = now
        self.ended = False
        self.unanswered = None          # the last datagram sent, while nothing has come back
        self.sent_again = False
        self.datagrams_sent = 0
        self.datagrams_received = 0
        self.bytes_sent = 0
        self.bytes_received = 0

    @property
    def is_stale(self):
        """Has its server gone down or left? Then it wants another one."""
        address = self.address
        return not address.up or address.member.departing

    @property
    def client_text(self):
        return _text(self.client)

    def silent_seconds(self, now):
        return max(0.0, now - self.last_used)

    def carried(self):
        """(bytes sent to the server, received from it), since it is this one."""
        return self.bytes_sent, self.bytes_received

    def send(self, data, now):
        """Send a client's datagram to the server, and account for it. Raises SocketError."""
        self.last_used = now
        self.upstream.send(data)
        self.datagrams_sent += 1
        size = len(data)
        self.bytes_sent += size
        self.unanswered = data if size <= MAX_KEPT_BYTES else None
        self.sent_again = False


class SessionTable(object):
    """All sessions. A session ends after `session_timeout` without a datagram either way, or for a newcomer: there are
    at most `limit` at once, and fewer when this host has no more descriptors or local ports.
    """

    def __init__(self, pool, upstreams, log, clock, settings, limit, access_log=None, share=None):
        self.by_key = {}                   # client address, or, beside a wildcard, client and local address -> Session
        self.limit = limit
        self.opened = 0                    # in all
        self._share = share
        if share is not None:
            share.sessions = self.by_key
        self.retries = 0                   # moves of a session to another server
        self.drops = collections.Counter()     # reason -> datagrams
        self.closed_to_new_clients = False
        self._by_address = {}              # Address -> set of Session
        self._ended_datagrams = [0, 0]     # sent to servers and received from them, by sessions that have ended
        self._pool = pool
        self._upstreams = upstreams
        self._log = log
        self._clock = clock
        self._settings = settings
        self.change(settings, limit, access_log)
        self._room_maker = RoomMaker(self.by_key)
        self._all_ended = Event()
        pool.observers.append(self._pool_changed)

    def change(self, settings, limit, access_log=None):
        """Other settings, or at first: what is not read where it acts."""
        self.limit = limit
        self._access_log = access_log or (self._log_session if settings.log_level == 'debug' else None)

    # --- begin and move ---------------------------------------------------------------------------------------------

    def open(self, key, client, client_socket):
        """A new session, or None when its datagram has to be dropped, which is counted."""
        if self.closed_to_new_clients:
            self.drops['draining'] += 1
            return None
        if len(self.by_key) >= self.limit:
            self._make_room('max_sessions=%d reached' % self.limit)
        elif self._share is not None and not self._share.has_room():
            self._make_room('other services have the open files')
        session = Session(key, client, client_socket, self._clock())
        try:
            lease, upstream = self._connect(None, session)
        except NobodyReachable as error:
            self.drop('no_server', 'a datagram of a new client was dropped: {error}', error=error)
            return None
        self._attach(session, lease, upstream)
        self.by_key[key] = session
        self.opened += 1
        return session

    def move_if_better(self, session):
        """Move a stale session, unless all servers are down: then one is as good as another."""
        if session.address.member.departing or self._pool.healthy:
            self.move(session)

    def move(self, session):
        """To another server; if there is none the session stays where it is, for that server may come back."""
        try:
            lease, upstream = self._connect(self._pool.tried(session.address), session)
        except NobodyReachable:
            return
        self._detach(session)
        self._attach(session, lease, upstream)
        self.retries += 1

    def _connect(self, tried, session):
        """(lease, connected socket). When this host is short of something another session than `session` makes room."""
        try:
            return self._upstreams.connect(tried, session.client[0])
        except HostIsShort as error:
            if not self._make_room(str(error), session):
                raise
        return self._upstreams.connect(tried, session.client[0])

    def _attach(self, session, lease, upstream):
        session.lease = lease
        session.address = lease.address
        session.upstream = upstream
        self._upstreams.watch(session)
        self._by_address.setdefault(lease.address, set()).add(session)

    def _detach(self, session):
        """Take leave of its server, for which what it has carried is counted."""
        address = session.address
        sessions = self._by_address[address]
        sessions.remove(session)
        if not sessions:
            del self._by_address[address]
        address.sent += session.bytes_sent
        address.received += session.bytes_received
        session.bytes_sent = session.bytes_received = 0
        self._upstreams.close_one(session)
        session.lease.end()

    # --- ends -------------------------------------------------------------------------------------------------------

    def end(self, session, reason):
        """Idempotent. `reason` is a word."""
        if session.ended:
            return
        session.ended = True
        del self.by_key[session.key]
        self._ended_datagrams[0] += session.datagrams_sent
        self._ended_datagrams[1] += session.datagrams_received
        if self._access_log is not None:
            self._tell_end(session, reason)
        self._detach(session)
        if not self.by_key:
            self._all_ended.set()

    def _tell_end(self, session, reason):
        self._access_log('{client} to {address} ended after {duration:.3f} s ({reason}), {bytes_out} bytes out, '
                         '{bytes_in} in', client=_text(session.client), address=str(session.address),
                         member=session.address.member.name, duration=self._clock() - session.opened, reason=reason,
                         bytes_out=session.bytes_sent, bytes_in=session.bytes_received,
                         datagrams_out=session.datagrams_sent, datagrams_in=session.datagrams_received)

    def _log_session(self, template, **fields):
        self._log.debug('session', template, **fields)

    def cut_all(self, reason):
        """Returns how many there were."""
        left = list(self.by_key.values())
        for session in left:
            self.end(session, reason)
        return len(left)

    def end_after_bug(self, client, session):
        """To be called where an exception is dealt with: it ends `session` alone, which may be None."""
        self.drop('session_failed', 'unexpected error in the session of {client}, which ends: {trace}',
                  client=_text(client), trace=traceback.format_exc())
        if session is not None:
            self.end(session, FAILED)

    def wait_for_ends(self, seconds):
        """Wait until there is no session, for `seconds` at most."""
        self._all_ended.clear()
        if self.by_key:
            self._all_ended.wait(max(0, seconds))

    def _make_room(self, reason, spared=None):
        """End the session that is the least loss, but not `spared`. Returns whether there was one."""
        session = self._room_maker.choose(spared)
        if session is None:
            return False
        self.end(session, EVICTED)
        self.drop('session_evicted', 'the session idle longest made room: {reason}', reason=reason, most=self.limit)
        return True

    # --- silence ----------------------------------------------------------------------------------------------------

    def wait_for_sweep(self):
        """Wait until silent sessions are to be looked for, an eighth of the time-out.

        A process that stood still for longer (SIGSTOP, a paused container) first reads what has come meanwhile: the
        clients were not silent.
        """
        seconds = late = min(self._settings.session_timeout / 8, SLOWEST_SWEEP)
        while late >= seconds:
            due = self._clock() + seconds
            gevent.sleep(seconds)
            late = self._clock() - due

    def sweep(self):
        """End the sessions that nobody has used for `session_timeout`."""
        silent_since = self._clock() - self._settings.session_timeout
        for session in paced(list(self.by_key.values()), SWEPT_AT_ONCE):
            if session.last_used <= silent_since:
                self.end(session, IDLE)

    # --- news of servers --------------------------------------------------------------------------------------------

    @never_waits
    def _pool_changed(self, event, subject):
        """The pool's observer. A session that is kept looks for another server by itself, see `Session.is_stale`."""
        if event == 'down' and self._settings.on_down == 'close' and not subject.member.up:
            self.cut_sessions_of(subject, DOWN)
        elif event == 'removed' and self._settings.on_removed == 'close':
            self.cut_sessions_of(subject, REMOVED)

    def cut_sessions_of(self, address, reason):
        for session in list(self._by_address.get(address, ())):
            self.end(session, reason)

    # --- what is counted and said -----------------------------------------------------------------------------------

    def drop(self, kind, template, **fields):
        """Count a datagram, or a session, that was dropped, and say so."""
        self.drops[kind] += 1
        self._log.warning(kind, template, **fields)

    @property
    def most(self):
        """How many sessions there can be now."""
        return most_within(self.limit, self._share)

    def bytes_in_flight(self):
        """What living sessions have carried so far: address -> (sent, received), in bytes."""
        return dict((address, (sum(session.bytes_sent for session in sessions),
                               sum(session.bytes_received for session in sessions)))
                    for address, sessions in self._by_address.items())

    def datagrams(self):
        """(sent to servers, received from servers) since the start."""
        living = list(self.by_key.values())
        return (self._ended_datagrams[0] + sum(session.datagrams_sent for session in living),
                self._ended_datagrams[1] + sum(session.datagrams_received for session in living))


def _text(client):
    return endpoint_text(*client[:2])
