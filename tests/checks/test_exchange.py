"""How a probe talks: within its deadline, and no longer than it may."""
from __future__ import absolute_import, division, print_function

import socket

import gevent
import pytest
from gevent import monkey

from sidelb_lib.checks import exchange
from sidelb_lib.checks.exchange import MAX_REPLY_BYTES, Conversation, Deadline, ProbeFailed, shown
from sidelb_lib.net.connect import READ, wait_for
from sidelb_lib.pool.members import Address

from ..support.servers import Server, hang_up_after, pour, swallow
from ..support.waiting import wait_until

real_sleep = monkey.get_original('time', 'sleep')


def talk(server, seconds=2.0):
    host, port = server.address[:2]
    return Conversation(Address(host, port, 0.0), Deadline(seconds))


def test_what_is_not_read_yet_stays():
    with Server(behaviour=lambda session: session.send(b'one two')) as server:
        with talk(server) as conversation:
            assert conversation.read(3) == b'one'
            assert conversation.read(4) == b' two'


def test_an_end_before_the_answer_is_a_failure():
    with Server(behaviour=hang_up_after(1)) as server:
        with talk(server) as conversation:
            conversation.send(b'x')
            with pytest.raises(ProbeFailed) as raised:
                conversation.read(1)
    assert str(raised.value) == 'ends the connection early'


def test_silence_is_a_failure_at_the_deadline():
    with Server(behaviour=swallow) as server:
        with talk(server, 0.05) as conversation:
            with pytest.raises(ProbeFailed) as raised:
                conversation.read(1)
    assert str(raised.value) == 'no answer within 0.05 s'


def test_an_endless_answer_is_cut():
    with Server(behaviour=pour(1 << 20)) as server:
        with talk(server) as conversation:
            with pytest.raises(ProbeFailed) as raised:
                conversation.read(1 << 20)
    assert str(raised.value) == 'the answer has more than %d bytes' % MAX_REPLY_BYTES


def test_the_server_sees_a_goodbye_and_an_end_but_no_reset():
    with Server(behaviour=swallow) as server:
        with talk(server) as conversation:
            conversation.end(b'bye')
        wait_until('the server saw no end', lambda: server.sessions[0].ended)
        assert (server.sessions[0].ended, server.sessions[0].received) == ('eof', 3)


def test_a_server_that_is_not_listening_refuses():
    with Server() as server:
        server.refuse()
        with pytest.raises(ProbeFailed) as raised:
            talk(server)
    assert str(raised.value) == 'Connection refused'


def test_what_a_server_said_is_shown_in_printable_characters_and_cut():
    assert shown(b'5\x00\xffa\n') == '5\\x00\\xffa\\x0a'
    assert len(shown(b'x' * 500)) == 120


def test_a_stall_of_this_process_is_not_the_servers_fault():
    """After a stall both the answer and the time-out are due, and the event loop looks at the time-out first."""
    listener = socket.socket()
    listener.bind(('127.0.0.1', 0))
    listener.listen(5)
    with_data = socket.create_connection(listener.getsockname())
    peer, _ = listener.accept()
    waiting = gevent.spawn(wait_for, peer, READ, 0.05)
    gevent.sleep(0)
    with_data.sendall(b'x')
    real_sleep(0.2)
    assert waiting.get(timeout=5)
    for sock in listener, with_data, peer:
        sock.close()


def test_what_was_learnt_of_addresses_is_bounded(monkeypatch):
    monkeypatch.setattr(exchange, 'MAX_LEARNT', 3)
    learnt = exchange.Learnt()
    for number in range(8):
        learnt['10.0.0.%d' % number, 1] = True
    assert sorted(learnt) == [('10.0.0.6', 1), ('10.0.0.7', 1)]
