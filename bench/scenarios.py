"""The scenarios: what is configured, what load is sent, which figures come out.

A `Scenario` is a plain record. Its `job(servers, index)` says what the proxy of contestant number `index`
serves; its `measure(loads, trial)` loads `trial` once and returns a dict of figures by metric name.
"""
from __future__ import absolute_import, division, print_function

import collections
import time

import bench.errors
import bench.servers
from bench.contestants import job

TCP = ('sidelb', 'haproxy', 'nginx', 'envoy', 'direct')
TCP_PROXIES = ('sidelb', 'haproxy', 'nginx', 'envoy')
TWO = ('sidelb-two', 'sidelb', 'direct')
BULK = ('sidelb', 'haproxy', 'haproxy-splice', 'nginx', 'envoy', 'direct')
UDP = ('sidelb', 'nginx', 'envoy', 'dnsdist', 'direct')
FAIR_UDP = ('sidelb', 'nginx', 'envoy', 'direct')
MICROSECONDS = '\xb5s'
FIRST_REQUESTS = 5000        # of redis-benchmark, when the rate is not known yet
MAX_PACED = 20000            # requests a second that clients.py paced can send without being late itself
IDLE_BESIDE = 5000           # idle connections beside 50 active ones, which send so many requests a second:
BESIDE_RATE = 15000
FAIR_RATE = 3000             # requests a second of 50 clients beside one that moves bulk
IDLE_SESSIONS = 8000
UDP_SESSIONS = 10000
REST_MEMBERS = 1000
CHECK_SECONDS = 5
SETTLE_SECONDS = 30

# better: 'higher', 'lower' or None when it is neither good nor bad, only needed to read the others
Metric = collections.namedtuple('Metric', 'name label unit better')

Scenario = collections.namedtuple(
    'Scenario', 'name title contestants reference job measure metrics fresh warm_up quick prepare derive spread')


def scenario(name, title, contestants, job, measure, metrics, fresh=False, warm_up=False, quick=True,
             prepare=None, derive=None, spread=False):
    """fresh: a new process for each measurement, started by `measure`; warm_up: `measure` learns from a short
    first round that does not count (how many requests to ask for); quick: part of --quick;
    prepare(loads, trials): once, before the first round; derive(results): each round, on its dict of figures
    by contestant, to add those that need another contestant's; spread: the proxies may use every core."""
    reference = 'haproxy' if 'haproxy' in contestants else contestants[min(1, len(contestants) - 1)]
    return Scenario(name, title, contestants, reference, job, measure, metrics, fresh, warm_up, quick,
                    prepare, derive, spread)


# Jobs ------------------------------------------------------------------------------------------------------

def on_redis(servers, index):
    """One Redis; each contestant calls it by an address of its own, and so has all source ports to itself."""
    return job([('127.0.0.{0}'.format(index + 2), servers.port('redis'))])


def on_many(count, **options):
    """`count` members, which are one Redis under as many addresses."""
    def many(servers, index):
        return job(bench.servers.member_addresses(count, servers.port('redis')), **options)
    return many


def on(kind, **options):
    """One server of `kind`."""
    def one(servers, index):
        return job([(bench.servers.HOST, servers.port(kind))], **options)
    return one


def at_rest_on_many(servers, index):
    """A thousand members given by address, whose names are found by address."""
    members = bench.servers.member_addresses(REST_MEMBERS, servers.port('redis'))
    return job(members, check=CHECK_SECONDS, resolver=name_server(servers))


def at_rest_on_ring(servers, index):
    """The same, found by name."""
    return job([], check=CHECK_SECONDS, ring=(bench.servers.RING_NAME, servers.port('redis')), resolver=name_server(servers))


def name_server(servers):
    return '{0}:{1}'.format(bench.servers.HOST, servers.port('unbound'))


# Measurements ----------------------------------------------------------------------------------------------

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


# The table -------------------------------------------------------------------------------------------------

BUSY = Metric('busy', 'proxy core busy', '%', None)
LOST = Metric('lost', 'lost', '', 'lower')
MEMORY = Metric('memory', 'resident memory', 'MiB', 'lower')


def rates(plural, singular):
    """The usual three metrics of something that is done as often as possible."""
    return (Metric('rate', plural, '/s', 'higher'),
            Metric('cpu', 'CPU per ' + singular, MICROSECONDS, 'lower'), BUSY)


REQUESTS = rates('requests', 'request')
BYTES = (Metric('rate', 'throughput', 'Gbit/s', 'higher'), Metric('cpu', 'CPU per GB', 's', 'lower'), BUSY)
CONNECTIONS = rates('connections', 'connection')
QUERIES = rates('queries', 'query') + (LOST,)
TRANSACTIONS = rates('transactions', 'transaction')
LATENCIES = tuple(Metric(kind + share, kind + share, MICROSECONDS, 'lower')
                  for kind in ('added ', '') for share in ('p50', 'p99', 'p99.9')) + (
    Metric('rate', 'requests sent', '/s', None), Metric('late', 'client late, p99', MICROSECONDS, None))
PACED = tuple(Metric(share, share, MICROSECONDS, 'lower') for share in ('p50', 'p99', 'p99.9')) + (
    Metric('cpu', 'CPU per request', MICROSECONDS, 'lower'), BUSY, Metric('late', 'client late, p99', MICROSECONDS, None))
POLITE = PACED[:3] + (Metric('rate', 'polite queries', '/s', 'higher'), LOST)
PER_CONNECTION = (Metric('memory', 'memory per connection', 'KiB', 'lower'),)
PER_SESSION = (Metric('memory', 'memory per session', 'KiB', 'lower'),)


