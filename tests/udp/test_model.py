"""The session table against a naive model, through thousands of random steps: datagrams, replies, refusals, shortages,
silence, servers that come, go and fail. The seed is in the failure's text."""
from __future__ import absolute_import, division, print_function

import errno
import os
import random

import gevent
import pytest

from sidelb_lib.compat import SocketError
from sidelb_lib.config.settings import defaults
from sidelb_lib.policies.registry import policy_named
from sidelb_lib.pool.pool import Pool
from sidelb_lib.udp.forwarding import Forwarding
from sidelb_lib.udp.replies import Replies
from sidelb_lib.udp.sessions import SessionTable
from sidelb_lib.udp.upstreams import Upstreams

from ..support.recording import RecordingLog

STEPS = 2000
TIMEOUT = 60.0
SERVERS = [('10.0.0.%d' % number, 53) for number in range(1, 6)]
CLIENTS = [('192.0.2.%d' % number, 1000 + number) for number in range(1, 13)]
RUNS = 4


class Wire(object):
    """A socket to a server: what was sent is in `sent`, `errors` are due before anything else, `replies` can be read."""

    numbers = 1000

    def __init__(self, world):
        Wire.numbers += 1
        self.number = Wire.numbers
        self.world = world
        self.peer = None
        self.errors, self.replies = [], []
        world.open.add(self)

    def fileno(self):
        return self.number

    def connect_ex(self, peer):
        self.peer = peer[:2]
        return self.world.connect_codes.pop() if self.world.connect_codes else 0

    def getsockname(self):
        return '192.0.2.254', self.number

    def setsockopt(self, *_):
        pass

    def _raise_what_is_due(self):
        if self.errors:
            code = self.errors.pop(0)
            raise SocketError(code, os.strerror(code))

    def send(self, data):
        self._raise_what_is_due()
        self.world.delivered.append((self.peer, data))

    def recv(self, _):
        self._raise_what_is_due()
        if not self.replies:
            raise SocketError(errno.EAGAIN, 'nothing')
        return self.replies.pop(0)

    def close(self):
        self.world.open.remove(self)


class Wires(Upstreams):
    """Upstreams without a kernel; `ready` is a session whose socket can be read."""

    ready = None

    def watch(self, session):
        self.by_number[session.upstream.fileno()] = session

    def readable(self):
        return [(self.ready.upstream.fileno(), 1)]


class Client(object):
    """Stands in for the socket that clients send to."""

    def __init__(self):
        self.got = []

    def sendto(self, data, client):
        self.got.append((client, data))


