"""check=postgres[:PORT][/ROLE]: the server takes a start of a session, and says what part it has.

Without a role nobody logs in: a StartupMessage whose authentication request is answered by EOF leaves no line in the
server's log, while a server that starts, stops or is full says so. With a role it logs in and reads the parameter
in_hot_standby (PostgreSQL 14 and newer), or asks for transaction_read_only. See the message formats of PostgreSQL's
frontend/backend protocol, 3.0, and RFC 5802, 7677 for SCRAM.
"""
from __future__ import absolute_import, division, print_function

import base64
import hashlib
import hmac
import os
import re
import struct

from ..compat import text_of
from ..net.endpoints import is_loopback
from . import roles
from .exchange import PASSED, Conversation, Learnt, Misconfigured, ProbeFailed, ServesNobody, noisy, shown

SSL_REQUEST = struct.pack('!II', 8, 80877103)
TERMINATE = b'X\0\0\0\4'
ASK_READ_ONLY = b'show transaction_read_only\0'
#: It grows at each promotion; any user may ask a server that is not in recovery (PostgreSQL 10 and newer).
ASK_TIMELINE = b'select substr(pg_walfile_name(pg_current_wal_lsn()),1,8)\0'
MAX_MESSAGE_BYTES = 65536
MAX_MESSAGES = 200
MAX_ITERATIONS = 100000            # of SCRAM: more would hold up everybody
CANNOT_CONNECT_NOW = '57P03'       # it starts, stops or recovers
NO_RIGHT, NO_DATABASE, BAD_PROTOCOL = '28', '3D000', '08P01'

parse = roles.parse


def make(options, context):
    wants_tls = Learnt()               # addresses that have refused a start in clear
    refused = Learnt()                 # addresses that have logged a check
    salted = {}                        # (salt, iterations) -> salted password: 4,096 rounds of a hash each time

    def probe(address, deadline):
        key = address.host, address.port
        session = Session(address, deadline, context, salted, key in wants_tls)
        try:
            found = session.log_in(options.role) if options.role else session.knock()
            if found.facts and 'noisy' in found.facts and key not in refused:
                refused[key] = True        # the first one may be told something that the next ones go by
                return PASSED
            return found
        except WantsTls:
            if key in wants_tls:
                raise ProbeFailed('wants TLS, and refuses it')
            wants_tls[key] = True
            return probe(address, deadline) if options.role else PASSED
        finally:
            session.close()
    return probe


class WantsTls(Exception):
    """The server's rules are for TLS alone."""


class Refusal(Exception):
    """An ErrorResponse: `code` is its SQLSTATE, the text its message."""

    def __init__(self, code, text):
        Exception.__init__(self, text)
        self.code = code


