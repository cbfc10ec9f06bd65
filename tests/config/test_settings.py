"""The settings: both grammars, where values come from, and every kind of bad input."""
from __future__ import absolute_import, division, print_function

import re
import time

import pytest

from sidelb_lib.checks import registry as checks
from sidelb_lib.config import settings, texts
from sidelb_lib.config.servers import Backend, RingDomain
from sidelb_lib.config.servers_file import ServersFile
from sidelb_lib.config.table import BY_KEY, TABLE
from sidelb_lib.config.values import duration_text
from sidelb_lib.errors import SettingsError, printable
from sidelb_lib.pool.merging import Options

PLAIN = '127.0.0.1:5432 10.0.0.3:5432'


def parse(line, **environ):
    """Parse a command line: one text with spaces, or a list of arguments."""
    return settings.parse(line.split() if isinstance(line, str) else line, environ)


def notes(line, **environ):
    return texts.notes(settings.configuration(line.split(), environ))


def mistakes(line, **environ):
    with pytest.raises(SettingsError) as caught:
        parse(line, **environ)
    return caught.value.mistakes


def only_mistake(line, **environ):
    found = mistakes(line, **environ)
    assert len(found) == 1, found
    return found[0]


def server(host, port, options=None):
    return Backend(((host, port),), None, None, options)


def rings(*endpoints):
    return tuple(RingDomain(name, port, None) for name, port in endpoints)


# --- grammars ---

def test_the_documented_grammar_with_a_ring():
    found = parse('127.0.0.1:5432 ring_domain=db.example.com:5432 mode=round-robin')
    assert found.listener == ('127.0.0.1', 5432)
    assert found.ring_domains == rings(('db.example.com', 5432))
    assert found.backends == ()
    assert found.mode == 'round-robin'


def test_the_documented_grammar_with_bare_servers():
    found = parse('127.0.0.1:5432 100.100.100.103:5432 100.100.100.104:5432 '
                  'mode=least-connections proto=tcp')
    assert found.listener == ('127.0.0.1', 5432)
    assert found.backends == (server('100.100.100.103', 5432), server('100.100.100.104', 5432))
    assert found.mode == 'least-connections'
    assert found.proto == 'tcp'


def test_the_grammar_of_the_rust_program():
    found = parse('0.0.0.0:9000 backends=10.1.0.5:9001,10.1.0.6:9001 mode=Least-Connections proto=UDP '
                  'ring_domain=nodes.example.com:9002')
    assert found.listener == ('0.0.0.0', 9000)
    assert found.backends == (server('10.1.0.5', 9001), server('10.1.0.6', 9001))
    assert found.ring_domains == rings(('nodes.example.com', 9002))
    assert (found.mode, found.proto) == ('least-connections', 'udp')


def test_both_grammars_in_any_order_add_up():
    found = parse('mode=round-robin 127.0.0.1:1 backends=10.0.0.1:2,10.0.0.2:2 10.0.0.3:2 '
                  'ring_domain=a.example:2 10.0.0.4:2,10.0.0.5:2 backends=10.0.0.6:2 '
                  'ring_domain=b.example:2,c.example:3')
    assert found.listener == ('127.0.0.1', 1)
    assert sorted(backend.addresses[0][0][-1] for backend in found.backends) == ['1', '2', '3', '4', '5', '6']
    assert found.ring_domains == rings(('a.example', 2), ('b.example', 2), ('c.example', 3))


def test_the_listener_by_its_key_makes_every_bare_argument_a_server():
    found = parse('10.0.0.1:1 listener=127.0.0.1:1')
    assert found.listener == ('127.0.0.1', 1)
    assert found.backends == (server('10.0.0.1', 1),)


# --- where a value comes from ---

def test_everything_from_the_environment_of_the_rust_image():
    found = parse('', SIDELB_BIND_ADDR='0.0.0.0:443', SIDELB_MODE='least-connections', SIDELB_PROTO='tcp',
                  SIDELB_BACKENDS='172.217.16.142:443, 172.217.16.143:443',
                  SIDELB_RING_DOMAIN='www.example.com:443')
    assert found.listener == ('0.0.0.0', 443)
    assert found.mode == 'least-connections'
    assert found.backends == (server('172.217.16.142', 443), server('172.217.16.143', 443))
    assert found.ring_domains == rings(('www.example.com', 443))


def test_an_argument_beats_the_environment_which_beats_the_default():
    environ = {'SIDELB_MODE': 'least-connections', 'SIDELB_REFRESH': '5m', 'SIDELB_BIND_ADDR': '127.0.0.1:1'}
    found = parse(PLAIN + ' refresh=2m', **environ)
    assert (found.refresh, found.mode, found.check_fall) == (120.0, 'least-connections', 2)
    assert found.listener == ('127.0.0.1', 5432)
    assert found.origins['refresh'] == 'argument'
    assert found.origins['mode'] == 'environment SIDELB_MODE'
    assert found.origins['check_fall'] == 'default'
    assert found.origins['listener'] == 'argument'


def test_servers_of_the_arguments_replace_those_of_the_environment():
    found = parse(PLAIN, SIDELB_BACKENDS='10.9.9.9:1')
    assert found.backends == (server('10.0.0.3', 5432),)


def test_a_wrong_variable_does_not_matter_where_an_argument_beats_it():
    assert parse(PLAIN + ' mode=round-robin', SIDELB_MODE='fastest').mode == 'round-robin'


def test_an_empty_variable_counts_as_unset():
    found = parse(PLAIN, SIDELB_MODE='', SIDELB_RING_DOMAIN=' ', SIDELB_NO_SUCH='')
    assert (found.mode, found.origins['mode'], found.ring_domains) == ('round-robin', 'default', ())


def test_variables_of_others_are_ignored():
    parse(PLAIN, PATH='/bin', SIDELB_TEST_ALL='1')


@pytest.mark.parametrize('variable, value', [
    ('SIDELB_SERVICE_HOST', '10.0.0.1'),
    ('SIDELB_SERVICE_PORT', '5432'),
    ('SIDELB_SERVICE_PORT_POSTGRES', '5432'),
    ('SIDELB_PORT', 'tcp://10.0.0.1:5432'),
    ('SIDELB_PORT_5432_TCP', 'tcp://10.0.0.1:5432'),
    ('SIDELB_PORT_5432_TCP_ADDR', '10.0.0.1'),
    ('SIDELB_STATUS_SERVICE_HOST', '10.0.0.1'),
    ('SIDELB_STATUS_PORT', 'udp://10.0.0.1:53'),
])
def test_variables_that_kubernetes_makes_of_a_service_called_sidelb_are_ignored(variable, value):
    parse(PLAIN, **{variable: value})


