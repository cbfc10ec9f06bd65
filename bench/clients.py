"""Load that no packaged tool makes; a program of its own, so that it can be pinned.

    clients.py paced HOST PORT RATE SECONDS CONNECTIONS
    clients.py fresh-tcp HOST PORT SECONDS
    clients.py hold-tcp HOST PORT COUNT
    clients.py hold-udp HOST PORT COUNT NAME
    clients.py bulk-tcp HOST PORT COUNT
    clients.py flood-udp HOST PORT COUNT NAME
    clients.py polite-udp HOST PORT SECONDS COUNT NAME

paced       Redis PINGs at RATE a second on CONNECTIONS connections; how long each took.
fresh-tcp   connect, read until the server closes, close; 50 at a time, as many as there is time for.
hold-*      open COUNT connections or sockets, exchange one message on each, hold them until stdin ends.
bulk-tcp    ECHOs of 512 KiB to Redis, one after the other on each of COUNT connections, until stdin ends.
flood-udp   queries from COUNT sockets as fast as they go, without a look at the replies, until stdin ends.
polite-udp  one query under way on each of COUNT sockets; how long each took, and how many got no reply.

The result is one JSON object on stdout. Standard library only, since it runs without the package.
"""
from __future__ import absolute_import, division, print_function

import collections
import gc
import json
import random
import select
import socket
import struct
import sys
import time

WINDOW = 50
REPLY_SECONDS = 2
LOST_SECONDS = 1
BULK_BYTES = 512 * 1024
PING = b'PING\r\n'


def paced(host, port, rate, seconds, connections):
    """Open loop: requests fall due at random moments (Poisson, always the same), whatever the replies do.

    Each is timed from the moment it was due, so that a stall counts for all who waited behind it.
    Returns the percentiles in microseconds, and how late this client itself was in sending.
    """
    fine_timers()
    gc.disable()    # its pauses would be counted as latency
    links = {}
    epoll = select.epoll()
    for _ in range(int(connections)):
        link = socket.create_connection((host, int(port)), REPLY_SECONDS)
        link.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        link.setblocking(False)
        links[link.fileno()] = link
        epoll.register(link.fileno(), select.EPOLLIN)
    schedule = arrivals(float(rate), float(seconds), random.Random(1))
    due_of, latencies, lags = {}, [], []
    free = collections.deque(links)
    begin = time.monotonic() + 0.05
    due = begin + next(schedule)
    while due is not None or due_of:
        now = time.monotonic()
        while due is not None and due <= now and free:
            fileno = free.popleft()
            links[fileno].send(PING)
            due_of[fileno] = due
            lags.append(now - due)
            due = next(schedule, None)
            due = due and begin + due
        ready = epoll.poll(0)
        for fileno, _ in ready:
            received = links[fileno].recv(4096)
            if not received:
                raise EOFError('a connection was closed by the other side')
            if received.endswith(b'\n'):
                latencies.append(time.monotonic() - due_of.pop(fileno))
                free.append(fileno)
        if not ready:
            wait(epoll, due if free else None)
    return dict(percentiles(latencies), count=len(latencies), client_late_p99=percentiles(lags)['p99'])


def wait(epoll, due):
    """Sleep until a reply is there or `due` has come. epoll_wait(2) rounds up to milliseconds, select(2)
    does not."""
    patience = REPLY_SECONDS if due is None else max(0, due - time.monotonic())
    readable = select.select([epoll], [], [], patience)[0]
    if due is None and not readable:
        raise EOFError('no reply within {0} s'.format(REPLY_SECONDS))


def fine_timers():
    """Let sleeps of this process end within a microsecond of their time, instead of 50 (proc(5))."""
    with open('/proc/self/timerslack_ns', 'w') as slack:
        slack.write('1000')


def arrivals(rate, seconds, randomness):
    """Offsets in seconds, ascending, of a Poisson process."""
    moment = randomness.expovariate(rate)
    while moment < seconds:
        yield moment
        moment += randomness.expovariate(rate)


def percentiles(values):
    """p50, p99 and p99.9 of `values` (seconds), in microseconds."""
    ordered = sorted(values)

    def at(share):
        return 1e6 * ordered[min(len(ordered) - 1, int(share * len(ordered)))]
    return {'p50': at(0.5), 'p99': at(0.99), 'p99.9': at(0.999)}


