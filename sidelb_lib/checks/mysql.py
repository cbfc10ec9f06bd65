"""check=mysql[:PORT][/ROLE]: the server evaluates logins; or says by read_only whether it is the primary.

MySQL and MariaDB count every connection that ends before a login against its host, and lock it out after 100: so a probe
always logs in, as `check_user` without a password, and leaves by COM_QUIT. A refusal (1045) passes the plain check: the
server answers and evaluates logins, and counts nothing. See the client/server protocol of MySQL, HandshakeResponse41.
"""
from __future__ import absolute_import, division, print_function

import hashlib
import struct

from . import roles
from .exchange import PASSED, Conversation, Misconfigured, ProbeFailed, noisy, shown

CAPABILITIES = 0x1 | 0x200 | 0x8000 | 0x80000        # LONG_PASSWORD, PROTOCOL_41, SECURE_CONNECTION, PLUGIN_AUTH
UTF8MB4 = 45
MAX_PACKET_BYTES = 1 << 24
ACCESS_DENIED, NO_DATABASE_RIGHT, WANTS_TLS = 1045, 1044, 3159
QUIT, QUERY = b'\x01', b'\x03'
NATIVE, CACHING_SHA2 = b'mysql_native_password', b'caching_sha2_password'

parse = roles.parse


def make(options, context):
    def probe(address, deadline):
        with Conversation(address, deadline) as conversation:
            session = Session(conversation, context)
            try:
                session.log_in()
                found = session.role(options.role) if options.role else PASSED
            except Refusal as refusal:
                found = judge(refusal, options.role, context.settings.check_user)
                conversation.end()
                return found
            conversation.end(struct.pack('<I', 1) + QUIT)
            return found
    return probe


class Refusal(Exception):
    """An ERR packet: `code`, and the text."""

    def __init__(self, code, text):
        Exception.__init__(self, '%d %s' % (code, text))
        self.code = code


def judge(refusal, role, user):
    if refusal.code in (ACCESS_DENIED, NO_DATABASE_RIGHT, WANTS_TLS):
        if role:
            raise Misconfigured(str(refusal))
        return noisy('logs each check (%s): %s' % (refusal, 'let %s log in without TLS' % user if refusal.code == WANTS_TLS
                                                   else 'create the user %s without a password' % user))
    raise ProbeFailed(str(refusal))


class Session(object):
    """One login. Packets have a length of three bytes, a number, and a body."""

    def __init__(self, conversation, context):
        self._conversation = conversation
        self._context = context
        self._number = 0

    def log_in(self):
        nonce, plugin = greeting(self._read())
        plugin = plugin if plugin in (NATIVE, CACHING_SHA2) else NATIVE
        user = self._context.settings.check_user.encode('utf-8')
        answer = scramble(self._context.password(), nonce, plugin)
        self._send(struct.pack('<IIB23x', CAPABILITIES, MAX_PACKET_BYTES, UTF8MB4) + user + b'\0' +
                   struct.pack('B', len(answer)) + answer + plugin + b'\0')
        self._finish_login(self._read())

    def _finish_login(self, packet):
        for _ in range(4):
            kind = packet[:1]
            if kind == b'\x00':
                return
            if kind == b'\xfe':                    # AuthSwitchRequest
                plugin, _, nonce = packet[1:].partition(b'\0')
                if plugin not in (NATIVE, CACHING_SHA2):
                    raise Misconfigured('the server wants a method of login that is not known: %s' % shown(plugin))
                answer = scramble(self._context.password(), nonce.rstrip(b'\0'), plugin)
                self._send(answer or (b'\0' if plugin == CACHING_SHA2 else b''))       # no password, as mysql(1) says it
            elif packet[:2] == b'\x01\x04':
                raise Misconfigured('caching_sha2_password wants TLS or a login before: give %s no password' %
                                    self._context.settings.check_user)
            elif kind != b'\x01':
                break
            packet = self._read()
        raise ProbeFailed('no MySQL answer: %s' % shown(packet[:8]))

    def role(self, wanted):
        self._number = 0
        self._send(QUERY + b'select @@global.read_only')
        count = self._read()                       # of columns
        if count[:1] != b'\x01':
            raise ProbeFailed('no MySQL answer: %s' % shown(count[:8]))
        for _ in range(8):
            packet = self._read()
            if packet[:1] in (b'\x01', b'\x02') and packet[1:] in (b'0', b'1'):
                self._drain()
                return roles.result(roles.PRIMARY if packet[1:] == b'0' else roles.REPLICA, wanted)
        raise ProbeFailed('the server does not tell its role')

    def _drain(self):
        """Read the end of the result, so that nothing is left unread at the goodbye."""
        while self._read()[:1] != b'\xfe':
            pass

    def _read(self):
        head = self._conversation.read(4)
        length = struct.unpack('<I', head[:3] + b'\0')[0]
        self._number = (bytearray(head)[3] + 1) % 256
        if length > 65536:
            raise ProbeFailed('no MySQL answer: %s' % shown(head))
        packet = self._conversation.read(length)
        if packet[:1] == b'\xff':
            text = packet[9:] if packet[3:4] == b'#' else packet[3:]
            raise Refusal(struct.unpack('<H', packet[1:3])[0], shown(text))
        return packet

    def _send(self, body):
        self._conversation.send(struct.pack('<I', len(body))[:3] + struct.pack('B', self._number) + body)


def greeting(packet):
    """(nonce, name of the plugin for logins) of a server's first packet."""
    if packet[:1] != b'\x0a':
        raise ProbeFailed('no MySQL greeting: %s' % shown(packet[:8]))
    rest = packet[1:].partition(b'\0')[2]
    nonce = rest[4:12] + rest[31:43]
    plugin = rest[44:].partition(b'\0')[0]
    return nonce, plugin


def scramble(password, nonce, plugin):
    """What proves the password, without showing it; b'' for none."""
    if not password:
        return b''
    data, nonce = password.encode('utf-8'), nonce[:20]
    if plugin == NATIVE:
        once = hashlib.sha1(data).digest()
        other = hashlib.sha1(nonce + hashlib.sha1(once).digest()).digest()
    else:
        once = hashlib.sha256(data).digest()
        other = hashlib.sha256(hashlib.sha256(once).digest() + nonce).digest()
    return bytes(bytearray(a ^ b for a, b in zip(bytearray(once), bytearray(other))))
