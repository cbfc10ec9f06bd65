"""How a load is sent and what is read of it: each returns figures by metric name.

A measurement is called as `measure(loads, trial)`: it loads `trial`, one contestant of one round, once.
"""
from __future__ import absolute_import, division, print_function

import time

import bench.errors
import bench.servers

FIRST_REQUESTS = 5000        # of redis-benchmark, when the rate is not known yet
MAX_PACED = 20000            # requests a second that clients.py paced can send without being late itself
IDLE_BESIDE = 5000           # idle connections beside 50 active ones, which send so many requests a second:
BESIDE_RATE = 15000
FAIR_RATE = 3000             # requests a second of 50 clients beside one that moves bulk
CHECK_SECONDS = 5
SETTLE_SECONDS = 30


def loaded(trial, run, unit=1e6):
    """Figures of `run()`, a load on `trial`: rate, processor time for each (times `unit`), busy core."""
    before = trial.cpu()
    load = run()
    used = trial.cpu() - before
    if not load.count:
        raise bench.errors.BenchError('the load did not get a single reply')
    figures = {'rate': load.count / load.seconds}
    if trial.proxied:
        figures.update(cpu=unit * used / load.count, busy=100 * used / load.seconds)
    return load, figures


def redis(clients, **options):
    """redis-benchmark for about the time asked for: it counts requests, so the last rate says how many."""
    def measure(loads, trial):
        known = trial.memo.get('rate')
        requests = int(known * trial.seconds) if known else FIRST_REQUESTS
        requests = max(requests, clients)
        _, figures = loaded(trial, lambda: loads.redis(trial.address, requests, clients, **options))
        trial.memo['rate'] = figures['rate']
        return figures
    return measure


def bulk(streams, reverse):
    def measure(loads, trial):
        _, figures = loaded(trial, lambda: loads.iperf3(trial.address, trial.seconds, streams, reverse), 1e9)
        figures['rate'] *= 8e-9    # bytes a second to Gbit/s
        return figures
    return measure


def pgbench(reconnect):
    def measure(loads, trial):
        return loaded(trial, lambda: loads.pgbench(trial.address, trial.seconds, 10, reconnect))[1]
    return measure


def greetings(loads, trial):
    load, figures = loaded(trial, lambda: loads.own('fresh-tcp', trial.address, trial.seconds, trial.seconds))
    return dict(figures, lost=load.details['failed'])


def queries(clients):
    def measure(loads, trial):
        load, figures = loaded(trial, lambda: loads.dnsperf(trial.address, trial.seconds, clients))
        return dict(figures, lost=load.details['lost'])
    return measure


def half_rate(loads, trial):
    """Queries at half of the rate that this contestant itself was seen to reach."""
    if 'best' not in trial.memo:
        trial.memo['best'] = queries(20)(loads, trial)['rate']
    rate = int(trial.memo['best'] / 2)
    load, figures = loaded(trial, lambda: loads.dnsperf(trial.address, trial.seconds, 20, rate))
    return dict(figures, lost=load.details['lost'])


def held(kind, count, sockets):
    """Resident memory of a fresh process for each of `count` idle connections or sessions, in KiB.

    sockets: how many the proxy has for each.
    """
    def measure(loads, trial):
        check_descriptors(trial, sockets * count + 500)
        with trial.running():
            before = settled_memory(trial)
            with loads.held(kind, trial.address, count):
                return {'memory': (trial.resident() - before) / 1024 / count}
    return measure


def prepare_latency(loads, trials):
    """The same rate for all: half of what the reference carries at 50 clients, if our client can do that."""
    reference = trials.get('haproxy') or list(trials.values())[0]
    half = loads.redis(reference.address, 20000, 50)
    for trial in trials.values():
        trial.memo['paced'] = min(MAX_PACED, int(0.5 * half.count / half.seconds))


def latency(loads, trial):
    load = loads.own('paced', trial.address, trial.seconds, trial.memo['paced'], trial.seconds, 50)
    figures = {name: load.details[name] for name in ('p50', 'p99', 'p99.9')}
    return dict(figures, rate=trial.memo['paced'], late=load.details['client_late_p99'])


