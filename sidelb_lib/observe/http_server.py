"""The server of HTTP.

It is gevent's, which is not made for a hostile network. So it never sees what a client has sent: each connection
brings one request, whose head is read by `http_request`; gevent gets its first line, its Host and whether it takes
gzip, and no body, ever. After the answer the connection is closed.
"""
from __future__ import absolute_import, division, print_function

import socket
from io import BytesIO

import gevent
from gevent.pywsgi import WSGIHandler, WSGIServer

from .crowd import MAX_CLIENTS, Crowded
from .http_answers import headers_of
from .http_request import MAX_HEAD_BYTES, Refused, parse_head, read_head
from ..compat import SocketError
from ..net import reuse_port as sharing
from ..net.blame import SHORTAGES

HEAD_SECONDS = 5.0               # for a client to send all of its request...
ANSWER_SECONDS = 10.0            # ...and to take the answer
LINGER_SECONDS = 1.0             # for it to notice that it was refused, and stop sending
MAX_LINGER_READS = 16


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
