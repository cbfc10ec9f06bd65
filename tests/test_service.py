"""A whole service in this process: clients before the first answers of DNS, and what is said at the start."""
from __future__ import absolute_import, division, print_function

import contextlib
import json
import os
import socket
import sys

import gevent
import pytest
from gevent.event import Event

from sidelb_lib.config.settings import defaults
from sidelb_lib.errors import NobodyReachable
from sidelb_lib.limits import Budget
from sidelb_lib.observe.snapshot import verdict_of
from sidelb_lib.service.service import Service

from .support import nameserver
from .support.making import making
from .support.nameserver import name_server
from .support.processes import run
from .support.recording import RecordingLog
from .support.waiting import wait_until
from .tcp.parts import NamedEcho, exchange
from .udp.parts import NamedEcho as UdpEcho

NEAR = 'us.example.com'

echo = making(NamedEcho, NamedEcho.stop)
udp_echo = making(UdpEcho, UdpEcho.stop)


@pytest.fixture
def dns():
    with name_server() as server:
        server.zone.set_addresses(NEAR, ['127.0.0.1'])
        yield server


@contextlib.contextmanager
def serving(dns, near, far, **changes):
    """The name NEAR leads to the server `near`; `far`, if any, is written with its address, in tier 2
    unless said otherwise."""
    changes = dict(dict(connect_timeout=8.0, refresh=1.0, group='off'), **changes)
    backends = '127.0.0.1:%d%s' % (far.endpoint[1], changes.pop('options', '/tier=2')) if far else None
    changes.setdefault('ring_domains', '%s:%d' % (NEAR, near.endpoint[1]))
    settings = defaults(listener='127.0.0.1:0', check='off', resolver=(dns.address,), backends=backends, **changes)
    service = Service(settings, RecordingLog(), Budget(1000), chance=lambda: 0.0, hosts='/nonexistent',
                      resolv_conf='/nonexistent')
    service.bind()
    service.start()
    try:
        yield service
    finally:
        service.stop()
        service.server.cut_all()


def client_of(service):
    return socket.create_connection(service.server.address[:2], 10)


def test_clients_wait_for_the_first_answer_of_a_better_tier(dns, echo):
    gate = Event()
    dns.misbehave(nameserver.until(gate), NEAR)
    with serving(dns, echo('near'), echo('far')) as service, contextlib.closing(client_of(service)) as client:
        wait_until('the name is looked up', lambda: dns.count(NEAR))
        assert not service.server.sessions or all(session.lease is None for session in service.server.sessions)
        assert not service.log.events('tier_changed')
        gate.set()
        assert exchange(client) == 'near'
        assert not service.log.events('tier_changed')
        with contextlib.closing(client_of(service)) as other:
            assert exchange(other) == 'near'


def test_a_better_tier_whose_look_up_fails_is_waited_for_no_longer(dns, echo):
    dns.misbehave(nameserver.rcode('NXDOMAIN'), NEAR)
    with serving(dns, echo('near'), echo('far')) as service, contextlib.closing(client_of(service)) as client:
        assert exchange(client) == 'far'
        assert service.sources[-1].settled
        assert verdict_of(service)['text'] == 'the only server is up, tier 2 takes new sessions, DNS empty'
        assert service.log.events('tier_changed') == ['new sessions go to tier 2: 1 of 1 servers up; tier 1 takes none']


def test_a_better_tier_that_never_answers_is_waited_for_as_long_as_for_a_connect(dns, echo):
    dns.misbehave(nameserver.dead, NEAR)
    with serving(dns, echo('near'), echo('far'), connect_timeout=0.3) as service:
        with contextlib.closing(client_of(service)) as client:
            assert exchange(client) == 'far'
        assert not service.startup()[0]
        assert not service.pool.awaits_answers


@pytest.mark.parametrize('proto', ['tcp', 'udp'])
def test_while_nobody_is_known_a_client_that_waits_has_the_name_looked_up(dns, echo, udp_echo, proto):
    dns.zone.remove(NEAR)
    dns.zone.negative_ttl = 300                # it would look again after that, or when a client has waited in vain
    near = udp_echo('near') if proto == 'udp' else echo('near')
    with serving(dns, near, None, proto=proto, refresh=300.0) as service:
        source, = service.sources or wait_until('there is a source', lambda: service.sources)
        wait_until('its first look-up has ended', lambda: source.state == 'empty')
        source._pace.shortest = 0.0
        asked = dns.count(NEAR)
        dns.zone.set_addresses(NEAR, ['127.0.0.1'])
        if proto == 'tcp':
            with contextlib.closing(client_of(service)) as client:
                assert exchange(client) == 'near'
        else:
            with contextlib.closing(socket.socket(socket.AF_INET, socket.SOCK_DGRAM)) as client:
                client.settimeout(10)
                client.sendto(b'early', service.server.address[:2])
                assert client.recv(100) == b'near early'
        assert dns.count(NEAR) > asked


