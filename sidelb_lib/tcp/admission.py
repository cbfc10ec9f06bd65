"""Who is let in, where the settings ask for that: it stands before `TcpServer.do_handle`, and is loaded then alone."""
from __future__ import absolute_import, division, print_function

from ..errors import NOT_ALLOWED, NOT_TRUSTED
from ..hub import never_waits
from ..net.access import is_allowed
from ..net.unix_socket import peer_of
from ..net.resets import abort


class Admission(object):
    """Lets clients of `server` in by their address. Where PROXY headers are accepted that is the one of a load balancer,
    which must be trusted; the client's is looked at when its header has been read (`proxied_session`)."""

    def __init__(self, server):
        self._server = server
        self._let_in = server.do_handle        # the class's

    @never_waits
    def do_handle(self, client, peer):
        """Stands for the server's: owns `client`, and gives it on or resets it."""
        settings = self._server.settings
        if settings.accept_proxy:
            reason = None if is_allowed(peer[0], settings.accept_proxy, ()) else NOT_TRUSTED
        else:
            reason = None if is_allowed(peer[0], settings.allow, settings.deny) else NOT_ALLOWED
        if reason is None:
            return self._let_in(client, peer)
        abort(client)
        client.close()
        self._server.tally.deny(peer, reason)


class UnixAdmission(object):
    """Says who the clients of a unix-domain listener are: that has been decided by the mode of its file."""

    def __init__(self, server):
        self._let_in = server.do_handle        # the class's

    @never_waits
    def do_handle(self, client, _):
        pid, uid = peer_of(client)
        self._let_in(client, ('unix:pid %d uid %d' % (pid, uid), pid))