def test_settings_can_not_be_changed():
    with pytest.raises(AttributeError):
        parse(PLAIN).mode = 'least-connections'


# --- values ---

@pytest.mark.parametrize('text, seconds', [
    ('500ms', 0.5), ('5s', 5.0), ('2m', 120.0), ('1h', 3600.0), ('7', 7.0), ('1.5', 1.5), ('0.5s', 0.5),
    ('100MS', 0.1)])
def test_durations(text, seconds):
    assert parse(PLAIN + ' check_interval=' + text).check_interval == seconds


@pytest.mark.parametrize('seconds, text', [
    (0, '0'), (0.05, '50ms'), (1, '1s'), (1.5, '1.5s'), (60, '60s'), (90, '90s'), (300, '5m'), (3600, '1h'),
    (5400, '90m')])
def test_durations_are_shown_as_they_are_written(seconds, text):
    assert duration_text(seconds) == text


@pytest.mark.parametrize('text, backend', [
    ('10.0.0.1:1', server('10.0.0.1', 1)),
    ('[2001:DB8:0::1]:65535', server('2001:db8::1', 65535)),
    ('[::ffff:10.0.0.1]:1', server('10.0.0.1', 1)),
    ('db1.Example.COM:1', Backend((), 'db1.example.com', 1, None)),
    ('db1.example.com.:1', Backend((), 'db1.example.com.', 1, None)),
    ('my_db:1', Backend((), 'my_db', 1, None)),
    ('3com.example:1', Backend((), '3com.example', 1, None)),
    ('xn--bcher-kva.example:1', Backend((), 'xn--bcher-kva.example', 1, None)),
    ('10.0.0.1:5432+[2001:db8::1]:5433', Backend((('10.0.0.1', 5432), ('2001:db8::1', 5433)), None, None, None)),
])
def test_servers(text, backend):
    assert parse('127.0.0.1:9 ' + text).backends == (backend,)


@pytest.mark.parametrize('text, resolvers', [
    ('10.0.0.53', (('10.0.0.53', 53),)),
    ('10.0.0.53:5353,2001:db8::53, [2001:db8::54],[2001:db8::55]:54'.replace(' ', ''),
     (('10.0.0.53', 5353), ('2001:db8::53', 53), ('2001:db8::54', 53), ('2001:db8::55', 54))),
])
def test_resolvers(text, resolvers):
    assert parse(PLAIN + ' resolver=' + text).resolver == resolvers


@pytest.mark.parametrize('argument, attribute, value', [
    ('idle_timeout=off', 'idle_timeout', 0.0),
    ('idle_timeout=0', 'idle_timeout', 0.0),
    ('drain_timeout=0', 'drain_timeout', 0.0),
    ('dns_hold=0', 'dns_hold', 0.0),
    ('max_connections=100', 'max_connections', 100),
    ('group=off', 'group', 'off'),
    ('group=ptr', 'group', 'ptr'),
    ('status_socket=off', 'status_socket', None),
    ('status_socket=/tmp/a=b.sock', 'status_socket', '/tmp/a=b.sock'),
    ('http=127.0.0.1:8404', 'http', ('127.0.0.1', 8404)),
    ('http=off', 'http', None),
    ('reuse_port=on', 'reuse_port', True),
    ('reuse_port=true', 'reuse_port', True),
    ('reuse_port=off', 'reuse_port', False),
    ('on_down=close', 'on_down', 'close'),
    ('log_format=JSON', 'log_format', 'json'),
])
def test_values_of_tcp(argument, attribute, value):
    assert getattr(parse(PLAIN + ' ' + argument), attribute) == value


@pytest.mark.parametrize('argument, attribute, value', [
    ('session_timeout=5s', 'session_timeout', 5.0),
    ('responses=1', 'responses', 1),
    ('max_sessions=10', 'max_sessions', 10),
])
def test_values_of_udp(argument, attribute, value):
    assert getattr(parse(PLAIN + ' proto=udp ' + argument), attribute) == value


def test_the_default_check_is_that_of_the_protocol():
    assert parse(PLAIN).check.name == 'tcp'
    assert parse(PLAIN + ' proto=udp').check.name == 'udp'


def test_defaults():
    found = parse(PLAIN)
    assert (found.resolver, found.refresh, found.dns_hold, found.group) == ((), 60.0, 30.0, 'confirmed')
    assert (found.check_interval, found.check_timeout, found.check_fall, found.check_rise) == (5.0, 2.0, 2, 2)
    assert (found.connect_timeout, found.idle_timeout, found.half_close_timeout) == (3.0, 0.0, 300.0)
    assert found.drain_timeout == 8.0
    assert (found.on_down, found.on_removed, found.max_connections, found.status_socket) == (
        'keep', 'keep', None, '/run/sidelb.sock')
    assert (found.log_level, found.log_format, found.http, found.reuse_port) == ('info', 'text', None, False)
    assert (found.session_timeout, found.responses, found.max_sessions) == (60.0, 0, None)


def test_a_listener_may_ask_for_any_free_port():
    assert parse('[::1]:0 10.0.0.1:1').listener == ('::1', 0)


# --- bad input ---

@pytest.mark.parametrize('listener, says', [
    ('5432', 'name the address, too: 127.0.0.1:5432 for this machine only'),
    (':5432', 'name the address, too: 127.0.0.1:5432'),
    ('*:5432', '0.0.0.0:5432 for all'),
    ('localhost:5432', 'a listener is an IP address, no name: write 127.0.0.1:5432'),
    ('127.0.0.1', 'the port is missing: write 127.0.0.1:PORT'),
    ('127.0.0.1:', 'the port is missing'),
    ('127.0.0.1:65536', 'out of range: 0 to 65535'),
    ('127.0.0.1:http', 'the port is no number'),
    ('127.0.0.1:-1', 'the port is no number'),
    ('::1:5432', 'needs brackets: [::1]:5432'),
    ('::1', 'needs brackets and a port: [::1]:PORT'),
    ('[::1]', 'the port is missing: write [::1]:PORT'),
    ('[::1', 'like [2001:db8::1]:5432'),
    ('[::1]5432', 'like [2001:db8::1]:5432'),
    ('[fe80::1%eth0]:5432', 'zone'),
    ('[127.0.0.1]:5432', 'there is no IPv6 address in the brackets'),
    ('a:b:c', 'too many colons'),
    ('tcp://127.0.0.1:5432', 'that is a URL'),
    ('"0.0.0.0:443"', '(leave the quotes out)'),
])
def test_a_wrong_listener(listener, says):
    found = only_mistake('10.0.0.9:1 backends=10.0.0.8:1'.replace('10.0.0.9:1', listener))
    assert found.startswith('listener %s: ' % listener) and says in found


