"""Clients' datagrams on their way to servers, beyond the fast way (server.py): new clients, moves, refusals."""
from __future__ import absolute_import, division, print_function

import collections
import errno
import socket

from gevent import get_hub

from ..compat import SocketError, WOULD_BLOCK
from ..hub import never_waits
from ..net.blame import LATER, SERVER, blame

MAX_EARLY = 256                    # datagrams that wait for the first answer of DNS...
EARLY_SECONDS = 3.0                # ...and for how long

#: The longest datagram of each family: the length fields of IPv4 (RFC 791), which counts its header, and IPv6 (RFC 8200).
MAX_PAYLOAD = {socket.AF_INET: 65507, socket.AF_INET6: 65527}


class Forwarding(object):
    """Sends datagrams to the servers of their sessions. Nothing in here waits, and `forward` and `after_error` raise
    nothing: an exception would stop gevent's watcher of the listener, for good."""

    def __init__(self, table, pool, clock):
        self._table = table
        self._pool = pool
        self._clock = clock
        self._early = collections.deque(maxlen=MAX_EARLY)      # (when, key, client, client socket, data)
        self._loop = get_hub().loop
        pool.observers.append(self._pool_changed)

    @never_waits
    def forward(self, key, client, client_socket, data):
        """Send a client's datagram to the server of its session, which is opened or moved if need be."""
        table = self._table
        session = table.by_key.get(key)
        try:
            if session is None:
                if self._pool.awaits_answers and not table.closed_to_new_clients:
                    self._early.append((self._clock(), key, client, client_socket, data))    # until DNS has answered
                    self._pool.want()
                    return
                session = table.open(key, client, client_socket)
                if session is None:
                    return
            elif session.is_stale:
                table.move_if_better(session)
            try:
                session.send(data, self._clock())
            except SocketError as error:
                self._after_error(session, data, error)
        except Exception:
            table.end_after_bug(client, session)

    @never_waits
    def after_error(self, session, data, error):
        """Deal with `error`, which sending `data` met."""
        try:
            self._after_error(session, data, error)
        except Exception:
            self._table.end_after_bug(session.client, session)

    def _after_error(self, session, data, error):
        """Most errors are those of an earlier datagram, and the kernel has not sent this one: it is sent now."""
        if error.errno in WOULD_BLOCK:
            self._table.drop('upstream_full', 'the send buffer towards {address} is full', address=str(session.address))
        elif error.errno == errno.EMSGSIZE and len(data) > MAX_PAYLOAD[session.address.family]:
            self._drop_long(session, data)
        elif blame(error.errno, 'send', 'udp') in (SERVER, LATER):
            self.failed(session, error)
            if session.ended:                 # on_down=close: the client begins anew
                self.forward(session.key, session.client, session.client_socket, data)
            else:
                self._send_once_more(session, session.send, data, self._clock())
        else:
            self._drop_unsent(session, error)

    def failed(self, session, error):
        """The socket of `session` has reported what befell a datagram that was sent: `error`.

        If that is the server's fault (a refusal, ICMP), the session moves. The datagram, if it is the last and
        unanswered, is sent again, once: also after "too long for the path" (EMSGSIZE), which says nothing of the
        server. The kernel has noted the path's limit then, and cuts the next one into fragments.
        """
        data, again = session.unanswered, session.sent_again
        whose = blame(error.errno, 'receive', 'udp')
        if whose == SERVER:
            self._pool.report_failure(session.address, error.strerror)
            if session.ended:                 # by the report, with on_down=close
                return
            self._table.move(session)
        if whose in (SERVER, LATER) and data is not None and not again:
            session.sent_again = True
            self._send_once_more(session, session.upstream.send, data)      # it has been counted

    def _send_once_more(self, session, send, *arguments):
        try:
            send(*arguments)
        except SocketError as error:
            if error.errno == errno.EMSGSIZE:
                self._drop_long(session, arguments[0])
            else:
                self._drop_unsent(session, error)

    def _drop_long(self, session, data):
        self._table.drop('too_long', 'a datagram of {size} bytes is too long for {address}', size=len(data),
                         address=str(session.address))

    def _drop_unsent(self, session, error):
        self._table.drop('send_failed', 'sending to {address} failed: {error}', address=str(session.address),
                         error=error.strerror)

    @never_waits
    def _pool_changed(self, event, _):
        """The pool's observer."""
        if event == 'filled':
            self._loop.run_callback(self._replay_early)

    @never_waits
    def _replay_early(self):
        """Datagrams that came before there was a server, and are not too old for their clients to wait for a reply."""
        early = list(self._early)
        self._early.clear()
        for came, key, client, client_socket, data in early:
            if self._clock() - came < EARLY_SECONDS:
                self.forward(key, client, client_socket, data)
            else:
                self._table.drops['too_early'] += 1
