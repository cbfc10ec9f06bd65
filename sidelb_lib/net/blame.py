"""Whose fault an error is: the one table that decides whether a server is held to account for it.

A server is marked down for what is its own fault or its network's, never for a shortage or a rule of this host, and not
for an error that will have passed when the call is made again.
"""
from __future__ import absolute_import, division, print_function

import errno

from ..compat import WOULD_BLOCK

SERVER = 'server'      # it refuses, is silent, or cannot be reached
HOST = 'host'          # this host is short of something or forbids it
LATER = 'later'        # nobody's: make the call again, now or when the socket is ready

#: This host has run out of descriptors or memory, which passes.
SHORTAGES = frozenset([errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM])

#: A call that moves bytes of a connection and fails with one of these has moved nothing and may be made again when the
#: socket is ready: the connection is as it was.
PASSING = SHORTAGES | WOULD_BLOCK

#: A packet filter, a seccomp filter or an SELinux rule of this host: a dropped datagram says EPERM at once.
_FORBIDDEN = frozenset([errno.EPERM, errno.EACCES])

#: (call, protocol) -> {errno: whose fault}, where it is another's than what `blame` says of every call.
_EXCEPTIONS = {
    # No local port is free towards this server. On a host without an address of the family it means another thing: see
    # `connect.no_source_address`.
    ('connect', 'tcp'): {errno.EADDRNOTAVAIL: HOST},
    # Linux binds an unbound UDP socket at its connect, and says EAGAIN when no local port is free (inet_autobind);
    # EADDRNOTAVAIL is left for a host without an address of the family.
    ('connect', 'udp'): {errno.EAGAIN: HOST},
    # An address that was asked for with source= is not one of this host, or all of its ports are taken.
    ('bind', 'tcp'): {errno.EADDRNOTAVAIL: HOST, errno.EADDRINUSE: HOST, errno.EINVAL: HOST},
    ('bind', 'udp'): {errno.EADDRNOTAVAIL: HOST, errno.EADDRINUSE: HOST, errno.EINVAL: HOST},
    # A datagram is longer than the path to the server carries in one piece: the kernel has noted that, and the next
    # attempt is cut into fragments (ip(7), IP_MTU_DISCOVER). Or longer than a datagram can be.
    ('send', 'udp'): {errno.EMSGSIZE: LATER},
    ('receive', 'udp'): {errno.EMSGSIZE: LATER},
}


def blame(code, call, protocol):
    """SERVER, HOST or LATER for the errno `code` of `call` ('socket', 'bind', 'connect', 'send', 'receive', 'accept')
    on a socket of `protocol` ('tcp' or 'udp').

    Errors of accept are those of a connection that has gone already, but for shortages: accept(2) says to make the call
    again.
    """
    exception = _EXCEPTIONS.get((call, protocol), {}).get(code)
    if exception:
        return exception
    if code in SHORTAGES:
        return HOST
    if code in WOULD_BLOCK or call == 'accept':
        return LATER
    if code in _FORBIDDEN:
        return HOST
    return SERVER
