"""What the soak lets through SideLB: echo servers that refuse for a while, clients that want all back, and their tally."""
from __future__ import absolute_import, division, print_function

import collections
import select
import socket
import threading
import time

import bench.machine
from sidelb_lib.net.reuse_port import drop_new_handshakes
from sidelb_lib.udp.sessions import MAX_KEPT_BYTES

HOST = '127.0.0.1'
NOTICE_SECONDS = 2.0            # a server that refused may be called down for so long after it is back
MILLISECOND = 0.001             # an event's time is cut to it
MAX_BYTES = 4000000             # enough for splice, which a direction begins after 17 large reads
MAX_PAUSE = 0.05                # seconds of a client between two sessions: the soak is to be long and not hard
TRIES = 8                       # of a datagram: one of two hundred is lost on purpose, each by itself
NO_ANSWER = 'UDP datagrams without an answer'
LONG_NO_ANSWER = 'UDP datagrams, too long to be kept, without an answer'       # a refusal is not made good for them
PATTERN = bytes(bytearray(range(251))) * (MAX_BYTES // 251 + 2)


class Server(object):
    """An echo server that can refuse for a while: its listener closes, its sessions go on."""

    def __init__(self, kind):
        self.kind = kind
        self.port = bench.machine.free_port()
        self.refusals = []          # (since, until) by time.time(), until None while it lasts
        self._sock = self._thread = None
        self.open()

    def open(self):
        sock = socket.socket(socket.AF_INET, self.kind)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        sock.bind((HOST, self.port))
        if self.kind == socket.SOCK_STREAM:
            sock.listen(512)
        sock.settimeout(0.2)
        self._sock = sock
        if self.refusals:
            self.refusals[-1] = self.refusals[-1][0], time.time()
        self._thread = start(self._accept if self.kind == socket.SOCK_STREAM else self._answer, sock)

    def refuse(self):
        """Until `open()`. What it had accepted goes on, and what waits to be accepted, or answered, is so before: the
        kernel would reset that, or throw it away, which is nobody's fault."""
        self.refusals.append((time.time(), None))
        sock = self._sock
        if self.kind == socket.SOCK_STREAM:
            drop_new_handshakes(sock)
            time.sleep(0.05)            # for handshakes that have begun
        else:
            sock.connect((HOST, 9))     # what others send is refused from now on
        deadline = time.monotonic() + 2
        while select.select([sock], [], [], 0)[0] and time.monotonic() < deadline:
            time.sleep(0.005)
        self._sock = None
        if self.kind == socket.SOCK_DGRAM:
            self._thread.join()         # it may have one in its hands
        try:
            sock.shutdown(socket.SHUT_RDWR)        # at once: `close` has no effect while a thread is in `accept`
        except OSError:                            # ENOTCONN, of UDP
            pass
        sock.close()

    def may_go_down(self, moment):
        """Does it refuse at this time, or has it just before?"""
        return any(since < moment + MILLISECOND and (until is None or moment < until + NOTICE_SECONDS)
                   for since, until in self.refusals)

    def _accept(self, sock):
        while self._sock is sock:
            try:
                start(echo, sock.accept()[0])
            except socket.timeout:
                pass
            except OSError:
                return

    def _answer(self, sock):
        while self._sock is sock:
            try:
                data, client = sock.recvfrom(65535)
                sock.sendto(data, client)
            except socket.timeout:
                pass
            except OSError:
                return


def start(function, *arguments):
    thread = threading.Thread(target=function, args=arguments)
    thread.daemon = True
    thread.start()
    return thread


def echo(sock):
    with sock:
        try:
            for data in iter(lambda: sock.recv(65536), b''):
                sock.sendall(data)
            sock.shutdown(socket.SHUT_WR)
        except OSError:
            pass


class Tally(object):
    """What clients have seen."""

    def __init__(self):
        self.counts = collections.Counter()
        self.findings = collections.Counter()

    def add(self, what, number=1):
        self.counts[what] += number

    def find(self, what):
        self.findings[what] += 1


def tcp_client(address, chance, tally, over):
    """Sends some bytes in pieces, half-closes, and wants all of them back."""
    while not over.is_set():
        over.wait(chance.uniform(0, MAX_PAUSE))
        size = chance.choice([1, 100, 5000, 60000, 400000, MAX_BYTES])
        received = bytearray()
        try:
            with socket.create_connection(address, 20) as sock:
                writer = start(write, sock, size, chance.choice([1000, 70000] if size < MAX_BYTES else [MAX_BYTES]))
                for data in iter(lambda: sock.recv(65536), b''):
                    received += data
                writer.join(20)
        except OSError as error:
            tally.find('TCP: a session failed: %s' % (error.strerror or error))
        else:
            if received != PATTERN[:size]:
                tally.find('TCP: bytes were lost or changed, but the end was an orderly one')
        tally.add('TCP sessions')
        tally.add('TCP bytes', len(received))


def write(sock, size, piece):
    try:
        for begin in range(0, size, piece):
            sock.sendall(PATTERN[begin:min(size, begin + piece)])
        sock.shutdown(socket.SHUT_WR)
    except OSError:
        pass                    # the reader says what became of it


def udp_client(address, chance, tally, over):
    """Some datagrams from a new port, each sent until there is an answer."""
    while not over.wait(chance.uniform(0, MAX_PAUSE)):
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
            sock.settimeout(1)
            sock.connect(address)
            for number in range(chance.randrange(1, 30)):
                data = b'%d ' % number + PATTERN[:chance.choice([0, 100, 1400, 4000, 9000])]
                if not any(answered(sock, data, tally) for _ in range(TRIES)):
                    tally.find('UDP: %d times no answer' % TRIES)
                tally.add('UDP datagrams')


def answered(sock, data, tally):
    try:
        sock.send(data)
        while sock.recv(65535) != data:
            tally.add('UDP late replies')
        return True
    except OSError:
        tally.add(NO_ANSWER if len(data) <= MAX_KEPT_BYTES else LONG_NO_ANSWER)
        return False
