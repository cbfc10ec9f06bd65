"""Real Redis servers, and its own client programs."""
from __future__ import absolute_import, division, print_function

import contextlib
import os
import re

from .places import Reservation
from .processes import Process, run
from .requirements import need_program

SENTINEL = '''
bind 127.0.0.1
port %d
dir %s
sentinel monitor main %s %d 1
sentinel down-after-milliseconds main 500
sentinel failover-timeout main 3000
'''


class RedisServer(object):
    """A Redis server without persistence; `start()` and `stop()` at will. `get name` gives its name."""

    def __init__(self, name, address):
        self.name = name
        self.address = address
        self._program = need_program('redis-server', 'redis-server')
        self._process = None

    def __str__(self):
        return '%s:%d' % self.address

    def start(self):
        self._process = Process([self._program, '--bind', self.address[0], '--port', str(self.address[1]),
                                 '--save', '', '--appendonly', 'no', '--dir', '/'])
        self._process.wait_for_output('Ready to accept connections', timeout=20)
        assert redis(self.address, 'set', 'name', self.name) == 'OK'

    def stop(self):
        """End at once, as a crash would."""
        if self._process is not None:
            self._process.close()
            self._process = None

    def statistic(self, name):
        """A number of INFO's section `stats`."""
        statistics = redis(self.address, 'info', 'stats')
        return int(re.search(r'^%s:(\d+)' % name, statistics, re.MULTILINE).group(1))


@contextlib.contextmanager
def redis_servers(ips, port=0):
    """Redis servers on one port of several addresses, running inside the `with`. Named by their address."""
    with Reservation(ips, port) as reservation:
        servers = [RedisServer(ip, (ip, reservation.port)) for ip in ips]
        try:
            for server in servers:
                server.start()
            yield servers
        finally:
            for server in servers:
                server.stop()


@contextlib.contextmanager
def redis_sentinel(primary, directory):
    """A Sentinel that alone decides, after half a second, that `primary` is dead. Runs inside the `with`."""
    program = need_program('redis-sentinel', 'redis-sentinel')
    with Reservation(['127.0.0.1']) as place:
        path = os.path.join(directory, 'sentinel.conf')       # Sentinel writes into it
        with open(path, 'w') as stream:
            stream.write(SENTINEL % (place.port, directory, primary.address[0], primary.address[1]))
        with Process([program, path]) as process:
            process.wait_for_output('[+]monitor master', timeout=20)
            yield place.addresses[0]


def redis(address, *command):
    """What redis-cli prints for a command; it must succeed."""
    finished = redis_cli(address, *command)
    assert finished.returncode == 0 and not finished.stderr, finished
    return finished.stdout.strip()


def redis_cli(address, *command):
    """Run one command through redis-cli. Returns it as `processes.Finished`."""
    program = need_program('redis-cli', 'redis-tools')
    return run([program, '-e', '-h', address[0], '-p', str(address[1])] + list(command))


def redis_benchmark(address, *arguments):
    """Run redis-benchmark. Returns it as `processes.Finished`."""
    program = need_program('redis-benchmark', 'redis-tools')
    return run([program, '-q', '-h', address[0], '-p', str(address[1])] + list(arguments), timeout=50)
