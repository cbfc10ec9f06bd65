"""Active health checks: one probe function for each protocol, and the prober that runs them.

Rise and fall are the pool's (`Pool.report_success`, `Pool.report_failure`), because failed connects of clients count as
well.
"""
from __future__ import absolute_import, division, print_function

import binascii
import heapq
import itertools
import os
import socket
import struct

import gevent
from gevent.event import Event
from gevent.pool import Pool as GreenletPool

from ..compat import READ, SocketError, WOULD_BLOCK, new_socket
from ..net.connect import LOCAL_FAULTS, ConnectError, connect, wait_for

QUICK_SECONDS = 1.0               # while a state may be changing the next probe comes within this time
MOST_AT_ONCE = 64
MOST_IN_A_ROW = 16                # of servers that answer at once; then others get their turn
GATHER_SECONDS = 0.1              # probes that fall due within this time run together: waking up costs more than a probe


class ProbeFailed(Exception):
    """The server did not pass; the text says why."""


def probe_tcp(address, timeout):
    """Can a connection be opened? Raises ProbeFailed, or ConnectError for a fault of this host's own."""
    try:
        connect(address, timeout).close()
    except ConnectError as error:
        if error.local:
            raise
        raise ProbeFailed(str(error))


def probe_udp(address, timeout):
    """Is the port open? A refusal (ICMP) says no; silence says nothing against it. Raises as `probe_tcp` does.

    What is sent is one line break: an empty datagram is dropped on some ways, and taken for an end by some servers.
    """
    exchange_datagram(address, b'\n', timeout)


def probe_dns(address, timeout):
    """Does a DNS server answer? It is asked for the name servers of the root, which any server has a word on: any
    answer but SERVFAIL passes, a refusal to serve us included. Raises as `probe_tcp` does."""
    identity = os.urandom(2)
    query = identity + struct.pack('!HHHHHBHH', 0x0100, 1, 0, 0, 0, 0, 2, 1)       # RFC 1035, 4.1: recursion, . NS IN
    reply = exchange_datagram(address, query, timeout)
    if reply is None:
        raise ProbeFailed('no answer')
    if len(reply) < 12 or reply[:2] != identity or not ord(reply[2:3]) & 0x80:
        raise ProbeFailed('that is no DNS answer')
    if ord(reply[3:4]) & 0x0f == 2:
        raise ProbeFailed('SERVFAIL')


def probe_expecting(payload, expected):
    """A probe that sends `payload` (bytes) and wants a reply that begins with `expected`."""
    def probe(address, timeout):
        reply = exchange_datagram(address, payload, timeout)
        if reply is None:
            raise ProbeFailed('no answer')
        if not reply.startswith(expected):
            raise ProbeFailed('unexpected answer: %s' % binascii.hexlify(reply[:16]).decode('ascii'))
    return probe


def probe_named(check):
    """The probe function for a value of the setting `check`: a name, or a pair (bytes to send, beginning of the reply)."""
    probes = {'tcp': probe_tcp, 'udp': probe_udp, 'dns': probe_dns}
    return probes[check] if check in probes else probe_expecting(*check)


def exchange_datagram(address, payload, timeout):
    """Send a datagram and return the reply, or None when none comes within `timeout` seconds.

    Raises ProbeFailed for a refusal, ConnectError for a fault of this host's own.
    """
    sock = None
    try:
        sock = new_socket(address.family, socket.SOCK_DGRAM)
        sock.connect(address.sockaddr)
        sock.send(payload)
        if not wait_for(sock, READ, timeout):
            return None
        return sock.recv(65536)
    except SocketError as error:
        if error.errno in LOCAL_FAULTS or error.errno in WOULD_BLOCK:
            raise ConnectError(error.errno)
        raise ProbeFailed(error.strerror)
    finally:
        if sock is not None:
            sock.close()


