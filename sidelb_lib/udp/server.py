"""UDP: clients' datagrams are read in the hub, and each goes to its session's connected socket at once.

gevent's DatagramServer as it comes reads 8,192 bytes at most and spawns a greenlet for each datagram, which loses their
order. Here the listener is read until it is empty, 64 datagrams at a time. Nothing on that way can wait, nor on that of
the replies (replies.py), so no client waits for another, and a session needs no greenlet.
"""
from __future__ import absolute_import, division, print_function

import gevent
from gevent.server import DatagramServer

from ..compat import READ, SocketError, WOULD_BLOCK, bare_socket
from ..errors import DRAIN
from ..hub import never_waits
from ..net import reuse_port as sharing
from ..net.connect import wait_for
from ..net.endpoints import is_wildcard
from ..net.local_address import receive_with_destination
from .client_sockets import ClientSockets
from .forwarding import Forwarding
from .replies import Replies
from .sessions import MAX_BYTES, SessionTable
from .upstreams import Upstreams, find_local_ports

BATCH = 64                         # datagrams read before others get their turn
MAX_QUEUED = 65536                 # datagrams, more than a receive buffer holds
SETTLING_SECONDS = 0.05            # what another core is handing to a socket has arrived then


class UdpServer(DatagramServer):
    """Carries each client's datagrams to a member of `pool`, and the replies back.

    `listener` is a bound gevent socket (see `net.listeners`); this object owns it. `max_sessions` is what the settings
    or the limit of open files say; it is lowered to what there are local ports for. `access_log`, where that is wanted, is
    called with a line for each session that has ended. `share`, where services have one count of descriptors, is a
    limits.Share.
    """

    def __init__(self, listener, pool, log, clock, settings, max_sessions, access_log=None, share=None):
        DatagramServer.__init__(self, listener, handle=self._unused)
        self._log = log
        self._clock = clock
        self._upstreams = Upstreams(pool, settings)
        self.table = SessionTable(pool, self._upstreams, log, clock, settings,
                                  self._affordable(max_sessions, settings), access_log, share)
        self._forwarding = Forwarding(self.table, pool, clock)
        self._replies = Replies(self.table, self._upstreams, self._forwarding, pool, clock, settings)
        self._client_sockets = None          # of a wildcard listener
        self._has_source = False
        self._guard(settings)

    def _affordable(self, max_sessions, settings):
        """Each session has a local port. An eighth of them is left to probes, look-ups and other programs."""
        self._upstreams.local_ports = ports = find_local_ports()
        count = ports[1] - ports[0] + 1 if ports else 0
        affordable = count - count // 8 if ports else max_sessions
        if (settings.max_sessions or 0) > affordable:
            self._log.warning('few_ports', 'max_sessions={wanted} needs more local ports than net.ipv4.'
                              'ip_local_port_range has: it is {most}', wanted=settings.max_sessions, most=affordable)
        return min(max_sessions, affordable)

    @property
    def sessions(self):
        return self.table.by_key

    # --- from clients -----------------------------------------------------------------------------------------------

    def init_socket(self):
        DatagramServer.init_socket(self)
        self.socket = bare_socket(self.socket)
        if is_wildcard(self.address[0]):
            self._client_sockets = ClientSockets(self.socket, self.address[1], self._read, self._clock)

    @never_waits
    def _do_read(self):
        """gevent's hook: the listener is readable. Runs in the hub."""
        if self._client_sockets:
            self._read_wildcard()
        else:
            self._read(self.socket)

    @never_waits
    def _read(self, client_socket, local=()):
        """The way of nearly every datagram. It bears no exception: that would stop gevent's watcher for good."""
        receive, sessions = client_socket.recvfrom, self.table.by_key
        now = self._clock()
        for _ in range(BATCH):
            try:
                data, client = receive(MAX_BYTES)
            except SocketError as error:
                self._check_error(error)
                return
            key = client + local if local else client
            session = sessions.get(key)
            if session is None or session.is_stale:
                self._forwarding.forward(key, client, client_socket, data)
                continue
            try:
                session.send(data, now)
            except SocketError as error:
                self._forwarding.after_error(session, data, error)

    def _read_wildcard(self):
        """When a socket for a local address is opened, what had been queued here before is read to the end, before that
        one is looked at: else a client's datagrams would change their order."""
        sockets = self._client_sockets
        opened_before = sockets.opened
        for count in range(MAX_QUEUED):
            if count >= BATCH and sockets.opened == opened_before:
                return
            try:
                data, client, local = receive_with_destination(self.socket, MAX_BYTES)
            except SocketError as error:
                self._check_error(error)
                return
            self._forwarding.forward(client + (local,), client, sockets.socket_for(local), data)

    def _check_error(self, error):
        if error.errno not in WOULD_BLOCK:
            self.table.drop('listener_error', 'reading from clients failed: {error}', error=error.strerror)

    def _unused(self, data, address):
        """gevent asks for a handler; `_do_read` does its work."""

    def watch_silence(self):
        """Runs in a greenlet of its own: ends sessions that nobody uses."""
        while True:
            self.table.wait_for_sweep()
            self.table.sweep()
            if self._client_sockets:
                self._client_sockets.close_unused(set(session.client_socket for session in self.sessions.values()))

    # --- the end ----------------------------------------------------------------------------------------------------

    def drain(self, seconds):
        """Take no new clients; existing sessions go on for `seconds` at most. Returns how many were cut.

        Other instances that share our address get all further datagrams, also those of our sessions, which then only
        wait for replies.
        """
        deadline = self._clock() + seconds
        if sharing.has_siblings(self.socket):
            sharing.stop_receiving(self.socket)
            while self._clock() < deadline and wait_for(self.socket, READ, SETTLING_SECONDS):
                gevent.sleep(0)            # what has come before is carried
        self.table.closed_to_new_clients = True
        self.table.wait_for_ends(deadline - self._clock())
        return self.cut_all()

    def living(self):
        """A list of the sessions."""
        return list(self.sessions.values())

    def cut_one(self, session, reason):
        self.table.end(session, reason)

    def cut_sessions_of(self, address, reason):
        """End every session of a server's address."""
        self.table.cut_sessions_of(address, reason)

    def cut_all(self, reason=DRAIN):
        """End every session. Returns how many there were."""
        return self.table.cut_all(reason)

    def close(self):
        """Close the sockets of the listener; no session may be left. Idempotent."""
        if self._client_sockets:
            self._client_sockets.close()
        DatagramServer.close(self)
        self._replies.close()
        self._upstreams.close()

    def change(self, settings, max_sessions, access_log=None):
        """Other settings from now on, for sessions that live as well."""
        self.table.change(settings, self._affordable(max_sessions, settings), access_log)
        self._replies.change(settings)
        self._guard(settings)

    def _guard(self, settings):
        """Have datagrams pass what the settings put before `forward`, and leave from where they say."""
        if self._has_source:
            del self._upstreams.new_socket
        self._has_source = bool(settings.source)
        if settings.source:
            from ..net.source import Source
            self._upstreams.new_socket = Source(settings.source).new_socket
        self._forwarding.__dict__.pop('forward', None)
        if settings.allow or settings.deny:
            from .admission import Admission
            self._forwarding.forward = Admission(self._forwarding, self.table, settings).forward

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
