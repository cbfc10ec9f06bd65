"""The status socket among many clients and among instances that follow each other."""
from __future__ import absolute_import, division, print_function

import contextlib
import json
import os
import signal
import socket
import threading
import time

import pytest

from sidelb_lib.errors import SidelbError
from sidelb_lib.observe import status_client

from ..support.clients import connect, read_line
from ..support.program import Sidelb, run_sidelb
from ..support.servers import Server
from ..support.waiting import wait_until


def silent_client(path):
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    sock.connect(path)
    return sock


def pid_at(path):
    try:
        return status_client.fetch_snapshot(path)['pid']
    except SidelbError:
        return None


@pytest.mark.parametrize('old_drains_first', [True, False])
def test_an_instance_that_follows_gets_the_path_while_the_other_still_drains(tmpdir, old_drains_first):
    path = str(tmpdir.join('status.sock'))
    with Server('A') as server:
        with Sidelb(server, 'drain_timeout=1m', environ={'SIDELB_STATUS_SOCKET': path}) as old:
            with contextlib.closing(old.connect()) as client:
                assert read_line(client) == 'A'
                if old_drains_first:
                    old.signal(signal.SIGTERM)
                    old.wait_for_log('draining')
                    assert status_client.fetch_snapshot(path)['state'] == 'draining'     # nobody else wants it yet
                with Sidelb(server, environ={'SIDELB_STATUS_SOCKET': path}) as new:
                    if not old_drains_first:
                        new.wait_for_log('no status socket at')
                        old.signal(signal.SIGTERM)
                    wait_until('it did not get the path', lambda: pid_at(path) == new.process.pid)
                    assert old.process.returncode is None
                    client.sendall(b'1\n')
                    assert read_line(client) == '1'
                    client.close()
                    assert old.process.wait() == 0
                    assert pid_at(path) == new.process.pid       # the old one has not taken it along


def test_a_path_that_is_left_by_a_killed_instance_is_taken(tmpdir):
    path = str(tmpdir.join('status.sock'))
    with Server('A') as server, Sidelb(server, environ={'SIDELB_STATUS_SOCKET': path}) as old:
        with Sidelb(server, environ={'SIDELB_STATUS_SOCKET': path}) as new:
            new.wait_for_log('no status socket at')
            old.signal(signal.SIGKILL)
            old.process.wait()
            wait_until('it did not get the path', lambda: pid_at(path) == new.process.pid)


def test_clients_that_say_nothing_keep_nobody_waiting():
    with Server('A') as server, Sidelb(server, 'http=127.0.0.1:0') as sidelb:
        port = int(sidelb.wait_for_log(r'at http://127\.0\.0\.1:(\d+)/').group(1))
        silent = [silent_client(sidelb.status_path) for _ in range(100)] + [
            connect(('127.0.0.1', port)) for _ in range(300)]
        began = time.time()
        assert sidelb.ask(b'Q') == b'HEALTHY\n'
        with contextlib.closing(connect(('127.0.0.1', port))) as client:
            client.sendall(b'GET /liveness HTTP/1.0\r\n\r\n')
            assert read_line(client).startswith('HTTP/1.1 200')
        assert time.time() - began < 2.0             # 1.0.0: 3 s of HTTP, 5 s of the socket
        for client in silent:
            client.close()


class Answering(object):
    """Somebody at a status socket who is no SideLB: sends `parts` of bytes, one every `pause` seconds."""

    def __init__(self, path, parts, pause=0.0):
        self._parts, self._pause = parts, pause
        self._listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self._listener.bind(path)
        self._listener.listen(5)
        self._thread = threading.Thread(target=self._run)
        self._thread.daemon = True
        self._thread.start()

    def _run(self):
        client, _ = self._listener.accept()
        try:
            client.recv(100)
            for part in self._parts:
                client.sendall(part)
                time.sleep(self._pause)
        except EnvironmentError:
            pass
        client.close()
        self._listener.close()


@pytest.mark.parametrize('answer', [
    b'[1, 2]\n', b'{"members": 7}\n', b'"status"', b'null', b'[' * 100000, b'\xff\xfe', b'', b'{"a": 1}',
    b'{"members": [{"name": 3}], "rings": {}, "connections": [], "services": {"x": 1}}',
    b'{"services": {"default": {"members": [{}]}}}'])
def test_a_strange_answer_is_one_clear_line(tmpdir, answer):
    path = str(tmpdir.join('status.sock'))
    Answering(path, [answer])
    finished = run_sidelb('status', '--socket=' + path)
    assert finished.returncode == 1 and finished.stdout == ''
    assert finished.stderr == 'sidelb: %s: that is not the answer of SideLB\n' % path


def test_an_answer_that_trickles_has_one_deadline(tmpdir):
    path = str(tmpdir.join('status.sock'))
    Answering(path, [b'x'] * 200, 0.1)
    began = time.time()
    with pytest.raises(SidelbError) as refusal:
        status_client.ask(path, b'status\n', 0.5)
    assert 'no answer within 0.5 seconds' in str(refusal.value) and time.time() - began < 3


def test_an_answer_without_an_end_is_given_up(tmpdir, monkeypatch):
    monkeypatch.setattr(status_client, 'MAX_ANSWER_BYTES', 1 << 20)
    path = str(tmpdir.join('status.sock'))
    Answering(path, [b'x' * 65536] * 100)
    with pytest.raises(SidelbError) as refusal:
        status_client.ask(path, b'status\n')
    assert 'does not end' in str(refusal.value)


def test_the_answer_is_json(tmpdir):
    with Server('A') as server, Sidelb(server) as sidelb:
        assert json.loads(sidelb.ask(b'status\n').decode('utf-8'))['pid'] == sidelb.process.pid
        assert os.path.exists(sidelb.status_path)