class Session(object):
    """One connection to a server. Owns it until `close`."""

    def __init__(self, address, deadline, context, salted, use_tls):
        self._address = address
        self._context = context
        self._salted = salted
        self._is_secure = use_tls
        self._conversation = secured(address, deadline) if use_tls else Conversation(address, deadline)

    def close(self):
        self._conversation.__exit__()

    def knock(self):
        """Begin a session and leave at the question for a password; where none is asked, when it is ready: a server that is
        full says so after that."""
        self._start()
        goodbye = b''
        try:
            kind, body = self._read()
            while kind == b'v':            # NegotiateProtocolVersion: a newer server
                kind, body = self._read()
            if kind != b'R':
                raise ProbeFailed('no PostgreSQL answer: %s' % shown(kind))
            if body[:4] == b'\0\0\0\0':
                self._authenticate()
                goodbye = TERMINATE
        except Refusal as refusal:
            judge(refusal, self._is_secure)
            self._leave(b'')
            return noisy('logs each check (%s): create the role %s, or set check_user= and check_database=' % (
                refusal, self._context.settings.check_user))
        return self._leave(goodbye)

    def log_in(self, wanted):
        """Log in, and tell by the role whether the server is wanted."""
        self._start()
        try:
            parameters = self._authenticate()
            standby = parameters.get('in_hot_standby') or self._ask_read_only()
            if parameters.get('default_transaction_read_only') == 'on':
                standby = 'on'
            is_known = parameters.get('in_hot_standby') == standby == 'off'      # PostgreSQL 14 and newer, not a likeness
            facts = self._timeline() if is_known and wanted == roles.PRIMARY else None
        except Refusal as refusal:
            judge(refusal, self._is_secure, with_login=True)
            raise Misconfigured(str(refusal))
        self._leave(TERMINATE)
        role = roles.REPLICA if standby == 'on' else roles.PRIMARY
        return roles.result(role, wanted)._replace(facts=facts)

    def _leave(self, goodbye):
        self._conversation.end(goodbye)
        return PASSED

    def _start(self):
        settings = self._context.settings
        words = ('user', settings.check_user, 'database', settings.check_database, 'application_name', 'sidelb')
        body = struct.pack('!I', 3 << 16) + b''.join(word.encode('utf-8') + b'\0' for word in words) + b'\0'
        self._conversation.send(struct.pack('!I', len(body) + 4) + body)

    def _read(self):
        """(kind, body) of a message. Raises Refusal for an ErrorResponse; notices are passed over."""
        for _ in range(MAX_MESSAGES):
            kind = self._conversation.read(1)
            length, = struct.unpack('!I', self._conversation.read(4))
            if not 4 <= length <= MAX_MESSAGE_BYTES:
                raise ProbeFailed('no PostgreSQL answer: %s' % shown(kind))
            body = self._conversation.read(length - 4)
            if kind == b'E':
                fields = dict((field[:1], field[1:]) for field in body.split(b'\0') if field)
                raise Refusal(text_of(fields.get(b'C', b'')), shown(fields.get(b'M', b'')))
            if kind != b'N':
                return kind, body
        raise ProbeFailed('too many messages')

    def _send(self, kind, body):
        self._conversation.send(kind + struct.pack('!I', len(body) + 4) + body)

    def _authenticate(self):
        """The server's parameters, once it is ready for a query."""
        parameters, scram = {}, None
        for _ in range(MAX_MESSAGES):
            kind, body = self._read()
            if kind == b'R':
                scram = self._answer(struct.unpack('!I', body[:4])[0], body[4:], scram)
            elif kind == b'S':
                name, value = body.split(b'\0')[:2]
                parameters[text_of(name)] = text_of(value)
            elif kind == b'Z':
                return parameters
        raise ProbeFailed('too many messages')

    def _answer(self, method, data, scram):
        password = self._context.password()
        if method == 0:
            return None
        if not password:
            raise Misconfigured('the server wants a password for user "%s": SIDELB_CHECK_PASSWORD or '
                                'check_password_file=' % self._context.settings.check_user)
        if method == 3:
            if not (self._is_secure or is_loopback(self._address.host)):
                raise Misconfigured('the server wants the password unencrypted: that is sent only over TLS or to loopback')
            self._send(b'p', password.encode('utf-8') + b'\0')
        elif method == 5:
            self._send(b'p', md5_answer(self._context.settings.check_user, password, data) + b'\0')
        elif method == 10:
            if b'SCRAM-SHA-256' not in data.split(b'\0'):
                raise Misconfigured('the server offers no method of login that is known: %s' % shown(data))
            scram = Scram(password, self._salted)
            first = scram.first()
            self._send(b'p', b'SCRAM-SHA-256\0' + struct.pack('!I', len(first)) + first)
        elif method == 11 and scram:
            self._send(b'p', scram.final(data))
        elif method == 12 and scram:
            scram.verify(data)
        else:
            raise Misconfigured('the server wants a method of login that is not known (%d)' % method)
        return scram

    def _ask_read_only(self):
        value = self._ask(ASK_READ_ONLY)
        if value not in ('on', 'off'):
            raise Misconfigured('this server does not tell its role')
        return value

    def _timeline(self):
        """Facts by which the later one of two primaries is found, or None where they are not told."""
        try:
            value = self._ask(ASK_TIMELINE)
        except Refusal:                    # it was demoted meanwhile, or the user may not
            return None
        return {'timeline': int(value, 16)} if value and re.match('[0-9A-F]{8}\\Z', value) else None

    def _ask(self, query):
        """The last column of the last row of the answer, None without one. Raises Refusal."""
        self._send(b'Q', query)
        value = None
        for _ in range(MAX_MESSAGES):
            kind, body = self._read()
            if kind == b'D':
                value = text_of(body[6:])
            elif kind == b'Z':
                return value
        raise ProbeFailed('too many messages')


