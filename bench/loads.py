"""Runs a load against an address and reads what came of it. Each function returns a `Load`.

All are bounded in time; a load that fails raises `BenchError`. Parsers are separate and pure.
"""
from __future__ import absolute_import, division, print_function

import collections
import contextlib
import json
import os
import re
import select
import sys

import bench.errors
import bench.processes
import bench.servers

GRACE_SECONDS = 30    # for a tool, beyond the time that its load should take

# count: requests, connections, queries or bytes; seconds: how long they took; details: the load's own figures
Load = collections.namedtuple('Load', 'count seconds details')


class Loads(object):
    """The load generators, all pinned to one core.

    core: its number, or None; directory: an existing one for their files.
    """

    def __init__(self, core, directory):
        self._core = core
        self._queries = os.path.join(directory, 'queries')
        with open(self._queries, 'w') as out:
            out.write(bench.servers.DNS_NAME + ' A\n')

    def _run(self, argv, seconds, stdin=b''):
        return bench.processes.run(argv, seconds + GRACE_SECONDS, core=self._core, stdin=stdin)

    def redis(self, address, requests, clients, pipeline=1, payload=None, reconnect=False):
        """redis-benchmark: PING, or ECHO of `payload` bytes, one request under way on each connection."""
        argv = [bench.processes.find('redis-benchmark', 'redis-tools'),
                '-h', address[0], '-p', str(address[1]),
                '--csv', '-c', str(clients), '-n', str(requests), '-P', str(pipeline),
                '-k', '0' if reconnect else '1']
        argv += ['-x', 'ECHO'] if payload else ['PING']
        rate = parse_redis(self._run(argv, 60, b'x' * (payload or 0)))
        return Load(requests, requests / rate, {})

    def iperf3(self, address, seconds, streams, reverse):
        """iperf3: as many bytes as fit; what counts is what was received."""
        argv = [bench.processes.find('iperf3', 'iperf3'), '-c', address[0], '-p', str(address[1]), '-J',
                '-t', str(max(1, int(round(seconds)))), '-P', str(streams)]
        return parse_iperf3(self._run(argv + (['-R'] if reverse else []), seconds))

    def pgbench(self, address, seconds, clients, reconnect):
        """pgbench -S: one indexed SELECT a transaction; with `reconnect` a connection of its own for each."""
        argv = [bench.processes.find('pgbench', 'postgresql-contrib', bench.servers.POSTGRES_PLACES),
                '-n', '-S',
                '-h', address[0], '-p', str(address[1]), '-U', 'bench', '-c', str(clients),
                '-T', str(max(1, int(round(seconds))))]
        return parse_pgbench(self._run(argv + (['-C'] if reconnect else []) + ['postgres'], seconds))

    def dnsperf(self, address, seconds, clients, rate=None):
        """dnsperf: queries for one name from `clients` sockets; `rate` bounds them, a second."""
        argv = [bench.processes.find('dnsperf', 'dnsperf'), '-s', address[0], '-p', str(address[1]),
                '-d', self._queries, '-c', str(clients), '-T', '1', '-t', '1',
                '-l', str(max(1, int(round(seconds))))]
        argv += ['-Q', str(rate)] if rate else []
        return parse_dnsperf(self._run(argv, seconds))

    def own(self, kind, address, seconds, *arguments):
        """A timed load of clients.py; its figures are the details."""
        output = self._run(client_command(kind, address, *arguments), seconds)
        details = json.loads(output)
        return Load(details['count'], details.get('seconds', seconds), details)

    @contextlib.contextmanager
    def held(self, kind, address, count):
        """`count` idle connections or UDP sockets (`kind` of clients.py), while the block runs."""
        names = [bench.servers.DNS_NAME] if kind.endswith('-udp') else []
        command = client_command(kind, address, count, *names)
        child = bench.processes.Child(command, core=self._core, pipes=True)
        try:
            if not select.select([child.process.stdout], [], [], 60)[0]:
                raise bench.errors.BenchError('{0} connections did not come up within 60 s'.format(count))
            if not child.process.stdout.readline():
                child.process.wait()
                raise bench.errors.BenchError(bench.processes.tail(child.output()))
            yield
        finally:
            child.stop()


def client_command(kind, address, *arguments):
    """The command line of one of our own clients; -I keeps it apart from the package."""
    program = os.path.join(os.path.dirname(os.path.abspath(__file__)), 'clients.py')
    arguments = [address[0], address[1]] + list(arguments)
    return [sys.executable, '-I', program, kind] + [str(each) for each in arguments]


def parse_redis(output):
    """Requests a second from the last line of redis-benchmark --csv; any title may stand before it."""
    numbers = re.findall(r'"([0-9.]+)"', output.strip().splitlines()[-1] if output.strip() else '')
    if len(numbers) < 7:    # rate, and six latencies
        raise bench.errors.BenchError('redis-benchmark wrote no result: ' + bench.processes.tail(output, 1))
    return float(numbers[-7])


def parse_iperf3(output):
    """Bytes received and the seconds they took, from iperf3 -J."""
    report = json.loads(output)
    if 'error' in report:
        raise bench.errors.BenchError('iperf3: ' + report['error'])
    received = report['end']['sum_received']
    return Load(received['bytes'], received['seconds'], {})


def parse_pgbench(output):
    """Transactions and their seconds (of connecting too with -C, else without)."""
    count = re.search(r'number of transactions actually processed: (\d+)', output)
    rate = re.search(r'tps = ([0-9.]+)', output)
    if not count or not rate or not float(rate.group(1)):
        raise bench.errors.BenchError('pgbench wrote no result: ' + bench.processes.tail(output))
    return Load(int(count.group(1)), int(count.group(1)) / float(rate.group(1)), {})


def parse_dnsperf(output):
    """Queries completed, their seconds, and how many were lost."""
    def figure(label):
        match = re.search(label + r':\s+([0-9.]+)', output)
        if not match:
            raise bench.errors.BenchError('dnsperf wrote no result: ' + bench.processes.tail(output))
        return float(match.group(1))
    return Load(int(figure('Queries completed')), figure(r'Run time \(s\)'),
                {'lost': int(figure('Queries lost'))})
