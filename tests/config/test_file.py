# -*- coding: utf-8 -*-
"""Several services in one file: what is in force, and every mistake with its file and line."""
from __future__ import absolute_import, division, print_function

import os
import random
import socket

import pytest

from sidelb_lib.config import file, texts
from sidelb_lib.config.servers import RingDomain
from sidelb_lib.errors import SettingsError
from sidelb_lib.pool.merging import Options

SERVICE = '[service:db]\nlistener = 127.0.0.1:5432\nbackends = 10.0.0.1:5432\n'


@pytest.fixture
def write(tmpdir):
    """Writes a file, text or bytes; returns its path."""
    def write_file(content, name='sidelb.conf'):
        path = tmpdir.join(name)
        path.dirpath().ensure(dir=True)
        path.write_binary(content if isinstance(content, bytes) else content.encode('utf-8'))
        return str(path)
    return write_file


@pytest.fixture
def load(write):
    def load_text(content, *arguments, **environ):
        return file.load(write(content), list(arguments), environ)
    return load_text


@pytest.fixture
def mistakes(write):
    """The mistakes of a file without its own path before each line: `3: mode = x: choose ...`."""
    def mistakes_of(content, *arguments, **environ):
        path = write(content)
        with pytest.raises(SettingsError) as caught:
            file.load(path, list(arguments), environ)
        return [mistake.replace(path + ':', '') for mistake in caught.value.mistakes]
    return mistakes_of


# --- what is in force ---

def test_services_with_defaults_and_what_belongs_to_the_process(load):
    found = load('''\
; what belongs to the process
[sidelb]
log_format = json
drain_timeout = 20s
[defaults]
check_interval = 2s          # of every service
mode = least-connections
[service:db]
listener = 127.0.0.1:5432
ring_domain = db.example.com:5432,
    us.example.com:5432/tier=2

    ; a comment between the lines of a value
    de.example.com:5432/tier=3, fr.example.com:5432
[service:cache.1]
listener=127.0.0.1:6379
backends = %(ENV_CACHE)s
mode = round-robin
''', CACHE='10.0.0.1:6379, 10.0.0.2:6379')
    assert [name for name, _ in found.services] == ['db', 'cache.1']
    db, cache = [settings for _, settings in found.services]
    assert (db.check_interval, db.mode, db.listener) == (2.0, 'least-connections', ('127.0.0.1', 5432))
    assert db.ring_domains == (
        RingDomain('db.example.com', 5432, None), RingDomain('us.example.com', 5432, Options(None, 2, None)),
        RingDomain('de.example.com', 5432, Options(None, 3, None)), RingDomain('fr.example.com', 5432, None))
    assert (cache.check_interval, cache.mode) == (2.0, 'round-robin')
    assert [one.addresses[0][0] for one in cache.backends] == ['10.0.0.1', '10.0.0.2']
    for settings in (found.process, db, cache):
        assert (settings.log_format, settings.drain_timeout) == ('json', 20.0)


def test_origins_are_file_and_line(write):
    path = write('[sidelb]\nhttp = 127.0.0.1:8404\n[defaults]\nrefresh = 5s\n' + SERVICE)
    found = file.load(path, ['log_level=debug'], {'SIDELB_LOG_FORMAT': 'json'})
    (_, db), = found.services
    assert (db.origins['refresh'], db.origins['listener'], db.origins['mode']) == (path + ':4', path + ':6', 'default')
    assert (db.origins['http'], db.origins['log_level'], db.origins['log_format']) == (
        path + ':2', 'argument', 'environment SIDELB_LOG_FORMAT')


def test_arguments_and_variables_of_the_process_beat_the_file(load):
    text = '[sidelb]\nlog_level = error\nlog_format = json\nstatus_socket = /run/a.sock\n' + SERVICE
    process = load(text, 'log_level=debug', SIDELB_LOG_LEVEL='info', SIDELB_LOG_FORMAT='text').process
    assert (process.log_level, process.log_format, process.status_socket) == ('debug', 'text', '/run/a.sock')


