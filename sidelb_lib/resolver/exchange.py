"""One question to one name server, by UDP, and by TCP if the answer is too long."""
from __future__ import absolute_import, division, print_function

import errno
import socket
import struct

from ..compat import let_traffic_pass
from ..net.endpoints import family_of
from ..net.reading import read_exactly

_MAX_BAD_DATAGRAMS = 16      # in one attempt: reading a flood must not keep the other greenlets waiting
_UNUSABLE = 'sends no usable answer: %s'

#: Kinds of Fault.
SILENT, CLOSED, REFUSED, NO_TCP, UNUSABLE = 'silent', 'closed', 'refused', 'no TCP', 'unusable'


class Fault(Exception):
    """A server gave no usable answer, and will not by being asked again at once. `kind` is a word of the above."""

    def __init__(self, text, kind=UNUSABLE):
        Exception.__init__(self, text)
        self.kind = kind


class Silence(Fault):
    """A server did not answer in time; it may the next time."""

    def __init__(self, text):
        Fault.__init__(self, text, SILENT)


class Deadline(object):
    """A moment on `clock`, as a socket's time-out."""

    def __init__(self, moment, clock):
        self._moment = moment
        self._clock = clock

    def allow(self, sock):
        """Let the next call on `sock` take what is left. Raises socket.timeout when nothing is."""
        left = self._moment - self._clock()
        if left <= 0:
            raise socket.timeout('timed out')
        sock.settimeout(left)


def exchange(server, query, deadline, by_tcp=False):
    """The Reply of `server`, (ip, port), to `query`, a dnspython message. Raises Fault, or Silence at the Deadline.

    `by_tcp`: do not try UDP first. A server that can't read EDNS, RFC 6891 section 7, is asked again without.
    """
    from . import message as dns_message
    reply = _one_exchange(server, query, deadline, by_tcp)
    if reply.rcode in ('FORMERR', 'NOTIMP') and query.edns >= 0:
        reply = _one_exchange(server, dns_message.without_edns(query), deadline, by_tcp)
    if reply.truncated:
        raise Fault('cuts its answer short')
    if reply.rcode not in ('NOERROR', 'NXDOMAIN'):
        raise Fault('answers %s' % reply.rcode, REFUSED)
    return reply


def _one_exchange(server, query, deadline, by_tcp):
    from . import message as dns_message
    refused, way = CLOSED, ''
    try:
        reply = None if by_tcp else _by_udp(server, query, deadline)
        if by_tcp or reply.truncated:
            refused, way = NO_TCP, ' by TCP'
            reply = _by_tcp(server, query, deadline)
        return reply
    except dns_message.Nonsense as error:
        raise Fault(_UNUSABLE % error)
    except socket.timeout:
        raise Silence('does not answer' + way)
    except (EnvironmentError, EOFError, ValueError) as error:
        kind = refused if getattr(error, 'errno', None) == errno.ECONNREFUSED else UNUSABLE
        raise Fault('fails%s (%s)' % (way, getattr(error, 'strerror', None) or error), kind)


def _by_udp(server, query, deadline):
    """What is no answer, forged or broken, is passed over: the right answer may follow it.

    The socket is connected: the kernel drops what others send, and reports a server that is not there.
    """
    from . import message as dns_message
    malformed = None
    sock = socket.socket(family_of(server[0]), socket.SOCK_DGRAM)
    try:
        sock.connect(server)
        sock.send(query.to_wire())
        for _ in range(_MAX_BAD_DATAGRAMS):
            try:
                deadline.allow(sock)
                return dns_message.read_reply(query, sock.recv(65535), let_traffic_pass)
            except dns_message.Malformed as error:
                malformed = error
        raise Fault(_UNUSABLE % malformed)
    except socket.timeout:
        raise Silence(_UNUSABLE % malformed if malformed else 'does not answer')
    finally:
        sock.close()


def _by_tcp(server, query, deadline):
    from . import message as dns_message
    sock = socket.socket(family_of(server[0]), socket.SOCK_STREAM)

    def read(size):
        return read_exactly(sock, size, lambda: deadline.allow(sock))
    try:
        deadline.allow(sock)
        sock.connect(server)
        wire = query.to_wire()
        sock.sendall(struct.pack('!H', len(wire)) + wire)
        length, = struct.unpack('!H', read(2))
        return dns_message.read_reply(query, read(length), let_traffic_pass)
    except dns_message.Malformed as error:
        raise Fault('answers, but %s' % error)
    finally:
        sock.close()
