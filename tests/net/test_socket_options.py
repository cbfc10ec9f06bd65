"""What tunes sockets does so, and harms nobody when the kernel refuses."""
from __future__ import absolute_import, division, print_function

import errno
import socket
from contextlib import closing

import mock
import pytest

from sidelb_lib.compat import SocketError
from sidelb_lib.net.socket_options import bound_buffers, keep_alive, raise_receive_buffer, send_without_delay


def test_options_are_set():
    with closing(socket.socket()) as sock:
        send_without_delay(sock)
        keep_alive(sock)
        assert sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)
        assert sock.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE)
        idle, interval, count = [sock.getsockopt(socket.IPPROTO_TCP, option) for option in (
            socket.TCP_KEEPIDLE, socket.TCP_KEEPINTVL, socket.TCP_KEEPCNT)]
        assert idle == 60 and idle + interval * count == 120         # the two minutes that the guide tells


@pytest.mark.parametrize('tune', [send_without_delay, keep_alive, bound_buffers, raise_receive_buffer])
def test_a_kernel_that_has_no_memory_for_an_option_ends_no_session(tune):
    sock = mock.Mock()
    sock.setsockopt.side_effect = SocketError(errno.ENOBUFS, 'No buffer space available')
    tune(sock)
    assert sock.setsockopt.called
