"""Unix-domain sockets: bind a path safely, and take over one that a dead program has left behind. See unix(7)."""
from __future__ import absolute_import, division, print_function

import contextlib
import errno
import fcntl
import os
import socket
import stat
import time

import gevent
import gevent.socket

from ..compat import close_descriptor
from ..errors import SidelbError

BACKLOG = 128
LOCK_SECONDS = 1.0               # for somebody else's lock on the directory
CONNECT_SECONDS = 1.0


class Taken(SidelbError):
    """Somebody answers on the socket."""


def bind(path):
    """A listening gevent socket at `path`, to which nobody but its owner may connect. The caller owns it.

    A socket file that nobody listens on is replaced. Raises Taken when somebody answers there, SidelbError when there is
    something else or it can not be made.
    """
    try:
        with _locked(os.path.dirname(path) or '.'):
            _remove_stale(path)
            return _bind(path)
    except EnvironmentError as error:
        raise SidelbError(error.strerror or str(error))


def connect_code(path):
    """The errno of connecting to the socket `path`, 0 where somebody listens."""
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        sock.settimeout(CONNECT_SECONDS)
        return sock.connect_ex(path)
    finally:
        sock.close()


def inode(path):
    """Which file is at `path`: a number, None where there is none."""
    try:
        return os.stat(path).st_ino
    except EnvironmentError:
        return None


@contextlib.contextmanager
def _locked(directory):
    """Hold an advisory lock on a directory, so that of two instances that start at once only one replaces a stale
    socket."""
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
    try:
        deadline = time.time() + LOCK_SECONDS
        while True:
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except EnvironmentError:
                if time.time() > deadline:       # somebody else's lock: the race it guards against is a small one
                    break
                gevent.sleep(0.01)
        yield
    finally:
        close_descriptor(descriptor)


def _remove_stale(path):
    """Remove the socket of an instance that is no more. Raises SidelbError if it is alive or no socket."""
    try:
        mode = os.stat(path).st_mode
    except EnvironmentError as error:
        if error.errno == errno.ENOENT:
            return
        raise
    if not stat.S_ISSOCK(mode):
        raise SidelbError('there is a file which is no socket')
    code = connect_code(path)
    if code not in (errno.ECONNREFUSED, errno.ENOENT):
        raise Taken('another instance answers there')
    if code == errno.ECONNREFUSED:
        os.unlink(path)


def _bind(path):
    listener = gevent.socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    mask = os.umask(0o177)               # from its first moment
    try:
        listener.bind(path)
        listener.listen(BACKLOG)
    except BaseException:
        listener.close()
        raise
    finally:
        os.umask(mask)
    return listener