@pytest.mark.parametrize('text, says', [
    ('10.0.0.1', 'the port is missing: write 10.0.0.1:PORT'),
    ('db.example.com', 'the port is missing: write db.example.com:PORT'),
    (':1', 'the host is missing'),
    ('10.0.0.1:0', 'out of range: 1 to 65535'),
    ('10.0.0.1:99999999999999999999', 'out of range'),
    ('10.0.0.300:1', 'that is no IPv4 address'),
    ('10.0.0:1', 'that is no IPv4 address'),
    ('010.0.0.1:1', 'that is no IPv4 address'),
    ('2001:db8::1:5432', 'needs brackets: [2001:db8::1]:5432'),
    ('0.0.0.0:1', '0.0.0.0 is not the address of a server'),
    ('[::]:1', ':: is not the address of a server'),
    ('224.0.0.1:1', 'is not the address of a server'),
    ('255.255.255.255:1', 'is not the address of a server'),
    ('[ff02::1]:1', 'is not the address of a server'),
    ('-db.example.com:1', 'letters, digits, hyphens (inside)'),
    ('d!b:1', 'letters, digits, hyphens (inside)'),
    ('db..example.com:1', '1 to 63 characters'),
    ('x' * 64 + '.example:1', '1 to 63 characters'),
    ('.'.join(['x' * 60] * 5) + ':1', 'at most 253 characters'),
    ('10.0.0.1:1+db2:1', "'+' joins the addresses of one server; a name stands alone"),
    ('10.0.0.1:1+', 'the host is missing'),
    ('postgres://db.example.com:1/x', 'that is a URL'),
])
def test_a_wrong_server_in_every_place(text, says):
    for found in (only_mistake('127.0.0.1:9 ' + text), only_mistake('127.0.0.1:9 backends=' + text),
                  only_mistake('127.0.0.1:9', SIDELB_BACKENDS=text)):
        assert printable(text) in found and says in found


# --- options of a server or ring ---

@pytest.mark.parametrize('text, options', [
    ('/weight=3', Options(3, None, None)), ('/tier=2', Options(None, 2, None)), ('/max=100', Options(None, None, 100)),
    ('/max=1000000/weight=0/tier=9', Options(0, 9, 1000000)), ('/weight=256', Options(256, None, None)),
    (' /weight=3', Options(3, None, None)), ('/weight = 3', Options(3, None, None))])
def test_options_wherever_a_server_or_ring_is_named(text, options):
    one = server('10.0.0.1', 5432, options)
    assert parse(['127.0.0.1:9', '10.0.0.1:5432' + text]).backends == (one,)
    assert parse(['127.0.0.1:9', 'backends=10.0.0.1:5432%s,b:1' % text]).backends == (one, Backend((), 'b', 1, None))
    assert parse('127.0.0.1:9', SIDELB_BACKENDS='b:1, 10.0.0.1:5432%s' % text).backends[1] == one
    assert parse(['127.0.0.1:9', 'b:1' + text]).backends == (Backend((), 'b', 1, options),)
    assert parse(['127.0.0.1:9', 'ring_domain=a:1,b:2' + text]).ring_domains == (
        RingDomain('a', 1, None), RingDomain('b', 2, options))


def test_options_of_a_server_with_several_addresses_stand_once_after_the_last():
    found = parse('127.0.0.1:9 10.0.0.1:1+[2001:db8::1]:1/weight=2').backends
    assert found == (Backend((('10.0.0.1', 1), ('2001:db8::1', 1)), None, None, Options(2, None, None)),)
    assert 'options stand once, after the last address' in only_mistake(
        '127.0.0.1:9 10.0.0.1:1/weight=2+[2001:db8::1]:1')


@pytest.mark.parametrize('text, says', [
    ('/weight=-1', '/weight= is a whole number of 0 to 256'),
    ('/weight=257', '/weight= is a whole number of 0 to 256'),
    ('/weight=1.5', '/weight= is a whole number of 0 to 256'),
    ('/weight=', '/weight= is a whole number of 0 to 256'),
    ('/weight', '/weight= is a whole number of 0 to 256'),
    ('/weight=' + '9' * 400, '/weight= is a whole number of 0 to 256'),
    ('/tier=0', '/tier= is a whole number of 1 to 9'),
    ('/tier=10', '/tier= is a whole number of 1 to 9'),
    ('/max=0', '/max= is a whole number of 1 to 1000000'),
    ('/wieght=3', '/wieght: no such option: did you mean weight=?'),
    ('/colour=red', '/colour: no such option: there are weight=, tier= and max='),
    ('/WEIGHT=3', '/WEIGHT: no such option: did you mean weight=?'),
    ('/backup', '/backup: no such option: write /tier=2'),
    ('/zone=us', '/zone: no such option: write /tier=2'),
    ('/maxconn=5', '/maxconn: no such option: write /max=100'),
    ('/down', '/down: no such option: write /weight=0, which takes no new session'),
    ('/weight=+3', '/weight= is a whole number of 0 to 256'),
    ('//weight=3', 'one slash before each option is enough: HOST:PORT/weight=3'),
    ('/', 'an option is missing after a slash: leave the slash out'),
    ('/weight=1/', 'an option is missing after a slash: leave the slash out'),
    ('/weight=1/weight=2', '/weight= is given twice: keep one'),
    ('/weight=x/tier=0', '/weight= is a whole number of 0 to 256; /tier= is a whole number of 1 to 9'),
    ('/weight=\x1b[2J', '/weight= is a whole number'),
    ('/\x1b[2J=1', '/\\x1b[2J: no such option'),
])
def test_a_wrong_option_in_every_place(text, says):
    for found in (only_mistake(['127.0.0.1:9', '10.0.0.1:5432' + text]),
                  only_mistake(['127.0.0.1:9', 'backends=b:1,10.0.0.1:5432' + text]),
                  only_mistake(['127.0.0.1:9', 'ring_domain=db:1' + text]),
                  only_mistake('127.0.0.1:9', SIDELB_BACKENDS='10.0.0.1:5432' + text)):
        assert says in found and '\x1b' not in found


