"""Answers over HTTP: health for orchestrators, metrics for Prometheus, the status as JSON and as a page.

The server is gevent's, which is not made for a hostile network. So it never sees what a client has sent: each
connection brings one request, whose head is read here within bounds of size and time and checked against a strict
grammar; gevent gets its first line, its Host and whether it takes gzip, and no body, ever. After the answer the
connection is closed.
"""
from __future__ import absolute_import, division, print_function

import collections
import re
import socket
import traceback
import zlib
from io import BytesIO

import gevent
from gevent.lock import BoundedSemaphore
from gevent.pywsgi import WSGIHandler, WSGIServer

from . import metrics
from . import page
from . import render as status
from .crowd import MAX_CLIENTS, Crowded
from ..net import reuse_port as sharing
from ..compat import SocketError, let_traffic_pass, monotonic
from ..net.blame import SHORTAGES
from ..net.endpoints import canonical_ip

MAX_HEAD_BYTES = 8192
MAX_HEADERS = 64
HEAD_SECONDS = 5.0               # for a client to send all of its request...
ANSWER_SECONDS = 10.0            # ...and to take the answer
LINGER_SECONDS = 1.0             # for it to notice that it was refused, and stop sending
MAX_LINGER_READS = 16

MIN_BYTES_TO_COMPRESS = 1400      # less fits a packet
BYTES_AT_ONCE = 65536            # are compressed between two pauses, in about 1 ms

TEXT = 'text/plain; charset=utf-8'
TOO_LARGE = '431 Request Header Fields Too Large'
NO_PAGE_POLICY = "default-src 'none'; frame-ancestors 'none'"

#: Request line and headers, RFC 9112 sections 3 and 5, of HTTP/1 and without folded lines.
_TOKEN = br"[!#$%&'*+.^_`|~0-9A-Za-z-]+"
_HEAD = re.compile(br'(TOKEN [!-~]+ HTTP/1\.[01])\r\n((?:TOKEN:[\t -~\x80-\xff]*\r\n)*)\r\n\Z'.replace(b'TOKEN', _TOKEN))

#: A host and perhaps a port, RFC 9110 section 7.2.
_HOST = re.compile(r'(\[[0-9A-Fa-f:.]+\]|[0-9A-Za-z._-]+)(?::[0-9]{0,5})?\Z')

#: gzip in Accept-Encoding, RFC 9110 section 12.5.3, unless its weight is 0.
_GZIP = re.compile(br'(?:^|,)[ \t]*gzip[ \t]*(?:$|,|;(?![ \t]*q=0(?:\.0*)?[ \t]*(?:$|,)))', re.IGNORECASE)

Answer = collections.namedtuple('Answer', 'status kind body headers')


def text_answer(status_line, text, *headers):
    return Answer(status_line, TEXT, (text + '\n').encode('utf-8'), headers)


class Refused(Exception):
    """A request that is not worth passing on. `answer` is what the client gets."""

    def __init__(self, status_line, text):
        Exception.__init__(self, text)
        self.answer = text_answer(status_line, text)


# --- the application ------------------------------------------------------------------------------------------