@pytest.mark.parametrize('options', ['/tier=2', ''])
def test_a_client_that_finds_only_dead_servers_waits_for_the_first_answer_of_another_name(dns, echo, options):
    gate, dead, far = Event(), echo('near'), echo('far')
    dead.stop()
    dns.zone.set_addresses('de.example.com', ['127.0.0.1'])
    dns.misbehave(nameserver.until(gate), 'de.example.com')
    rings = '%s:%d,de.example.com:%d%s' % (NEAR, dead.endpoint[1], far.endpoint[1], options)
    with serving(dns, dead, None, ring_domains=rings) as service:
        wait_until('the dead server is known', lambda: service.pool.members)
        with contextlib.closing(client_of(service)) as client:
            wait_until('the client has been refused by the dead server', lambda: service.pool.members[0].addresses[0].failed)
            wait_until('it waits', lambda: len(service.server.queue))
            gate.set()
            assert exchange(client) == 'far'


def test_servers_of_the_first_answers_are_not_cold_and_those_that_come_later_are(dns, echo):
    gate = Event()
    dns.misbehave(nameserver.until(gate), NEAR)
    with serving(dns, echo('near'), echo('far'), options='', slow_start=60.0, refresh=300.0) as service:
        wait_until('the name is asked for', lambda: dns.count(NEAR))
        assert [member.up for member in service.pool.members] == [True]
        gate.set()
        wait_until('the name is looked up', lambda: len(service.pool.members) == 2)
        assert [member.weight for member in service.pool.members] == [1, 1]
        wait_until('nothing is expected any more', lambda: not service.pool.expected)
        dns.zone.set_addresses(NEAR, ['127.0.0.1', '127.0.0.2'])
        service.refresh()
        wait_until('there is another one', lambda: len(service.pool.members) == 3)
        assert sorted(member.weight for member in service.pool.members) == [0.1, 1, 1]


def test_settings_that_do_not_choose_begin_nothing_anew(dns, echo):
    """A reload while a tier returns does not let all of its sessions back at once."""
    near, far = echo('near'), echo('far')
    with serving(dns, near, far, tier_return=30.0) as service:
        wait_until('both are known', lambda: len(service.pool.members) == 2)
        address = [member for member in service.pool.members if member.tier == 1][0].addresses[0]
        while address.up:
            service.pool.report_failure(address, 'refused')
        service.pool.restore(address)
        assert service.pool.tier_parts()[1] < 0.5
        service.change(service._given._replace(connect_timeout=9.0))
        assert service.pool.tier_parts()[1] < 0.5


def test_a_name_that_a_reload_takes_out_while_its_servers_are_taken_in_leaves_none_behind(dns, echo):
    dns.zone.set_addresses(NEAR, ['127.0.0.%d' % number for number in range(1, 101)])
    in_a_pause = Event()
    with serving(dns, echo('near'), echo('far')) as service:
        wait_until('all are known', lambda: len(service.pool.members) == 101)
        service.pool._pause = lambda: in_a_pause.set() or Event().wait()
        dns.zone.set_addresses(NEAR, ['127.0.1.%d' % number for number in range(1, 101)])
        service.refresh()
        assert in_a_pause.wait(10)
        service.pool._pause = None
        service.change(service._given._replace(ring_domains=()))
        assert [member.tier for member in service.pool.members] == [2]


@pytest.mark.parametrize('rcode', [None, 'SERVFAIL', 'NXDOMAIN'])
@pytest.mark.parametrize('ring', [NEAR, '_db._tcp.example.com'])
def test_a_reload_that_has_a_name_looked_up_in_another_way_takes_no_server_out(dns, echo, ring, rcode):
    near = echo('near')
    dns.zone.set('_db._tcp.example.com', 'SRV', ['0 0 %d %s.' % (near.endpoint[1], NEAR)])
    heard = []
    with serving(dns, near, None, ring_domains='%s:%d' % (ring, near.endpoint[1])) as service:
        wait_until('the server is known', lambda: service.pool.members)
        service.pool.observers.append(lambda event, subject: heard.append(event))
        if rcode:
            dns.misbehave(nameserver.rcode(rcode), NEAR)
            dns.misbehave(nameserver.rcode(rcode), '_db._tcp.example.com')
        service.change(service._given._replace(refresh=2.0))
        wait_until('it has been looked up', lambda: all(source.settled for source in service.sources))
        assert 'removed' not in heard and len(service.pool.members) == 1