@pytest.mark.parametrize('text, option', [
    ('10.0.0.1:1 weight=3', '/weight=3'), ('10.0.0.1:1;weight=3', '/weight=3'), ('10.0.0.1:1?weight=3', '/weight=3'),
    ('10.0.0.1:1#weight=3', '/weight=3'), ('10.0.0.1:1 weight 3', '/weight=3'), ('10.0.0.1:1, weight=3', '/weight=3'),
    ('10.0.0.1:1/weight=3,tier=2', '/tier=2'), ('10.0.0.1:1/weight=3&tier=2', '/tier=2'),
    ('10.0.0.1:1/weight=3 tier=2', '/tier=2'), ('10.0.0.1:1 backup', '/tier=2'), ('10.0.0.1:1 maxconn 30', '/max=100'),
    ('server db1 10.0.0.1:1 weight 3', '/weight=3'), ('10.0.0.1/weight=3:1', '/weight=3'),
    ('[2001:db8::1/weight=3]:1', '/weight=3'), ('/weight=3', '/weight=3'), ('/tier=2/max=5', '/tier=2/max=5')])
def test_options_as_other_programs_write_them_are_told_how_to_be_written_here(text, option):
    says = 'options stand behind the port, each after a slash: HOST:PORT' + option
    for found in (only_mistake(['127.0.0.1:9', text]), only_mistake(['127.0.0.1:9', 'backends=' + text]),
                  only_mistake('127.0.0.1:9', SIDELB_BACKENDS=text)):
        assert found.endswith(says)


@pytest.mark.parametrize('before, run, after', [
    ('10.0.0.1:1', ' ', 'x'), ('10.0.0.1:1', ' ', '9'), ('weight', ' ', '=3x'), ('a', ' ', ';'), ('#', ' ', '#'),
    ('10.0.0.1:1/', '+', '')])
def test_a_very_long_text_is_read_in_no_time(before, run, after):
    text, began = before + 400000 * run + after, time.time()
    with pytest.raises(ValueError):
        ServersFile('/servers').servers_in(text + '\nwrong')
    mistakes(['127.0.0.1:9', 'backends=' + text])
    assert time.time() - began < 5                         # it was minutes


@pytest.mark.parametrize('text', ['weight:1', 'backup:5432', 'zone:1/tier=2', 'limit.example.com:3', 'max:9'])
def test_a_server_may_be_called_as_an_option_is(text):
    assert str(parse(['127.0.0.1:9', text]).backends[0]) == text


@pytest.mark.parametrize('text, says', [
    ('unix:/run/a.sock/wieght=3', 'a unix: server has no options: leave out /wieght=3'),
    ('unix:/run/a.sock/tier=2/Weight=x', 'a unix: server has no options: leave out /Weight=x'),
    ('/run/a.sock', 'a socket of this host is written unix:/run/a.sock'),
    ('ring_domain=unix:/run/a.sock', 'that is a server, no domain: use backends=unix:/run/a.sock'),
    ('ring_domain=10.0.0.1:1/tier=2', 'that is an address, no domain: use backends=10.0.0.1:1/tier=2')])
def test_no_option_becomes_part_of_a_path_and_none_is_forgotten_in_an_advice(text, says):
    assert only_mistake('127.0.0.1:9 ' + text).endswith(says)


def test_a_socket_may_be_in_a_folder_of_any_name():
    for text in ('unix:/run/weight=3/a.sock', 'unix:/run/a.sock/backup', 'unix:/run/app=7'):
        assert str(parse('127.0.0.1:9 ' + text).backends[0]) == text


@pytest.mark.parametrize('text', ['https://x:1/weight=2', 'https://x:1'])
def test_a_url_is_one_mistake(text):
    assert 'that is a URL' in only_mistake('127.0.0.1:9 ' + text)


def test_a_listener_has_no_options():
    for listener in '127.0.0.1:9/weight=3', 'unix:/run/app.sock/weight=3':
        assert 'a listener has no options: leave out /weight=3' in only_mistake(listener + ' 10.0.0.1:1')


def test_the_same_server_with_other_options_is_named_twice():
    assert 'is named twice' in only_mistake('127.0.0.1:9 10.0.0.1:1 10.0.0.1:1/weight=2')
    assert 'is named twice' in only_mistake('127.0.0.1:9 ring_domain=a:1/tier=1,a:1/tier=2')


@pytest.mark.parametrize('key', [setting.key for setting in TABLE if setting.default in ('automatic', 'resolv.conf')])
def test_a_default_that_is_a_word_may_be_written(key):
    setting = BY_KEY[key]
    found = parse(['127.0.0.1:9', '10.0.0.1:1', '%s=%s' % (key, setting.default), 'proto=' + (setting.protocol or 'tcp')])
    assert getattr(found, key) == setting.default_value and found.origins[key] == 'argument'


@pytest.mark.parametrize('text, instance', [
    ('7', 7), ('4294967295', 4294967295), ('app-7', 'app-7'), ('app.7', 'app.7'), ('app', 'app'), ('automatic', None),
    ('off', 'off')])
def test_an_instance_is_a_number_or_a_name(text, instance):
    assert parse('127.0.0.1:9 10.0.0.1:1 instance=' + text).instance == instance


@pytest.mark.parametrize('text', ['-1', '1.5', '7.', '1_000', '%i', 'app/7'])
def test_what_is_no_number_and_no_name_of_an_instance(text):
    assert 'write a number, the name of the instance (app-17), or off' in only_mistake(
        '127.0.0.1:9 10.0.0.1:1 instance=' + text)


@pytest.mark.parametrize('line, says', [
    ('10.0.0.1:1 10.0.0.2:1 spill=1.4', ['spill= is about several tiers, and all servers are of one']),
    ('10.0.0.1:1/tier=2 ring_domain=db:1/tier=2 tier_return=5s', ['tier_return= is about several tiers']),
    ('10.0.0.1:1/weight=0 db:1/weight=0', ['every server has /weight=0, which takes no new session']),
    ('10.0.0.1:1/weight=0 db:1', []), ('10.0.0.1:1 spill=off tier_return=0', []), ('10.0.0.1:1', []),
    ('10.0.0.1:1 db:1/tier=2 spill=1.4', []), ('ring_domain=_a._tcp.db spill=1.4', []),
    ('10.0.0.1:1/weight=0 servers_file=/run/servers spill=1.4', [])])
def test_options_and_settings_that_do_nothing_together_are_noted(line, says):
    found = notes('127.0.0.1:9 ' + line)
    assert len(found) == len(says) and all(text in note for text, note in zip(says, found))


# --- SRV names ---

@pytest.mark.parametrize('text, ring', [
    ('_postgres._tcp.db.example.com', RingDomain('_postgres._tcp.db.example.com', None, None)),
    ('_Postgres._TCP.db', RingDomain('_postgres._tcp.db', None, None)),
    ('_ldap._tcp.example.com.:636/tier=2', RingDomain('_ldap._tcp.example.com.', 636, Options(None, 2, None)))])
