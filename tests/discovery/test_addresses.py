"""The hosts file, and whatever points at ourselves."""
from __future__ import absolute_import, division, print_function

import os

import pytest

from sidelb_lib.discovery.addresses import AddressBook
from sidelb_lib.resolver.answers import EMPTY, found
from sidelb_lib.resolver.hosts_file import addresses_in_hosts
from tests.support.recording import RecordingLog

RING = 'db.example.com'
LISTENER = ('127.0.0.1', 5432)


class FakeResolver(object):
    """Has one answer, and counts how often it was asked."""

    def __init__(self, a=(), aaaa=()):
        self.asked = 0
        self._answers = [('A', found(a, 7, (RING,))), ('AAAA', found(aaaa, 7, (RING,)))]

    def addresses(self, name):
        self.asked += 1
        return iter(self._answers)


@pytest.fixture
def log():
    return RecordingLog()


@pytest.fixture
def hosts(tmpdir):
    return tmpdir.join('hosts')


def answers(book, port=5432):
    return dict(book.answers(RING, port))


def values(book, port=5432):
    found = answers(book, port)
    return found['A'].values + found['AAAA'].values


def test_all_addresses_of_a_name_are_taken_from_the_hosts_file():
    text = ('127.0.0.1 localhost\n10.9.0.1  other DB.example.com # db.example.com\n'
            '2001:DB8::1\tdb.example.com. alias\n10.9.0.2 db.example.com\n10.9.0.1 db.example.com\n'
            '# 10.9.0.3 db.example.com\n10.9.0.4 xdb.example.com\nnonsense db.example.com\n'
            'db.example.com\n\n')
    assert addresses_in_hosts(text, 'db.Example.com.') == ['10.9.0.1', '2001:db8::1', '10.9.0.2']
    assert addresses_in_hosts(text, 'example.com') == []
    assert addresses_in_hosts('', RING) == []


def test_the_hosts_file_comes_before_dns(log, hosts):
    hosts.write('10.9.0.1 db.example.com\n2001:db8::1 db.example.com\n')
    resolver = FakeResolver(['10.9.0.9'])
    book = AddressBook(resolver, log, str(hosts))
    assert values(book) == ('10.9.0.1', '2001:db8::1')
    assert resolver.asked == 0
    assert answers(book)['A'].ttl is None


def test_a_family_that_the_hosts_file_does_not_have_is_not_asked_for(log, hosts):
    hosts.write('10.9.0.1 db.example.com\n')
    book = AddressBook(FakeResolver([], ['2001:db8::9']), log, str(hosts))
    assert answers(book)['AAAA'] == found((), None, (RING,))


def test_a_name_that_is_not_in_the_hosts_file_is_looked_up(log, hosts):
    hosts.write('10.9.0.1 other.example.com\n')
    assert values(AddressBook(FakeResolver(['10.9.0.9']), log, str(hosts))) == ('10.9.0.9',)


def test_the_hosts_file_is_read_at_each_refresh(log, hosts):
    book = AddressBook(FakeResolver(['10.9.0.9']), log, str(hosts))
    assert values(book) == ('10.9.0.9',)
    hosts.write('10.9.0.1 db.example.com\n')
    assert values(book) == ('10.9.0.1',)
    hosts.remove()
    assert values(book) == ('10.9.0.9',)
    assert not log.lines


def test_a_hosts_entry_that_is_our_own_listener_is_skipped(log, hosts):
    hosts.write('127.0.0.1 db.example.com\n')
    book = AddressBook(FakeResolver(['10.9.0.9']), log, str(hosts), [LISTENER])
    assert values(book) == ('10.9.0.9',)
    assert values(book, port=5433) == ('127.0.0.1',)
    assert values(book) == ('10.9.0.9',)
    assert log.events('own_listener_skipped') == [
        'the hosts file points db.example.com at our own listener (127.0.0.1:5432): skipped']


def test_other_hosts_entries_beside_our_own_listener_count(log, hosts):
    hosts.write('127.0.0.1 db.example.com\n10.9.0.1 db.example.com\n')
    assert values(AddressBook(FakeResolver(['10.9.0.9']), log, str(hosts), [LISTENER])) == ('10.9.0.1',)


def test_a_dns_answer_that_is_our_own_listener_is_skipped(log):
    book = AddressBook(FakeResolver(['10.9.0.9', '127.0.0.1']), log, None, [LISTENER])
    assert values(book) == ('10.9.0.9',)
    assert values(book) == ('10.9.0.9',)
    assert log.events('own_listener_skipped') == [
        'DNS points db.example.com at our own listener (127.0.0.1:5432): skipped']


def test_a_dns_answer_of_nothing_but_our_own_listener_is_empty(log):
    book = AddressBook(FakeResolver(['127.0.0.1']), log, None, [LISTENER])
    assert answers(book)['A'].kind == EMPTY
    assert 'our own listener' in answers(book)['A'].reason


def test_a_hosts_file_that_cannot_be_read_is_reported_once(log, tmpdir):
    book = AddressBook(FakeResolver(['10.9.0.9']), log, str(tmpdir))
    assert values(book) == ('10.9.0.9',)
    assert values(book) == ('10.9.0.9',)
    assert log.events('hosts_unreadable') == ['%s cannot be read: Is a directory' % tmpdir]


def test_a_hosts_file_without_an_end_is_read_to_a_limit(log, hosts):
    with open(str(hosts), 'wb') as lines:
        lines.write(b'10.9.0.1 db.example.com\n' + b'10.9.0.2 filler.example.com\n' * 40000)
        lines.write(b'10.9.0.3 db.example.com\n')
    assert os.path.getsize(str(hosts)) > 1 << 20
    book = AddressBook(FakeResolver(), log, str(hosts))
    assert values(book) == ('10.9.0.1',)
    assert len(log.events('hosts_too_long')) == 1


def test_any_bytes_in_the_hosts_file_are_survived(log, hosts):
    with open(str(hosts), 'wb') as lines:
        lines.write(b'\xff\xfe\0 db.example.com\n10.9.0.\xb2 db.example.com\n\0\n'
                    b'10.9.0.1 db.example.com \xe9\n')
    assert values(AddressBook(FakeResolver(), log, str(hosts))) == ('10.9.0.1',)