def test_a_tcp_and_a_udp_service_may_have_one_address_and_common_defaults(load):
    found = load('''\
[defaults]
idle_timeout = 5m
session_timeout = 5s
check = dns
[service:dns-tcp]
listener = 127.0.0.1:53
backends = 10.0.0.53:53
[service:dns-udp]
proto = udp
listener = 127.0.0.1:53
backends = 10.0.0.53:53
''')
    tcp, udp = [settings for _, settings in found.services]
    assert (tcp.idle_timeout, tcp.check.name, udp.session_timeout, udp.check.name) == (300.0, 'tcp', 5.0, 'dns')


def test_files_that_are_included(write):
    write('[service:b]\nlistener = 127.0.0.1:2\nbackends = 10.0.0.1:1\n', 'conf.d/2.conf')
    write('[service:a]\nlistener = 127.0.0.1:1\nbackends = 10.0.0.1:1\n', 'conf.d/1.conf')
    one = write('[service:c]\nlistener = 127.0.0.1:3\nbackends = 10.0.0.1:1\n', 'c.conf')
    write('this is not read', 'conf.d/3.txt')
    path = write('[include]\nfiles = conf.d/*.conf nothing/*.conf\n    %(ENV_ONE)s\n' + SERVICE)
    found = file.load(path, [], {'ONE': one})
    assert [name for name, _ in found.services] == ['db', 'a', 'b', 'c']


def test_references(load):
    found = load('[sidelb]\nstatus_socket = /run/%(host_node_name)s-%%-%(ENV_X)s.sock\n' + SERVICE, X='%(ENV_X)s;')
    assert found.process.status_socket == '/run/%s-%%-%%(ENV_X)s;.sock' % socket.gethostname()


@pytest.mark.parametrize('content', [
    b'\xef\xbb\xbf' + SERVICE.encode('ascii'), SERVICE.replace('\n', '\r\n').encode('ascii'),
    SERVICE.rstrip('\n').encode('ascii'), u'# b\xfccher \u0142\x85\n'.encode('utf-8') + SERVICE.encode('ascii'),
    SERVICE.replace('[service:db]', '[ service:db ] ; x').encode('ascii')])
def test_forms_of_a_file_that_are_read(load, content):
    assert [name for name, _ in load(content).services] == ['db']


def test_an_unknown_variable_is_told_and_nothing_worse(load):
    found = load(SERVICE, SIDELB_VERSION='3.1')
    assert texts.notes(found)[0].startswith('SIDELB_VERSION: no such setting')


def test_what_is_in_force_is_shown_under_the_heads_of_the_file(load):
    text = texts.describe(load('[defaults]\nrefresh = 5s\n[sidelb]\nlog_level = debug\n' + SERVICE))
    heads = [line for line in text.splitlines() if line.startswith('[')]
    assert heads == ['[sidelb]', '[service:db]']
    process, db = text.split('\n\n')
    assert 'log_level' in process and 'refresh' not in process
    assert 'refresh' in db and 'log_level' not in db


def test_notes_name_the_service(load):
    assert texts.notes(load(SERVICE + 'check_timeout = 9s'))[0].startswith('[service:db] check_timeout=9s is longer')


# --- mistakes ---

