"""The hosts file, and whatever points at ourselves."""
from __future__ import absolute_import, division, print_function

import os

import pytest

from sidelb_lib.discovery.addresses import AddressBook
from sidelb_lib.net.endpoints import canonical_ip
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
    assert [event for _, event, _, _ in log.lines] == ['hosts_entry_decides']


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


# --- what others write is checked as what users write ------------------------------------------------------------------

@pytest.mark.parametrize('mapped, ip', [('::ffff:10.9.0.1', '10.9.0.1'), ('::ffff:a09:1', '10.9.0.1'),
                                        ('2001:db8::1', '2001:db8::1'), ('64:ff9b::a09:1', '64:ff9b::a09:1')])
def test_an_ipv4_address_in_ipv6_form_is_that_address(log, hosts, mapped, ip):
    canonical = canonical_ip(mapped)
    assert values(AddressBook(FakeResolver([], [canonical]), log, None)) == (ip,)
    hosts.write('%s db.example.com\n' % mapped)
    assert values(AddressBook(FakeResolver(), log, str(hosts))) == (ip,)


@pytest.mark.parametrize('address', ['::ffff:127.0.0.1', '::ffff:0.0.0.0', '127.0.0.1', '::ffff:7f00:1'])
@pytest.mark.parametrize('origin', ['DNS', 'the hosts file'])
def test_no_form_of_our_own_listener_comes_in(log, hosts, address, origin):
    canonical = canonical_ip(address)
    hosts.write('%s db.example.com\n' % address if origin == 'the hosts file' else '')
    answer = [canonical] if origin == 'DNS' else []
    book = AddressBook(FakeResolver([one for one in answer if ':' not in one], [one for one in answer if ':' in one]),
                       log, str(hosts), [LISTENER])
    assert values(book) == ()
    assert log.events('own_listener_skipped') or log.events('unusable_address')


@pytest.mark.parametrize('listener, ip, is_own', [
    (('::', 5432), '127.0.0.1', False), (('::', 5432), '::1', True), (('0.0.0.0', 5432), '127.0.0.1', True),
    (('0.0.0.0', 5432), '::1', False), (('0.0.0.0', 5432), '::ffff:127.0.0.9', True),
    (('127.0.0.1', 5432), '127.0.0.2', False),
    (('127.0.0.1', 5433), '127.0.0.1', False)])
def test_dns_is_answered_as_the_settings_answer_it(log, listener, ip, is_own):
    book = AddressBook(FakeResolver([], [ip]), log, None, [listener])
    assert values(book) == (() if is_own else (ip,))


NO_HOST = ['0.0.0.0', '0.1.2.3', '::', '224.0.0.1', '239.255.255.255', '255.255.255.255', 'ff02::1', '::ffff:224.0.0.1',
           '::ffff:255.255.255.255', '::ffff:0.0.0.0']


@pytest.mark.parametrize('ip', NO_HOST)
@pytest.mark.parametrize('origin', ['DNS', 'the hosts file'])
def test_what_no_server_can_have_is_left_out_with_one_warning(log, hosts, ip, origin):
    """0.0.0.0 is what filtering resolvers answer; a connection to it would reach this very host."""
    hosts.write('%s db.example.com\n10.9.0.1 db.example.com\n' % ip if origin == 'the hosts file' else '')
    book = AddressBook(FakeResolver(['10.9.0.1'], [ip]), log, str(hosts))
    assert values(book) == values(book) == ('10.9.0.1',)
    warning, = log.events('unusable_address')
    assert warning.startswith('%s says that db.example.com is ' % origin)


def test_an_answer_of_nothing_that_a_server_can_have_is_empty(log):
    answer = answers(AddressBook(FakeResolver(['0.0.0.0']), log, None))['A']
    assert answer.kind == EMPTY
    assert '0.0.0.0' in answer.reason


def test_a_hosts_entry_that_decides_is_told_once(log, hosts):
    hosts.write('10.9.0.1 db.example.com\n')
    book = AddressBook(FakeResolver(['10.9.0.9']), log, str(hosts), [LISTENER])
    for _ in range(3):
        values(book)
    (level, _, text, _), = log.lines
    assert level == 'info'
    assert text == '%s says that db.example.com is 10.9.0.1:5432: DNS is not asked' % hosts
    hosts.write('10.9.0.2 db.example.com\n')
    values(book)
    assert len(log.lines) == 2


@pytest.mark.parametrize('ip', ['127.0.0.1', '127.0.0.9', '::1', '::ffff:127.0.0.1'])
def test_a_hosts_entry_that_leads_to_this_host_beside_our_listener_is_a_warning(log, hosts, ip):
    hosts.write('%s db.example.com\n' % ip)
    book = AddressBook(FakeResolver(['10.9.0.9']), log, str(hosts), [('127.0.0.1', 6432)])
    assert len(values(book)) == 1
    (level, event, text, _), = log.lines
    assert (level, event) == ('warning', 'hosts_entry_decides')
    assert 'DNS is not asked' in text and 'remove the entry' in text


def test_localhost_is_this_host_without_a_warning(log, hosts):
    hosts.write('127.0.0.1 localhost\n')
    book = AddressBook(FakeResolver([]), log, str(hosts), [('127.0.0.1', 6432)])
    assert dict(book.answers('localhost', 5432))['A'].values == ('127.0.0.1',)
    assert [level for level, _, _, _ in log.lines] == ['info']


def test_the_hosts_entry_that_the_guides_recommend_is_no_warning(log, hosts):
    hosts.write('127.0.0.1 db.example.com\n')
    book = AddressBook(FakeResolver(['10.9.0.9']), log, str(hosts), [LISTENER])
    assert values(book) == ('10.9.0.9',)
    assert [level for level, _, _, _ in log.lines] == ['info']


@pytest.mark.parametrize('text, ips', [
    (u'# g\xe5rdar \x85 10.9.0.9 db.example.com\n10.9.0.1 db.example.com\n', ['10.9.0.1']),
    (u'# \u0179\u0104 \u0105\u0119\x8510.9.0.9 db.example.com\n', []),
    (u'# a\x0b10.9.0.9 db.example.com\x0c10.9.0.8 db.example.com\x1c\u202810.9.0.7 db.example.com\n', []),
    (u'10.9.0.1\xa0db.example.com\n10.9.0.2 x\xa0db.example.com\n', []),
    (u'10.9.0.1\tx\x0bdb.example.com\r\n', ['10.9.0.1']),
    (u'10.9.0.1 \u015bl\u0105sk db.example.com\n', ['10.9.0.1']),
    (u'10.9.0.1 DB.Example.COM\n', ['10.9.0.1']),
    (u'10.9.0.1 db.example.com', ['10.9.0.1']),
    (u'fe80::1%lo db.example.com\n010.9.0.1 db.example.com\n10.9.1 db.example.com\n', []),
])
def test_lines_and_words_of_the_hosts_file_are_those_of_libc(log, hosts, text, ips):
    hosts.write_binary(text.encode('utf-8'))
    assert list(values(AddressBook(FakeResolver(), log, str(hosts)))) == ips


def test_a_fifo_in_place_of_the_hosts_file_blocks_nobody(log, tmpdir):
    path = str(tmpdir.join('hosts'))
    os.mkfifo(path)
    assert values(AddressBook(FakeResolver(['10.9.0.9']), log, path)) == ('10.9.0.9',)
    assert log.events('hosts_unreadable') == ['%s cannot be read: it is no regular file' % path]
