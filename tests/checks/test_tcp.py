"""check=tcp: can a connection be opened?"""
from __future__ import absolute_import, division, print_function

import errno
import os
import resource
import socket

import pytest

from sidelb_lib.checks.exchange import Deadline, ProbeFailed
from sidelb_lib.checks.tcp import probe
from sidelb_lib.net.connect import ConnectError
from sidelb_lib.pool.pool import Address


def tcp_probe(port, host='127.0.0.1', seconds=1.0):
    return probe(Address(host, port, 0.0), Deadline(seconds))


def test_tcp_probe_passes_where_somebody_listens():
    listener = socket.socket()
    listener.bind(('127.0.0.1', 0))
    listener.listen(5)
    tcp_probe(listener.getsockname()[1])
    listener.close()


def test_tcp_probe_fails_where_nobody_listens():
    reserved = socket.socket()
    reserved.bind(('127.0.0.1', 0))
    with pytest.raises(ProbeFailed) as raised:
        tcp_probe(reserved.getsockname()[1])
    assert str(raised.value) == os.strerror(errno.ECONNREFUSED)
    reserved.close()


def test_tcp_probe_of_ipv6():
    listener = socket.socket(socket.AF_INET6)
    listener.bind(('::1', 0))
    listener.listen(5)
    tcp_probe(listener.getsockname()[1], '::1')
    listener.close()


def test_running_out_of_descriptors_is_told_from_a_dead_server():
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    highest = max(int(name) for name in os.listdir('/proc/self/fd'))
    blockers = []
    resource.setrlimit(resource.RLIMIT_NOFILE, (highest + 2, hard))
    try:
        while True:
            blockers.append(os.dup(0))
    except OSError:
        with pytest.raises(ConnectError) as raised:
            tcp_probe(1)
        assert raised.value.local and raised.value.code == errno.EMFILE
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
        for blocker in blockers:
            os.close(blocker)
