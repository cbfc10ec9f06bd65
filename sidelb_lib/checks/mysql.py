"""check=mysql[:PORT][/ROLE]: the server evaluates logins; or says by read_only whether it is the primary.

MySQL and MariaDB count every connection that ends before a login against its host, and lock it out after 100: so a
probe always logs in, as `check_user`, and leaves by COM_QUIT. A refusal (1045) passes the plain check: the server
answers and evaluates logins, and counts nothing. With a password it changes to TLS where that is offered, and where the
server refuses the user without: MariaDB says 1045 for that as well, MySQL 3159. See the client/server protocol of
MySQL, SSLRequest and HandshakeResponse41.
"""
from __future__ import absolute_import, division, print_function

import hashlib
import struct

from . import roles
from .exchange import PASSED, Conversation, Learnt, Misconfigured, ProbeFailed, noisy, shown

CAPABILITIES = 0x1 | 0x200 | 0x8000 | 0x80000        # LONG_PASSWORD, PROTOCOL_41, SECURE_CONNECTION, PLUGIN_AUTH
UTF8MB4 = 45
MAX_PACKET_BYTES = 1 << 24
ACCESS_DENIED, NO_DATABASE_RIGHT, WANTS_TLS = 1045, 1044, 3159
TLS = 0x800
FULL_LOGIN = b'\x01\x04'         # of caching_sha2_password: the server wants the password itself
QUIT, QUERY = b'\x01', b'\x03'
NATIVE, CACHING_SHA2 = b'mysql_native_password', b'caching_sha2_password'

parse = roles.parse


def make(options, context):
    tls = Learnt()                     # address that refused a login in clear -> whether TLS mends that

    def probe(address, deadline):
        key = address.host, address.port
        session = Session(context)
        try:
            with session.open(address, deadline, tls.get(key) or context.password()) as conversation:
                try:
                    session.log_in()
                    found = session.role(options.role) if options.role else PASSED
                except Refusal:
                    conversation.end()
                    raise
                conversation.end(struct.pack('<I', 1) + QUIT)
                return found
        except Refusal as refusal:
            if refusal.code in (ACCESS_DENIED, WANTS_TLS) and session.may_change_to_tls and key not in tls:
                tls[key] = True
                return probe(address, deadline) if options.role else PASSED
            if tls.get(key) and refusal.code == ACCESS_DENIED:
                tls[key] = False
            return judge(refusal, options.role, context.settings.check_user)
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
        return noisy('logs each check (%s): create the user %s without a password' % (refusal, user))
    raise ProbeFailed(str(refusal))


class Session(object):
    """One login. Packets have a length of three bytes, a number, and a body."""

    def __init__(self, context):
        self._conversation = None
        self._context = context
        self._number = 0
        self._greeting = None              # see `greeting`
        self._capabilities = CAPABILITIES

    def open(self, address, deadline, wants_tls):
        """The Conversation, over TLS if that is wanted and offered. Raises Refusal."""
        if wants_tls:
            from .tls import SecureConversation, client_context
            self._conversation = SecureConversation(address, deadline, client_context(None), None, before=self._ask_for_tls)
        else:
            self._conversation = Conversation(address, deadline)
        return self._conversation

    @property
    def may_change_to_tls(self):
        """The server offers it, and it was not used."""
        return bool(self._greeting and self._greeting[2] & TLS and not self._capabilities & TLS)

    def _ask_for_tls(self, conversation):
        self._conversation = conversation
        self._greeting = greeting(self._read())
        if not self._greeting[2] & TLS:
            return False
        self._capabilities |= TLS
        self._send(self._login_head())
        self._number += 1

    def _login_head(self):
        return struct.pack('<IIB23x', self._capabilities, MAX_PACKET_BYTES, UTF8MB4)

    def log_in(self):
        self._greeting = self._greeting or greeting(self._read())
        nonce, plugin, _ = self._greeting
        plugin = plugin if plugin in (NATIVE, CACHING_SHA2) else NATIVE
        user = self._context.settings.check_user.encode('utf-8')
        answer = scramble(self._context.password(), nonce, plugin)
        self._send(self._login_head() + user + b'\0' +
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
            elif packet[:2] == FULL_LOGIN and self._capabilities & TLS:
                self._send(self._context.password().encode('utf-8') + b'\0')
            elif packet[:2] == FULL_LOGIN:
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
    """(nonce, name of the plugin for logins, capabilities) of a server's first packet."""
    if packet[:1] != b'\x0a':
        raise ProbeFailed('no MySQL greeting: %s' % shown(packet[:8]))
    rest = packet[1:].partition(b'\0')[2]
    nonce = rest[4:12] + rest[31:43]
    plugin = rest[44:].partition(b'\0')[0]
    return nonce, plugin, struct.unpack('<H', rest[13:15].ljust(2, b'\0'))[0]


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
