"""The relay: bytes, ends, resets and back-pressure, on real sockets."""
from __future__ import absolute_import, division, print_function

import errno
import fcntl
import hashlib
import os
import socket
import time

import gevent
import pytest
from gevent.event import Event

from sidelb_lib.compat import bare_socket, find_splice
from sidelb_lib.net.resets import abort, unacknowledged
from sidelb_lib.tcp.relay import Relay
from sidelb_lib.tcp.splicing import F_SETPIPE_SZ, RelayResources

from ..support.clients import tcp_pair
from ..support.waiting import wait_until

SECONDS = 10


class Setup(object):
    """A relay between `client` and `server`, which a test holds; which closes its own ends."""

    def __init__(self, resources):
        self.client, near = tcp_pair()
        self.server, far = tcp_pair()
        self.near, self.far = bare_socket(near), bare_socket(far)
        self.relay = Relay(self.near, self.far, resources)
        self._ended = Event()
        self.relay.start(gevent.get_hub().loop, self._end)

    def _end(self):
        for sock in self.near, self.far:
            if self.relay.failed_side or self.relay.failure:
                abort(sock)
        self.relay.close()
        self.near.close()
        self.far.close()
        self._ended.set()

    def ended(self):
        return self._ended.wait(SECONDS)

    def close(self):
        self.relay.close()
        for sock in self.client, self.server, self.near, self.far:
            sock.close()


@pytest.fixture(params=['buffer', 'splice'])
def resources(request):
    splice = find_splice() if request.param == 'splice' else None
    assert request.param == 'buffer' or splice, 'no splice(2) on this system'
    return RelayResources(splice)


@pytest.fixture
def setup(resources):
    setup = Setup(resources)
    yield setup
    setup.close()
    if resources.splice:
        assert resources.pipes_left == 64, 'a pipe was not given back'


def receive_all(sock):
    """Everything until EOF."""
    chunks = []
    while True:
        chunk = sock.recv(1 << 20)
        if not chunk:
            return b''.join(chunks)
        chunks.append(chunk)


def receive(sock, count):
    data = b''
    while len(data) < count:
        chunk = sock.recv(count - len(data))
        assert chunk, 'EOF after %d of %d bytes' % (len(data), count)
        data += chunk
    return data


def reset_of(sock):
    """The errno that reading `sock` to its end gives, or None for a polite EOF; and what came before."""
    data = b''
    while True:
        try:
            chunk = sock.recv(65536)
        except socket.error as error:
            return error.errno, data
        if not chunk:
            return None, data
        data += chunk


def test_bytes_go_both_ways(setup):
    setup.client.sendall(b'question')
    assert receive(setup.server, 8) == b'question'
    setup.server.sendall(b'answer')
    assert receive(setup.client, 6) == b'answer'
    assert (setup.relay.outbound.moved, setup.relay.inbound.moved) == (8, 6)


def test_the_clients_half_close_reaches_the_server_and_the_answer_still_comes(setup):
    setup.client.sendall(b'question')
    setup.client.shutdown(socket.SHUT_WR)
    assert receive_all(setup.server) == b'question'
    assert not setup.relay.ended and setup.relay.half_closed
    setup.server.sendall(b'late answer')
    setup.server.close()
    assert receive_all(setup.client) == b'late answer'
    assert setup.ended() and not setup.relay.failed_side


def test_the_servers_half_close_reaches_the_client_and_the_client_may_go_on(setup):
    setup.server.sendall(b'greeting')
    setup.server.shutdown(socket.SHUT_WR)
    assert receive_all(setup.client) == b'greeting'
    setup.client.sendall(b'still talking')
    setup.client.close()
    assert receive_all(setup.server) == b'still talking'
    assert setup.ended() and not setup.relay.failed_side


