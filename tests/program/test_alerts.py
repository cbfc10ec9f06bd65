"""packaging/monitoring over a real outage: what Prometheus has scraped of the real program raises each alert, and lets it
go again, and each expression of the dashboard shows something."""
from __future__ import absolute_import, division, print_function

import contextlib
import json
import math
import os
import re
import socket
import time

import gevent
import pytest

from sidelb_lib.observe import exposition

from ..support.clients import connect, how_it_ends, read_line
from ..support.nameserver import dead, name_server
from ..support.places import Reservation
from ..support.program import PROJECT
from ..support.prometheus import scraping
from ..support.requirements import need, need_program
from ..support.servers import Server, servers_on
from ..support.waiting import wait_until
from .test_roles import Database
from .test_services import address_of, service, serving

DIRECTORY = os.path.join(PROJECT, 'packaging', 'monitoring')


def alerts():
    """{name: expression}, in seconds instead of minutes."""
    with open(os.path.join(DIRECTORY, 'alerts.yaml')) as stream:
        found = re.findall(r'- alert: (\w+)\n +expr: (?:>-\n)?(.*?)\n +(?:for|labels):', stream.read(), re.DOTALL)
    assert len(found) > 8
    for minutes, seconds in (('[10m]', '[15s]'), ('[5m]', '[8s]'), ('> 600', '> 3')):
        found = [(name, expression.replace(minutes, seconds)) for name, expression in found]
    return dict(found)


def panels():
    """[(title, expression)] of the dashboard, with all variables replaced."""
    with open(os.path.join(DIRECTORY, 'dashboard.json')) as stream:
        board = json.load(stream)
    found = [(panel['title'], target['expr'].replace('$__rate_interval', '4s').replace('$service', '.*')
              .replace('$instance', '.*')) for panel in board['panels'] for target in panel.get('targets', [])]
    assert len(found) > 30 and not [text for _, text in found if '$' in text]
    return found


@contextlib.contextmanager
def in_background(*loops):
    greenlets = [gevent.spawn(loop) for loop in loops]
    try:
        yield
        assert not any(greenlet.ready() for greenlet in greenlets)
    finally:
        gevent.killall(greenlets)


@contextlib.contextmanager
def udp_server():
    """Echoes; yields its socket."""
    with contextlib.closing(socket.socket(socket.AF_INET, socket.SOCK_DGRAM)) as sock:
        sock.bind(('127.0.0.1', 0))

        def echo():
            while True:
                sock.sendto(*sock.recvfrom(100))
        with in_background(echo):
            yield sock


def one_of_everything(servers, others, databases, flapping, far, udp, dns):
    udp_name = '127.0.0.1:%d' % udp.getsockname()[1]
    return ('[sidelb]\nhttp = 127.0.0.1:0\n[defaults]\ncheck_interval = 100ms\ncheck_rise = 1\n' +
            service('db', *servers) + service('small', others[0], max_connections=5) +
            service('near', servers[0], '%s/tier=2' % far) +
            service('one', '%s/max=1' % flapping) + service('flapping', flapping) +
            service('roles', *databases, check='postgres/primary') +
            service('udp', udp_name, proto='udp', check='off') +
            service('closed', udp_name, proto='udp', check='off', allow='127.0.0.9') +
            '[service:ring]\nlistener = 127.0.0.1:0\ngroup = off\nring_domain = db.test.:%d\nrefresh = 1s\n'
            'resolver = 127.0.0.1:%d\n' % (servers[0].address[1], dns.address[1]))


def clients_of(sidelb):
    """Come again and again, two at once, whoever is there; of the service `one` the second one has to wait."""
    addresses = [address_of(sidelb, name) for name in ('db', 'ring', 'one')]
    with contextlib.closing(socket.socket(socket.AF_INET, socket.SOCK_DGRAM)) as sock:
        while True:
            for address in addresses:
                try:
                    with contextlib.closing(connect(address)) as one, contextlib.closing(connect(address)) as other:
                        for client in (one, other):
                            client.shutdown(socket.SHUT_WR)
                            how_it_ends(client)
                except EnvironmentError:         # reset before: refused
                    pass
            for name in ('udp', 'closed'):
                sock.sendto(b'question', address_of(sidelb, name))
            gevent.sleep(0.05)


