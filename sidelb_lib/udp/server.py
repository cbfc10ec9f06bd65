"""UDP: clients' datagrams are read in the hub, and each goes to its session's connected socket at once.

gevent's DatagramServer as it comes reads 8,192 bytes at most and spawns a greenlet for each datagram, which loses their
order. Here the listener is read until it is empty, 64 datagrams at a time; nothing on that way can wait, so no client
waits for another. Replies are carried by the greenlets of udp_sessions.

A wildcard listener must answer from the address that the client sent to. It reads with IP_PKTINFO and opens, for each
local address that somebody uses, a second socket bound to that address, which the kernel prefers from then on
(udp_fronts): the costly call is needed for the first datagram to an address, not for each.
"""
from __future__ import absolute_import, division, print_function

import gevent
from gevent.server import DatagramServer

from ..compat import READ, SocketError, WOULD_BLOCK, bare_socket, receive_with_destination
from ..net.connect import wait_for
from ..net.endpoints import is_wildcard
from .fronts import LocalFronts
from .sessions import MOST_BYTES, SessionTable
from ..net import reuse_port as sharing

BATCH = 64                         # datagrams read before others get their turn
MOST_QUEUED = 65536                # datagrams, more than a receive buffer holds
SETTLING_SECONDS = 0.05            # what another core is handing to a socket has arrived then


class UdpServer(DatagramServer):
    """Carries each client's datagrams to a member of `pool`, and the replies back.

    `listener` is a bound gevent socket (see `net.listeners`); this object owns it. What the other settings mean is
    told by SessionTable.
    """

    def __init__(self, listener, pool, log, clock, max_sessions, session_timeout=60.0, responses=0, replies_vouch=True,
                 on_down='keep', on_removed='keep', log_sessions=False):
        DatagramServer.__init__(self, listener, handle=self._unused)
        self.table = SessionTable(pool, log, clock, max_sessions, session_timeout, responses, replies_vouch,
                                  on_down, on_removed, log_sessions)
        self._log = log
        self._clock = clock
        self._local_fronts = None          # of a wildcard listener

    @property
    def sessions(self):
        return self.table.by_key

    def init_socket(self):
        DatagramServer.init_socket(self)
        self.socket = bare_socket(self.socket)
        if is_wildcard(self.address[0]):
            self._local_fronts = LocalFronts(self.socket, self.address[1], self._read_front, self._log)

    def _do_read(self):
        """gevent's hook: the listener is readable. Runs in the hub."""
        if self._local_fronts:
            self._read_wildcard()
        else:
            self._read_front(self.socket)

    def _read_front(self, front, local=()):
        """The way of nearly every datagram. It bears no exception: that would stop gevent's watcher for good."""
        receive, sessions = front.recvfrom, self.table.by_key
        now = self._clock()
        for _ in range(BATCH):
            try:
                data, client = receive(MOST_BYTES)
            except SocketError as error:
                self._check_front_error(error)
                return
            key = client + local if local else client
            session = sessions.get(key)
            if session is None or session.stale:
                self.table.forward(key, client, front, data)
                continue
            session.last_used = now
            try:
                session.upstream.send(data)
            except SocketError as error:
                self.table.send_after_error(session, data, error)
            else:
                session.sent(data)

    def _read_wildcard(self):
        """When a socket for a local address is opened, what had been queued here before is read to the end, before that
        one is looked at: else a client's datagrams would change their order."""
        fronts = self._local_fronts
        opened_before = fronts.opened
        for count in range(MOST_QUEUED):
            if count >= BATCH and fronts.opened == opened_before:
                return
            try:
                data, client, local = receive_with_destination(self.socket, MOST_BYTES)
            except SocketError as error:
                self._check_front_error(error)
                return
            self.table.forward(client + (local,), client, fronts.front_for(local), data)

    def _check_front_error(self, error):
        if error.errno not in WOULD_BLOCK:
            self.table.drop('listener_error', 'reading from clients failed: {error}', error=error.strerror)

    def _unused(self, data, address):
        """gevent asks for a handler; `_do_read` does its work."""

    def watch_silence(self):
        """Runs in a greenlet of its own: ends sessions that nobody uses."""
        self.table.watch_silence()

    # --- the end ----------------------------------------------------------------------------------------------------

    def drain(self, seconds):
        """Take no new clients; existing sessions go on for `seconds` at most. Returns how many were cut.

        Other instances that share our address get all further datagrams, also those of our sessions, which then only
        wait for replies.
        """
        deadline = self._clock() + seconds
        if sharing.in_company(self.socket):
            sharing.stop_receiving(self.socket)
            while self._clock() < deadline and wait_for(self.socket, READ, SETTLING_SECONDS):
                gevent.sleep(0)            # what has come before is carried
        self.table.closed_to_new_clients = True
        self.table.wait_for_ends(deadline - self._clock())
        return self.cut_all('drain_timeout has passed')

    def cut_all(self, reason):
        """End every session. Returns how many it were."""
        return self.table.end_all()

    def close(self):
        """Close the sockets of the listener. Idempotent."""
        if self._local_fronts:
            self._local_fronts.close()
        DatagramServer.close(self)

    # --- what is counted --------------------------------------------------------------------------------------------

    def bytes_in_flight(self):
        """What living sessions have carried so far: address -> (sent, received), in bytes."""
        return self.table.bytes_in_flight()

    def counts(self):
        """What the status shows of sessions and datagrams; a plain dict."""
        table = self.table
        sent, received = table.datagrams()
        return {'active': len(table.by_key), 'most': table.most, 'total': table.opened, 'retries': table.retries,
                'datagrams_sent': sent, 'datagrams_received': received, 'drops': dict(table.drops)}