def test_a_clients_reset_reaches_the_server_after_what_it_said(setup):
    setup.client.sendall(b'last words')
    wait_until('the words did not arrive', lambda: setup.relay.outbound.moved == 10)
    abort(setup.client)
    setup.client.close()
    assert reset_of(setup.server) == (errno.ECONNRESET, b'last words')
    assert setup.ended() and setup.relay.failed_side


def test_a_servers_reset_reaches_the_client_after_what_it_said(setup):
    setup.server.sendall(b'last words')
    wait_until('the words did not arrive', lambda: setup.relay.inbound.moved == 10)
    abort(setup.server)
    setup.server.close()
    assert reset_of(setup.client) == (errno.ECONNRESET, b'last words')
    assert setup.ended() and setup.relay.failed_side


def test_a_server_that_refuses_more_has_its_last_answer_delivered_before_the_reset(setup):
    setup.server.sendall(b'too much, go away')
    assert receive(setup.client, 17) == b'too much, go away'
    setup.client.sendall(b'x' * 100)
    wait_until('the upload did not arrive', lambda: setup.relay.outbound.moved == 100)
    setup.server.close()                  # with unread bytes: the kernel sends a reset
    assert reset_of(setup.client)[0] == errno.ECONNRESET
    assert setup.ended()


def transfer(sender, receiver, megabytes):
    """Send random-looking bytes and close; returns the (sent, received) digests."""
    block = os.urandom(1 << 16)
    sent, got = hashlib.md5(), hashlib.md5()

    def send():
        for number in range(megabytes * 16):
            data = block[number % 251:] + block[:number % 251]
            sent.update(data)
            sender.sendall(data)
        sender.shutdown(socket.SHUT_WR)

    sending = gevent.spawn(send)
    while True:
        chunk = receiver.recv(1 << 18)
        if not chunk:
            break
        got.update(chunk)
    sending.get(timeout=SECONDS)
    return sent.hexdigest(), got.hexdigest()


def test_bulk_arrives_unchanged_in_both_directions(setup):
    up = gevent.spawn(transfer, setup.client, setup.server, 24)
    down = gevent.spawn(transfer, setup.server, setup.client, 24)
    for transferred in up, down:
        sent, received = transferred.get(timeout=60)
        assert sent == received
    assert setup.ended() and not setup.relay.failed_side
    assert setup.relay.outbound.moved == setup.relay.inbound.moved == 24 << 20


def test_a_bulky_direction_is_spliced_and_a_small_one_is_not():
    resources = RelayResources(find_splice())
    setup = Setup(resources)
    try:
        setup.client.sendall(b'small')
        assert receive(setup.server, 5) == b'small'
        assert resources.pipes_left == 64
        sending = gevent.spawn(transfer, setup.client, setup.server, 16)
        wait_until('bulk did not move to a pipe', lambda: resources.pipes_left == 63, timeout=SECONDS)
        sending.get(timeout=60)
        wait_until('the pipe was not given back', lambda: resources.pipes_left == 64)
    finally:
        setup.close()


def test_a_spliced_direction_goes_back_to_the_buffer_when_it_calms_down():
    resources = RelayResources(find_splice())
    setup = Setup(resources)
    try:
        block = b'b' * (1 << 20)
        sending = gevent.spawn(lambda: [setup.client.sendall(block) for _ in range(16)])
        wait_until('bulk did not move to a pipe', lambda: setup.server.recv(1 << 20) and resources.pipes_left == 63)
        while setup.relay.outbound.moved < 16 << 20:
            setup.server.recv(1 << 20)
        sending.get()
        setup.server.settimeout(0.2)
        with pytest.raises(socket.timeout):
            while True:
                setup.server.recv(1 << 20)
        setup.server.settimeout(SECONDS)
        for _ in range(20):
            setup.client.sendall(b'small')
            assert receive(setup.server, 5) == b'small'
        assert resources.pipes_left == 64
    finally:
        setup.close()


