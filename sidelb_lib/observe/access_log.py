"""access_log=: a line for each session that has ended, in the log or in a file of its own. Loaded where it is wanted."""
from __future__ import absolute_import, division, print_function

import os
import time

from .logs import LineWriter
from ..compat import close_descriptor

ON = 'on'                        # into the log; everything else is a path
LOOK_SECONDS = 1.0               # between two looks whether the file is still the one at its path

#: Beside O_APPEND, by which services and instances may share a file: a FIFO that nobody reads must not hold anything up.
_FLAGS = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_NONBLOCK | os.O_NOCTTY


class AccessLog(object):
    """Lines that go to `log`, or by `write` to a place of their own. Called with a template and the fields that fill it."""

    def __init__(self, log, write=None):
        self._log = log
        self._write = write

    def __call__(self, template, **fields):
        self._log.access(self._write, template, **fields)

    def reopen(self):
        """Nothing is open. Returns whether something was."""
        return False

    def close(self):
        """As above."""


class AccessFile(AccessLog):
    """Lines in the file at `path`. It is opened again when somebody has moved or removed it (logrotate), and by `reopen`;
    while that fails lines are lost, which is told. Raises EnvironmentError when it can't be opened at first."""

    def __init__(self, log, path, clock=time.time):
        AccessLog.__init__(self, log, self._write_line)
        self._path = path
        self._clock = clock
        self._descriptor = self._identity = self._writer = None
        self._looked = clock()
        self._open()

    def _write_line(self, line):
        now = self._clock()
        if not 0 <= now - self._looked < LOOK_SECONDS:
            self._looked = now
            if self._writer is None or self._writer.broken or _identity_of(os.stat, self._path) != self._identity:
                self.reopen()
        if self._writer is not None:
            self._writer(line)

    def reopen(self):
        """Also in the hub: lines that still wait for a sleeping reader of a FIFO are lost."""
        self.close(0)
        try:
            self._open()
        except EnvironmentError as error:
            self._log.warning('access_log_failed', 'access_log={path}: {error}; lines are lost until it can be opened',
                              path=self._path, error=error.strerror)
        return True

    def _open(self):
        self._descriptor = os.open(self._path, _FLAGS, 0o640)
        self._identity = _identity_of(os.fstat, self._descriptor)
        self._writer = LineWriter(self._descriptor, self._lost)

    def _lost(self, count):
        self._log.warning('log_lines_dropped', '{count} line(s) of {path} dropped: they could not be written in time',
                          count=count, path=self._path)

    def close(self, seconds=1.0):
        """Idempotent. Lines that still wait for the reader of a FIFO get so many seconds, while others go on."""
        writer, descriptor = self._writer, self._descriptor
        self._writer = self._descriptor = None
        if writer is not None:
            writer.wait(seconds)
            writer.close(0)
            close_descriptor(descriptor)


def opened(where, log):
    """What `access_log` asks for, unless it is off. Raises EnvironmentError."""
    return AccessLog(log) if where == ON else AccessFile(log, where)


def _identity_of(stat, place):
    """Which file it is; None where there is none."""
    try:
        found = stat(place)
    except EnvironmentError:
        return None
    return found.st_dev, found.st_ino