def judge(refusal, is_secure, with_login=False):
    """What an ErrorResponse says of the server. Returns for one that evaluates logins, and so is well."""
    text = str(refusal)
    if refusal.code[:2] == NO_RIGHT and not is_secure and re.search('no encryption|SSL off', text):
        raise WantsTls()
    if with_login and (refusal.code[:2] == NO_RIGHT or refusal.code == NO_DATABASE):
        raise Misconfigured(text)
    if refusal.code[:2] == NO_RIGHT or refusal.code in (NO_DATABASE, BAD_PROTOCOL):
        return
    raise (ServesNobody if with_login and refusal.code == CANNOT_CONNECT_NOW else ProbeFailed)(text)


def secured(address, deadline):
    """A Conversation that has changed to TLS, by SSLRequest. Nothing is verified: a probe proves life."""
    from .tls import SecureConversation, client_context
    return SecureConversation(address, deadline, client_context(None), None, before=ask_for_tls)


def ask_for_tls(conversation):
    conversation.send(SSL_REQUEST)
    answer = conversation.read(1)
    if answer != b'S':
        raise ProbeFailed('refuses TLS, and wants it')


def md5_answer(user, password, salt):
    inner = hashlib.md5(password.encode('utf-8') + user.encode('utf-8')).hexdigest().encode('ascii')
    return b'md5' + hashlib.md5(inner + salt).hexdigest().encode('ascii')


class Scram(object):
    """SCRAM-SHA-256 without channel binding, RFC 7677; the user's name is that of the start."""

    def __init__(self, password, salted):
        self._password = password.encode('utf-8')
        self._cache = salted
        self._nonce = base64.b64encode(os.urandom(18))
        self._salted = None
        self._signed = None

    def first(self):
        return b'n,,' + self._bare()

    def _bare(self):
        return b'n=,r=' + self._nonce

    def final(self, server_first):
        fields = dict(part.split(b'=', 1) for part in server_first.split(b',') if b'=' in part)
        try:
            nonce, salt, iterations = fields[b'r'], base64.b64decode(fields[b's']), int(fields[b'i'])
        except (KeyError, ValueError, TypeError):
            raise ProbeFailed('no SCRAM answer: %s' % shown(server_first))
        if not nonce.startswith(self._nonce):
            raise ProbeFailed('a SCRAM answer to somebody else')
        if iterations > MAX_ITERATIONS:
            raise Misconfigured('the password has %d iterations of SCRAM, more than %d' % (iterations, MAX_ITERATIONS))
        key = salt, iterations, self._password
        if key not in self._cache:
            self._cache.clear()
            self._cache[key] = hashlib.pbkdf2_hmac('sha256', self._password, salt, iterations)
        self._salted = self._cache[key]
        without_proof = b'c=biws,r=' + nonce
        self._signed = b','.join([self._bare(), server_first, without_proof])
        client_key = sign(self._salted, b'Client Key')
        signature = sign(hashlib.sha256(client_key).digest(), self._signed)
        proof = bytes(bytearray(a ^ b for a, b in zip(bytearray(client_key), bytearray(signature))))
        return without_proof + b',p=' + base64.b64encode(proof)

    def verify(self, server_final):
        signature = base64.b64encode(sign(sign(self._salted, b'Server Key'), self._signed))
        if server_final.rstrip(b'\0') != b'v=' + signature:
            raise ProbeFailed('the server does not know the password either')


def sign(key, data):
    return hmac.new(key, data, hashlib.sha256).digest()
