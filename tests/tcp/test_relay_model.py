"""Whatever two peers do to each other through the relay: what was taken from one is delivered to the other, in order."""
from __future__ import absolute_import, division, print_function

import errno
import os
import random
import socket

import gevent
import pytest

from sidelb_lib.tcp import ending

from ..support.servers import pattern
from ..support.waiting import wait_until
from .test_ending import Ends, reset

ROUNDS = 12
STEPS = 40
LARGEST = 300000


class Peer(object):
    """One end: what it has said is a known pattern, so that what arrives needs no memory to be checked."""

    def __init__(self, sock):
        self.sock = sock
        self.said = 0
        self.heard = 0
        self.has_ended = False           # it has said EOF
        self.heard_end = None            # 'eof', 'reset'
        sock.setblocking(False)

    def say(self, size):
        if not self.has_ended:
            try:
                self.said += self.sock.send(pattern(self.said, size))
            except socket.error:
                pass

    def hear(self, size):
        if self.heard_end:
            return
        try:
            data = self.sock.recv(size)
        except socket.error as error:
            if error.errno not in (errno.EAGAIN, errno.ECONNRESET, errno.EPIPE):
                raise
            if error.errno != errno.EAGAIN:
                self.heard_end = 'reset'
            return
        assert data == pattern(self.heard, len(data)), 'other bytes than were sent, at %d' % self.heard
        self.heard += len(data)
        if not data:
            self.heard_end = 'eof'

    def end(self):
        if not self.has_ended:
            self.has_ended = True
            self.sock.shutdown(socket.SHUT_WR)

    def hear_all(self):
        def at_the_end():
            self.hear(1 << 20)
            return self.heard_end
        wait_until('there is no end after %d bytes' % self.heard, at_the_end, 20.0)


def play(chance, ends):
    """Random steps, then a random end; checks what arrived."""
    socks = ends.pair(buffers=chance.choice([None, 4096, 65536]))
    session, = ends.server.sessions
    wait_until('it has no relay', lambda: session.relay)
    relay = session.relay
    client, server = peers = [Peer(sock) for sock in socks]
    for _ in range(chance.randrange(STEPS)):
        peer = chance.choice(peers)
        action = chance.random()
        if action < 0.6:
            peer.say(chance.randrange(1, LARGEST))
        elif action < 0.97:
            peer.hear(chance.randrange(1, LARGEST))
        else:
            peer.end()
        gevent.sleep(chance.choice([0, 0, 0, 0.001]))
    one, other = chance.choice([(client, server), (server, client)])
    if chance.random() < 0.5:
        gevent.sleep(0.02)               # what was said is on its way
        reset(one.sock)
        gevent.sleep(chance.choice([0, 0.3]))
        other.hear_all()
        assert other.heard_end == 'reset' or one.has_ended
    else:
        one.end()
        listening = gevent.spawn(one.hear_all)
        other.hear_all()
        assert (other.heard, other.heard_end) == (one.said, 'eof')
        other.end()
        listening.get(timeout=20)
        assert (one.heard, one.heard_end) == (other.said, 'eof')
    wait_until('the session did not end', lambda: session.ended, 20.0)
    taken = relay.outbound.moved if other is server else relay.inbound.moved
    assert other.heard == taken, 'taken and not delivered: %d of %d bytes' % (taken - other.heard, taken)


@pytest.mark.parametrize('round_', range(ROUNDS))
def test_what_was_taken_is_delivered(round_, monkeypatch):
    monkeypatch.setattr(ending, 'SLOWEST_SWEEP', 0.2)      # it finds those that were reset after they had said EOF
    seed = int(os.environ.get('SIDELB_TEST_SEED', 0)) or random.randrange(1 << 30)
    print('SIDELB_TEST_SEED=%d' % seed)
    with Ends() as ends:
        play(random.Random(seed), ends)
