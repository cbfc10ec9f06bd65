"""One attempt to connect to one address, with a deadline."""
from __future__ import absolute_import, division, print_function

import errno
import os
import select
import socket

from gevent import get_hub, getcurrent, monkey

from ..compat import READ, WRITE, SocketError, new_socket, poll
from ..errors import SidelbError
from .blame import PASSING, SERVER, blame


class ConnectError(SidelbError):
    """An attempt failed. `code` is the errno of `call`, `local` says that this host is to blame and not the server."""

    def __init__(self, code, call='connect', protocol='tcp'):
        SidelbError.__init__(self, os.strerror(code))
        self.code = code
        self.call = call
        self.local = blame(code, call, protocol) != SERVER


class PeerLeft(SidelbError):
    """The client for whom a connection was to be made has gone."""


def connect(address, timeout, client=None, local=None, make_socket=None):
    """Connect to `address` (its `family` and `sockaddr` are used) within `timeout` seconds.

    Returns a bare, non-blocking socket that the caller owns. Raises ConnectError; PeerLeft when it has to be waited for
    and `client`, the socket for whom it is made, is reset or ends without a byte meanwhile. `local` is a list that gets our
    (ip, port) of the connection. `make_socket` stands for `compat.new_socket`.

    Not `gevent.socket.create_connection`: that goes through getaddrinfo and a thread even for literal addresses, and
    costs two thirds of the rate of new connections.
    """
    try:
        sock = (make_socket or new_socket)(address.family, socket.SOCK_STREAM)
    except SocketError as error:             # its own address may be bound, too
        raise ConnectError(error.errno, 'bind')
    connected = False
    try:
        code = sock.connect_ex(address.sockaddr)
        if code == errno.EINPROGRESS:
            # The handshake with a server on this host is over before the first call has returned, yet that
            # says EINPROGRESS. Asking once more saves the wait for an event (and costs a distant server's
            # connection one system call).
            code = sock.connect_ex(address.sockaddr)
            if code == errno.EALREADY:
                code = finish_connect(sock, timeout, client)
        elif code == errno.EAGAIN and address.family == socket.AF_UNIX:
            from .unix_socket import connect_when_there_is_room
            code = connect_when_there_is_room(sock, address.sockaddr, timeout, lambda: client and has_left(client))
            if code == errno.EAGAIN:
                raise PeerLeft('the client has left')
        code = real_error(code, sock, address, local)
        if code:
            raise ConnectError(code)
        connected = True
        return sock
    except SocketError as error:
        raise ConnectError(error.errno or errno.EINVAL)
    finally:
        if not connected:
            sock.close()


def real_error(code, sock, address, local=None):
    """The errno of a connect of `sock` that has ended with `code`, 0 for success: what Linux says is not always what it
    means. `local` as for `connect`.

    Has the kernel chosen the wanted port as our own one, so that both ends of the connection are this socket? It happens
    with a dead server on this host whose port is an ephemeral one (TCP's simultaneous open, RFC 9293, 3.5): that is a
    refusal.
    """
    if code in (0, errno.EISCONN):
        own_end = sock.getsockname()[:2]
        if local is not None:
            local.append(own_end)
        return errno.ECONNREFUSED if own_end == address.sockaddr[:2] else 0
    if code == errno.EADDRNOTAVAIL and no_source_address(address):
        return errno.ENETUNREACH
    return code


def finish_connect(sock, timeout, client=None):
    """Wait until a connect in progress has ended, `timeout` seconds at most. Returns its errno, 0 for success. Raises
    PeerLeft, see `connect`."""
    if not (wait_for(sock, WRITE, timeout) if client is None else _wait_while_wanted(sock, timeout, client)):
        return errno.ETIMEDOUT
    return sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)


def wait_for(sock, event, seconds):
    """Wait until `sock` is ready for `event` (READ or WRITE). Returns False when `seconds` have passed before."""
    hub, wake = get_hub(), getcurrent().switch
    ready = hub.loop.io(sock.fileno(), event)
    timer = hub.loop.timer(seconds)
    try:
        ready.start(wake, True)
        timer.start(wake, False)
        # After a stall of this process (SIGSTOP, a throttled container) both are due, and libev runs the timer first.
        return hub.switch() or is_ready(sock, event)
    finally:
        ready.stop()
        timer.stop()
        timer.close()


def _wait_while_wanted(sock, seconds, client):
    """Like `wait_for` a connect, as long as `client` wants it."""
    hub, wake = get_hub(), getcurrent().switch
    leaving = hub.loop.io(client.fileno(), READ)
    ready = hub.loop.io(sock.fileno(), WRITE)
    timer = hub.loop.timer(seconds)
    try:
        leaving.start(wake, leaving)
        ready.start(wake, True)
        timer.start(wake, False)
        event = hub.switch()
        while event is leaving:
            if has_left(client):
                raise PeerLeft('the client has left')
            leaving.stop()                 # it has sent something: more cannot be told without reading that
            event = hub.switch()
        return event or is_ready(sock, WRITE)
    finally:
        leaving.stop()
        ready.stop()
        timer.stop()
        timer.close()


def has_left(sock):
    """Has the peer been reset, or said EOF before any byte that is still to be read? Never waits."""
    try:
        return not sock.recv(1, socket.MSG_PEEK)
    except SocketError as error:
        return error.errno not in PASSING


def is_ready(sock, event):
    """Is `sock` ready for `event` at this moment, or broken? Never waits."""
    return bool(pending_events(sock, select.POLLIN if event == READ else select.POLLOUT))


def pending_events(sock, wanted):
    """What poll(2) says of `sock` at this moment, when it is asked for the events `wanted`. Never waits."""
    poller = monkey.get_original('select', 'poll')()
    poller.register(sock.fileno(), wanted)
    return sum(events for _, events in poll(poller, 0))


def no_source_address(address):
    """Has this host no address from which `address` could be reached, as with IPv6 turned off?

    A TCP connect says EADDRNOTAVAIL then, and also when all local ports towards the server are taken. A UDP socket takes
    its port from another stock, and says EAGAIN without one. Nothing is sent.
    """
    try:
        sock = new_socket(address.family, socket.SOCK_DGRAM)
    except SocketError as error:
        return error.errno == errno.EAFNOSUPPORT
    try:
        return sock.connect_ex(address.sockaddr) in (errno.EADDRNOTAVAIL, errno.ENETUNREACH)
    finally:
        sock.close()
