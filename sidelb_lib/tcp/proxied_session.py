"""Sessions with the PROXY protocol: the client is named by a header before its first byte, or is told to the server in one.

Loaded where `accept_proxy` or `proxy` asks for it.
"""
from __future__ import absolute_import, division, print_function

import socket

from ..compat import READ, SocketError
from ..errors import BAD_HEADER, NO_HEADER, NOT_ALLOWED
from ..net.access import is_allowed
from ..net.blame import PASSING, blame
from ..net.connect import PeerLeft, has_left, wait_for
from ..net.endpoints import UNIX
from ..net.proxy_protocol import MAX_V2_BYTES, BadHeader, Reader, header
from ..net.resets import abort
from .session import Session

PROBE_SECONDS = 0.1                # within which a health check that has said LOCAL or UNKNOWN ends


class ProxiedSession(Session):
    """`peer` becomes the client that the header names; `via` is then who sent it. Until it has been read the session
    counts as one, for `max_connections`, a drain and a cut, and holds no server."""

    __slots__ = ('via', '_wants_header')

    def __init__(self, server, client, peer, now):
        Session.__init__(self, server, client, peer, now)
        self.via = None
        self._wants_header = bool(server.settings.accept_proxy)

    def _find_server(self, tried):
        if self._wants_header:
            self._wants_header = False
            self._read_header()
        Session._find_server(self, tried)

    # --- from whoever is before us ----------------------------------------------------------------------------------

    def _read_header(self):
        """Raises PeerLeft where no client is let in."""
        settings, tally = self._server.settings, self._server.tally
        reader, deadline = Reader(), self._server.clock() + settings.proxy_timeout
        try:
            while not reader.done:
                if not self._read_some(reader, deadline):
                    tally.deny(self.peer, NO_HEADER, 'no whole PROXY header within %g s' % settings.proxy_timeout)
                    self._turn_away()
        except BadHeader as error:
            tally.deny(self.peer, BAD_HEADER, str(error))
            self._turn_away()
        if reader.client is not None:
            self.peer, self.via = reader.client, self.peer
        elif wait_for(self.client, READ, PROBE_SECONDS) and has_left(self.client):
            tally.probe(self.peer)
            self._turn_away()
        if not is_allowed(self.peer[0], settings.allow, settings.deny):
            tally.deny(self.peer, NOT_ALLOWED)
            self._turn_away()

    def _read_some(self, reader, deadline):
        """Give `reader` what has come, and leave what follows the header unread. Returns False when the time is over."""
        left = deadline - self._server.clock()
        if left <= 0 or not wait_for(self.client, READ, left):
            return False
        try:
            data = self.client.recv(MAX_V2_BYTES, socket.MSG_PEEK)
            if data:
                self.client.recv(reader.take(data))
        except SocketError as error:
            if error.errno in PASSING:
                return True
            raise PeerLeft('the client has left')
        if not data and reader.begun:
            raise BadHeader('the connection ends within the PROXY header')
        if not data:
            self._server.tally.probe(self.peer)
            self._turn_away()
        return True

    def _turn_away(self):
        """It is no session, and ends as none."""
        self.ended = True
        abort(self.client)
        self.client.close()
        self._server.sessions.discard(self)
        self._server.make_room()
        raise PeerLeft('the client was not let in')

    # --- towards servers --------------------------------------------------------------------------------------------

    def _connect(self, deadline):
        upstream = Session._connect(self, deadline)
        version = self._server.settings.proxy
        if upstream is None or version == 'off':
            return upstream
        try:
            upstream.send(header(version, _plain(self.peer), _plain(self.client.getsockname())))
        except SocketError as error:                   # it has gone again; a new socket has room for a header
            self.lease.failed(error.strerror, blame(error.errno, 'send', 'tcp'))
            upstream.close()
            return None
        return upstream


def _plain(sockaddr):
    """(ip, port) without the zone of a link-local address; None for a unix-domain socket."""
    if not isinstance(sockaddr, tuple) or sockaddr[0].startswith(UNIX):
        return None
    return sockaddr[0].partition('%')[0], sockaddr[1]
