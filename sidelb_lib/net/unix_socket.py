"""Unix-domain sockets: bind a path safely, and take over one that a dead program has left behind. See unix(7)."""
from __future__ import absolute_import, division, print_function

import collections
import contextlib
import errno
import fcntl
import os
import select
import socket
import stat
import struct

import gevent
import gevent.socket

from ..compat import close_descriptor, monotonic
from ..errors import SidelbError
from .connect import pending_events
from .endpoints import ABSTRACT, socket_name

BACKLOG = 4096                   # the kernel lowers it to net.core.somaxconn
LOCK_SECONDS = 1.0               # for somebody else's lock on the directory
CONNECT_SECONDS = 1.0
MAX_PAUSE = 0.02                 # seconds between two attempts at a socket whose queue is full
POLLRDHUP = 0x2000               # poll(2); Python 2 does not name it
SO_PEERCRED = 17                 # unix(7); Python 2 does not name it


class Taken(SidelbError):
    """Somebody answers on the socket."""


def bind(path):
    """A listening gevent socket at `path`, to which nobody but its owner may connect. The caller owns it.

    A socket file that nobody listens on is replaced. Raises Taken when somebody answers there, SidelbError when there is
    something else or it cannot be made.
    """
    return _bind_safely(path, 0o600, gevent.socket.socket)


def listen(path, mode):
    """Like `bind`, for clients: those may connect that may write to a file of this mode. Returns a Listener, whose `close`
    removes the file as well; `file` does it for whoever closes another socket of it. A socket with a @name has no file, and
    no mode."""
    if path[:1] == ABSTRACT:
        return _bind_abstract(path)
    listener = _bind_safely(path, mode, Listener)
    listener.file = SocketFile(path, inode(path))
    return listener


class SocketFile(collections.namedtuple('SocketFile', 'path inode')):
    """The file of a bound socket."""

    __slots__ = ()

    def remove(self):
        """Nobody new may come; who waits in the queue still can be served. Not the file of somebody who came after us."""
        if inode(self.path) == self.inode:
            try:
                os.unlink(self.path)
            except EnvironmentError:             # the directory is no more ours; whoever comes next takes it for stale
                pass


class Listener(gevent.socket.socket):
    """A listening socket that owns its file."""

    file = None

    def close(self, *arguments):
        if self.file is not None:
            self.file.remove()
        return gevent.socket.socket.close(self, *arguments)


def _bind_safely(path, mode, kind):
    try:
        with _locked(os.path.dirname(path) or '.'):
            _remove_stale(path)
            return _bind(path, mode, kind)
    except EnvironmentError as error:
        raise SidelbError(error.strerror or str(error))


def _bind_abstract(name):
    listener = Listener(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        listener.bind(socket_name(name))
        listener.listen(BACKLOG)
    except EnvironmentError as error:
        listener.close()
        raise SidelbError(error.strerror or str(error))
    return listener


def connect_when_there_is_room(sock, path, seconds, in_vain):
    """The errno of a connect to a socket whose queue was full (EAGAIN): nothing tells when there is room, so try again, and
    as long as `in_vain()` is not true. EAGAIN when it is."""
    deadline, pause = monotonic() + seconds, 0.001
    while monotonic() < deadline:
        gevent.sleep(pause)
        if in_vain():
            return errno.EAGAIN
        code = sock.connect_ex(path)
        if code != errno.EAGAIN:
            return code
        pause = min(2 * pause, MAX_PAUSE)
    return errno.ETIMEDOUT


def has_closed(sock):
    """Has the peer closed its socket? There is no reset here, and nothing can be sent to it any more."""
    return bool(pending_events(sock, select.POLLHUP) & select.POLLHUP)


def has_ended(sock):
    """Has the peer said EOF?"""
    return bool(pending_events(sock, POLLRDHUP) & POLLRDHUP)


def peer_of(sock):
    """(pid, uid) of the program at the other end, as they were when it connected; unix(7)."""
    pid, uid, _ = struct.unpack('3i', sock.getsockopt(socket.SOL_SOCKET, SO_PEERCRED, struct.calcsize('3i')))
    return pid, uid


def connect_code(path):
    """The errno of connecting to the socket `path`, 0 where somebody listens."""
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        sock.settimeout(CONNECT_SECONDS)
        return sock.connect_ex(socket_name(path))
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
        deadline = monotonic() + LOCK_SECONDS
        while True:
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except EnvironmentError:
                if monotonic() > deadline:       # somebody else's lock: the race it guards against is a small one
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


def _bind(path, mode, kind):
    listener = kind(socket.AF_UNIX, socket.SOCK_STREAM)
    mask = os.umask(0o177)               # from its first moment
    try:
        listener.bind(path)
        os.chmod(path, mode)
        listener.listen(BACKLOG)
    except BaseException:
        listener.close()
        raise
    finally:
        os.umask(mask)
    return listener
