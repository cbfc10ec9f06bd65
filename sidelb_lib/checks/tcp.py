"""check=tcp: can a connection be opened? The server's program does not notice.

A server that counts or logs connections which come and go without a word would take each probe for an attack or a fault:
MariaDB locks a host out after 100 of them, PostgreSQL forks a process for each. So the last packet of the handshake is
held back (TCP_QUICKACK off, tcp(7)), and the close sends a reset in its place (SO_LINGER 0): the server's kernel has
answered, and its accept never sees the connection. Where the kernel sends that packet all the same the server sees a
connection that is reset at once.
"""
from __future__ import absolute_import, division, print_function

import errno
import os
import socket

from ..compat import SocketError
from ..net.connect import ConnectError, finish_connect, real_error
from ..net.resets import abort
from ..net.socket_options import tune
from .exchange import PASSED, Conversation, ProbeFailed, failure, maker_of


def parse(arguments):
    if arguments is not None:
        raise ValueError('nothing comes after tcp but a port')


def make(options, context):
    return probe


def probe(address, deadline):
    if address.family == socket.AF_UNIX:             # there is no handshake: the server sees a connection
        with Conversation(address, deadline):
            return PASSED
    try:
        sock = maker_of(address)(address.family, socket.SOCK_STREAM)
    except SocketError as error:
        raise failure(error, 'bind', 'tcp')
    try:
        code = _connect_silently(sock, address, deadline)
    except SocketError as error:
        raise failure(error, 'connect', 'tcp')
    finally:
        sock.close()
    if ConnectError(code).local:
        raise ConnectError(code)
    if code:
        raise ProbeFailed(os.strerror(code))
    return PASSED


def _connect_silently(sock, address, deadline):
    """The errno of the attempt, 0 for success."""
    tune(sock, socket.IPPROTO_TCP, socket.TCP_QUICKACK, 0)
    abort(sock)
    code = sock.connect_ex(address.sockaddr)
    if code == errno.EINPROGRESS:
        code = finish_connect(sock, deadline.left())
    return real_error(code, sock, address)
