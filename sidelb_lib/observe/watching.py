"""The screen of `sidelb status --watch`: redrawn in place each second, by keys, and left as it was found.

Each picture is one write of the whole screen, without ever erasing it: 2 KB at 80x24, nothing flickers, and what another
program has written over it heals itself.
"""
from __future__ import absolute_import, division, print_function, unicode_literals

import fcntl
import os
import re
import select
import signal
import struct
import sys
import termios
import time
import tty

from . import terminal
from .look import ESCAPE, Look, span
from .table import ORDERS, entries
from ..errors import SidelbError

ENTER = '\x1b[?1049h\x1b[?25l\x1b[?7l'           # alternate screen, no cursor, no wrapping
LEAVE = '\x1b[?7h\x1b[?25h\x1b[?1049l'
BEGIN, END = '\x1b[?2026h\x1b[H', '\x1b[J\x1b[?2026l'       # one picture, shown at once where the terminal can
SECONDS = 1.0
KEY = re.compile('\x1b\\[[0-9;]*[A-Za-z~]|\x1bO[A-Za-z]|.', re.DOTALL)
SCROLL = {'\x1b[A': -1, '\x1b[B': 1, '\x1bOA': -1, '\x1bOB': 1, '\x1b[H': -10 ** 9, '\x1b[F': 10 ** 9}
PAGES = {'\x1b[5~': -1, '\x1b[6~': 1}


class Screen(object):
    """What is shown: `snapshot`, in an order, scrolled, all services or one."""

    def __init__(self, color, utf8):
        self.snapshot = None
        self.error = None
        self.answered = 0.0              # when `snapshot` came
        self._color, self._utf8 = color, utf8
        self._order, self._skip, self._only = 0, 0, None

    def lines(self, columns, rows, now):
        look = Look(columns, self._color, self._utf8)
        if self._only is not None and self._only >= len(self.snapshot['services']):
            self._only = None
        lines = terminal.watch(self.snapshot, look, rows, list(ORDERS)[self._order],
                               time.strftime(str('%H:%M:%S'), time.localtime(now)), self._skip, self._only)
        if self.error:                   # the last picture, dim, and why there is no new one
            told = look.cut_end('no answer for %s: %s' % (span(now - self.answered), self.error), columns)
            lines = [look.paint('bad', told)] + [look.paint('soft', ESCAPE.sub('', line)) for line in lines[1:]]
        return lines

    def press(self, key, rows):
        """Returns whether the key ends it."""
        services = self.snapshot['services']
        order = list(ORDERS)[self._order]
        last = max([len(entries(service, Look(), order)) for service in services.values()] + [1]) - 1
        if key in 'qQ\x03\x04':
            return True
        if key == 's':
            self._order, self._skip = (self._order + 1) % len(ORDERS), 0
        elif key.isdigit() and int(key) <= len(services):
            self._only, self._skip = (int(key) - 1 if int(key) else None), 0
        else:
            move = SCROLL.get(key, PAGES.get(key, 0) * max(1, rows - 5))
            self._skip = max(0, min(last, self._skip + move))
        return False


def run(fetch, color, utf8, stdin=0, stdout=1):
    """Show what `fetch()` gives, again each second, until a key or a signal ends it. Returns the exit code; raises
    SidelbError if there is nothing to be shown at the beginning."""
    screen = Screen(color, utf8)
    screen.snapshot, screen.answered = fetch(), time.time()
    before = termios.tcgetattr(stdin) if os.isatty(stdin) else None
    wake, waker = os.pipe()
    for number in (signal.SIGWINCH, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, lambda number, _: os.write(waker, b'w' if number == signal.SIGWINCH else b't'))
    try:
        if before:
            tty.setcbreak(stdin)
        _write(stdout, ENTER, utf8)
        return _loop(screen, fetch, utf8, [stdin] if before else [], stdout, wake)
    except KeyboardInterrupt:
        return 0
    finally:
        _write(stdout, LEAVE, utf8)
        if before:
            termios.tcsetattr(stdin, termios.TCSADRAIN, before)


def _loop(screen, fetch, utf8, inputs, stdout, wake):
    due = time.time() + SECONDS
    while True:
        columns, rows = window(stdout)
        lines = screen.lines(columns, rows, time.time())
        _write(stdout, BEGIN + '\r\n'.join(line + '\x1b[K' for line in lines) + END, utf8)
        ready = _select(inputs + [wake], max(0.0, due - time.time()))
        if wake in ready and b't' in os.read(wake, 64):
            return 0
        if inputs and inputs[0] in ready:
            typed = os.read(inputs[0], 64).decode('ascii', 'replace')
            if not typed or any(screen.press(key, rows) for key in KEY.findall(typed)):
                return 0
        if time.time() >= due:
            due = time.time() + SECONDS
            try:
                screen.snapshot, screen.error, screen.answered = fetch(), None, time.time()
            except SidelbError as error:
                screen.error = str(error)


def _select(descriptors, seconds):
    try:
        return select.select(descriptors, [], [], seconds)[0]
    except (select.error, EnvironmentError):     # Python 2: a signal came
        return [] if not descriptors else select.select(descriptors, [], [], 0)[0]


def window(descriptor):
    """(columns, lines) of a terminal."""
    try:
        rows, columns = struct.unpack(str('HH'), fcntl.ioctl(descriptor, termios.TIOCGWINSZ, b'\0' * 4))
    except EnvironmentError:
        rows = columns = 0
    return columns or 80, rows or 24


def _write(descriptor, text, utf8):
    data = text.encode('utf-8' if utf8 else 'ascii', 'replace')
    while data:
        data = data[os.write(descriptor, data):]
    if descriptor == 1:
        sys.stdout.flush()