@pytest.mark.parametrize('text, mistake', [
    ('mode = fastest', '4: mode = fastest: choose round-robin, least-connections or source'),
    ('mod = x', '4: mod = : no such setting: did you mean mode =?'),
    ('mod%\\x = x', '4: mod%\\x = : no such setting: did you mean mode =?'),
    ('colour = red', '4: colour = : no such setting: sidelb --help lists all'),
    ('mode =', '4: mode =: the value is missing'),
    ('mode = ; round-robin', '4: mode =: the value is missing'),
    ('mode', '4: mode: write [section] or key = value'),
    ('= x', '4: = x: write [section] or key = value'),
    ('backends = 10.0.0.2:1', '4: backends = is given twice: first on line 3'),
    ('mode = round-robin\nmode = round-robin', '5: mode = is given twice: first on line 4'),
    ('mode = round-robin\n  least-connections', '5: this line continues mode = : begin it without blanks'),
    ('ring_domain = a:1\n  b', '5: ring_domain = b: the port is missing: write b:PORT, or an SRV name like '
                               '_postgres._tcp.b'),
    ('ring_domain = a:1,,b:1', '4: ring_domain = : nothing is here between commas'),
    ('ring_domain = a:1 b:1', '4: ring_domain = a:1 b:1: separate them with commas'),
    ('ring_domain = %(ENV_NOPE)s', '4: %(ENV_NOPE)s: the variable NOPE is not set'),
    ('ring_domain = %(nope)s:1', '4: %(nope)s: there are %(ENV_X)s, for the variable X, and %(host_node_name)s'),
    ('ring_domain = 100%', '4: 100%: write %% for a percent sign'),
    ('log_level = debug', '4: log_level = stands in [service:db]: it belongs to the process, in [sidelb]'),
    ('session_timeout = 5s', '4: [service:db] session_timeout= is for proto=udp (for tcp use idle_timeout=)'),
    ('check = dns', '4: [service:db] check=dns is not for proto=tcp: choose tcp'),
    ('ring_domain = 127.0.0.1:5432', '4: ring_domain = 127.0.0.1:5432: that is an address, no domain'),
    ('ring_domain = localhost:5432', '4: [service:db] localhost:5432 is the listener 127.0.0.1:5432 itself, a loop'),
    ('ring_domain = a:1,a:1', '4: [service:db] a:1 is named twice in ring_domain: leave one out'),
    ('[service:db]', '4: [service:db] is there twice: first at 1'),
    ('[service:b]\nlistener = 127.0.0.1:1', '4: [service:b] has no server: add ring_domain = host:port or'),
    ('[service:b]\nbackends = a:1', '4: [service:b] has no listener: add listener = 127.0.0.1:5432'),
    ('[service:b]\nbackends = a:1\nlistener = 0.0.0.0:5432',
     '6: [service:b] listens on 0.0.0.0:5432, where [service:db] does: give it another address'),
    ('[service:B]', '4: [service:B]: the name of a service has 1 to 32 small letters, digits and _ . - inside'),
    ('[service:]', '4: [service:]: the name of a service has 1 to 32'),
    ('[service:%s]' % ('x' * 33), '4: [service:%s]: the name of a service has 1 to 32' % ('x' * 33)),
    ('[default]', '4: [default]: no such section: did you mean [defaults]?'),
    ('[supervisord]', '4: [supervisord]: no such section: there are [sidelb], [defaults], [service:NAME] and [include]'),
    ('[services:x]', '4: [services:x]: no such section: did you mean [service:NAME]?'),
    ('[sidelb]\nmode = round-robin', '5: mode = stands in [sidelb]: it belongs to services, in [service:NAME] or'),
    ('[sidelb]\nlog_level = loud', '5: log_level = loud: choose debug, info, warning or error'),
    ('[sidelb]\nhttp = 127.0.0.1:5432', '5: [service:db] http=127.0.0.1:5432 is the address of the listener'),
    ('[defaults]\nlog_level = debug', '5: log_level = stands in [defaults]: it belongs to the process, in [sidelb]'),
    ('[defaults]\nrefresh = 5', None),
    ('[include]\nfile = x', '5: file = : [include] has files = only'),
    ('[include]\nfiles = nope.conf', 'nope.conf: there is no such file'),
])
def test_a_mistake_has_its_line(mistakes, load, text, mistake):
    if mistake is None:
        load(SERVICE + text)
    else:
        found = mistakes(SERVICE + text)
        assert len(found) == 1 and mistake in found[0], found


