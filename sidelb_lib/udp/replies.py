"""What servers send: each reply goes to its session's client at once, in the hub. Nothing on this way waits."""
from __future__ import absolute_import, division, print_function

from gevent import get_hub

from ..compat import READ, SocketError, WOULD_BLOCK
from ..hub import never_waits
from .sessions import ANSWERED, MAX_BYTES


class Replies(object):
    """Carries replies, one of each session in turn, so that a server that sends without end holds up nobody else.

    `forwarding` deals with what a socket reports instead of a reply. With `responses`, a session ends when so many
    replies have come for each datagram. A reply shows that its server is well, but where probes want a certain one.
    """

    def __init__(self, table, upstreams, forwarding, pool, clock, settings):
        self._table = table
        self._upstreams = upstreams
        self._forwarding = forwarding
        self._pool = pool
        self._clock = clock
        self._responses = settings.responses
        self.change(settings)
        self._watcher = get_hub().loop.io(upstreams.fileno(), READ)
        self._watcher.start(self._carry)

    def change(self, settings):
        self._prove_health = settings.check.name in ('udp', 'off')

    @never_waits
    def _carry(self):
        """Called by the hub: some sessions' sockets are readable. An exception ends that session alone."""
        now, by_number = self._clock(), self._upstreams.by_number
        for number, _ in self._upstreams.readable():
            session = by_number.get(number)
            if session is None:              # ended by one before it
                continue
            try:
                try:
                    data = session.upstream.recv(MAX_BYTES)
                except SocketError as error:
                    if error.errno not in WOULD_BLOCK:
                        self._forwarding.failed(session, error)
                else:
                    self._carry_one(session, data, now)
            except Exception:
                self._table.end_after_bug(session.client, session)

    def _carry_one(self, session, data, now):
        address = session.address
        if self._prove_health and (address.streak or not address.up):
            self._pool.report_success(address)
        session.unanswered = None
        session.last_used = now
        session.datagrams_received += 1
        session.bytes_received += len(data)
        try:
            session.client_socket.sendto(data, session.client)
        except SocketError as error:
            self._table.drop('client_full' if error.errno in WOULD_BLOCK else 'reply_failed',
                             'a reply could not be sent: {error}', error=error.strerror)
        if self._responses and session.datagrams_received >= self._responses * session.datagrams_sent:
            self._table.end(session, ANSWERED)

    def close(self):
        """Idempotent."""
        self._watcher.stop()
