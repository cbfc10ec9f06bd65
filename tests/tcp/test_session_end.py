"""What the access log says of a TCP session."""
from __future__ import absolute_import, division, print_function

import contextlib
import socket

import pytest

from sidelb_lib.tcp.direction import Direction

from ..support.clients import reset
from ..support.waiting import wait_until
from .parts import end_of, exchange


@pytest.fixture
def told(balancer):
    """Makes a balancer that tells `lines`, a list of fields, what became of sessions."""
    def make(**options):
        one = balancer(**options)
        one.lines = []
        one.tell = lambda template, **fields: one.lines.append(dict(fields, text=template.format(**fields)))
        one.server.change(one.server.settings, 1000, one.tell)
        return one
    return make


def only_line(one):
    wait_until('nothing was told', lambda: one.lines)
    assert len(one.lines) == 1
    return one.lines[0]


def test_a_line_says_who_where_how_long_why_and_how_much(told, echo):
    one, server = told(), echo('A')
    one.use(server.endpoint)
    with contextlib.closing(one.connect()) as client:
        exchange(client)
        name = '127.0.0.1:%d' % client.getsockname()[1]
    line = only_line(one)
    assert (line['client'], line['reason'], line['bytes_out'], line['bytes_in']) == (name, 'client_end', 6, 8)
    assert line['address'] == line['member'] == '127.0.0.1:%d' % server.endpoint[1]
    assert 0 <= line['wait_ms'] + line['connect_ms'] + line['first_byte_ms'] <= 1000 * line['duration']
    assert 'via' not in line and 'tries' not in line
    assert line['text'] == (
        '%s to %s ended after %.3f s (client_end), 6 bytes out, 8 in, waited %g ms, connected in %g ms, first byte after '
        '%g ms' % (name, line['address'], line['duration'], line['wait_ms'], line['connect_ms'], line['first_byte_ms']))


def test_the_first_byte_is_the_servers_first_one(told, echo):
    one = told()
    one.use(echo('A').endpoint)
    with contextlib.closing(one.connect()) as client:
        wait_until('there is a relay', lambda: any(each.relay for each in one.server.sessions))
        relay = next(iter(one.server.sessions)).relay
        assert relay.first_byte is None
        began = one.server.clock()
        exchange(client)
        first = relay.first_byte
        assert began - relay.began <= first <= one.server.clock() - relay.began
        exchange(client)
        assert relay.first_byte == first and relay.inbound.moved == 16


def test_a_server_that_ends_without_a_byte_has_no_first_one(told, echo):
    listener = socket.socket()
    listener.bind(('127.0.0.1', 0))
    listener.listen(5)
    one = told()
    one.use(listener.getsockname())
    client = one.connect()
    listener.accept()[0].close()
    assert end_of(client) == 'eof'
    client.close()
    line = only_line(one)
    assert line['reason'] == 'server_end' and 'first_byte_ms' not in line and 'first byte' not in line['text']
    listener.close()


def test_a_reset_is_the_reason_of_its_side(told, echo):
    one = told()
    one.use(echo('A').endpoint)
    client = one.connect()
    exchange(client)
    reset(client)
    assert only_line(one)['reason'] == 'client_reset'


def test_servers_that_failed_before_are_named(told, echo):
    dead, one = echo('A'), told()
    dead.stop()
    one.use(dead.endpoint, echo('B').endpoint)
    while not any('tries' in line for line in one.lines):
        assert one.ask() == 'B'
        wait_until('it was told', lambda: one.lines)
        one.pool.report_success(one.pool.members[0].addresses[0])
    line = one.lines[-1]
    assert line['tries'] == ['127.0.0.1:%d' % dead.endpoint[1]]
    assert line['text'].endswith('; tried before: ' + line['tries'][0])


def test_a_server_that_failed_may_be_a_file_with_braces_in_its_name(told, echo, tmpdir):
    one = told()
    one.use(('%s/{0}{x}' % tmpdir, 0), echo('B').endpoint)
    assert [one.ask() for _ in range(2)] == ['B', 'B']
    wait_until('it was not told', lambda: len(one.lines) == 2)
    line = [line for line in one.lines if 'tries' in line][0]
    assert line['tries'] == ['unix:%s/{0}{x}' % tmpdir] and line['text'].endswith('; tried before: ' + line['tries'][0])


def test_a_client_that_gets_no_server_has_a_line_too(told, echo):
    dead, one = echo('A'), told()
    dead.stop()
    one.use(dead.endpoint)
    client = one.connect()
    assert end_of(client) == 'reset'
    line = only_line(one)
    assert line['reason'] == 'refused' and line['tries'] == ['127.0.0.1:%d' % dead.endpoint[1]]
    assert 'address' not in line and line['text'].endswith(' s (refused), without a server')
    client.close()


def test_without_it_nothing_is_timed_or_told(told, echo):
    one = told()
    one.use(echo('A').endpoint)
    one.server.change(one.server.settings, 1000)
    with contextlib.closing(one.connect()) as client:
        exchange(client)
        session = next(iter(one.server.sessions))
        assert type(session.relay.inbound) is Direction
    wait_until('it ends', lambda: not one.server.sessions)
    assert one.lines == [] and one.log.events('session') == []


def test_a_session_that_began_before_it_was_wanted_is_told_with_what_is_known(told, echo):
    one = told()
    one.use(echo('A').endpoint)
    one.server.change(one.server.settings, 1000)
    with contextlib.closing(one.connect()) as client:
        exchange(client)
        one.server.change(one.server.settings, 1000, one.tell)
    line = only_line(one)
    assert line['bytes_in'] == 8 and 'connect_ms' not in line and 'first_byte_ms' not in line
    assert line['text'].endswith(', waited %g ms' % line['wait_ms'])