def test_an_srv_name_may_have_a_port(text, ring):
    assert parse('127.0.0.1:9 ring_domain=' + text).ring_domains == (ring,)


def test_an_srv_name_of_the_other_protocol():
    assert 'ring_domain=_dns._udp.example.com is for proto=udp' in only_mistake(
        '127.0.0.1:9 ring_domain=_dns._udp.example.com')
    assert 'is for proto=tcp' in only_mistake('127.0.0.1:9 ring_domain=_dns._tcp.example.com:1 proto=udp')
    parse('127.0.0.1:9 ring_domain=_dns._udp.example.com proto=udp')


def test_a_tag_of_consul_stands_for_any_protocol_and_a_slip_for_none():
    """Patroni registers itself with the tags primary and replica; to Consul they are what comes before .service."""
    for proto in 'tcp', 'udp':
        ring, = parse('127.0.0.1:9 ring_domain=_db._primary.service.consul proto=%s' % proto).ring_domains
        assert (ring.port, ring.srv_protocol) == (None, 'primary')
    assert '_tpc is no protocol: did you mean _tcp?' in only_mistake('127.0.0.1:9 ring_domain=_db._tpc.example.com')


def test_an_srv_name_is_no_single_server():
    for argument in '_db._tcp.example.com', '_db._tcp.example.com:5432/weight=2', 'backends=_db._tcp.example.com:5432':
        name = argument.rpartition('=')[2] if argument.startswith('backends') else argument
        assert 'an SRV name is many servers: write ring_domain=' + name in only_mistake('127.0.0.1:9 ' + argument)


def test_the_search_list_may_have_all_of_an_srv_name_but_its_first_labels():
    ring, = parse('127.0.0.1:9 ring_domain=_db._tcp').ring_domains
    assert ring == RingDomain('_db._tcp', None, None)


def test_a_name_without_a_port_is_pointed_to_srv_names():
    assert 'write db:PORT, or an SRV name like _postgres._tcp.db' in only_mistake('127.0.0.1:9 ring_domain=db')
    assert 'an SRV name' in only_mistake('127.0.0.1:9 ring_domain=_postgres.db.example.com')
    assert '_a._tcp.b is named twice' in only_mistake('127.0.0.1:9 ring_domain=_a._tcp.b,_a._tcp.b')


def test_a_name_that_is_not_ascii():
    assert 'write an international one in its xn-- form' in only_mistake('127.0.0.1:9 b\xfccher.example:1')


@pytest.mark.parametrize('argument, says', [
    ('ring_domain=db.example.com', 'the port is missing: write db.example.com:PORT'),
    ('ring_domain=10.0.0.1:1', 'that is an address, no domain: use backends=10.0.0.1:1'),
    ('ring_domain=[::2]:1', 'use backends=[::2]:1'),
    ('mode=fastest', 'choose round-robin, least-connections or source'),
    ('proto=sctp', 'choose tcp or udp'),
    ('group=dns', 'choose confirmed, ptr or off'),
    ('resolver=dns.example.com', 'a resolver is an IP address'),
    ('resolver=10.0.0.1:0', 'out of range'),
    ('refresh=5 s', 'write a duration like'),
    ('refresh=5d', 'write a duration like 500ms, 5s, 2m or 1h'),
    ('refresh=-5', 'write a duration like'),
    ('refresh=nan', 'write a duration like'),
    ('refresh=0', 'must be 1s to 24h'),
    ('refresh=500ms', 'must be 1s to 24h'),
    ('check_interval=0', 'must be 100ms to 1h'),
    ('check_timeout=0', 'must be 10ms to 5m'),
    ('check_timeout=off', 'write a duration like'),
    ('connect_timeout=' + '9' * 400, 'must be 10ms to 5m'),
    ('half_close_timeout=0', 'must be 10ms to 720h'),
    ('check=nonsense', 'choose tcp[:PORT], '),
    ('check_fall=0', 'must be 1 to 100'),
    ('check_rise=1.5', 'write a whole number'),
    ('check_rise=two', 'write a whole number'),
    ('max_connections=0', 'must be 1 to'),
    ('max_connections=' + '9' * 5000, 'must be 1 to'),
    ('on_down=drop', 'choose keep or close'),
    ('on_removed=drop', 'choose keep or close'),
    ('reuse_port=maybe', 'choose on or off'),
    ('http=8404', 'name the address, too: 127.0.0.1:8404'),
    ('http=on', 'say where: http=127.0.0.1:8404'),
    ('status_socket=/' + 'x' * 107, 'at most 107 bytes'),
    ('log_level=loud', 'choose debug, info, warning or error'),
    ('log_format=xml', 'choose text or json'),
])
def test_a_wrong_value_as_argument_and_as_variable(argument, says):
    key, _, text = argument.partition('=')
    for line, variables in ((PLAIN.split() + [argument], {}), (PLAIN, {'SIDELB_' + key.upper(): text})):
        found = only_mistake(line, **variables)
        assert says in found
        assert found.startswith((key + '=', 'SIDELB_%s=' % key.upper()))


@pytest.mark.parametrize('line, says', [
    ('session_timeout=5s', 'session_timeout= is for proto=udp (for tcp use idle_timeout=)'),
    ('responses=1', 'responses= is for proto=udp'),
    ('max_sessions=5', 'max_sessions= is for proto=udp (for tcp use max_connections=)'),
    ('check=dns', 'check=dns is not for proto=tcp: choose tcp[:PORT], '),
    ('proto=udp idle_timeout=5s', 'idle_timeout= is for proto=tcp (for udp use session_timeout=)'),
    ('proto=udp half_close_timeout=5s', 'half_close_timeout= is for proto=tcp'),
    ('proto=udp max_connections=5', 'max_connections= is for proto=tcp (for udp use max_sessions=)'),
    ('proto=udp check=tcp', 'check=tcp is not for proto=udp: choose udp, dns[/NAME], '),
])
def test_a_setting_of_the_other_protocol(line, says):
    assert says in only_mistake(PLAIN + ' ' + line)


def test_a_setting_of_the_other_protocol_in_the_environment():
    assert 'is for proto=udp' in only_mistake(PLAIN, SIDELB_SESSION_TIMEOUT='5s')


def test_a_wrong_protocol_is_the_only_mistake_about_protocols():
    assert 'choose tcp or udp' in only_mistake(PLAIN + ' proto=sctp session_timeout=5s check=dns')


