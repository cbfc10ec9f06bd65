"""One client connection: find a server, connect, relay, end.

A greenlet begins it, in straight-line blocking style, for looking for a server may have to wait. Once bytes flow nothing
waits any more: the greenlet goes back to be used again, and watchers' callbacks carry on (`relay`). What has to wait at the
end, the delivery before a reset, is watched for all sessions together (`ending`).
"""
from __future__ import absolute_import, division, print_function

import errno
import traceback

import gevent
from gevent import get_hub, getcurrent

from ..errors import FAILED, HOST_IS_SHORT, REMOVED, TOO_LATE, NobodyReachable
from ..hub import never_waits
from ..net.blame import HOST, SERVER, SHORTAGES
from ..net.connect import ConnectError, PeerLeft, connect, has_left
from ..net.resets import abort, unacknowledged
from ..net.socket_options import keep_alive, send_without_delay
from .queue import Turn
from .ending import LEFT, REFUSED, reason_of
from .tally import peer_text

MAX_CONNECT_TIMEOUTS = 4          # a client waits at most this many `connect_timeout`s, however many servers are tried
QUICK_ATTEMPTS = 4                # servers that one client tries without a pause; then more, at a pace
PACE_SECONDS = 0.1
SHORTAGE_PAUSE = 0.05             # seconds until this host may have a descriptor again


class SessionCut(Exception):
    """Thrown into the greenlet of a session that looks for a server; the text is the reason."""


