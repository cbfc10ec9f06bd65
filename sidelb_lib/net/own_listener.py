"""Would a connection come back to us? The one answer, for the settings, the start and what DNS says."""
from __future__ import absolute_import, division, print_function

import socket
import struct

from ..compat import SocketError
from .endpoints import family_of, is_local, is_loopback, is_unix, is_wildcard

SO_ORIGINAL_DST = 80                # <linux/netfilter_ipv4.h>; of IPv6 as well

#: Where a connection to the unspecified address ends up.
_LOOPBACK = {'0.0.0.0': '127.0.0.1', '::': '::1'}


def would_come_back(endpoint, listener, is_local=is_local):
    """Would a connection to `endpoint` reach `listener`? Both are (ip, port), in canonical form (IPv4 in IPv6 folded).

    A wildcard listener has every address of this host in its own family: [::] is IPv6 only in SideLB. `is_local(ip)`
    tells whether this host has an address; pass `never` to ask about loopback alone, which needs no look at the host.
    """
    ip, port = endpoint
    own_ip, own_port = listener
    if port != own_port or family_of(ip) != family_of(own_ip):
        return False
    ip = _LOOPBACK.get(ip, ip)
    if is_wildcard(own_ip):
        return is_loopback(ip) or is_local(ip)
    return ip == own_ip


def was_meant_for(sock, endpoint):
    """Was the accepted connection `sock` made to `endpoint`, an (ip, port)? Also where a rule of this host's packet filter
    has led it elsewhere (REDIRECT, DNAT)."""
    if sock.getsockname()[:2] == endpoint:
        return True
    is_ipv4 = sock.family == socket.AF_INET
    try:
        wanted = sock.getsockopt(socket.SOL_IP if is_ipv4 else socket.IPPROTO_IPV6, SO_ORIGINAL_DST, 28)      # a sockaddr
    except SocketError:                   # the filter does not keep track, or it has led it nowhere
        return False
    ip = socket.inet_ntop(sock.family, wanted[4:8] if is_ipv4 else wanted[8:24])
    return (ip, struct.unpack('!H', wanted[2:4])[0]) == endpoint


def never(ip):
    """Stands in for `is_local` where the host is not asked."""
    return False


def bind_the_same(one, other):
    """Would two listeners of one protocol get in each other's way? Each is (ip, port), of which port 0 never does, or
    (path, 0)."""
    if is_unix(one[0]):
        return one == other
    return one[1] == other[1] != 0 and family_of(one[0]) == family_of(other[0]) and (
        one[0] == other[0] or is_wildcard(one[0]) or is_wildcard(other[0]))
