"""The search list: which of its names is the right one, and what may come in its place."""
from __future__ import absolute_import, division, print_function

import os

import pytest

from sidelb_lib.resolver.answers import EMPTY, FAILED, FOUND
from sidelb_lib.resolver.client import Resolver
from tests.support import nameserver
from tests.support.clock import Clock
from tests.support.nameserver import name_server

HERE, THERE = '10.9.0.1', '10.9.66.6'


class Setting(object):
    """A name server that knows db.example.com and a wildcard's db.other.example, and a search list of both."""

    def __init__(self, server, directory):
        self.server = server
        self.zone = server.zone
        self.zone.set_addresses('db.example.com', [HERE])
        self.zone.set_addresses('db.other.example', [THERE])
        self.path = str(directory.join('resolv.conf'))
        self.clock = Clock()
        self.changes = []
        self.search('example.com other.example')

    def search(self, domains, *options):
        with open(self.path + '.new', 'w') as new:
            new.write('nameserver 127.0.0.1\nsearch %s\n%s' % (domains, ''.join('options %s\n' % one for one in options)))
        os.rename(self.path + '.new', self.path)

    def resolver(self, **options):
        """Time stands still on its clock but for what a test says, so nothing is silent for it: use `impatient` then."""
        options = dict(dict(attempt=20, lifetime=20, hold=30, clock=self.clock), **options)
        return Resolver(resolv_conf=self.path, port=self.server.address[1], environ={},
                        changed=lambda *change: self.changes.append(change), **options)

    def impatient(self):
        from sidelb_lib.compat import monotonic
        return self.resolver(attempt=0.3, lifetime=0.4, clock=monotonic)


@pytest.fixture
def setting(tmpdir):
    with name_server() as server:
        yield Setting(server, tmpdir)


def look_up(resolver, name='db'):
    return dict(resolver.addresses(name))


def found_at(resolver, name='db'):
    """(addresses, doubt) of the A records."""
    answer = look_up(resolver, name)['A']
    assert answer.kind == FOUND, answer
    return answer.values, answer.doubt


def test_an_empty_answer_of_the_right_name_leads_to_no_stranger_until_the_hold_is_over(setting):
    resolver = setting.resolver()
    assert found_at(resolver) == ((HERE,), None)
    setting.zone.remove('db.example.com')
    for setting.clock.now in (1000.0, 1001.0, 1029.9):
        assert look_up(resolver)['A'].kind == EMPTY
    assert not setting.changes
    setting.clock.now = 1030.0
    assert found_at(resolver) == ((THERE,), None)
    assert setting.changes == [('db', 'db.example.com.', 'db.other.example.')]


def test_one_good_answer_begins_the_hold_anew(setting):
    resolver = setting.resolver()
    look_up(resolver)
    for moment in (1000, 1020, 1040, 1060):
        setting.clock.now = moment
        setting.zone.remove('db.example.com')
        assert look_up(resolver)['A'].kind == EMPTY
        setting.zone.set_addresses('db.example.com', [HERE])
        assert found_at(resolver) == ((HERE,), None)


def test_without_a_hold_the_search_goes_on_at_once(setting):
    resolver = setting.resolver(hold=0)
    look_up(resolver)
    setting.zone.remove('db.example.com')
    assert found_at(resolver) == ((THERE,), None)


def test_a_failing_right_name_never_leads_to_a_stranger(setting):
    resolver = setting.resolver()
    look_up(resolver)
    setting.server.misbehave(nameserver.rcode('SERVFAIL'), 'db.example.com')
    for setting.clock.now in (1000.0, 2000.0, 9000.0):
        assert look_up(resolver)['A'].kind == FAILED


def test_what_is_found_behind_a_failing_name_is_in_doubt_until_that_one_is_asked(setting):
    """At the start nobody knows which name is right, and in many clusters one of the search list always fails."""
    resolver = setting.resolver()
    setting.server.misbehave(nameserver.rcode('SERVFAIL'), 'db.example.com')
    for _ in range(3):
        assert found_at(resolver) == ((THERE,), 'db.example.com could not be looked up')
    setting.server.behave()
    assert found_at(resolver) == ((HERE,), None)
    assert setting.changes == [('db', 'db.other.example.', 'db.example.com.')]


def test_the_doubt_ends_when_the_failing_name_turns_out_not_to_exist(setting):
    resolver = setting.resolver()
    setting.server.misbehave(nameserver.rcode('SERVFAIL'), 'db.example.com')
    look_up(resolver)
    setting.server.misbehave(nameserver.rcode('NXDOMAIN'), 'db.example.com')
    assert found_at(resolver) == ((THERE,), None)
    setting.server.misbehave(nameserver.rcode('SERVFAIL'), 'db.example.com')
    assert found_at(resolver) == ((THERE,), None)
    assert not setting.changes


def test_a_name_in_doubt_is_held_as_well(setting):
    setting.search('example.com other.example third.example')
    setting.zone.set_addresses('db.third.example', ['10.9.77.7'])
    resolver = setting.resolver()
    setting.server.misbehave(nameserver.rcode('SERVFAIL'), 'db.example.com')
    look_up(resolver)
    setting.zone.remove('db.other.example')
    assert look_up(resolver)['A'].kind != FOUND


@pytest.mark.parametrize('silent', [('db.one.example',), ('db.one.example', 'db.two.example', 'db.three.example')])
def test_names_that_nobody_answers_for_do_not_hide_the_absolute_one(setting, silent):
    setting.search(' '.join(name[3:] for name in silent), 'ndots:5')
    resolver = setting.impatient()
    for name in silent:
        setting.server.misbehave(nameserver.dead, 'db.example.com.' + name[3:])
    assert found_at(resolver, 'db.example.com')[0] == (HERE,)


def test_another_search_list_in_resolv_conf_is_followed(setting):
    resolver = setting.resolver()
    look_up(resolver)
    setting.search('other.example')
    assert found_at(resolver) == ((THERE,), None)
    assert setting.changes == [('db', 'db.example.com.', 'db.other.example.')]


def test_names_do_not_share_what_is_right_for_one_of_them(setting):
    resolver = setting.resolver()
    look_up(resolver)
    setting.zone.set_addresses('cache.other.example', [THERE])
    assert found_at(resolver, 'cache') == ((THERE,), None)
    assert not setting.changes


# --- other records -----------------------------------------------------------------------------------------------------

def test_srv_records_of_a_wildcard_are_no_substitute_either(setting):
    setting.zone.set('_pg._tcp.db.example.com', 'SRV', ['0 0 5432 here.'])
    setting.zone.set('_pg._tcp.db.other.example', 'SRV', ['0 0 5432 there.'])
    resolver = setting.resolver()

    def kind():
        return dict(resolver.records('_pg._tcp.db', ('SRV',)))['SRV'].kind
    assert kind() == FOUND
    setting.zone.remove('_pg._tcp.db.example.com')
    assert kind() == EMPTY
    setting.clock.now += 31
    assert kind() == FOUND and setting.changes


def test_srv_records_behind_an_alias_are_found(setting):
    setting.zone.set('_pg._tcp.db.example.com', 'CNAME', ['_PG._tcp.real.example.'])
    setting.zone.set('_pg._TCP.real.example', 'SRV', ['0 0 5432 here.'])
    assert dict(setting.resolver().records('_pg._tcp.db.example.com.', ('SRV',)))['SRV'].values == ('0 0 5432 here',)
