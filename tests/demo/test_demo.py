"""The demo: what it does by the clock, step by step here, and what it draws."""
from __future__ import absolute_import, division, print_function

import contextlib
import io
import re
import signal

import pytest
from gevent import socket

from sidelb_lib.demo.play import SCRIPT, Demo, EchoServer, Screen, ask

from ..support.clients import connect, read_line
from ..support.processes import Process
from ..support.program import COMMAND, clean_environ
from ..support.waiting import wait_until

A, B, C = 'db1.example.com', 'db2.example.com', 'db3.example.com'


@pytest.fixture
def demo():
    demo = Demo(1024)
    demo.start()
    yield demo
    demo.stop()


def wait_for_replies_of(demo, *names):
    """Until the servers that have answered within the last second are just these."""
    wait_until('not just %s answer' % ', '.join(names),
               lambda: sorted(name for name, count in demo.recent().items() if count) == sorted(names), timeout=20)


def test_servers_come_and_go_and_no_request_fails(demo):
    wait_for_replies_of(demo, A, B, C)
    demo.stop_db2()
    wait_for_replies_of(demo, A, C)
    demo.start_db2()
    wait_for_replies_of(demo, A, B, C)
    demo.remove_db3()
    wait_for_replies_of(demo, A, B)
    assert demo.drain_db2()['ok']
    wait_for_replies_of(demo, A)
    demo.reload_with_db3()
    wait_for_replies_of(demo, A, C)
    assert demo.failures == 0, demo.last_failure


def test_a_server_that_is_stopped_answers_who_had_connected():
    server = EchoServer('db9', ['127.0.0.1'], 0)
    server.start()
    with contextlib.closing(socket.socket()) as client:
        client.setblocking(False)
        client.connect_ex(server._servers[0].address)          # the kernel accepts it, and nobody has run since
        server.stop()
        client.settimeout(10)
        client.sendall(b'hello\n')
        assert read_line(client) == 'db9 hello'


def test_each_server_gets_its_share_whatever_its_number_of_addresses(demo):
    wait_until('addresses were not grouped', lambda: len(demo.service.pool.members) == 3)
    host, port = demo.listener.split(':')
    names = [ask((host, int(port))) for _ in range(12)]
    assert set(names) == set([A, B, C])
    before = dict(demo.totals)
    wait_until('no requests', lambda: sum(demo.totals.values()) - sum(before.values()) > 300, timeout=20)
    shares = [demo.totals[name] - before.get(name, 0) for name in (A, B, C)]
    assert max(shares) - min(shares) <= 8, shares


class Terminal(io.StringIO):
    def __init__(self, is_terminal):
        io.StringIO.__init__(self)
        self._is_terminal = is_terminal

    def isatty(self):
        return self._is_terminal

    def write(self, text):
        return io.StringIO.write(self, text if isinstance(text, type(u'')) else text.decode('ascii'))


def test_a_terminal_of_80_columns_is_redrawn_in_place(demo):
    out = Terminal(True)
    screen = Screen(out)
    for _, text, _ in SCRIPT:
        screen.say(text)
    screen.draw(demo, 1.0)
    screen.draw(demo, 2.0)
    assert re.search('\x1b\\[\\d+A', out.getvalue())
    visible = re.sub('\x1b\\[\\d+[AK]', '', out.getvalue())
    assert all(len(line) < 80 for line in visible.splitlines())


def test_elsewhere_it_writes_a_plain_line_a_second(demo):
    out = Terminal(False)
    screen = Screen(out)
    for tenths in range(25):
        screen.draw(demo, tenths / 10.0)
    assert len(out.getvalue().splitlines()) == 3
    assert '\x1b' not in out.getvalue()


def test_keep_names_the_address_and_serves_until_it_is_interrupted():
    with Process(COMMAND + ['demo', '--keep'], environ=clean_environ()) as program:
        match = program.wait_for_output(r'Connect to (127\.0\.0\.1):(\d+)', timeout=20)
        with contextlib.closing(connect((match.group(1), int(match.group(2))))) as client:
            client.sendall(b'hello\n')
            assert read_line(client).split()[1] == 'hello'
        program.signal(signal.SIGINT)
        assert program.wait(10) == 0
        assert ' 0 failed' in program.stdout and 'Traceback' not in program.output
