"""The scenarios: what is configured, what load is sent, which figures come out.

A `Scenario` is a plain record. Its `job(servers, index)` says what the proxy of contestant number `index`
serves; its `measure` is one of `bench.measurements`.
"""
from __future__ import absolute_import, division, print_function

import collections

import bench.servers
from bench.contestants import job
from bench.measurements import (
    BESIDE_RATE, CHECK_SECONDS, FAIR_RATE, IDLE_BESIDE, at_rest, beside_bulk, beside_greed, beside_idle, bulk, derive_added,
    derive_scaling, greetings, half_rate, held, idle_sessions, latency, pgbench, prepare_latency, queries, redis, start_up)

TCP = ('sidelb', 'haproxy', 'nginx', 'envoy', 'direct')
TCP_PROXIES = ('sidelb', 'haproxy', 'nginx', 'envoy')
TWO = ('sidelb-two', 'sidelb', 'direct')
BULK = ('sidelb', 'haproxy', 'haproxy-splice', 'nginx', 'envoy', 'direct')
UDP = ('sidelb', 'nginx', 'envoy', 'dnsdist', 'direct')
FAIR_UDP = ('sidelb', 'nginx', 'envoy', 'direct')
MICROSECONDS = '\xb5s'
IDLE_SESSIONS = 8000
UDP_SESSIONS = 10000
REST_MEMBERS = 1000

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