def test_a_mistake_in_the_defaults_is_told_once(mistakes):
    text = '[defaults]\nrefresh = 5d\n' + SERVICE + SERVICE.replace('db', 'b').replace('127.0.0.1:5432', '127.0.0.1:1')
    assert mistakes(text) == ['2: refresh = 5d: write a duration like 500ms, 5s, 2m or 1h']


def test_lines_before_a_section_or_a_key(mistakes):
    assert mistakes('mode = x\n' + SERVICE)[0] == '1: mode = stands before the first [section]'
    assert mistakes('  x\n' + SERVICE)[0] == (
        '1: a line that begins with blanks continues the one above it: there is none')
    assert 'there is none' in mistakes('[defaults]\n  mode = x\n' + SERVICE)[0]


def test_bytes_that_are_not_utf_8_have_their_line(mistakes):
    assert mistakes(SERVICE.encode('ascii') + b'# b\xfccher\nmode = \xff\n') == [
        '4: that is not UTF-8', '5: that is not UTF-8']


def test_no_service_is_a_mistake(mistakes, write):
    assert mistakes('[sidelb]\n')[0].endswith('there is no service: add a section [service:NAME]')
    with pytest.raises(SettingsError) as caught:
        file.load('', [], {})
    assert caught.value.mistakes == ['--config=: the path of the file is missing']


def test_files_that_can_not_be_read(tmpdir, write):
    fifo = str(tmpdir.join('fifo'))
    os.mkfifo(fifo)
    for path, says in ((fifo, 'no regular file'), (str(tmpdir), 'no regular file'), ('/none', 'No such file'),
                       (write('#' * (1 << 20) + '\n'), 'at most 1048576 bytes')):
        with pytest.raises(SettingsError) as caught:
            file.load(path, [], {})
        assert says in str(caught.value) and len(caught.value.mistakes) == 1
    with pytest.raises(SettingsError) as caught:
        file.load(write('[include]\nfiles = fifo\n' + SERVICE), [], {})
    assert caught.value.mistakes == ['%s: that is no regular file' % fifo]


def test_an_included_file_has_services_only(write, mistakes):
    inner = write('[defaults]\nrefresh = 5s\n[include]\nfiles = x\n[service:db]\nmod = x\n', 'conf.d/a.conf')
    assert mistakes(SERVICE + '[include]\nfiles = conf.d/*') == [
        '%s:1: [defaults]: an included file has sections [service:NAME] only' % inner,
        '%s:3: [include]: an included file has sections [service:NAME] only' % inner,
        '%s:5: [service:db] is there twice: first at 1' % inner]


@pytest.mark.parametrize('arguments, environ, says', [
    (['mode=round-robin'], {}, 'mode=round-robin: with --config services stand only in the file: leave it out'),
    (['127.0.0.1:1'], {}, 'listener 127.0.0.1:1: with --config'),
    (['listener=127.0.0.1:1', '10.0.0.1:1'], {}, 'server 10.0.0.1:1: with --config'),
    ([], {'SIDELB_MODE': 'round-robin'}, 'SIDELB_MODE=round-robin: with --config'),
    (['log_level=loud'], {}, 'log_level=loud: choose debug'),
    (['colour=red'], {}, 'colour=: no such setting'),
])
def test_settings_beside_the_file(mistakes, arguments, environ, says):
    assert says in mistakes(SERVICE, *arguments, **environ)[-1]


def test_every_mistake_is_told_at_once_in_order(mistakes):
    found = mistakes('[sidelb]\nlog_level = loud\n[defaults]\nrefresh = 5d\n' + SERVICE + 'mode = fast\ncheck_fal = 2\n'
                     '[service:b]\nlistener = x\n', 'mode=x')
    assert [mistake.split(':')[0] for mistake in found] == ['mode=x', '2', '4', '8', '9', '10', '11']


def test_mistakes_are_short_lines_of_printable_ascii_whatever_was_written(mistakes):
    hostile = u'x\x1b[2J\x00\xff' + u'\xe9' * 10000
    text = u'{0}\n[{0}]\n{0} = {0}\n[service:{0}]\n[service:a]\nlistener = {0}\nbackends = {0}, %({0})s\n{0} = {0}\n'
    for mistake in mistakes(text.format(hostile)):
        assert len(mistake) < 700 and all(' ' <= one <= '~' for one in mistake), mistake


