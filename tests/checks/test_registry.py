"""How a check is chosen, and that a new one is a file and a row."""
from __future__ import absolute_import, division, print_function

import random

import gevent
import pytest

from sidelb_lib.checks import registry
from sidelb_lib.checks.exchange import Deadline, ProbeFailed
from sidelb_lib.checks.prober import Prober
from sidelb_lib.compat import monotonic
from sidelb_lib.config.settings import defaults
from sidelb_lib.policies.round_robin import RoundRobin
from sidelb_lib.pool.members import Address
from sidelb_lib.pool.pool import Pool

from ..support.recording import RecordingLog
from ..support.servers import Server
from ..support.waiting import wait_until


def mistake(text):
    with pytest.raises(ValueError) as raised:
        registry.parse(text)
    return str(raised.value)


@pytest.mark.parametrize('text, name, port', [
    ('tcp', 'tcp', None), ('TCP', 'tcp', None), ('udp', 'udp', None), ('dns', 'dns', None), ('off', 'off', None),
    ('false', 'off', None), ('send:00ff,expect:4F4b', 'script', None), ('dns/a.example', 'dns', None),
    ('tcp:8080', 'tcp', 8080), ('want:a:1/2', 'script', None)])
def test_a_choice(text, name, port):
    choice = registry.parse(text)
    assert (choice.name, choice.port) == (name, port)


def test_a_choice_reads_as_it_was_written():
    for text in ('tcp', 'off', 'send:00ff,expect:4F4b'):
        assert str(registry.parse(text)) == text
        assert registry.parse(text) == registry.parse(text)
    assert registry.parse('tcp') != registry.parse('udp')


def test_every_row_has_a_module_of_the_contract():
    for check in registry.CHECKS:
        module = registry._module(check.name)
        assert module.parse and module.make, check


def test_an_unknown_one_names_all():
    said = mistake('nonsense!')
    assert said.startswith('choose tcp[:PORT], ') and said.endswith(' or off')
    for check in registry.CHECKS:
        assert registry.grammar(check) in said


@pytest.mark.parametrize('text, says', [
    ('tpc', 'did you mean tcp? Write tcp[:PORT]'), ('dsn/a', 'did you mean dns? Write dns[/NAME]'),
    ('none', 'write off to have no checks'),
    ('mariadb', 'did you mean mysql? Write mysql[:PORT][/primary|replica|prefer-replica]'),
    ('https://x/health', 'that is a URL, but each server is asked itself: write https/PATH, like https/health'),
    ('wnat:220', 'did you mean want? Write want:TEXT,ask:TEXT,...'),
    ('tcp:', 'the port is a number of 1 to 65535: write tcp[:PORT]'),
    ('tcp:65536', 'the port is a number of 1 to 65535: write tcp[:PORT]'),
    ('tcp:http', 'the port is a number of 1 to 65535: write tcp[:PORT]'),
    ('postgres/primay', 'the role is primary, replica or prefer-replica (did you mean primary?): write '
                        'postgres[:PORT][/primary|replica|prefer-replica]'),
    ('mysql/slave', 'the role is primary, replica or prefer-replica (did you mean replica?): write '
                    'mysql[:PORT][/primary|replica|prefer-replica]'),
    ('redis:primary', 'the port is a number of 1 to 65535 (did you mean redis/primary?): write '
                      'redis[:PORT][/primary|replica|prefer-replica]'),
    ('http:80a', 'the port is a number of 1 to 65535: write http[:PORT][/PATH]'),
    ('tls/a/b', 'the name is that of a host, like db.example.com: write tls[:PORT][/NAME]'),
    ('tls/', 'the name is that of a host, like db.example.com: write tls[:PORT][/NAME]'),
    ('want:220,aks:QUIT', 'step 2 is none (did you mean ask:?): write want:TEXT,ask:TEXT,...'),
    ('script', 'did you mean want? Write want:TEXT,ask:TEXT,...'),
    ('script:80/want:a', 'did you mean want? Write want:TEXT,ask:TEXT,...'),
    ('smtp:25', 'did you mean want? Write want:TEXT,ask:TEXT,...'),
    ('dns:53', 'dns has no port of its own: write dns[/NAME]')])
def test_a_wrong_one_is_told_with_its_grammar_or_the_near_miss(text, says):
    assert mistake(text) == says


def test_a_udp_service_may_be_checked_at_a_tcp_port_of_its_own():
    assert 'udp' in registry.parse('tcp:8080').protocols
    assert 'udp' not in registry.parse('tcp').protocols


def test_an_own_port_is_that_of_the_same_address():
    with Server() as server:
        probe = registry.make(registry.parse('tcp:%d' % server.address[1]), registry.Context(defaults(), None))
        assert probe(Address('127.0.0.1', 1, 0.0), Deadline(1.0)).state == 'up'
        with pytest.raises(ProbeFailed):
            probe(Address('127.0.0.2', 1, 0.0), Deadline(1.0))


def test_more_than_the_kind_takes_is_told_with_its_grammar():
    assert mistake('udp/x') == 'nothing comes after udp but a port: write udp'


def test_what_clients_found_dead_does_not_come_back_by_another_port_alone():
    with Server(name='clients') as server, Server(name='health') as health:
        server.refuse()
        settings = defaults(check='tcp:%d' % health.address[1])
        log = RecordingLog()
        pool = Pool(RoundRobin(random.random), log, monotonic, settings)
        pool.update('test', [(None, [server.address[:2]])])
        address, = pool.addresses()
        for _ in range(2):
            pool.report_failure(address, 'refused')
        probe = registry.make(settings.check, registry.Context(settings, monotonic))
        prober = Prober(pool, probe, log, monotonic, random.random, interval=0.02, timeout=1.0)
        running = gevent.spawn(prober.run)
        wait_until('it is not probed', lambda: address.failed_probes > 5)
        assert not address.up and not log.events('member_up')
        server.listen()
        wait_until('it is down', lambda: address.up)
        running.kill()


# --- every kind, written wrongly by a random hand: one line with the way out, never an unexpected error ------------------

WRONG_BITS = ['', ':', '/', ',', ':80', ':x', ':99999', '/primary', '/x y', '/a/b', ':/', '::', '//', u'\xe4', '\0', '%',
              'want:']


@pytest.mark.parametrize('check', registry.CHECKS, ids=lambda check: check.name)
def test_whatever_stands_behind_a_kind_is_taken_or_told_with_its_grammar(check):
    chance = random.Random(1)
    for _ in range(500):
        text = check.name + ''.join(chance.choice(WRONG_BITS) for _ in range(chance.randrange(4)))
        try:
            registry.parse(text)
        except ValueError as error:
            assert 'rite ' in str(error) or 'choose ' in str(error), (text, error)
