"""check=tls[:PORT][/NAME]: a TLS handshake ends well. NAME is sent as SNI, else the member's name.

A probe proves life, not identity: certificates are verified only with check_ca=FILE. gevent's SSLContext is used, which
waits without holding up others although `ssl` is not patched.
"""
from __future__ import absolute_import, division, print_function

import re
import socket

from gevent import ssl

from ..compat import adopt
from ..errors import SidelbError
from ..net.endpoints import canonical_ip
from ..net.small_file import read_small_file
from .certificate import not_after
from .exchange import PASSED, Conversation, ProbeFailed


def parse(arguments):
    if arguments is not None and not re.match(r'[A-Za-z0-9_]([A-Za-z0-9_.-]{0,251}[A-Za-z0-9])?\Z', arguments):
        raise ValueError('the name is that of a host, like db.example.com')
    return arguments


def make(options, context):
    tls = client_context(context.settings.check_ca)

    def probe(address, deadline):
        member = getattr(address, 'member', None)
        name = options or context.settings.check_host or (member.name if member is not None else None)
        with SecureConversation(address, deadline, tls, name) as conversation:
            facts = conversation.facts()
            conversation.end()
        return PASSED._replace(facts=facts)
    return probe


def client_context(ca):
    """A context that verifies by the certificates in the file `ca`, or nothing without one. Raises SidelbError."""
    context = ssl.SSLContext(getattr(ssl, 'PROTOCOL_TLS_CLIENT', ssl.PROTOCOL_SSLv23))
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    for version in ('OP_NO_SSLv2', 'OP_NO_SSLv3', 'OP_NO_TLSv1', 'OP_NO_TLSv1_1'):
        context.options |= getattr(ssl, version, 0)
    if ca:
        try:
            read_small_file(ca, 0)               # it is a file, and can be read
            context.load_verify_locations(ca)
        except (EnvironmentError, ssl.SSLError) as error:
            raise SidelbError('check_ca=%s: %s' % (ca, error.strerror or error))
        context.verify_mode = ssl.CERT_REQUIRED
        context.check_hostname = True
    return context


class SecureConversation(Conversation):
    """A Conversation over TLS; the handshake is made at its beginning, after what `before(conversation)` says in clear. When
    that returns False it stays in clear. `name` is the server's, for SNI."""

    def __init__(self, address, deadline, context, name, before=None):
        self._is_secure = False
        Conversation.__init__(self, address, deadline)
        try:
            if before is None or before(self) is not False:
                self._secure(context, name)
                self._is_secure = True
        except BaseException:
            self._sock.close()
            raise

    def _secure(self, context, name):
        """Change to TLS. Nothing that came before may be waiting to be read: it would not be protected (CVE-2021-23222)."""
        if self.received:
            raise ProbeFailed('sends more than its answer before TLS begins')
        self._sock = adopt(self._sock)
        self._sock.settimeout(max(self._deadline.left(), 0.001))
        hostname = name if name and not canonical_ip(name.strip('[]')) else None
        try:
            self._sock = context.wrap_socket(self._sock, server_hostname=hostname)
        except socket.timeout:
            raise self._deadline.passed()
        except (ssl.SSLError, EnvironmentError, ValueError) as error:      # Python 2: CertificateError is a ValueError
            raise ProbeFailed('TLS: %s' % reason_of(error))

    def facts(self):
        """Of a Result: when the server's certificate ends."""
        return {'not_after': not_after(self._sock.getpeercert(True))}

    def send(self, data):
        if not self._is_secure:
            return Conversation.send(self, data)
        self._in_time(self._sock.sendall, data)

    def receive(self):
        if not self._is_secure:
            return Conversation.receive(self)
        if self.ended:
            return False
        data = self._in_time(self._sock.recv, 16384)
        self.ended = not data
        self._note(data)
        return bool(data)

    def _in_time(self, call, argument):
        self._sock.settimeout(max(self._deadline.left(), 0.001))
        try:
            return call(argument)
        except socket.timeout:
            raise self._deadline.passed()
        except (ssl.SSLError, EnvironmentError, ValueError) as error:      # Python 2: CertificateError is a ValueError
            raise ProbeFailed('TLS: %s' % reason_of(error))

    @property
    def is_secure(self):
        return self._is_secure

    def _finish(self):
        """close_notify first: without it the server would log a reset."""
        if not self._is_secure:
            return Conversation._finish(self)
        self._sock.settimeout(max(min(self._deadline.left(), 0.1), 0.001))
        try:
            self._sock.unwrap().shutdown(socket.SHUT_WR)
        except (ssl.SSLError, EnvironmentError, ValueError):
            pass


def reason_of(error):
    """What went wrong, in a few words."""
    return getattr(error, 'reason', None) or getattr(error, 'strerror', None) or error