# --- whatever is in the file ---

def test_a_file_that_was_damaged_is_read_or_its_mistakes_are_told(write):
    """Good files with bytes, lines and pieces lost, doubled and exchanged: nothing but mistakes of one line each."""
    seed = random.randrange(1 << 32)
    chance = random.Random(seed)
    good = ('[sidelb]\nlog_level = info\n[defaults]\ncheck = want:220,ask:QUIT\\r\\n\nrefresh = 5s  ; x\n' + SERVICE +
            '[service:b]\nproto = udp\nlistener = [::1]:53\nring_domain = a:1/weight=3,\n  _d._udp.b\n  # c\n'
            '  %(ENV_X)s\n').encode('ascii')
    for _ in range(300):                   # others each time, on each Python
        text = good
        for _ in range(chance.randint(1, 4)):
            text = damaged(text, chance)
        try:
            file.load(write(text), [], {'X': 'c:1'})
        except SettingsError as error:
            for mistake in error.mistakes:
                assert len(mistake) < 900 and all(' ' <= one <= '~' for one in mistake), (seed, mistake)
        except Exception:
            print('seed %d: %r' % (seed, text))
            raise


def damaged(text, chance):
    start, end = sorted([chance.randint(0, len(text)), chance.randint(0, len(text))])
    end = min(end, start + 30)
    return chance.choice([
        text[:start] + text[end:], text[:end] + text[start:],
        text[:start] + bytes(bytearray([chance.randrange(256)])) + text[start + 1:],
        text[:start] + chance.choice([b'\n', b'%', b'[', b'\x00', b'=', b',', b' ', b'/', b'\xff', b'%(']) + text[start:],
        b'\n'.join(chance.sample(text.split(b'\n'), text.count(b'\n') + 1))])


# --- options of servers ---

@pytest.mark.parametrize('line, says', [
    ('10.0.0.2:5432/wieght=3', '/wieght: no such option: did you mean weight=?'),
    ('10.0.0.2:5432/tier=10', '/tier= is a whole number of 1 to 9'),
    ('10.0.0.2:5432 weight=3', 'options stand behind the port, each after a slash: HOST:PORT/weight=3'),
    ('server b 10.0.0.2:5432 backup', 'options stand behind the port, each after a slash: HOST:PORT/tier=2'),
    ('unix:/run/b.sock/weight=3', 'a unix: server has no options: leave out /weight=3')])
def test_a_wrong_option_is_told_with_its_line(mistakes, line, says):
    assert mistakes('[service:db]\nlistener = 127.0.0.1:5432\nbackends = 10.0.0.1:5432/tier=1\n  %s\n' % line) == [
        '4: backends = %s: %s' % (line, says)]


def test_a_server_that_is_named_twice_with_other_options_is_told_with_its_line(mistakes):
    for other in '10.0.0.1:5432/weight=3', '10.0.0.1:5432':
        assert mistakes(SERVICE + '  %s\n' % other) == [
            '3: [service:db] 10.0.0.1:5432 is named twice in backends: leave one out']


def test_an_option_as_a_setting_is_told_where_it_belongs(mistakes):
    assert mistakes(SERVICE + 'weight = 3\nzone = us\n') == [
        '4: weight = : no such setting: it is an option of a server, behind its port: 10.0.0.1:5432/weight=3',
        '5: zone = : no such setting: servers that come when nobody nearer is up have a tier behind their port: '
        '10.0.0.1:5432/tier=2 (docs/srv.md)']


def test_a_service_may_take_a_default_back_by_its_word(load):
    found = load('[defaults]\nserver_wait = 9s\ninstance = 7\n' + SERVICE + 'server_wait = automatic\n')
    settings = found.services[0][1]
    assert settings.server_wait is None and settings.instance == 7
