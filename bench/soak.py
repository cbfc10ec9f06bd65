"""The soak: mixed traffic through a real SideLB while faults are injected, servers flap and SIGHUP comes.

Usage:
  bench soak [--minutes=N] [--seed=N] [--python=PATH] [--faults=LIST]

Options:
  --minutes=N    How long [default: 10]
  --seed=N       Of the traffic; chosen and printed when left out
  --python=PATH  Interpreter for SideLB; default: the one that runs this
  --faults=LIST  Every Nth call of a kind fails; '' for none
                 [default: accept=53,socket=61,connect=47,recv=223,send=211,splice=31,setsockopt=37,pipe=5]

Three echo servers for TCP and UDP each; one at a time refuses for a while and comes back, its sessions go on. So no client
may lose a byte, and no server that listens may be called down: there is no excuse for either. A datagram may be lost to an
injected fault, as the protocol has it: its client sends it again, and the next one may be lost as well. So each that had
no answer must be one that SideLB says it has dropped, and it may drop no more than faults were injected. A kind of fault
that was asked for and never came is a finding too, since nothing was learned of it. The report compares descriptors, memory
and greenlets at the end with those after a warm-up. Exit code 1 when anything is not zero or not flat.
"""
from __future__ import absolute_import, division, print_function

import calendar
import collections
import json
import os
import random
import re
import signal
import socket
import sys
import tempfile
import threading
import time

import docopt

import bench.errors
import bench.machine
import bench.processes
from bench.soak_traffic import HOST, NO_ANSWER, Server, Tally, start, tcp_client, udp_client
from sidelb_lib.observe.status_client import fetch_snapshot

SERVERS = 3
TCP_CLIENTS, UDP_CLIENTS = 8, 4
FLAP_SECONDS, HUP_SECONDS = 3.0, 5.0
REFUSED_SECONDS = 1.5
SETTLE_SECONDS = 6.0            # for sessions to end, and for UDP's session_timeout=2s
MAX_WARM_UP = 60.0
MORE_DESCRIPTORS, MORE_KIB, MORE_GREENLETS = 4, 4096, TCP_CLIENTS     # a greenlet that looked for a server is kept