class Prober(object):
    """Probes each address of a pool again and again.

    `probe(address, timeout)` is one of this module's functions, which end by themselves. Each address is first probed
    at a random moment of the first interval, later with a jitter of a tenth, so that a fleet of balancers doesn't
    strike all servers in step. At most MOST_AT_ONCE probes run at a time.

    One greenlet holds a heap of due times instead of a sleeping greenlet for each address, and what is due within
    GATHER_SECONDS runs together: a thousand members at an interval of 5 s took 4.6 % of a core when each probe woke the
    process, and take 1.9 % so.
    """

    def __init__(self, pool, probe, log, clock, random, interval=5.0, timeout=2.0):
        self._pool = pool
        self._probe = probe
        self._log = log
        self._clock = clock
        self._random = random
        self._interval = interval
        self._timeout = timeout
        self._gather = min(GATHER_SECONDS, interval / 10)
        self._turn = itertools.count()
        self._due = []                    # heap of (when, turn, address)
        self._current = {}                # address -> turn of its entry that counts, or None while it is being probed
        self._planned = {}                # address -> when that entry is due
        self._changed = Event()
        self._greenlets = GreenletPool(MOST_AT_ONCE)
        for address in pool.addresses():
            self._schedule(address, random() * interval)
        pool.observers.append(self._pool_changed)

    def run(self):
        """Probe for ever, in a greenlet of its own."""
        while True:
            wait = self._due[0][0] - self._clock() if self._due else None
            if wait is None or wait > 0:
                self._changed.clear()
                self._changed.wait(wait)
                gevent.sleep(self._gather)
                continue
            self._greenlets.spawn(self._check_some)      # waits while MOST_AT_ONCE run
            gevent.sleep(0)                              # it goes on until it has to wait for a server

    def _check_some(self):
        """Probe what is due, one after another. A greenlet for each would cost a tenth more, on Python 3.11 and newer."""
        for _ in range(MOST_IN_A_ROW):
            if not self._due or self._due[0][0] > self._clock():
                return
            _, turn, address = heapq.heappop(self._due)
            if self._current.get(address) == turn:
                self._current[address] = None
                self._check(address)

    def probe_now(self):
        """Probe everyone as soon as may be (SIGHUP)."""
        for address, turn in list(self._current.items()):
            if turn is not None:
                self._schedule(address, 0)

    def _pool_changed(self, event, subject):
        """The pool's observer."""
        if event == 'added':
            self._schedule(subject, self._random() * self._interval)
        elif event == 'removed':
            self._current.pop(subject, None)
            self._planned.pop(subject, None)
        elif event == 'failed' and self._current.get(subject) is not None and subject.streak:
            self._hasten(subject)                # a client found it dead: look again soon

    def _hasten(self, address):
        """Probe within QUICK_SECONDS. Further failures must not put off what is due so soon already."""
        if self._planned[address] > self._clock() + self._quick:
            self._schedule(address, self._random() * self._quick)

    def _schedule(self, address, seconds):
        self._planned[address] = self._clock() + seconds
        self._current[address] = turn = next(self._turn)
        heapq.heappush(self._due, (self._clock() + seconds, turn, address))
        if self._due[0][1] == turn:
            self._changed.set()

    @property
    def _quick(self):
        return min(QUICK_SECONDS, self._interval)

    def _check(self, address):
        """One probe of one address; then plan the next."""
        try:
            self._probe_once(address)
        except Exception as error:        # a fault of this host, or of ours: it says nothing about the server
            self._log.warning('probe_error', 'can not probe {address}: {error}',
                              address=str(address), error=str(error) or repr(error))
        finally:
            if address in self._current:
                self._schedule(address, self._pause(address))

    def _probe_once(self, address):
        began = self._clock()
        try:
            self._probe(address, self._timeout)
        except ProbeFailed as failure:
            self._pool.report_failure(address, str(failure), by_probe=True)
        else:
            address.probe_seconds = self._clock() - began
            self._pool.report_success(address)
        address.last_probe = self._clock()

    def _pause(self, address):
        """Seconds until the next probe of `address`: few while results speak against its state."""
        if address.streak:
            return self._quick * (0.8 + 0.2 * self._random())
        return self._interval * (0.9 + 0.2 * self._random())


class Parole(object):
    """Stands in for the prober when nothing is to be sent (check=off): an address that clients found dead gets another
    chance after `interval` seconds. The next failure takes it out again."""

    def __init__(self, pool, interval):
        self._pool = pool
        self._interval = interval
        pool.observers.append(self._pool_changed)

    def _pool_changed(self, event, subject):
        if event == 'down':
            gevent.spawn_later(self._interval, self._pool.restore, subject)