def beside_idle(loads, trial):
    """Requests at a fixed rate on 50 connections while many others are idle."""
    check_descriptors(trial, 2 * IDLE_BESIDE + 600)
    with loads.held('hold-tcp', trial.address, IDLE_BESIDE):
        return paced(loads, trial, BESIDE_RATE)


def beside_bulk(loads, trial):
    """Requests at a fixed rate on 50 connections while one more moves as much as it can."""
    with loads.held('bulk-tcp', trial.address, 1):
        return paced(loads, trial, FAIR_RATE)


def paced(loads, trial, rate):
    load, figures = loaded(trial, lambda: loads.own('paced', trial.address, trial.seconds, rate, trial.seconds, 50))
    figures.update((name, load.details[name]) for name in ('p50', 'p99', 'p99.9'))
    return dict(figures, late=load.details['client_late_p99'])


def beside_greed(loads, trial):
    """Queries of 20 polite clients, each waiting for its reply, while one more sends without reading."""
    with loads.held('flood-udp', trial.address, 1):
        load = loads.own('polite-udp', trial.address, trial.seconds, trial.seconds, 20, bench.servers.DNS_NAME)
    figures = {name: load.details[name] for name in ('p50', 'p99', 'p99.9')}
    return dict(figures, rate=load.count / load.seconds, lost=load.details['lost'])


def settled_memory(trial):
    """Resident bytes once what a process loads after its first clients is there (SideLB: 10 MiB for the first look-up)."""
    deadline, seen = time.monotonic() + SETTLE_SECONDS, 0
    while trial.resident() > seen and time.monotonic() < deadline:
        seen = trial.resident()
        time.sleep(0.5)
    return trial.resident()


def idle_sessions(kind, count, sockets):
    """What `count` sessions cost that do nothing: share of a core, and memory of the whole process."""
    def measure(loads, trial):
        check_descriptors(trial, sockets * count + 500)
        with trial.running():
            with loads.held(kind, trial.address, count):
                time.sleep(1)
                return {'busy': share_of_core(trial, trial.rest_seconds), 'memory': trial.resident() / 1048576}
    return measure


def check_descriptors(trial, need):
    if trial.descriptors < need:
        raise bench.errors.BenchError('it needs {0} descriptors and the limit is {1} (ulimit -Hn)'.format(
            need, trial.descriptors))


def derive_added(results):
    """Latency beyond that of the direct connection in the same round."""
    floor = results.get('direct')
    for name, figures in results.items():
        if floor and name != 'direct':
            figures.update(('added ' + each, figures[each] - floor[each]) for each in ('p50', 'p99', 'p99.9'))


def derive_scaling(results):
    """What two processes carry by what one carries, for each core that they used by what one used."""
    one, two = results.get('sidelb'), results.get('sidelb-two')
    if one and two:
        one['scaling'] = (two['rate'] / one['rate']) / (two['busy'] / one['busy'])


def start_up(loads, trial):
    """From before fork to the first reply to a client that tries every few milliseconds."""
    if not trial.memo.get('warm'):
        with trial.running():    # files are in the page cache, bytecode is compiled: as on the second start
            trial.memo['warm'] = True
    begin = time.monotonic()
    with trial.running(wait=False):
        trial.wait_for_reply()
        return {'ready': 1000 * (time.monotonic() - begin), 'memory': trial.resident() / 1048576}


def at_rest(loads, trial):
    """Share of a core while nobody asks for anything, once the first probes and look-ups are done."""
    with trial.running():
        time.sleep(CHECK_SECONDS + 1)
        deadline = time.monotonic() + SETTLE_SECONDS
        while share_of_core(trial, 1) > 20 and time.monotonic() < deadline:
            pass
        return {'busy': share_of_core(trial, trial.rest_seconds), 'memory': trial.resident() / 1048576}


def share_of_core(trial, seconds):
    begin, before = time.monotonic(), trial.cpu()
    time.sleep(seconds)
    return 100 * (trial.cpu() - before) / (time.monotonic() - begin)