def test_a_reload_takes_no_server_out_that_a_file_lists_by_name(dns, echo, tmpdir):
    near, listed, heard = echo('near'), tmpdir.join('servers'), []
    listed.write('%s:%d\n' % (NEAR, near.endpoint[1]))
    with serving(dns, near, None, ring_domains=None, servers_file=str(listed)) as service:
        wait_until('the server is known', lambda: service.pool.members)
        service.pool.observers.append(lambda event, subject: heard.append(event))
        dns.misbehave(nameserver.rcode('SERVFAIL'), NEAR)
        service.change(service._given._replace(refresh=2.0))
        wait_until('it has been looked up', lambda: all(source.settled for source in service.sources))
        assert 'removed' not in heard and len(service.pool.members) == 1
        listed.write('127.0.0.1:%d\n' % near.endpoint[1])
        wait_until('it has left the file', lambda: [member.name for member in service.pool.members] == [
            '127.0.0.1:%d' % near.endpoint[1]])
        service.change(service._given._replace(refresh=3.0))
        service.change(service._given._replace(servers_file=None))
        assert not service.pool.members


def test_a_limit_that_a_reload_brings_is_kept(dns, echo):
    near, far = echo('near'), echo('far')
    with serving(dns, near, far) as service:
        wait_until('both are known', lambda: len(service.pool.members) == 2)
        limited = defaults(backends='127.0.0.1:%d/tier=2/max=1' % far.endpoint[1]).backends
        service.change(service._given._replace(backends=limited))
        wait_until('the limit is known', lambda: [member.limit for member in service.pool.members if member.limit])
        address = [member for member in service.pool.members if member.tier == 1][0].addresses[0]
        with service.pool.take(service.pool.tried(address)) as lease:
            assert lease.address.member.tier == 2
            with pytest.raises(NobodyReachable):
                service.pool.take(service.pool.tried(address))


def test_nobody_waits_for_a_name_of_the_same_tier(dns, echo):
    dns.misbehave(nameserver.until(Event()), NEAR)
    with serving(dns, echo('near'), echo('far'), options='') as service, contextlib.closing(client_of(service)) as client:
        assert exchange(client) == 'far'


def test_first_datagrams_wait_for_the_first_answer_of_a_better_tier(dns, udp_echo):
    gate = Event()
    dns.misbehave(nameserver.until(gate), NEAR)
    near, far = udp_echo('near'), udp_echo('far')
    with serving(dns, near, far, proto='udp') as service:
        with contextlib.closing(socket.socket(socket.AF_INET, socket.SOCK_DGRAM)) as client:
            client.settimeout(10)
            wait_until('the name is looked up', lambda: dns.count(NEAR))
            client.sendto(b'early', service.server.address[:2])        # now: datagrams are not kept for long
            gevent.sleep(0.05)
            gate.set()
            assert client.recv(100) == b'near early'
    assert far.received == []


@pytest.mark.parametrize('mode, told', [('source', True), ('round-robin', False)])
def test_mode_source_on_loopback_is_warned_of(dns, echo, mode, told):
    with serving(dns, echo('near'), None, mode=mode) as service:
        assert bool(service.log.events('source_is_one_client')) == told


# --- what is off ----------------------------------------------------------------------------------------------------------

USED_ONCE = """
import ast, contextlib, json, socket, sys
from sidelb_lib.patching import patch_all
patch_all()
import gevent
from gevent.server import StreamServer
from sidelb_lib.config.settings import defaults
from sidelb_lib.limits import Budget
from sidelb_lib.observe.snapshot import verdict_of
from sidelb_lib.service.service import Service
from tests.support.recording import RecordingLog
changes = ast.literal_eval(sys.argv[1])
server = StreamServer(('127.0.0.1', 0), lambda sock, _: sock.sendall(b'x'))
server.start()
service = Service(defaults(listener='127.0.0.1:0', backends='127.0.0.1:%d' % server.address[1], **changes),
                  RecordingLog(), Budget(1000), hosts='/nonexistent', resolv_conf='/nonexistent')
service.bind()
service.start()
with contextlib.closing(socket.create_connection(service.server.address[:2], 10)) as client:
    assert client.recv(1) == b'x'
print(json.dumps(sorted(name[11:] for name in sys.modules if name.startswith('sidelb_lib.'))))
"""

OPTIONAL = {
    'early_close': ('failure', ['tcp.early_end', 'tcp.watched_session']),
    'slow_start': ('10s', ['pool.slow_start']),
    'proxy': ('v1', ['tcp.proxied_session']),
    'allow': ('127.0.0.0/8', ['tcp.admission']),
    'source': ('127.0.0.1', ['net.source']),
}


def loaded(**changes):
    """The modules that a service has loaded when it has served one client."""
    project = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
    finished = run([sys.executable, '-c', USED_ONCE, repr(changes)], cwd=project)
    assert finished.returncode == 0, finished
    return json.loads(finished.stdout.splitlines()[-1])


def test_what_is_off_is_not_loaded():
    named = [name for _, names in OPTIONAL.values() for name in names]
    named += ['service.rebalancing', 'pool.shares', 'tcp.session_end', 'tcp.timed_relay']
    assert not set(named).intersection(loaded())
    changes = dict((key, value) for key, (value, _) in OPTIONAL.items())
    everything = loaded(**changes)
    assert [name for _, names in OPTIONAL.values() for name in names if name not in everything] == []