def test_a_pipe_that_stays_small_is_left(monkeypatch):
    """Past pipe-user-pages-soft, pipe(7), one has 4 or 8 KiB and can't grow: by it splice is slower than the buffer."""
    real, sizes = fcntl.fcntl, []

    def of_a_poor_user(descriptor, command, *arguments):
        if command == F_SETPIPE_SZ:
            sizes.append(real(descriptor, F_SETPIPE_SZ, 8192))
            raise OSError(errno.EPERM, 'not permitted')
        return real(descriptor, command, *arguments)

    resources = RelayResources(find_splice(), max_pipes=1)
    before = os.listdir('/proc/self/fd')
    monkeypatch.setattr('fcntl.fcntl', of_a_poor_user)
    assert resources.take_pipe() is None and sizes == [8192]
    monkeypatch.undo()
    assert os.listdir('/proc/self/fd') == before
    pipe = resources.take_pipe()
    assert pipe.size > 8192
    resources.give_back(pipe)


def test_without_a_pipe_to_be_had_the_buffer_serves():
    setup = Setup(RelayResources(find_splice(), max_pipes=0))
    try:
        sent, received = transfer(setup.client, setup.server, 8)
        assert sent == received
    finally:
        setup.close()


def test_a_reader_that_stops_holds_up_its_writer_and_memory_stays_bounded(setup):
    setup.client.settimeout(None)
    setup.client.setblocking(False)
    block, sent = b'z' * 65536, 0

    def fill():
        count = 0
        while True:
            try:
                count += setup.client.send(block)
            except socket.error:
                return count

    still = 0
    while still < 20:                     # until nothing has been taken for a while: every buffer on the way is full
        filled = fill()
        still = 0 if filled else still + 1
        sent += filled
        assert sent < 50 << 20, 'nothing holds the writer up'
        gevent.sleep(0.01)
    assert setup.relay.outbound.moved <= sent
    setup.client.settimeout(SECONDS)
    rest = gevent.spawn(transfer_rest, setup.client, (50 << 20) - sent)
    assert len(receive_all(setup.server)) == 50 << 20
    rest.get(timeout=SECONDS)


def transfer_rest(sock, count):
    sock.sendall(b'z' * count)
    sock.shutdown(socket.SHUT_WR)


def test_a_half_close_waits_for_what_is_held_back(setup):
    setup.server.sendall(b'')
    sending = gevent.spawn(transfer_rest, setup.client, 8 << 20)
    gevent.sleep(0.05)                    # the server does not read: bytes are held back on the way
    assert len(receive_all(setup.server)) == 8 << 20
    sending.get(timeout=SECONDS)


def test_a_relay_that_is_closed_watches_nothing_any_more(setup):
    setup.client.sendall(b'x')
    assert receive(setup.server, 1) == b'x'
    setup.relay.close()
    setup.client.sendall(b'y')
    gevent.sleep(0.05)
    assert setup.relay.outbound.moved == 1
    assert setup.relay.outbound._readable is None and setup.relay.inbound._readable is None


def test_a_read_that_fails_without_reason_is_tried_again(setup):
    """A wake-up may be spurious: EAGAIN is no end."""
    setup.relay.outbound.ready()
    setup.client.sendall(b'x')
    assert receive(setup.server, 1) == b'x'


SHORTAGES = [errno.ENOMEM, errno.ENOBUFS]


class ShortOfMemory(object):
    """A socket whose first call of each kind that moves bytes fails with `code`."""

    def __init__(self, sock, code):
        self._sock = sock
        self._code = code
        self._failed = set()

    def __getattr__(self, name):
        return getattr(self._sock, name)

    def _fail_once(self, call):
        if call not in self._failed:
            self._failed.add(call)
            raise socket.error(self._code, os.strerror(self._code))

    def recv_into(self, *arguments):
        self._fail_once('receive')
        return self._sock.recv_into(*arguments)

    def send(self, *arguments):
        self._fail_once('send')
        return self._sock.send(*arguments)