@pytest.mark.parametrize('line, says', [
    ('127.0.0.1:9 10.0.0.1:1 10.0.0.2:1 10.0.0.1:1', '10.0.0.1:1 is named twice in backends'),
    ('127.0.0.1:9 10.0.0.1:1 backends=10.0.0.1:1', '10.0.0.1:1 is named twice in backends'),
    ('127.0.0.1:9 10.0.0.1:1 10.0.0.2:1+10.0.0.1:1', '10.0.0.1:1 is named twice in backends'),
    ('127.0.0.1:9 10.0.0.1:1 [::ffff:10.0.0.1]:1', '10.0.0.1:1 is named twice in backends'),
    ('127.0.0.1:9 [2001:db8::1]:1 [2001:DB8:0::1]:1', '[2001:db8::1]:1 is named twice in backends'),
    ('127.0.0.1:9 db.example:1 DB.example.:1', 'db.example.:1 is named twice in backends'),
    ('127.0.0.1:9 ring_domain=a.example:1 ring_domain=A.example:1',
     'a.example:1 is named twice in ring_domain'),
    ('127.0.0.1:9 a.example:1 ring_domain=a.example:1',
     'is both a ring_domain (many servers) and a backend (one server)'),
])
def test_the_same_server_twice(line, says):
    assert says in only_mistake(line)


def test_the_same_host_on_two_ports_is_two_servers():
    parse('127.0.0.1:9 10.0.0.1:1 10.0.0.1:2 db.example:1 db.example:2')


@pytest.mark.parametrize('line', [
    '127.0.0.1:1 127.0.0.1:1',
    '0.0.0.0:1 127.0.0.1:1',
    '0.0.0.0:1 127.9.9.9:1',
    '[::]:1 [::1]:1',
    '127.0.0.1:1 localhost:1',
    '0.0.0.0:1 localhost:1',
    '127.0.0.1:1 ring_domain=localhost:1',
    '10.0.0.7:1 10.0.0.8:1+10.0.0.7:1',
])
def test_a_listener_that_is_a_server(line):
    assert 'itself, a loop' in only_mistake(line)


@pytest.mark.parametrize('line', [
    '127.0.0.1:1 127.0.0.1:2', '127.0.0.1:1 127.0.0.2:1', '0.0.0.0:1 10.0.0.1:1', '127.0.0.2:1 localhost:1',
    '127.0.0.1:0 127.0.0.1:1', '[::]:1 127.0.0.1:1', '0.0.0.0:1 [::1]:1', '127.0.0.1:1 ring_domain=db.example.com:1'])
def test_no_loop(line):
    parse(line)


@pytest.mark.parametrize('listener, http', [
    ('127.0.0.1:1', '127.0.0.1:1'), ('0.0.0.0:1', '127.0.0.1:1'), ('127.0.0.1:1', '0.0.0.0:1')])
def test_http_on_the_address_of_the_listener(listener, http):
    line = '%s 10.0.0.1:1 http=%s' % (listener, http)
    assert 'is the address of the listener' in only_mistake(line)
    parse(line + ' proto=udp')


def test_no_listener_and_no_server():
    found = mistakes('')
    assert len(found) == 2
    assert found[0].startswith('no listener: name it first') and 'SIDELB_BIND_ADDR' in found[0]
    assert found[1].startswith('no server: ')
    assert 'ring_domain=host:port' in found[1]


def test_a_bare_server_that_was_taken_for_the_listener():
    found = only_mistake('10.0.0.1:1', SIDELB_BIND_ADDR='127.0.0.1:1')
    assert found.startswith('no server: ') and 'the first bare argument is the listener' in found


@pytest.mark.parametrize('word, says', [
    ('mod=x', 'mod=: no such setting: did you mean mode=?'),
    ('MODE=x', 'MODE=: no such setting: did you mean mode=?'),
    ('ring-domain=x', 'did you mean ring_domain=?'),
    ('backend=x', 'did you mean backends=?'),
    ('upstreams=x', 'did you mean backends=?'),
    ('mode:source', 'mode:source: a setting is written mode=source'),
    ('tls=on', 'tls=: no such setting: TLS passes through unchanged; for one of its own see docs/tls.md'),
    ('workers=4', 'workers=: no such setting: one process uses one core; with reuse_port=on several share'),
    ('timeout=5s', 'timeout=: no such setting: did you mean connect_timeout= or idle_timeout=?'),
    ('weight=3', 'weight=: no such setting: it is an option of a server, behind its port: 10.0.0.1:5432/weight=3'),
    ('weights=3,1', 'it is an option of a server, behind its port: 10.0.0.1:5432/weight=3'),
    ('backup=10.0.0.1:1', 'have a tier behind their port: 10.0.0.1:5432/tier=2'),
    ('zone=us', 'have a tier behind their port: 10.0.0.1:5432/tier=2'),
    ('priority=2', 'have a tier behind their port: 10.0.0.1:5432/tier=2'),
    ('srv=_a._tcp.b', 'srv=: no such setting: ring_domain=_postgres._tcp.db.example.com is looked up as SRV'),
    ('overprovisioning=1.4', 'did you mean spill=?'),
    ('lifetime=1h', 'did you mean max_session_age=?'),
    ('ordinal=3', 'did you mean instance=?'),
    ('queue_timeout=3', 'did you mean server_wait=?'),
    ('bind_addr=x', 'did you mean listener=?'),
    ('check_intervall=x', 'did you mean check_interval=?'),
    ('colour=x', 'colour=: no such setting: sidelb --help lists all'),
    ('=x', '=: no such setting'),
    ('a\x1b[31m=x', 'a\\x1b[31m=: no such setting'),
])
def test_an_unknown_key(word, says):
    assert says in only_mistake(PLAIN + ' ' + word)


@pytest.mark.parametrize('variable, says', [
    ('SIDELB_MOD', 'SIDELB_MOD: no such setting: did you mean SIDELB_MODE?'),
    ('SIDELB_LISTENER', 'did you mean SIDELB_BIND_ADDR?'),
    ('SIDELB_BIND', 'did you mean SIDELB_BIND_ADDR?'),
    ('SIDELB_BACKEND', 'did you mean SIDELB_BACKENDS?'),
    ('SIDELB_XYZZY', 'SIDELB_XYZZY: no such setting: sidelb --help lists all'),
    ('SIDELB_PORT', 'SIDELB_PORT: no such setting'),
])
def test_an_unknown_variable_is_told_and_nothing_worse(variable, says):
    found = parse(PLAIN, **{variable: '1'})
    assert [name for name, _ in found.unknown_variables] == [variable]
    assert says in notes(PLAIN, **{variable: '1'})[0]
    assert parse(PLAIN).unknown_variables == ()