class Balancer(object):
    """The program under test, with faults."""

    def __init__(self, python, kind, faults, directory, servers):
        self.kind = kind
        self.servers = servers
        self._faults = faults
        self.address = (HOST, bench.machine.free_port())
        self._report = os.path.join(directory, kind)
        self._status = os.path.join(directory, kind + '.sock')
        program = os.path.join(os.path.dirname(os.path.abspath(__file__)), 'faulty.py')
        self.child = bench.processes.Child(
            [python, program, self._report, faults, '%s:%d' % self.address] +
            ['%s:%d' % (HOST, server.port) for server in servers] +
            ['proto=' + kind, 'status_socket=' + self._status, 'check_interval=0.5s', 'check_timeout=1s',
             'connect_timeout=1s', 'log_format=json', 'drain_timeout=3s'] +
            (['session_timeout=2s'] if kind == 'udp' else []))

    def figures(self):
        """Descriptors, memory in KiB and greenlets now; injected faults and dropped datagrams by kind."""
        if os.path.exists(self._report):
            os.remove(self._report)
        os.kill(self.child.pid, signal.SIGRTMIN)
        bench.processes.wait_until(self.child, lambda: os.path.exists(self._report))
        with open(self._report) as stream:
            report = json.load(stream)
        descriptors = len(os.listdir('/proc/%d/fd' % self.child.pid))
        drops = fetch_snapshot(self._status)['connections'].get('drops', {})
        return dict(report, drops=drops, descriptors=descriptors, memory=self.child.resident() // 1024)

    def expected(self):
        """The kinds of faults that must have come by now."""
        kinds = set(each.partition('=')[0] for each in self._faults.split(',') if each)
        return kinds if self.kind == 'tcp' else kinds - set(['accept', 'splice', 'pipe'])

    def events(self):
        lines = [line for line in self.child.output().splitlines() if line.startswith('{')]
        return [json.loads(line) for line in lines if line.endswith('}')]


def seconds_of(event):
    """Its time, as time.time() has it."""
    return calendar.timegm(time.strptime(event['time'][:19], '%Y-%m-%dT%H:%M:%S')) + float(event['time'][19:23])


def flap(servers, over):
    """One server of each kind at a time refuses and comes back."""
    while not over.wait(FLAP_SECONDS):
        chosen = [random.choice(group) for group in servers]
        for server in chosen:
            server.refuse()
        over.wait(REFUSED_SECONDS)
        for server in chosen:
            server.open()


def watch(balancers, tally, over):
    """Say so when a server that listens is called down."""
    seen = dict((balancer, len(balancer.events())) for balancer in balancers)
    while not over.wait(0.2):
        for balancer in balancers:
            events = balancer.events()
            for event in events[seen[balancer]:]:
                if event['event'] == 'member_down':
                    port = int(re.search(r':(\d+)$', event['address']).group(1))
                    server, = [each for each in balancer.servers if each.port == port]
                    moment = seconds_of(event)
                    if not server.may_go_down(moment):
                        past = ', '.join('%.1f' % (moment - until) for _, until in server.refusals[-2:] if until)
                        tally.find('%s: a server that listened was called down: %s (%s s after it was back)' % (
                            balancer.kind, event['error'], past))
                elif event['level'] == 'error':
                    tally.find('%s: error in the log: %s' % (balancer.kind, event['message'][:300]))
            seen[balancer] = len(events)


def traffic(balancers, servers, seconds, seed, tally):
    over = threading.Event()
    threads = []
    for balancer, client, count in zip(balancers, (tcp_client, udp_client), (TCP_CLIENTS, UDP_CLIENTS)):
        for number in range(count):
            threads.append(start(client, balancer.address, random.Random('%s %d' % (seed, number)), tally, over))
    threads += [start(flap, servers, over), start(watch, balancers, tally, over)]
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        time.sleep(max(0, min(HUP_SECONDS, end - time.monotonic())))
        for balancer in balancers:
            balancer.child.check()
            os.kill(balancer.child.pid, signal.SIGHUP)
    over.set()
    for thread in threads:
        thread.join(60)
    time.sleep(SETTLE_SECONDS)


def compare(before, after):
    """Lines about what has grown."""
    limits = (('descriptors', MORE_DESCRIPTORS), ('memory', MORE_KIB), ('greenlets', MORE_GREENLETS))
    return ['%s grew from %d to %d' % (name, before[name], after[name]) for name, more in limits
            if after[name] > before[name] + more]


def unexplained(unanswered, before, after):
    """Lines about datagrams without an answer that no injected fault explains. A send that fails costs one datagram. A
    session that can't have a socket makes another one give way, whose answer may be lost, or has its own dropped."""
    dropped, injected = [collections.Counter(after[name]) - collections.Counter(before[name])
                         for name in ('drops', 'injected')]
    found = []
    if unanswered > sum(dropped.values()):
        found.append('%d datagrams had no answer, %d were dropped' % (unanswered, sum(dropped.values())))
    for drops, faults in ((('upstream_full', 'send_failed'), ('send',)),
                          (('session_evicted', 'no_server'), ('socket', 'connect'))):
        count, most = sum(dropped.pop(kind, 0) for kind in drops), sum(injected[kind] for kind in faults)
        if count > most:
            found.append('%d drops (%s) by %d faults' % (count, ', '.join(drops), most))
    return found + ['%d drops: %s' % (count, kind) for kind, count in sorted(dropped.items())]


def soak(python, seconds, seed, faults):
    """Run it and print the report; returns the exit code."""
    tally = Tally()
    servers = [[Server(kind) for _ in range(SERVERS)] for kind in (socket.SOCK_STREAM, socket.SOCK_DGRAM)]
    with tempfile.TemporaryDirectory(prefix='sidelb-soak-') as directory:
        balancers = [Balancer(python, kind, faults, directory, group) for kind, group in zip(('tcp', 'udp'), servers)]
        try:
            for balancer in balancers:
                bench.processes.wait_until(balancer.child, lambda: 'listening' in balancer.child.output())
            traffic(balancers, servers, max(2.0, min(seconds * 0.2, MAX_WARM_UP)), seed, Tally())      # warm-up
            before = [balancer.figures() for balancer in balancers]
            traffic(balancers, servers, seconds, seed, tally)
            after = [balancer.figures() for balancer in balancers]
        finally:
            for balancer in balancers:
                balancer.child.stop()
    for balancer, first, last in zip(balancers, before, after):
        for line in compare(first, last):
            tally.find('%s: %s' % (balancer.kind, line))
        if balancer.kind == 'udp':
            for line in unexplained(tally.counts[NO_ANSWER], first, last):
                tally.find('udp: ' + line)
        for kind in balancer.expected() - set(last['injected']):
            tally.find('%s: no fault was injected into %s' % (balancer.kind, kind))
        print('%s: %s' % (balancer.kind, ', '.join('%s %d -> %d' % (name, first[name], last[name])
                                                   for name in ('descriptors', 'memory', 'greenlets'))))
        for name in ('injected', 'drops'):
            print('    %s: %s' % (name, ', '.join('%s %d' % each for each in sorted(last[name].items())) or 'none'))
    print(', '.join('%s %d' % each for each in sorted(tally.counts.items())))
    for what, count in sorted(tally.findings.items()):
        print('FOUND %d times: %s' % (count, what))
    print('seed %s: %s' % (seed, 'nothing found' if not tally.findings else 'NOT well'))
    return int(bool(tally.findings))


def main(arguments):
    options = docopt.docopt(__doc__, ['soak'] + arguments)
    seed = options['--seed'] or str(random.randrange(10 ** 6))
    bench.machine.raise_descriptor_limit()
    try:
        return soak(options['--python'] or sys.executable, 60 * float(options['--minutes']), seed, options['--faults'])
    except bench.errors.BenchError as error:
        sys.stderr.write('bench: %s\n' % error)
        return 1