class Application(object):
    """The WSGI application.

    `startup()` and `readiness()` return (ok, a sentence that says why), `snapshot(with_history)` the
    snapshot. `versions`
    is what `sidelb_build_info` shows, `clock` the wall clock, `host_names` are the names under which it may be
    asked.
    """

    def __init__(self, startup, readiness, snapshot, versions, log, clock, host_names=()):
        self._startup = startup
        self._readiness = readiness
        self._snapshot = snapshot
        self._versions = versions
        self._log = log
        self._clock = clock
        self._host_names = [name.lower().rstrip('.') for name in host_names]
        self._html, self._page_policy = page.load()
        self.has_metrics = metrics.load()
        self._turn = BoundedSemaphore(1)       # big answers are made one after the other: they delay nobody
        self._paths = {
            '/': self._answer_page,
            '/startup': lambda: self._verdict(*self._startup()),
            '/liveness': lambda: self._verdict(True, 'alive'),
            '/readiness': lambda: self._verdict(*self._readiness()),
            '/metrics': self._answer_metrics,
            '/status.json': self._answer_status,
        }

    def __call__(self, environ, start_response):
        try:
            answer = self._answer(environ)
        except Exception:
            self._log.error('http_failed', 'unexpected error in the answer to {path}: {trace}',
                            path=environ['PATH_INFO'], trace=traceback.format_exc())
            answer = text_answer('500 Internal Server Error', 'unexpected error: the log tells more')
        start_response(answer.status, headers_of(answer))
        return [] if environ['REQUEST_METHOD'] == 'HEAD' else [answer.body]

    def _answer(self, environ):
        if environ['REQUEST_METHOD'] not in ('GET', 'HEAD'):
            return text_answer('405 Method Not Allowed', 'there is only GET and HEAD', ('Allow', 'GET, HEAD'))
        host = environ.get('HTTP_HOST')
        if host is not None and not is_own_host(host, self._host_names):
            return text_answer('403 Forbidden', 'this is not the host that was asked for: ask by an IP address, '
                               'by localhost or by %s' % (', '.join(self._host_names) or 'a name without dots'))
        answer_path = self._paths.get(environ['PATH_INFO'])
        if answer_path is None:
            return text_answer('404 Not Found', 'there is only ' + ' '.join(sorted(self._paths)))
        return answer_path(environ) if answer_path == self._answer_status else answer_path()

    def _verdict(self, ok, reason):
        return text_answer('200 OK' if ok else '503 Service Unavailable', reason)

    def _answer_page(self):
        return Answer('200 OK', 'text/html; charset=utf-8', self._html,
                      (('Content-Security-Policy', self._page_policy),))

    def _answer_status(self, environ):
        with_history = 'history=1' in environ.get('QUERY_STRING', '').split('&')
        with self._turn:
            body = status.to_json(self._snapshot(with_history), let_traffic_pass).encode('utf-8')
            if environ.get('HTTP_ACCEPT_ENCODING') != 'gzip' or len(body) < MIN_BYTES_TO_COMPRESS:
                return Answer('200 OK', 'application/json', body, ())
            return Answer('200 OK', 'application/json', compressed(body, let_traffic_pass), (('Content-Encoding', 'gzip'),))

    def _answer_metrics(self):
        if not self.has_metrics:
            return text_answer('501 Not Implemented', 'metrics need prometheus_client: ' + metrics.INSTALL)
        with self._turn:
            body = metrics.exposition(self._snapshot(False), self._clock(), self._versions, let_traffic_pass)
        return Answer('200 OK', metrics.CONTENT_TYPE, body, ())


def compressed(body, pause):
    """`body` in the format of gzip (RFC 1952). `pause()` is called now and then."""
    compressor = zlib.compressobj(1, zlib.DEFLATED, 16 + zlib.MAX_WBITS)     # 6 takes thrice as long for a fifth less
    parts = []
    for start in range(0, len(body), BYTES_AT_ONCE):
        parts.append(compressor.compress(body[start:start + BYTES_AT_ONCE]))
        pause()
    return b''.join(parts + [compressor.flush()])


def headers_of(answer):
    """All headers: what the answer brings, and what keeps browsers from storing, guessing, framing and sharing."""
    headers = [
        ('Content-Type', answer.kind),
        ('Content-Length', str(len(answer.body))),
        ('Cache-Control', 'no-store'),
        ('X-Content-Type-Options', 'nosniff'),
        ('X-Frame-Options', 'DENY'),
        ('Referrer-Policy', 'no-referrer'),
        ('Cross-Origin-Resource-Policy', 'same-origin'),
        ('Connection', 'close'),
    ] + list(answer.headers)
    if 'Content-Security-Policy' not in dict(headers):
        headers.append(('Content-Security-Policy', NO_PAGE_POLICY))
    return headers


def is_own_host(text, host_names):
    """May the Host header say so? A page in somebody's browser can have its own name lead to us (DNS rebinding), but no
    IP address, no name of this host, and no name without a dot, for nobody can register one."""
    match = _HOST.match(text)
    if not match:
        return False
    name = match.group(1).lower().rstrip('.')
    return (canonical_ip(name.strip('[]')) is not None or '.' not in name or name.endswith('.localhost') or
            name in host_names)


# --- the server -----------------------------------------------------------------------------------------------

