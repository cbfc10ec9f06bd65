"""Two zones behind a real name server, and the real program: which one serves, and what people are told of it."""
from __future__ import absolute_import, division, print_function

import contextlib
import signal

from ..support.clients import read_line
from ..support.knot import Knot
from ..support.metrics import fetch, sidelb_with_metrics
from ..support.program import Sidelb, run_sidelb
from ..support.servers import servers_on
from .test_roles import Database, begun

US, DE = ['127.1.1.%d' % n for n in (1, 2, 3)], ['127.1.2.%d' % n for n in (1, 2, 3)]
US_NAMES, DE_NAMES = ['us1', 'us2', 'us3'], ['de1', 'de2', 'de3']


class Zones(object):
    """`us` and `de` are three servers each, `balancer` has us in tier 1 and de in tier 2."""

    def __init__(self, servers, balancer, name_server, port):
        self.us, self.de = servers[:3], servers[3:]
        self.balancer = balancer
        self.name_server = name_server
        self.port = port

    def who(self, count):
        """The names of the servers of so many new sessions; '' for one that got none."""
        return set(self.balancer.who() for _ in range(count))

    def wait_until_up(self, *servers):
        self.balancer.wait_until_up(*servers, timeout=20)

    @property
    def verdict(self):
        return self.balancer.status()['verdict']['text']

    @property
    def tiers(self):
        return [line.split(' ', 1)[1] for line in self.balancer.log.splitlines() if 'new sessions go to tier' in line]


@contextlib.contextmanager
def zones(*settings):
    with servers_on(US + DE, US_NAMES + DE_NAMES) as servers:
        port = servers[0].address[1]
        records = ['us A ' + ip for ip in US] + ['de A ' + ip for ip in DE]
        with Knot('example.test', records) as knot, sidelb_with_metrics(
                'ring_domain=us.example.test:%d,de.example.test:%d/tier=2' % (port, port), 'resolver=%s:%d' % knot.address,
                'group=off', 'check_interval=200ms', *settings, environ={'SIDELB_RESOLVER': None}) as balancer:
            found = Zones(servers, balancer, knot, port)
            found.wait_until_up(*servers)
            yield found


def test_the_next_zone_serves_while_the_nearest_one_is_down_and_everybody_is_told():
    with zones('tier_return=600s') as world:
        assert world.who(9) == set(US_NAMES) and world.verdict == 'all 6 up' and world.tiers == []
        world.us[0].refuse()
        assert world.who(9) == set(['us2', 'us3'])
        for server in world.us:
            server.refuse()
        assert world.who(9) == set(DE_NAMES)           # nobody is refused
        world.wait_until_up(*world.de)
        told = '3 of 6 up, 3 down, tier 2 takes new sessions'
        assert world.verdict == told
        assert fetch(world.balancer.http, '/readiness')[2].strip() == told
        assert told in run_sidelb('status', environ={'SIDELB_STATUS_SOCKET': world.balancer.status_path}).stdout
        assert world.balancer.metrics().values('sidelb_tier_share', 'tier') == {'1': 0, '2': 1}
        assert [change['text'] for change in world.balancer.status()['changes'] if change['word'] == 'tier'] == [
            'new sessions go to tier 2']
        with contextlib.closing(world.balancer.connect()) as client:
            assert read_line(client) in DE_NAMES
            world.us[0].listen()
            world.wait_until_up(world.us[0], *world.de)
            assert world.who(9) == set(DE_NAMES)       # for its share grows for ten minutes
            client.sendall(b'still here\n')
            assert read_line(client) == 'still here'
        world.balancer.wait_for_log('its share grows')
        assert world.tiers == ['warning new sessions go to tier 2: 3 of 3 servers up; tier 1 takes none',
                               'info new sessions go to tier 1: 1 of 3 servers up; its share grows for 600 s']
        assert world.balancer.status()['connections']['refused'] == {}


def test_a_zone_that_is_back_takes_everybody_in_the_end():
    with zones('tier_return=1s') as world:
        for server in world.us:
            server.refuse()
        assert world.who(6) == set(DE_NAMES)
        world.wait_until_up(*world.de)
        for server in world.us:
            server.listen()
        world.wait_until_up(*(world.us + world.de))
        world.balancer.wait_for_status('the nearest zone takes all again', lambda status: status['tiers'] == [
            {'tier': 1, 'part': 1}, {'tier': 2, 'part': 0}])
        assert world.who(9) == set(US_NAMES) and world.verdict == 'all 6 up'


def test_with_spill_the_next_zone_helps_as_the_table_says():
    with zones('spill=1.4', 'tier_return=0') as world:
        for down, share in ((1, '93'), (2, '46')):
            world.us[down - 1].refuse()
            world.wait_until_up(*(world.us[down:] + world.de))
            assert world.verdict.endswith('tier 1 takes %s %% of new sessions' % share)
        names = [world.balancer.who() for _ in range(200)]
        assert 40 < names.count('us3') < 140 and set(names) == set(['us3'] + DE_NAMES)
        world.us[2].refuse()
        world.wait_until_up(*world.de)
        assert world.who(9) == set(DE_NAMES)


def test_a_zone_whose_name_is_gone_is_let_go_after_the_hold():
    with zones('tier_return=600s', 'refresh=1s', 'dns_hold=1s') as world:
        world.name_server.set_records(['de A ' + ip for ip in DE])
        world.balancer.signal(signal.SIGHUP)
        world.balancer.wait_for_status('the zone has left', lambda status: len(status['members']) == 3, timeout=20)
        assert world.who(9) == set(DE_NAMES)
        assert world.verdict == 'all 3 up, tier 2 takes new sessions, DNS empty'
        world.balancer.wait_for_log('warning new sessions go to tier 2: 3 of 3 servers up; tier 1 takes none')


def test_a_zone_that_people_drain_gives_its_sessions_to_the_next_one_and_keeps_those_it_has():
    with zones('tier_return=600s') as world:
        environ = {'SIDELB_STATUS_SOCKET': world.balancer.status_path}
        with contextlib.closing(world.balancer.connect()) as client:
            assert read_line(client) in US_NAMES
            for server in world.us:
                assert run_sidelb('drain', str(server), environ=environ).returncode == 0
            assert world.who(9) == set(DE_NAMES)
            assert world.balancer.status()['verdict'] == {
                'level': 'good', 'text': '3 of 6 up, 3 draining, tier 2 takes new sessions'}
            client.sendall(b'still here\n')
            assert read_line(client) == 'still here'


def test_the_primary_is_taken_wherever_it_is_and_when_it_comes_home_at_once():
    with Database('127.0.0.2', b'on') as near, Database('127.0.0.3', b'off') as far, Sidelb(
            'check=postgres/primary', 'check_interval=200ms', near, '%s/tier=2' % far, 'tier_return=600s') as balancer:

        def wait_for(*states):
            balancer.wait_for_status('the states are not %s' % (states,), lambda status: list(states) == [
                member['state'] for member in sorted(status['members'], key=lambda member: member['tier'])])
        wait_for('standby', 'up')
        assert begun(balancer)[:1] == b'R' and len(far.sessions_begun) == 1 and not near.sessions_begun
        near.standby, far.standby = b'off', b'on'
        wait_for('up', 'standby')
        for _ in range(3):
            assert begun(balancer)[:1] == b'R'
        assert len(near.sessions_begun) == 3           # whatever tier_return says: no other may be taken
