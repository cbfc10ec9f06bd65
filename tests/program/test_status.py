"""`sidelb status` of the real program, on a real terminal."""
from __future__ import absolute_import, division, print_function, unicode_literals

import contextlib
import fcntl
import json
import os
import pty
import signal
import struct
import subprocess
import termios

import pytest

from sidelb_lib.observe.look import ESCAPE
from sidelb_lib.observe.watching import END

from ..support.program import COMMAND, Sidelb, clean_environ, run_sidelb
from ..support.servers import Server, servers_on
from ..support.waiting import wait_until


def on_its_own():
    """A shell has what it starts in the background ignore SIGINT, and the tests pass that on."""
    os.setsid()
    signal.signal(signal.SIGINT, signal.SIG_DFL)


class Terminal(object):
    """`sidelb status` on a terminal of its own; `seen` is all that it has written."""

    def __init__(self, arguments, columns=80, rows=24, environ=None):
        self._master, slave = pty.openpty()
        self.resize(columns, rows)
        variables = {'TERM': 'xterm', 'LC_ALL': 'C.UTF-8', 'NO_COLOR': None, 'COLUMNS': None}
        self.process = subprocess.Popen(COMMAND + arguments, stdin=slave, stdout=slave, stderr=slave, close_fds=True,
                                        env=clean_environ(dict(variables, **environ or {})), preexec_fn=on_its_own)
        os.close(slave)
        fcntl.fcntl(self._master, fcntl.F_SETFL, os.O_NONBLOCK)
        self._data = b''

    @property
    def seen(self):
        try:
            while select_ready(self._master):
                self._data += os.read(self._master, 65536)
        except OSError:                  # its other end is closed
            pass
        return self._data.decode('utf-8', 'replace')

    def picture(self):
        pictures = self.seen.split(END)
        return ESCAPE.sub('', pictures[-2]).replace('\x1b[K', '') if len(pictures) > 1 else ''

    def type(self, text):
        os.write(self._master, text)

    def resize(self, columns, rows):
        fcntl.ioctl(self._master, termios.TIOCSWINSZ, struct.pack(str('HHHH'), rows, columns, 0, 0))

    def close(self):
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()
        os.close(self._master)


def select_ready(descriptor):
    import select
    return select.select([descriptor], [], [], 0)[0]


def test_watching_redraws_in_place_and_q_ends_it():
    with servers_on(['127.0.0.1', '127.0.0.2'], ['A', 'B']) as (one, two):
        with Sidelb(one, two, 'check_interval=100ms') as sidelb:
            with contextlib.closing(Terminal(['status', '--watch', '--socket=' + sidelb.status_path])) as shown:
                wait_until('it shows nothing', lambda: 'all 2 up' in shown.picture(), 20)
                two.die()
                wait_until('it does not follow', lambda: '1 of 2 up, 1 down' in shown.picture(), 20)
                shown.resize(120, 30)
                shown.process.send_signal(signal.SIGWINCH)
                wait_until('it does not take the new size', lambda: shown.picture().count('\r\n') == 29, 20)
                shown.type(b'q')
                wait_until('it goes on', lambda: shown.process.poll() is not None, 10)
                seen = shown.seen
    assert shown.process.returncode == 0
    assert '\x1b[2J' not in seen and '\x1b[31m' not in seen
    assert seen.startswith('\x1b[?1049h') and seen.endswith('\x1b[?1049l') and '\x1b[1;31mdown' in seen


@pytest.mark.parametrize('number', [signal.SIGTERM, signal.SIGINT])
def test_a_signal_leaves_the_terminal_as_it_was(number):
    with Server('A') as server, Sidelb(server) as sidelb:
        with contextlib.closing(Terminal(['status', '--watch', '--socket=' + sidelb.status_path])) as shown:
            wait_until('it shows nothing', shown.picture, 20)
            shown.process.send_signal(number)
            wait_until('it goes on', lambda: shown.process.poll() is not None, 10)
            assert shown.seen.endswith('\x1b[?1049l') and 'Traceback' not in shown.seen


def test_colours_are_for_terminals_that_want_them():
    with Server('A') as server, Sidelb(server) as sidelb:
        for environ, colored in (({}, True), ({'NO_COLOR': '1'}, False), ({'TERM': 'dumb'}, False)):
            with contextlib.closing(Terminal(['status', '--socket=' + sidelb.status_path], environ=environ)) as shown:
                shown.process.wait()
                assert ('\x1b[' in shown.seen) is colored and 'SideLB' in shown.seen


def test_json_has_the_last_fifteen_minutes_for_those_who_ask():
    with Server('A') as server, Sidelb(server) as sidelb:
        for options, has_history in (['--json'], False), (['--json', '--history'], True):
            finished = run_sidelb('status', '--socket=' + sidelb.status_path, *options)
            service = json.loads(finished.stdout)['services']['default']
            assert ('history' in service, 'history' in service['members'][0]) == (has_history, has_history)


def test_watching_into_a_pipe_is_a_mistake_that_says_what_to_use():
    finished = run_sidelb('status', '--watch')
    assert finished.returncode == 2 and finished.stdout == ''
    assert '--watch needs a terminal; use sidelb status in a loop, or --json' in finished.stderr