class Session(object):
    """Owns `client` from the beginning and `upstream` once it is connected; closes both. `address` and `relay` are None
    until a server has been reached."""

    __slots__ = ('peer', 'client', 'upstream', 'lease', 'address', 'relay', 'silence', 'opened', 'ended', 'own_end',
                 '_server', '_greenlet', '_reason')

    def __init__(self, server, client, peer, now):
        self.peer = peer
        self.client = client
        self.upstream = None
        self.lease = None
        self.address = None
        self.relay = None
        self.silence = None                # since the first sweep
        self.opened = now
        self.ended = False
        self.own_end = None                # of `upstream`: a client that comes from there is ourselves
        self._server = server
        self._greenlet = None              # while it looks for a server
        self._reason = None                # why it is ended from outside

    # --- the beginning ----------------------------------------------------------------------------------------------

    def begin(self, tried=None):
        """In a greenlet: find a server, none of `tried`, and start to relay. Raises nothing."""
        self._greenlet = getcurrent()
        try:
            self._find_server(tried)
            self._greenlet = None
            self._carry()
        except NobodyReachable as error:
            self._server.tally.refuse(self, error)
            self._give_up(REFUSED)
        except PeerLeft:
            self._give_up(LEFT)
        except (SessionCut, gevent.GreenletExit) as cut:
            self._give_up(str(cut))
        except Exception:
            self.crashed()

    def _give_up(self, reason):
        """It has no server. It may have been woken for one, which the next client takes then."""
        self._server.queue.wake_first()
        self._finish(reason, polite=False)

    def _find_server(self, tried):
        """What fails is tried elsewhere: the client never notices. Leaves `lease` and `upstream` behind."""
        server, attempts = self._server, 0
        deadline = (server.clock() if tried else self.opened) + MAX_CONNECT_TIMEOUTS * server.settings.connect_timeout
        if server.members.awaits_answers:
            server.wait_for_answers()
            self._look_at_client()
        elif server.queue_is_old:
            self._look_at_client()
        turn = None
        if server.queue:                   # others wait already
            turn = Turn(server, self.client, tried)
            turn.wait_behind_them()
        while True:
            try:
                self.lease = server.take(tried, self.peer[0])
            except NobodyReachable as error:
                if tried and tried.short and server.clock() < deadline:
                    self._pause(SHORTAGE_PAUSE)
                    tried = tried.without_short()
                    continue
                turn = turn or Turn(server, self.client, tried)
                turn.wait(error)
                tried, attempts, deadline = None, 0, server.clock() + MAX_CONNECT_TIMEOUTS * server.settings.connect_timeout
                continue
            self.upstream = self._connect(deadline)
            if self.upstream is not None:
                return turn and turn.over()
            tried = self.lease.tried
            self.lease.end()
            server.tally.retries += 1
            attempts += 1
            if server.clock() >= deadline:
                raise NobodyReachable(TOO_LATE)
            self._pause(0 if attempts < QUICK_ATTEMPTS else PACE_SECONDS)      # others get their turn

    def _pause(self, seconds):
        gevent.sleep(seconds)
        self._look_at_client()

    def _look_at_client(self):
        """After a wait. Raises PeerLeft when the client has gone meanwhile: nothing would be served by a connection for
        it."""
        if has_left(self.client):
            raise PeerLeft('the client has left')

    def _connect(self, deadline):
        """A connected socket, or None when the attempt failed and another may be made. Tells the lease (passive
        health)."""
        server, lease = self._server, self.lease
        while True:
            left, local = max(deadline - server.clock(), 0.001), []
            try:
                upstream = connect(lease.address, min(server.settings.connect_timeout, left), self.client, local,
                                   *server.make_socket)
            except ConnectError as error:
                if error.code in SHORTAGES and server.clock() < deadline:
                    self._pause(SHORTAGE_PAUSE)
                    continue
                lease.failed(str(error), HOST if error.local else SERVER)
                if error.code == errno.EADDRNOTAVAIL and error.call == 'connect':      # no port: there may be one again
                    lease.tried.short += (lease.address,)
                if error.code in SHORTAGES:
                    raise NobodyReachable(HOST_IS_SHORT, 'this host is short of resources: %s' % error)
                return None
            self.own_end = local[0]
            server.tally.connect_times.add(server.clock() - lease.began)
            lease.succeeded()
            return upstream

    def _carry(self):
        server, upstream, address = self._server, self.upstream, self.lease.address
        send_without_delay(upstream)
        self.address = address
        address.total += 1
        server.own_ends[self.own_end] = address.sockaddr[:2]
        self.relay = relay = server.relay_of(self.client, upstream, server.resources)
        relay.start(get_hub().loop, self._relay_ended)
        if address.member.departing and server.settings.on_removed == 'close':       # it left while we connected
            self.cut(REMOVED)

    # --- the end ----------------------------------------------------------------------------------------------------

    @never_waits
    def _relay_ended(self):
        """Both directions have ended: by themselves, or because `cut` had it stop reading."""
        relay = self.relay
        if relay.failure is not None:
            self.crashed(relay.failure)
        elif self._reason is not None:
            return                         # `cut` has begun the delivery
        elif relay.failed_side is None:
            self._finish(reason_of(relay), polite=True)
        else:
            self._reason = reason_of(relay)
            self._server.deliveries.add(self)

    @never_waits
    def cut(self, reason, at_once=False):
        """End the session from outside, by a reset to both peers, after what was read has been delivered. `at_once`
        without that."""
        if self.ended:
            return
        if self.relay is None:
            get_hub().loop.run_callback(self._throw, reason, at_once)
        elif at_once:
            self._finish(reason, polite=False)
        elif self._reason is None:
            self._reason = reason
            self.relay.stop_reading()
            self._server.deliveries.add(self)

    def silent(self, reason):
        """Nothing has moved for too long, neither here nor in the send queues: there is nothing that could be delivered. Or
        a peer that had said EOF was reset (`relay.failed_side`): then the other may be owed something."""
        self.cut(reason, at_once=self.relay.failed_side is None)

    @never_waits
    def _throw(self, reason, at_once):
        if self._greenlet is not None and not self.ended:
            self._greenlet.throw(SessionCut(reason))
        else:
            self.cut(reason, at_once)      # it has found a server meanwhile

    def owed(self):
        """Bytes that were read from one peer, and that the other may still take."""
        relay = self.relay
        socks = (self.client, self.upstream) if relay.survivor is None else (relay.survivor,)
        return relay.held + sum(unacknowledged(sock) for sock in socks)

    def delivered(self):
        """Nothing is owed any more, or taken any more."""
        self._finish(self._reason, polite=False)

    def crashed(self, failure=None):
        """An unexpected exception ends this session alone, and is told."""
        trace = ''.join(traceback.format_exception(*failure)) if failure else traceback.format_exc()
        self._server.tally.crash(self, trace)
        self._finish(FAILED, polite=False)

    def _finish(self, reason, polite):
        if self.ended:
            return
        self.ended = True
        self._greenlet = None
        if self.relay is not None:
            self.relay.close()
        for sock in (self.upstream, self.client):
            if sock is not None:
                if not polite:
                    abort(sock)
                sock.close()
        if self.lease is not None:
            self.lease.end()
        self._server.session_ended(self, reason)

    @property
    def client_text(self):
        return peer_text(self.peer)

    def silent_seconds(self, now):
        """For how long, at least, nothing has moved; 0 while it looks for a server."""
        return 0.0 if self.silence is None or self.relay is None else self.silence.seconds(self.relay, now)

    def carried(self):
        """(bytes sent to the server, received from it)."""
        return (0, 0) if self.relay is None else (self.relay.outbound.moved, self.relay.inbound.moved)

    # --- meanwhile --------------------------------------------------------------------------------------------------

    def keep_alive(self):
        """Have the kernel find out when the server has vanished. Set at the first sweep and not at once: the four system
        calls are 3 % of a short connection, which never gets that far."""
        keep_alive(self.upstream)