def fresh_tcp(host, port, seconds):
    """Connections one after another: the oldest is finished whenever `WINDOW` are open."""
    address, seconds = (host, int(port)), float(seconds)
    window = collections.deque()
    greeted = failed = 0
    begin = time.monotonic()
    while time.monotonic() - begin < seconds or window:
        if time.monotonic() - begin < seconds:
            client = socket.socket(socket.AF_INET, socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
            client.connect_ex(address)
            window.append(client)
            if len(window) < WINDOW:
                continue
        client = window.popleft()
        if was_greeted(client):
            greeted += 1
        else:
            failed += 1
        client.close()
    return {'count': greeted, 'failed': failed, 'seconds': time.monotonic() - begin}


def was_greeted(client):
    """Whether some bytes and then the end of the stream came in time."""
    client.settimeout(REPLY_SECONDS)
    try:
        return client.recv(64) != b'' and client.recv(64) == b''
    except (OSError, IOError):
        return False


def hold_tcp(host, port, count):
    """`count` connections that have carried one PING each and are idle now."""
    held = []
    for _ in range(int(count)):
        client = socket.create_connection((host, int(port)), REPLY_SECONDS)
        client.sendall(PING)
        if client.recv(64) != b'+PONG\r\n':
            raise EOFError('connection {0} got no reply'.format(len(held) + 1))
        held.append(client)
    return held


def answered(client):
    """Whether a reply comes in time."""
    client.settimeout(REPLY_SECONDS)
    try:
        return len(client.recv(512)) > 12
    except (OSError, IOError):
        return False


def hold_udp(host, port, count, name):
    """`count` sockets that have had one DNS query answered each; a lost datagram is sent again."""
    held, query = [], dns_query(name)
    for _ in range(int(count)):
        client = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        client.connect((host, int(port)))
        if not any(client.send(query) and answered(client) for _ in range(3)):
            raise EOFError('socket {0} got no reply'.format(len(held) + 1))
        held.append(client)
    return held


def bulk_tcp(host, port, count):
    """Move bytes both ways until stdin ends."""
    payload = b'x' * BULK_BYTES
    request = b'*2\r\n$4\r\nECHO\r\n$%d\r\n%s\r\n' % (len(payload), payload)
    clients = [socket.create_connection((host, int(port)), REPLY_SECONDS) for _ in range(int(count))]
    say_ready(clients)
    while not stdin_ended():
        for client in clients:
            client.sendall(request)
        for client in clients:
            left = len(payload) + len('$%d\r\n\r\n' % len(payload))
            while left:
                received = len(client.recv(min(left, 262144)))
                if not received:
                    raise EOFError('the bulk connection was closed by the other side')
                left -= received


def flood_udp(host, port, count, name):
    """Send until stdin ends; what does not fit is dropped."""
    query, clients = dns_query(name), []
    for _ in range(int(count)):
        clients.append(socket.socket(socket.AF_INET, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK))
        clients[-1].connect((host, int(port)))
    say_ready(clients)
    while not stdin_ended():
        for _ in range(100):
            for client in clients:
                try:
                    client.send(query)
                except (OSError, IOError):
                    pass


def polite_udp(host, port, seconds, count, name):
    """Each client sends its next query when it has its reply, or after a second without one."""
    query, latencies, sent_at, lost = dns_query(name), [], {}, 0
    epoll, clients = select.epoll(), {}
    for _ in range(int(count)):
        client = socket.socket(socket.AF_INET, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK)
        client.connect((host, int(port)))
        clients[client.fileno()] = client
        epoll.register(client.fileno(), select.EPOLLIN)
    begin = time.monotonic()
    while time.monotonic() - begin < float(seconds):
        now = time.monotonic()
        for fileno, client in clients.items():
            if now - sent_at.get(fileno, 0) > LOST_SECONDS:
                lost += fileno in sent_at
                client.send(query)
                sent_at[fileno] = now
        for fileno, _ in epoll.poll(0.1):
            clients[fileno].recv(4096)
            latencies.append(time.monotonic() - sent_at[fileno])
            sent_at[fileno] = time.monotonic()
            clients[fileno].send(query)
    # Whoever had no reply at all waited as long as this lasted, at least.
    figures = percentiles(latencies or [float(seconds)])
    return dict(figures, count=len(latencies), lost=lost, seconds=time.monotonic() - begin)


def say_ready(held):
    """Tell the parent on one line that the load runs."""
    json.dump({'held': len(held)}, sys.stdout)
    sys.stdout.write('\n')
    sys.stdout.flush()


def stdin_ended():
    return bool(select.select([sys.stdin], [], [], 0)[0])


def dns_query(name):
    """A query for the A records of `name` (RFC 1035, 4.1)."""
    labels = b''.join(struct.pack('B', len(label)) + label.encode('ascii') for label in name.split('.'))
    return struct.pack('!6H', 1, 0x0100, 1, 0, 0, 0) + labels + b'\0' + struct.pack('!2H', 1, 1)


def main(arguments):
    kinds = {'paced': paced, 'fresh-tcp': fresh_tcp, 'hold-tcp': hold_tcp, 'hold-udp': hold_udp, 'bulk-tcp': bulk_tcp,
             'flood-udp': flood_udp, 'polite-udp': polite_udp}
    if not arguments or arguments[0] not in kinds:
        sys.exit(__doc__)
    try:
        result = kinds[arguments[0]](*arguments[1:])
    except (OSError, IOError, EOFError) as error:
        sys.exit('{0}: {1}'.format(arguments[0], error))
    if isinstance(result, list):
        say_ready(result)
        sys.stdin.read()
    elif result is not None:
        json.dump(result, sys.stdout)


if __name__ == '__main__':
    main(sys.argv[1:])