class HttpServer(Crowded, WSGIServer):
    """Serves a WSGI `application` on `listener`, a bound, listening gevent socket, which this object owns from now on.
    `start()` begins, `close()` ends it."""

    def __init__(self, listener, application, log, head_seconds=HEAD_SECONDS, answer_seconds=ANSWER_SECONDS,
                 max_clients=MAX_CLIENTS):
        Crowded.__init__(self)
        self._handed_over = False
        # A SERVER_NAME of our own keeps gevent from looking this host up in DNS.
        WSGIServer.__init__(self, listener, application, log=None, error_log=None, handler_class=_Handler,
                            environ={'SERVER_NAME': 'sidelb'})
        self.head_seconds = head_seconds
        self.answer_seconds = answer_seconds
        self.event_log = log
        self.max_clients = max_clients

    def do_read(self):
        """gevent's hook: accept one client. An error would be a traceback on stderr each time."""
        try:
            return WSGIServer.do_read(self)
        except SocketError as error:
            if error.errno in self.fatal_errors:
                raise
            if error.errno in SHORTAGES:
                self.pause_accepting()
            return None

    def hand_over(self):
        """Where another instance has the same address (reuse_port=on), let it take all clients to come."""
        if sharing.has_siblings(self.socket):
            self._handed_over = True
            sharing.send_clients_to_others(self.socket)
            sharing.drop_new_handshakes(self.socket)

    def close(self):
        if self._handed_over and not self.closed:
            sharing.close_and_rebalance(self.socket)
        WSGIServer.close(self)

    def handle(self, sock, peer):
        """gevent's hook: the greenlet of one connection. gevent closes `sock` when it returns."""
        self.begin()
        try:
            WSGIServer.handle(self, sock, peer)
        except (EnvironmentError, EOFError):
            pass                             # the client is gone
        finally:
            self.end()


class _Handler(WSGIHandler):
    """One connection: reads the head of one request, and has gevent answer it."""

    def handle(self):
        self.rfile.close()                   # as long as it is open, closing the socket does not close it
        try:
            line, host, takes_gzip = parse_head(read_head(self.socket, self.server.head_seconds))
        except Refused as refusal:
            return self._refuse(refusal.answer)
        self.server.has_asked()
        self.socket.settimeout(self.server.answer_seconds)
        header = b'' if host is None else b'Host: ' + host + b'\r\n'
        if takes_gzip:
            header += b'Accept-Encoding: gzip\r\n'
        self.rfile = BytesIO(line + b'\r\n' + header + b'\r\n')
        WSGIHandler.handle(self)

    def _refuse(self, answer):
        """Closing with something unread would be a reset, which takes the answer from the client: read on a little."""
        head = ''.join('%s: %s\r\n' % header for header in headers_of(answer))
        self.socket.settimeout(LINGER_SECONDS)
        self.socket.sendall(('HTTP/1.1 %s\r\n%s\r\n' % (answer.status, head)).encode('latin-1') + answer.body)
        self.socket.shutdown(socket.SHUT_WR)
        for _ in range(MAX_LINGER_READS):
            if not self.socket.recv(MAX_HEAD_BYTES):
                break

    def handle_error(self, kind, error, trace):
        """gevent's hook: the answer could not be sent, or we were told to end. It would print a traceback."""
        self.close_connection = True
        if not issubclass(kind, (EnvironmentError, gevent.GreenletExit)):
            self.server.event_log.error('http_failed', 'unexpected error in the HTTP server: {error}',
                                        error=repr(error))


def read_head(sock, seconds):
    """Read up to the empty line that ends a request's head. Raises Refused, or EOFError when the client ends before it."""
    deadline = monotonic() + seconds
    received = b''
    while True:
        head, end, _ = received.partition(b'\r\n\r\n')
        if len(head) > MAX_HEAD_BYTES:
            raise Refused(TOO_LARGE, 'a request has at most %d bytes' % MAX_HEAD_BYTES)
        if end or b'\n\n' in head:
            return head + end
        sock.settimeout(max(deadline - monotonic(), 0.001))
        try:
            more = sock.recv(4096)
        except socket.timeout:
            raise Refused('408 Request Timeout', 'a request takes at most %g s' % seconds)
        if not more:
            raise EOFError
        received += more


def parse_head(head):
    """(request line, value of Host or None, does the client take gzip?), the texts as bytes, of a request's head. Raises
    Refused."""
    if head.count(b'\r\n') > MAX_HEADERS + 2:
        raise Refused(TOO_LARGE, 'a request has at most %d headers' % MAX_HEADERS)
    match = _HEAD.match(head)
    if not match:
        raise Refused('400 Bad Request', 'that is no request of HTTP/1.0 or HTTP/1.1')
    line, headers = match.groups()
    pairs = [header.partition(b':') for header in headers.split(b'\r\n')]
    hosts = [value.strip() for name, _, value in pairs if name.lower() == b'host']
    if len(hosts) > 1 or not hosts and line.endswith(b'1.1'):
        raise Refused('400 Bad Request', 'a request has one Host header')
    codings = [value for name, _, value in pairs if name.lower() == b'accept-encoding']
    return line, hosts[0] if hosts else None, any(_GZIP.search(value) for value in codings)
