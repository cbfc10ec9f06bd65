"""Runs scenarios: every contestant is started, and loaded in turn, one at a time, round by round."""
from __future__ import absolute_import, division, print_function

import collections
import contextlib
import os
import socket
import time

import bench.clients
import bench.errors
import bench.machine
import bench.processes
import bench.servers

WARM_UP_SECONDS = 0.3

# rounds: how many; seconds: how long one load lasts; rest_seconds: how long rest is watched
Scale = collections.namedtuple('Scale', 'rounds seconds rest_seconds')


class Trial(object):
    """One contestant in one scenario: where to send the load, and what its processes have used.

    wanted: a `Job`; core: where to pin the proxy, or None; directory: an existing one for its configuration.
    `memo` is for the scenario to keep what it learns, from one round to the next.
    """

    def __init__(self, contestant, wanted, scale, core, directory, descriptors):
        self.proxied = hasattr(contestant, 'command')
        self.seconds = WARM_UP_SECONDS
        self.rest_seconds = scale.rest_seconds
        self.descriptors = descriptors
        self.memo = {}
        self._core = core
        self._udp = wanted.protocol == 'udp'
        self._child = None
        self._argv = None
        if self.proxied:
            self.address = (bench.servers.HOST, bench.machine.free_port())
            self._argv = contestant.command(self.address, wanted, directory)
        else:
            self.address = wanted.members[0]

    @contextlib.contextmanager
    def running(self, wait=True):
        """The proxy runs while the block does; with `wait` it serves when the block begins."""
        if not self.proxied:
            yield
            return
        self._child = bench.processes.Child(self._argv, core=self._core)
        try:
            if wait and self._udp:
                self.wait_for_reply()
            elif wait:
                bench.processes.wait_for_port(self._child, self.address)
            yield
        finally:
            self._child.stop()
            self._child = None

    def wait_for_reply(self):
        """Return as soon as one request (a DNS query or a Redis PING) was answered through the proxy."""
        kind, message = socket.SOCK_STREAM, bench.clients.PING
        if self._udp:
            kind, message = socket.SOCK_DGRAM, bench.clients.dns_query(bench.servers.DNS_NAME)

        def replies():
            with socket.socket(socket.AF_INET, kind) as client:
                client.settimeout(1)
                try:
                    client.connect(self.address)
                    client.sendall(message)
                    return client.recv(512) != b''
                except (OSError, IOError):
                    return False
        bench.processes.wait_until(self._child, replies)

    def check(self):
        """Raises `BenchError` when the proxy has ended."""
        if self._child:
            self._child.check()

    def cpu(self):
        """Seconds of processor time of the proxy so far; 0 without one."""
        self.check()
        return self._child.cpu() if self._child else 0

    def resident(self):
        """Bytes resident in the proxy's processes."""
        self.check()
        return self._child.resident()


class Runner(object):
    """Runs scenarios one after another and collects what came out.

    contestants: those that are there; say(line): tells the user how far it is. `rounds` is, by scenario, a
    list with a dict for each round: contestant name to a dict of figures. `failures` are lines.
    """

    def __init__(self, contestants, servers, loads, scale, cores, descriptors, directory, say):
        self.rounds = collections.OrderedDict()
        self.failures = []
        self._contestants = contestants
        self._servers = servers
        self._loads = loads
        self._scale = scale
        self._cores = cores
        self._descriptors = descriptors
        self._directory = directory
        self._say = say

    def run(self, scenario):
        self._say('{0}: {1}'.format(scenario.name, scenario.title))
        with contextlib.ExitStack() as stack:
            try:
                trials = self._trials(scenario, stack)
                if scenario.prepare:
                    scenario.prepare(self._loads, trials)
            except bench.errors.BenchError as error:
                self._fail('{0}: left out: {1}'.format(scenario.name, error))
                return
            if scenario.warm_up:
                self._round(scenario, trials, 0)
            for trial in trials.values():
                trial.seconds = self._scale.seconds
            for number in range(self._scale.rounds):
                results = self._round(scenario, trials, number)
                if scenario.derive:
                    scenario.derive(results)
                if results:
                    self.rounds.setdefault(scenario.name, []).append(results)

    def _trials(self, scenario, stack):
        """By contestant name, a trial, which runs already unless the scenario wants a fresh one each time."""
        trials = collections.OrderedDict()
        for index, contestant in enumerate(self._contestants):
            if getattr(contestant, 'stands_for', contestant.name) not in scenario.contestants:
                continue
            wanted = scenario.job(self._servers, index)
            directory = os.path.join(self._directory, scenario.name, contestant.name)
            os.makedirs(directory)
            try:
                core = self._all_cores() if scenario.spread else self._cores.proxy
                trial = Trial(contestant, wanted, self._scale, core, directory, self._descriptors)
                if not scenario.fresh:
                    stack.enter_context(trial.running())
                trials[contestant.name] = trial
            except bench.errors.BenchError as error:
                self._fail('{0}: {1} left out: {2}'.format(scenario.name, contestant.name, error))
        if not trials:
            raise bench.errors.BenchError('none of {0} is there'.format(', '.join(scenario.contestants)))
        return trials

    def _all_cores(self):
        cores = frozenset(self._cores)
        return None if None in cores else cores

    def _round(self, scenario, trials, number):
        """One measurement of each, beginning with another one in each round. Whoever fails is out."""
        results = {}
        for name in rotated(list(trials), number):
            try:
                results[name] = self._measured(scenario, trials[name])
            except bench.errors.BenchError as error:
                self._fail('{0}: {1} left out after it failed: {2}'.format(
                    scenario.name, name, self._cause(trials.pop(name), error)))
        return results

    def _measured(self, scenario, trial):
        """The figures of one measurement; `foreign` is the share of the proxy's core that others took."""
        if scenario.fresh or scenario.spread or not trial.proxied or self._cores.proxy is None:
            return scenario.measure(self._loads, trial)
        begin, core, own = time.monotonic(), bench.machine.core_seconds(self._cores.proxy), trial.cpu()
        figures = scenario.measure(self._loads, trial)
        others = bench.machine.core_seconds(self._cores.proxy) - core - (trial.cpu() - own)
        return dict(figures, foreign=max(0, 100 * others / (time.monotonic() - begin)))

    def _cause(self, trial, error):
        """The proxy's own end explains more than what the load saw of it."""
        try:
            trial.check()
        except bench.errors.BenchError as end:
            return end
        return error

    def _fail(self, line):
        self.failures.append(line)
        self._say(line)


def rotated(names, number):
    """`names` beginning with the one at `number`."""
    turn = number % len(names) if names else 0
    return names[turn:] + names[:turn]