@pytest.mark.parametrize('code', SHORTAGES)
def test_a_kernel_short_of_memory_for_a_moment_ends_no_relay(setup, code):
    for direction in setup.relay.outbound, setup.relay.inbound:
        direction.source, direction.sink = ShortOfMemory(direction.source, code), ShortOfMemory(direction.sink, code)
    setup.client.sendall(b'question')
    assert receive(setup.server, 8) == b'question'
    setup.server.sendall(b'answer')
    assert receive(setup.client, 6) == b'answer'


@pytest.mark.parametrize('code', SHORTAGES + [errno.EAGAIN])
def test_a_splice_that_fails_for_a_moment_loses_nothing(code):
    splice, calls = find_splice(), []

    def short_of_memory(*arguments):
        calls.append(arguments)
        if len(calls) % 3 == 0:            # both of the ways into the pipe and out of it
            raise OSError(code, os.strerror(code))
        return splice(*arguments)
    setup = Setup(RelayResources(short_of_memory))
    try:
        sent, received = transfer(setup.client, setup.server, 16)
        assert sent == received and len(calls) > 6
    finally:
        setup.close()


def test_a_reset_does_not_wait_for_a_peer_that_is_gone_too(setup):
    """Both ends reset, with bytes on their way that nobody will ever acknowledge."""
    setup.client.close()
    wait_until('the end was not passed on', lambda: setup.relay.outbound.ended)
    setup.server.sendall(b'farewell')                    # answered by the client's kernel with a reset
    wait_until('the farewell was not passed on', lambda: setup.relay.inbound.moved == 8 or setup.relay.failed_side)
    abort(setup.server)
    setup.server.close()
    began = time.time()
    assert setup.ended() and time.time() - began < 0.5


def test_unacknowledged_counts_what_the_peer_has_not_taken():
    one, other = tcp_pair()
    try:
        one.setblocking(False)
        assert unacknowledged(one) == 0
        with pytest.raises(socket.error):
            while True:
                one.send(b'x' * 65536)
        assert unacknowledged(one) > 0
    finally:
        one.close()
        other.close()


def test_an_answer_is_delivered_whole_although_the_server_refuses_the_rest_of_the_request(setup):
    """HTTP's 413: the server answers, and resets while the client still sends."""
    answer = b'a' * 200000
    setup.client.settimeout(SECONDS)
    setup.client.sendall(b'request')
    assert receive(setup.server, 7) == b'request'
    sending = gevent.spawn(setup.server.sendall, answer)
    received = receive(setup.client, 1000)
    sending.join(SECONDS)
    setup.client.sendall(b'x' * 100000)
    wait_until('the rest did not arrive', lambda: setup.relay.outbound.moved >= 100000)
    setup.server.close()                  # with unread bytes: a reset
    setup.client.sendall(b'more')         # so that sending finds it out
    code, rest = reset_of(setup.client)
    assert len(received + rest) == len(answer)
    assert code == errno.ECONNRESET
    assert setup.ended()


def test_where_splice_is_forbidden_the_buffer_carries_bulk():
    def forbidden(source, sink, most):
        raise OSError(errno.EPERM, 'a seccomp filter')
    resources = RelayResources(forbidden)
    setup = Setup(resources)
    try:
        sent, received = transfer(setup.client, setup.server, 16)
        assert sent == received
        assert resources.pipes_left == 0
    finally:
        setup.close()


def fill(sock, is_full):
    """Send on `sock` until every buffer on the way is full."""
    sock.setblocking(False)

    def filled():
        try:
            while sock.send(b'x' * 65536):
                gevent.sleep(0)
        except socket.error:
            return is_full()
    wait_until('nothing is held back', filled)


def test_a_client_that_is_gone_while_its_server_sleeps_is_noticed(setup):
    fill(setup.client, lambda: setup.relay.outbound.held)
    assert not setup.relay.gone_while_held()
    abort(setup.client)
    setup.client.close()
    wait_until('it was not noticed', lambda: setup.relay.gone_while_held() == 'client')
