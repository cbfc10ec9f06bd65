"""Where the status socket of this process is, among instances that follow each other on one path.

An instance that starts while its predecessor still drains finds the path taken. It asks the other one to give way, which
one that drains does at once, and asks again until it has the path; meanwhile it answers at the next place, if there is
one. A drain can so be watched for as long as nobody else wants the path.
"""
from __future__ import absolute_import, division, print_function

import socket

import gevent

from .places import DEFAULT_PATH
from ..errors import SidelbError
from ..net.unix_socket import Taken

GIVE_WAY = b'give way\n'
ANSWER_SECONDS = 1.0
RETRY_SECONDS = 1.0


class StatusPlace(object):
    """Keeps one of `paths`, the most wanted first. `make_server()` gives a StatusServer."""

    def __init__(self, paths, make_server, log):
        self._paths = paths
        self._make_server = make_server
        self._log = log
        self._server = None
        self._retry = None

    def start(self):
        """Take the first place that is free, and go on trying to get one that was wanted more."""
        failures = []
        for path in self._paths:
            failure = self._take(path)
            if failure is None:
                self._say(failures)
                break
            failures.append((path, failure))
        else:
            if failures:
                self._log.warning('no_status_socket', 'no status socket at {reason}; name another place with '
                                  'status_socket=, or turn it off with status_socket=off',
                                  reason='; nor at '.join('%s: %s' % failure for failure in failures))
        wanted = [path for path, failure in failures if isinstance(failure, Taken)]
        if wanted:
            self._retry = gevent.spawn(self._go_on_trying, wanted)

    def stop(self):
        if self._retry:
            self._retry.kill(block=False)
        if self._server:
            self._server.stop()

    def _go_on_trying(self, wanted):
        while True:
            gevent.sleep(RETRY_SECONDS)
            for position, path in enumerate(wanted):
                if self._take(path) is None:
                    self._log.info('status_socket', 'status socket {path}', path=path)
                    wanted = wanted[:position]
                    break
            if not wanted:
                return

    def _take(self, path):
        """Answer at `path`, and no more where it was before. Returns None, or the error."""
        server = self._make_server()
        try:
            try:
                server.start(path)
            except Taken:
                ask_to_give_way(path)
                server.start(path)
        except SidelbError as error:
            return error
        former, self._server = self._server, server
        if former:
            former.stop()
        return None

    def _say(self, failures):
        path = self._server.path
        if failures:
            self._log.info('status_socket', 'status socket {path} ({reason})', path=path,
                           reason='; '.join('%s: %s' % failure for failure in failures))
        elif path != DEFAULT_PATH:
            self._log.info('status_socket', 'status socket {path}', path=path)


def ask_to_give_way(path):
    """Ask whoever answers at `path` to leave it. One that does not will answer something; both is fine."""
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        sock.settimeout(ANSWER_SECONDS)
        sock.connect(path)
        sock.sendall(GIVE_WAY)
        sock.recv(64)
    except EnvironmentError:
        pass
    finally:
        sock.close()