def test_beside_mistakes_an_unknown_variable_is_told_too():
    found = mistakes('127.0.0.1:1', SIDELB_BACKEND='10.0.0.1:1')
    assert found[0].startswith('no server: ')
    assert found[1:] == ['SIDELB_BACKEND: no such setting: did you mean SIDELB_BACKENDS?']


@pytest.mark.parametrize('proto, offers', [('tcp', 'choose tcp[:PORT]'), ('udp', 'choose udp, dns')])
def test_an_unknown_check_is_answered_with_those_of_the_protocol(proto, offers):
    says = only_mistake(PLAIN + ' check=frobnicate proto=' + proto)
    assert offers in says
    others = set(checks.words({'tcp': 'udp', 'udp': 'tcp'}[proto])) - set(checks.words(proto))
    assert others and not [word for word in others if word in says]


def test_a_check_that_may_take_longer_than_the_interval_is_told():
    assert 'check_timeout=9s is longer than check_interval=5s' in notes(PLAIN + ' check_timeout=9s')[0]
    for line in (PLAIN, PLAIN + ' check_timeout=9s check=off', PLAIN + ' check_timeout=5s'):
        assert notes(line) == []


@pytest.mark.parametrize(
    'key', [setting.key for setting in TABLE if setting.key not in ('ring_domain', 'backends', 'check_password')])
def test_a_key_that_is_given_twice(key):
    assert '%s= is given twice: keep one' % key in mistakes('10.0.0.3:5432 {0}=x {0}=x'.format(key))


@pytest.mark.parametrize('word', ['mode=', 'mode', 'refresh', 'mode= '])
def test_a_key_without_a_value(word):
    key = word.rstrip('= ')
    found = only_mistake(PLAIN.split() + [word])
    assert found.startswith('%s=: the value is missing: write %s=VALUE' % (key, key))


@pytest.mark.parametrize('text', [
    'backends=10.0.0.2:1 10.0.0.3:1', '10.0.0.2:1 10.0.0.3:1', 'ring_domain=a.example:1 b.example:1',
    'resolver=10.0.0.1 10.0.0.2', 'backends=10.0.0.2:1\t10.0.0.3:1'])
def test_blanks_between_the_entries_of_a_list(text):
    assert 'separate them with commas' in only_mistake(['127.0.0.1:9', '10.0.0.1:1', text])


def test_a_blank_after_a_comma_that_made_two_arguments():
    assert 'write no space between the entries' in only_mistake('127.0.0.1:9 backends=10.0.0.1:1, 10.0.0.2:1')


@pytest.mark.parametrize('text', [',10.0.0.1:1', '10.0.0.1:1,,10.0.0.2:1'])
def test_an_empty_entry_in_a_list(text):
    assert 'nothing is here between commas' in only_mistake('127.0.0.1:9 backends=' + text)
    assert 'nothing is here between commas' in only_mistake('127.0.0.1:9', SIDELB_BACKENDS=text)


def test_every_mistake_is_listed_in_one_go():
    found = '\n'.join(mistakes(
        '5432 10.0.0.1 10.0.0.2:0,db..x:1 10.0.0.4:1 10.0.0.4:1 ring_domain=10.0.0.5:1 mode=x colour=red '
        'refresh=',
        SIDELB_LOG_LEVEL='loud', SIDELB_MOD='x'))
    for part in ('listener 5432', 'server 10.0.0.1:', 'server 10.0.0.2:0:', 'server db..x:1:',
                 '10.0.0.4:1 is named twice', 'ring_domain=10.0.0.5:1:', 'mode=x:', 'colour=:', 'refresh=:',
                 'SIDELB_LOG_LEVEL=loud:', 'SIDELB_MOD:'):
        assert part in found
    assert len(found.splitlines()) == 11


def test_mistakes_are_short_lines_of_printable_ascii_whatever_was_written():
    hostile = 'x\x1b[2J\n\xff' + '\xe9' * 10000
    arguments = [hostile, hostile, hostile + '=', 'mode=' + hostile]
    for found in mistakes(arguments, **{'SIDELB_' + hostile: hostile}):
        assert re.match('[ -~]{1,700}$', found), found


# --- settings out of nothing, for tests and whoever needs no user ---

def test_defaults_are_those_of_a_command_line_that_names_nothing_else():
    found = parse(PLAIN)
    built = settings.defaults(listener=('127.0.0.1', 5432), backends=(server('10.0.0.3', 5432),))
    assert built._replace(origins=None) == found._replace(origins=None)
    assert built.origins == found.origins


def test_defaults_with_changes_as_values_or_as_texts():
    assert settings.defaults(connect_timeout=0.2).connect_timeout == 0.2
    assert settings.defaults(connect_timeout='200ms').connect_timeout == 0.2
    assert settings.defaults(backends='10.0.0.3:1,10.0.0.4:1').backends == (server('10.0.0.3', 1), server('10.0.0.4', 1))
    assert settings.defaults(proto='udp').check.name == 'udp'
    assert settings.defaults(proto='udp', check='off').check.name == 'off'


@pytest.mark.parametrize('change', [{'conect_timeout': 0.2}, {'connect_timeout': '200 ms'}])
def test_wrong_changes_of_the_defaults(change):
    with pytest.raises(SettingsError):
        settings.defaults(**change)


def test_a_password_is_taken_from_the_environment_alone_and_never_shown():
    given = settings.parse(['127.0.0.1:1', '127.0.0.2:1', 'check=postgres/primary'], {'SIDELB_CHECK_PASSWORD': 'hunter2'})
    assert given.check_password.text == 'hunter2'
    assert 'hunter2' not in repr(given) and 'hunter2' not in texts.describe(settings.configuration(
        ['127.0.0.1:1', '127.0.0.2:1'], {'SIDELB_CHECK_PASSWORD': 'hunter2'}))
    with pytest.raises(SettingsError) as raised:
        settings.parse(['127.0.0.1:1', '127.0.0.2:1', 'check_password=hunter2'], {})
    assert 'use SIDELB_CHECK_PASSWORD or check_password_file=' in str(raised.value) and 'hunter2' not in str(raised.value)


# --- who may connect ---

def test_networks_are_given_as_lists():
    found = parse(PLAIN + ' allow=127.0.0.0/8,2001:db8::/32 deny=127.0.0.9')
    assert [str(network) for network in found.allow + found.deny] == ['127.0.0.0/8', '2001:db8::/32', '127.0.0.9/32']