def scenarios():
    """All of them, in the order in which they run."""
    found = []

    def add(*arguments, **options):
        found.append(scenario(*arguments, **options))

    for clients in (1, 50, 500):
        title = 'small request/reply, {0} client{1}'.format(clients, 's' if clients > 1 else '')
        add('requests-{0}'.format(clients), title, TCP, on_redis, redis(clients), REQUESTS, warm_up=True)
    add('pipelined', 'small requests, 16 at a time, 50 clients', TCP, on_redis, redis(50, pipeline=16),
        REQUESTS, warm_up=True)
    for label, size in (('64', 64), ('4k', 4096), ('64k', 65536)):
        add('size-' + label, 'request and reply of {0} bytes each, 50 clients'.format(size), TCP, on_redis,
            redis(50, payload=size), REQUESTS, warm_up=True, quick=False)
    for streams in (1, 8):
        for way, reverse in (('up', False), ('down', True)):
            title = 'bulk, {0} stream{1}, {2}'.format(
                streams, 's' if streams > 1 else '', 'to the client' if reverse else 'to the server')
            add('bulk-{0}-{1}'.format(streams, way), title, BULK, on('iperf3'), bulk(streams, reverse), BYTES,
                quick=streams == 1 or reverse)
    add('connections', 'new connections with one request each, 50 clients', TCP, on_redis,
        redis(50, reconnect=True), CONNECTIONS, warm_up=True)
    add('connections-light', 'new connections that the server greets and closes', TCP, on('greeter'),
        greetings,
        CONNECTIONS + (LOST,))
    add('pgbench', 'pgbench -S, 10 clients', TCP, on('postgres'), pgbench(False), TRANSACTIONS)
    add('pgbench-connect', 'pgbench -S -C, 10 clients', TCP, on('postgres'), pgbench(True), TRANSACTIONS,
        quick=False)
    add('latency', 'added latency at half load, 50 clients', TCP, on_redis, latency, LATENCIES,
        prepare=prepare_latency, derive=derive_added)
    add('idle-and-active', '{0} idle connections and 50 active ones, {1} requests/s'.format(IDLE_BESIDE, BESIDE_RATE),
        TCP, on_redis, beside_idle, PACED)
    add('fair-bulk', '50 small clients beside one that moves bulk, {0} requests/s'.format(FAIR_RATE), TCP, on_redis,
        beside_bulk, PACED, quick=False)
    add_members(add)
    add_memory(add)
    add_udp(add)
    add('two-processes', 'new connections, one process and two on all cores', TWO, on_redis, redis(50, reconnect=True),
        CONNECTIONS + (Metric('scaling', 'two by one, for each core used', '', 'higher'),), warm_up=True, quick=False,
        derive=derive_scaling, spread=True)
    return found


def add_members(add):
    for count in (10, 100, 1000):
        add('members-{0}'.format(count), 'new connections, picking among {0} members'.format(count),
            TCP_PROXIES,
            on_many(count), redis(50, reconnect=True), CONNECTIONS, warm_up=True,
            quick=count == 1000)
    add('members-1000-least', 'the same, least-connections among 1000', TCP_PROXIES,
        on_many(1000, mode='least-connections'), redis(50, reconnect=True), CONNECTIONS, warm_up=True,
        quick=False)


def add_memory(add):
    add('start', 'start to the first reply', TCP_PROXIES, on_redis, start_up,
        (Metric('ready', 'start to first reply', 'ms', 'lower'), MEMORY), fresh=True)
    for count in (1000, 4000, 8000):
        add('idle-{0}'.format(count), '{0} idle connections'.format(count), TCP_PROXIES, on_redis,
            held('hold-tcp', count, 2), PER_CONNECTION, fresh=True, quick=count == 1000)
    at_rest_metrics = (BUSY._replace(better='lower'), MEMORY)
    add('rest-probes', '{0} members at rest, a probe each every {1} s'.format(REST_MEMBERS, CHECK_SECONDS),
        ('sidelb', 'haproxy'), at_rest_on_many, at_rest, at_rest_metrics,
        fresh=True)
    for kind, label, sockets, what, who in (
            ('hold-tcp', 'tcp', 2, on_redis, TCP_PROXIES),
            ('hold-udp', 'udp', 1, on('unbound', protocol='udp'), ('sidelb', 'nginx', 'envoy'))):
        title = '{0} idle {1} sessions at rest'.format(IDLE_SESSIONS, label.upper())
        add('rest-{0}-{1}'.format(IDLE_SESSIONS, label), title, who, what,
            idle_sessions(kind, IDLE_SESSIONS, sockets), at_rest_metrics, fresh=True, quick=False)
    add('rest-ring', 'the same, found by DNS with a TTL of {0} s'.format(bench.servers.RING_TTL), ('sidelb',),
        at_rest_on_ring, at_rest, at_rest_metrics, fresh=True, quick=False)


def add_udp(add):
    add('udp-20', 'UDP queries, 20 clients', UDP, on('unbound', protocol='udp'), queries(20), QUERIES)
    add('udp-half', 'the same at half the rate of each', UDP, on('unbound', protocol='udp'), half_rate,
        (LOST, Metric('rate', 'queries', '/s', None), BUSY))
    add('udp-new', 'UDP queries, a new session each', UDP, on('unbound', protocol='udp', responses=1),
        queries(1000), QUERIES)
    add('udp-fair', '20 polite UDP clients beside a greedy one', FAIR_UDP, on('unbound', protocol='udp'), beside_greed,
        POLITE, quick=False)
    add('udp-idle', '{0} UDP sessions'.format(UDP_SESSIONS), ('sidelb', 'nginx', 'envoy'),
        on('unbound', protocol='udp'),
        held('hold-udp', UDP_SESSIONS, 1), PER_SESSION, fresh=True, quick=False)
