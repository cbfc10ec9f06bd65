"""The head of a request, read within bounds of size and time and checked against a strict grammar."""
from __future__ import absolute_import, division, print_function

import re
import socket

from .http_answers import text_answer
from ..compat import monotonic

MAX_HEAD_BYTES = 8192
MAX_HEADERS = 64
TOO_LARGE = '431 Request Header Fields Too Large'

#: Request line and headers, RFC 9112 sections 3 and 5, of HTTP/1 and without folded lines.
_TOKEN = br"[!#$%&'*+.^_`|~0-9A-Za-z-]+"
_HEAD = re.compile(br'(TOKEN [!-~]+ HTTP/1\.[01])\r\n((?:TOKEN:[\t -~\x80-\xff]*\r\n)*)\r\n\Z'.replace(b'TOKEN', _TOKEN))

#: gzip in Accept-Encoding, RFC 9110 section 12.5.3, unless its weight is 0.
_GZIP = re.compile(br'(?:^|,)[ \t]*gzip[ \t]*(?:$|,|;(?![ \t]*q=0(?:\.0*)?[ \t]*(?:$|,)))', re.IGNORECASE)


class Refused(Exception):
    """A request that is not worth passing on. `answer` is what the client gets."""

    def __init__(self, status_line, text):
        Exception.__init__(self, text)
        self.answer = text_answer(status_line, text)


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