@pytest.mark.parametrize('line, mistake', [
    ('allow=10.0.0.1/8', 'allow=10.0.0.1/8: 10.0.0.1 has bits beyond the first 8: did you mean 10.0.0.0/8?'),
    ('deny=db.example.com', 'deny=db.example.com: write a network like 10.0.0.0/8 or 2001:db8::/32, or one address'),
    ('allow=10.1.0.0/16 deny=10.0.0.0/8', 'allow=10.1.0.0/16 lets nobody in, for deny=10.0.0.0/8 has all of it, and is '
                                          'asked first'),
    ('allow=2001:db8::/32', 'allow= has no IPv4 network, and the clients of the listener 127.0.0.1:5432 come from such: '
                            'add one'),
    ('accept_proxy=::1', 'accept_proxy= has no IPv4 network, and the clients of the listener 127.0.0.1:5432 come from '
                         'such: add one'),
    ('accept_proxy=on', 'accept_proxy=on: name the networks that are trusted, like 10.0.0.0/8: who sends a PROXY header '
                        'can pretend to be any client'),
    ('accept_proxy=off', 'accept_proxy=off: leave the setting out'),
    ('proxy=on', 'proxy=on: choose v1, v2 or off'),
    ('proto=udp proxy=v2', 'proxy= is for proto=tcp'),
])
def test_networks_that_let_nobody_in_are_mistakes(line, mistake):
    assert only_mistake(PLAIN + ' ' + line) == mistake


def test_a_loopback_listener_that_leaves_loopback_out_is_noted():
    assert notes(PLAIN + ' allow=10.0.0.0/8') == [
        'allow= leaves out 127.0.0.1: clients of the listener 127.0.0.1:5432 are on this host, and mostly come from there']
    assert notes('0.0.0.0:5432 10.0.0.3:5432 allow=10.0.0.0/8') == []


# --- unix-domain sockets ---

def test_a_path_is_a_listener_and_a_server():
    found = parse('unix:/run/app.sock unix:/run/postgresql/.s.PGSQL.5432 10.0.0.3:5432/weight=2 listener_mode=0660')
    assert found.listener == ('/run/app.sock', 0) and found.listener_mode == 0o660
    assert [str(backend) for backend in found.backends] == ['unix:/run/postgresql/.s.PGSQL.5432', '10.0.0.3:5432/weight=2']


def test_a_name_without_a_file_is_a_listener_and_a_server():
    found = parse('unix:@app unix:@db.1 unix:@%s' % ('x' * 106))
    assert found.listener == ('@app', 0)
    assert [str(backend) for backend in found.backends] == ['unix:@db.1', 'unix:@' + 'x' * 106]
    assert found.backends[0].addresses[0] == ('@db.1', 0)


@pytest.mark.parametrize('line, mistake', [
    ('unix:run.sock 10.0.0.3:1', 'listener unix:run.sock: write the whole path, like unix:/run/app.sock, or '
                                 'unix:@name for a socket without a file'),
    ('unix:/%s 10.0.0.3:1' % ('x' * 107), 'listener unix:/%s: the path of a socket has at most 107 bytes' % ('x' * 107)),
    ('unix:/run/a unix:/run/a', 'unix:/run/a is the listener unix:/run/a itself, a loop: name the address of the server'),
    ('unix:/run/a unix:/run/b unix:/run/./b', 'unix:/run/b is named twice in backends: leave one out'),
    ('127.0.0.1:1 unix:/run/a/weight=2', 'server unix:/run/a/weight=2: a unix: server has no options: leave out '
                                         '/weight=2'),
    ('127.0.0.1:1 unix:/run/a proto=udp', 'unix:/run/a is for proto=tcp'),
    ('unix:/run/a 10.0.0.3:1 proto=udp', 'the listener unix:/run/a is for proto=tcp'),
    ('unix:/run/a 10.0.0.3:1 reuse_port=on', 'reuse_port=on: only one program can have the listener unix:/run/a'),
    ('unix:/run/a 10.0.0.3:1 allow=10.0.0.0/8', 'allow= is about IP addresses, and clients of the listener unix:/run/a have '
                                                'none: listener_mode= says who may connect'),
    ('unix:/run/sidelb.sock 10.0.0.3:1', 'status_socket=/run/sidelb.sock is the listener itself: give it another path'),
    ('127.0.0.1:1 unix:/run/a check=http:8008/', 'check=http:8008/: the server unix:/run/a has no ports'),
    ('127.0.0.1:1 10.0.0.3:1 listener_mode=0660', 'listener_mode= is for a listener unix:/path'),
    ('unix:/run/a 10.0.0.3:1 listener_mode=rw', 'listener_mode=rw: write three octal digits, like 0660'),
    ('unix:@app 10.0.0.3:1 listener_mode=0660',
     'listener_mode= is the mode of a file, and the listener unix:@app has none'),
    ('unix:@app 10.0.0.3:1 deny=10.0.0.0/8', 'deny= is about IP addresses, and clients of the listener unix:@app have none: '
                                             'with unix:/path listener_mode= says who may connect'),
    ('unix:@ 10.0.0.3:1', 'listener unix:@: write the whole path, like unix:/run/app.sock, or unix:@name for a socket '
                          'without a file'),
    ('unix:@app unix:@app', 'unix:@app is the listener unix:@app itself, a loop: name the address of the server'),
    ('127.0.0.1:1 unix:@app/weight=2', 'server unix:@app/weight=2: a unix: server has no options: leave out /weight=2'),
    ('127.0.0.1:1 10.0.0.3:1 http=unix:/run/a', 'http=unix:/run/a: HTTP is served at ip:port'),
])
def test_a_path_that_does_not_go_with_the_rest_is_a_mistake(line, mistake):
    assert only_mistake(line) == mistake


@pytest.mark.parametrize('line, mistake', [
    ('source=db.example.com', 'source=db.example.com: write an IP address of this host, like 10.0.0.5; the port is chosen '
                              'by itself'),
    ('source=10.0.0.5:80', 'source=10.0.0.5:80: write an IP address of this host, like 10.0.0.5; the port is chosen by '
                           'itself'),
    ('source=0.0.0.0', 'source=0.0.0.0: write an IP address of this host, like 10.0.0.5; the port is chosen by itself'),
    ('source=10.0.0.5,10.0.0.6', 'source=10.0.0.5,10.0.0.6: one address of each family is enough'),
    ('source=127.0.0.5', 'source=127.0.0.5 is for servers on this host, and 10.0.0.3 is elsewhere'),
])
def test_a_source_that_can_not_be_is_a_mistake(line, mistake):
    assert only_mistake(PLAIN + ' ' + line) == mistake