class World(object):
    """The parts of a UDP server on a clock and wires of the test's, and random steps."""

    def __init__(self, seed, **changes):
        self.random = random.Random(seed)
        self.now = 0.0
        self.open, self.delivered, self.connect_codes, self.socket_codes = set(), [], [], []
        self.listener = Client()
        settings = defaults(proto='udp', check='udp', session_timeout=TIMEOUT, **changes)
        self.log = RecordingLog()
        self.pool = Pool(policy_named('round-robin', self.random.random), self.log, self.clock, settings)
        self.wires = Wires(self.pool, settings)
        self.wires.new_socket = self.new_socket
        self.table = SessionTable(self.pool, self.wires, self.log, self.clock, settings, 8)
        self.forwarding = Forwarding(self.table, self.pool, self.clock)
        self.replies = Replies(self.table, self.wires, self.forwarding, self.pool, self.clock, settings)
        self.closes = changes.get('on_down') == 'close'
        self.count = 0
        self.use(SERVERS[:3])

    def clock(self):
        return self.now

    def new_socket(self, *_):
        if self.socket_codes:
            code = self.socket_codes.pop()
            raise SocketError(code, os.strerror(code))
        return Wire(self)

    def use(self, endpoints):
        self.pool.update('test', [(None, [endpoint]) for endpoint in endpoints])
        gevent.sleep(0)                            # early datagrams are sent by a callback

    def any_session(self):
        sessions = sorted(self.table.by_key.values(), key=lambda session: session.key)
        return self.random.choice(sessions) if sessions else None

    def read(self, session):
        self.wires.ready = session
        self.replies._carry()

    # --- steps, each with what must hold after it ----------------------------------------------------------------------

    def datagram(self):
        client = self.random.choice(CLIENTS)
        self.count += 1
        data = b'%d' % self.count
        known = self.table.by_key.get(client)
        where = known and known.address
        refused = bool(known and known.upstream.errors)
        stays = known and not known.is_stale and not refused
        dropped = sum(self.table.drops.values()) - self.table.drops['session_evicted']
        early = len(self.forwarding._early)
        self.forwarding.forward(client, client, self.listener, data)
        arrived = [peer for peer, sent in self.delivered if sent == data]
        lost = sum(self.table.drops.values()) - self.table.drops['session_evicted'] - dropped
        lost += len(self.forwarding._early) - early
        assert len(arrived) + lost >= 1, 'a datagram has gone, and nobody has counted it'
        session = self.table.by_key.get(client)
        if arrived:
            assert len(arrived) == 1 and arrived[0] == session.address.sockaddr[:2]
        if stays:
            assert session is known and session.address is where, 'a session has left a server that is well'
        if arrived and not refused and self.pool.healthy:
            assert not session.is_stale, 'a session is with a server that is down or has left, though another is up'

    def reply(self):
        session = self.any_session()
        if session is None or session.upstream.errors:
            return
        session.upstream.replies.append(b'reply')
        self.read(session)
        assert self.listener.got[-1] == (session.client, b'reply')
        assert session.unanswered is None and session.last_used == self.now

    def refusal(self):
        """An ICMP message is due, and met by a read or by the next datagram."""
        session = self.any_session()
        if session is None:
            return
        where, data, again = session.address, session.unanswered, session.sent_again
        departed = where.member.departing
        session.upstream.errors[:] = [errno.ECONNREFUSED]         # the kernel keeps one, SO_ERROR of socket(7)
        if self.random.random() < 0.5:
            return
        before, failed = len(self.delivered), where.failed
        others = [each for each in self.pool.addresses() if each is not where]
        self.read(session)
        assert where.failed > failed or departed
        if not session.ended and others:
            assert session.address is not where, 'a refusal did not move the session'
        if not session.ended and data is not None and not again:
            assert (session.address.sockaddr[:2], data) in self.delivered[before:]

    def not_the_servers_fault(self):
        session = self.any_session()
        if session is None or session.upstream.errors:
            return
        where, failed = session.address, session.address.failed
        session.upstream.errors.append(self.random.choice([errno.EMSGSIZE, errno.ENOMEM, errno.EPERM, errno.ENOBUFS]))
        self.read(session)
        assert not session.ended and session.address is where and where.failed == failed

    def shortage(self):
        """The next socket cannot be made; or has no port."""
        if self.random.random() < 0.5:
            self.socket_codes = [errno.EMFILE]
        else:
            self.connect_codes = [errno.EAGAIN]
        failed = sum(address.failed for address in self.pool.addresses())
        known = set(self.table.by_key)
        client = self.random.choice([each for each in CLIENTS if each not in known] or [None])
        if client and self.pool.members:
            self.forwarding.forward(client, client, self.listener, b'in a shortage')
            assert sum(address.failed for address in self.pool.addresses()) == failed
            assert client in self.table.by_key or not known, 'there was somebody to make room'
        self.socket_codes, self.connect_codes = [], []

    def time(self):
        self.now += self.random.choice([0.125, 1.0, 20.0])         # whose sums are exact, so that both sides round alike

    def sweep(self):
        silent = set(key for key, session in self.table.by_key.items() if self.now - session.last_used >= TIMEOUT)
        before = set(self.table.by_key)
        self.table.sweep()
        assert set(self.table.by_key) == before - silent

    def servers(self):
        self.use(self.random.sample(SERVERS, self.random.choice([0, 1, 2, 3, 3, 4, 5])))

    def verdict(self):
        addresses = self.pool.addresses()
        if addresses:
            address = self.random.choice(addresses)
            well, was_up = self.random.random() < 0.6, address.up
            for _ in range(3):
                self.pool.report_success(address) if well else self.pool.report_failure(address, 'test')
            if self.closes and was_up and not address.up:
                assert not any(session.address is address for session in self.table.by_key.values())

    # --- what always holds ---------------------------------------------------------------------------------------------

    def check(self):
        sessions = list(self.table.by_key.values())
        assert not self.log.events('session_failed'), self.log.events('session_failed')
        assert len(sessions) <= self.table.limit
        assert set(session.upstream for session in sessions) == self.open, 'a socket leaks, or is closed too early'
        assert set(self.wires.by_number.values()) == set(sessions)
        assert not any(session.ended for session in sessions)
        by_address = {}
        for session in sessions:
            by_address.setdefault(session.address, set()).add(session)
        assert self.table._by_address == by_address
        for member in self.pool.members + self.pool.departing:
            for address in member.addresses:
                assert address.active == len(by_address.pop(address, ())), '%r counts wrongly' % address
            assert member.active == sum(address.active for address in member.addresses)
        assert not by_address, 'sessions of servers that the pool has forgotten'

    def close(self):
        self.table.cut_all('the end')
        self.check()
        assert not self.open
        self.replies.close()
        Upstreams.close(self.wires)


STEP_WEIGHTS = [('datagram', 50), ('reply', 20), ('refusal', 6), ('not_the_servers_fault', 3), ('shortage', 3), ('time', 10),
                ('sweep', 4), ('servers', 4), ('verdict', 8)]


@pytest.mark.parametrize('changes', [{}, {'on_down': 'close', 'on_removed': 'close'}, {'responses': 1}])
@pytest.mark.parametrize('run', range(RUNS))
def test_random_steps(run, changes):
    seed = random.SystemRandom().randrange(1 << 32)         # or the one of a failure, to see it again
    world = World(seed, **changes)
    names = [name for name, weight in STEP_WEIGHTS for _ in range(weight)]
    done = []
    try:
        for _ in range(STEPS):
            done.append(world.random.choice(names))
            getattr(world, done[-1])()
            world.check()
        world.close()
    except AssertionError as error:
        raise AssertionError('seed %d, %r, step %d, the last ones %s: %s' % (
            seed, changes, len(done), ' '.join(done[-10:]), error))
