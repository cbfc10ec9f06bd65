"""The sockets that clients come to, bound: of TCP for balancing and for HTTP, and of UDP.

Each function returns a gevent socket, which the caller owns and closes, and raises EnvironmentError. `host` is an IP.
`[::]` means IPv6 only, as everywhere in SideLB: what an address says does not depend on net.ipv6.bindv6only. With
`reuse_port` other sockets of the same user that have it, too, may be bound beside it.
"""
from __future__ import absolute_import, division, print_function

import errno
import socket

from gevent.socket import socket as gevent_socket

from . import reuse_port as sharing
from .endpoints import family_of, is_loopback, is_unix, is_wildcard
from .local_address import ask_for_destination
from .socket_options import bound_buffers, keep_alive, raise_receive_buffer, send_without_delay

#: What to do about an error of bind(2).
_WAYS_OUT = {
    errno.EADDRINUSE: 'ss -lntup shows who has it',
    errno.EADDRNOTAVAIL: 'this host has no such address; ip addr shows those it has, 0.0.0.0 is all',
    errno.EACCES: 'ports below 1024 take root or CAP_NET_BIND_SERVICE'}

BACKLOG = 4096                    # the kernel lowers it to net.core.somaxconn


def why_not_bound(error, host):
    """The words for an error of binding, and the way out where there is one."""
    way_out = None if is_unix(host) else _WAYS_OUT.get(getattr(error, 'errno', None))
    return '%s%s' % (getattr(error, 'strerror', None) or error, ': ' + way_out if way_out else '')


def listen_tcp(host, port, reuse_port=False):
    """A listening TCP socket, whose options accepted sockets inherit."""
    listener = _new_socket(host, socket.SOCK_STREAM)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        send_without_delay(listener)
        keep_alive(listener)
        if is_loopback(host) and not is_wildcard(host):
            bound_buffers(listener)
        if reuse_port:
            sharing.share(listener)
        listener.bind((host, port))
        listener.listen(BACKLOG)
        if reuse_port:
            sharing.spread_evenly(listener)
    except BaseException:
        listener.close()
        raise
    return listener


def listen_udp(host, port, reuse_port=False, beside_wildcard=False):
    """A UDP socket. Of a wildcard, `local_address.receive_with_destination` tells to which local address a datagram came.

    Two sockets share a port only when both have SO_REUSEADDR. A wildcard gets it after its bind: so it refuses a second
    instance of this program, and lets its own further sockets (`beside_wildcard`) in.
    """
    listener = _new_socket(host, socket.SOCK_DGRAM)
    try:
        if is_wildcard(host):
            ask_for_destination(listener)
        if beside_wildcard:
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if reuse_port:
            sharing.share(listener)
        raise_receive_buffer(listener)
        listener.bind((host, port))
        if is_wildcard(host):
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    except BaseException:
        listener.close()
        raise
    return listener


def _new_socket(host, kind):
    family = family_of(host)
    sock = gevent_socket(family, kind)
    if family == socket.AF_INET6:
        sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
    return sock
