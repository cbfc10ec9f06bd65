"""What is answered over HTTP: health for orchestrators, metrics for Prometheus, the status as JSON and as a page."""
from __future__ import absolute_import, division, print_function

import collections
import re
import traceback
import zlib

from gevent.lock import BoundedSemaphore

from . import exposition
from . import page
from . import render as status
from ..compat import let_traffic_pass
from ..net.endpoints import canonical_ip

MIN_BYTES_TO_COMPRESS = 1400      # less fits a packet
BYTES_AT_ONCE = 65536            # are compressed between two pauses, in about 1 ms

TEXT = 'text/plain; charset=utf-8'
NO_PAGE_POLICY = "default-src 'none'; frame-ancestors 'none'"

#: A host and perhaps a port, RFC 9110 section 7.2.
_HOST = re.compile(r'(\[[0-9A-Fa-f:.]+\]|[0-9A-Za-z._-]+)(?::[0-9]{0,5})?\Z')

Answer = collections.namedtuple('Answer', 'status kind body headers')


def text_answer(status_line, text, *headers):
    return Answer(status_line, TEXT, (text + '\n').encode('utf-8'), headers)


class Application(object):
    """The WSGI application.

    `startup()` and `readiness()` return (ok, a sentence that says why), `snapshot(with_history)` the snapshot. `versions`
    is what `sidelb_build_info` shows, `clock` the wall clock, `host_names` are the names under which it may be asked.
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
        self.has_metrics = exposition.load()
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
            return text_answer('501 Not Implemented', 'metrics need prometheus_client: ' + exposition.INSTALL)
        with self._turn:
            body = exposition.rendered(self._snapshot(False), self._clock(), self._versions, let_traffic_pass)
        return Answer('200 OK', exposition.CONTENT_TYPE, body, ())


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