@contextlib.contextmanager
def clients_that_stay(address, count):
    clients = [connect(address) for _ in range(count)]
    try:
        for client in clients:
            assert read_line(client)
        yield
    finally:
        for client in clients:
            client.close()


def wait_until_raised(prometheus, since, *names):
    """Until the expressions of these alerts have been true, if only for a moment."""
    def raised():
        gevent.sleep(0.1)                        # there is nothing new before
        missing = [name for name in names if not prometheus.since(since, alerts()[name], 0.25)]
        assert not missing, missing
        return True
    wait_until('an alert is not raised', raised, 30)


def all_is_well(prometheus):
    gevent.sleep(0.1)
    looks = prometheus.now('sum_over_time(up[3s]) >= 3')      # a rate needs some of what was before
    assert len(looks) == 2 and prometheus.now('sidelb_service_up{service="ring"} == 1')
    true = [name for name, expression in alerts().items() if prometheus.now(expression)]
    assert not true, true
    return True


def shows_something(prometheus, since, expression):
    return any(not math.isnan(float(value)) for series in prometheus.since(since, expression)
               for _, value in series['values'])


def state_of(sidelb, name):
    return sidelb.status()['services'][name]['members'][0]['state']


def flap(sidelb, server, times=4):
    for _ in range(times):
        server.die()
        wait_until('it is not down', lambda: state_of(sidelb, 'flapping') == 'down')
        server.listen()
        wait_until('it is not up', lambda: state_of(sidelb, 'flapping') == 'up')


@pytest.mark.once
@pytest.mark.patience(120)
def test_an_outage_raises_each_alert_until_it_ends_and_each_panel_shows_something(tmpdir):
    need('prometheus_client is not installed (%s)' % exposition.INSTALL, exposition.load())
    program = need_program('prometheus', 'prometheus')
    first, second = tmpdir.join('first.conf'), tmpdir.join('second.conf')
    ips = ['127.0.0.2', '127.0.0.3']
    with servers_on(ips) as servers, servers_on(ips) as others, Server('F') as flapping, Server('far') as far, \
            Database('127.0.0.4', b'off') as primary, Database('127.0.0.5', b'on') as replica, udp_server() as udp, \
            Reservation(['127.0.0.1']) as http, name_server() as dns:
        dns.zone.set_addresses('db.test', ips[:1], ttl=1)
        text = one_of_everything(servers, others, [primary, replica], flapping, far, udp, dns)
        first.write(text)
        # The second instance asks `others` how the servers of `db` are.
        second.write('[sidelb]\nhttp = 127.0.0.1:%d\n' % http.port + service(
            'db', *servers, check='tcp:%d' % others[0].address[1], check_interval='100ms', check_rise=1))
        with serving(str(first)) as sidelb:
            own = '127.0.0.1', int(sidelb.wait_for_log(r'at http://127\.0\.0\.1:(\d+)/').group(1))
            with scraping(program, tmpdir, [own, http.addresses[0]]) as prometheus, \
                    in_background(lambda: clients_of(sidelb)):
                with serving(str(second)), clients_that_stay(address_of(sidelb, 'small'), 4):
                    wait_until('all is not well before the outage', lambda: all_is_well(prometheus), 30)
                    began = time.time()
                    others[1].refuse()
                    wait_until_raised(prometheus, began, 'SidelbAddressDown')
                    with clients_that_stay(address_of(sidelb, 'small'), 1):
                        for server in servers:
                            server.die()
                        others[0].refuse()
                        replica.standby = b'off'
                        dns.misbehave(dead)
                        first.write(text + 'mode = wrong\n')
                        assert not json.loads(sidelb.ask(b'reload {}\n').decode('utf-8'))['ok']
                        flap(sidelb, flapping)
                        wait_until_raised(prometheus, began, *set(alerts()) - set(['SidelbDown']))
                wait_until_raised(prometheus, began, 'SidelbDown')
                dns.behave()
                replica.standby = b'on'
                for server in servers + others:
                    server.listen()
                with serving(str(second)):
                    wait_until('all is not well after the outage', lambda: all_is_well(prometheus), 40)
                empty = [panel for panel in panels() if not shows_something(prometheus, began, panel[1])]
                assert not empty, '\n'.join(map(str, empty))
