"""What the access log says of a UDP session."""
from __future__ import absolute_import, division, print_function

import pytest

from sidelb_lib.config.settings import defaults

from ..support.waiting import wait_until
from .parts import exchange


def end_by_silence(one):
    one.server.table.sweep()


def end_by_hand(one):
    one.server.cut_one(one.server.living()[0], 'admin')


def end_for_a_newcomer(one):
    exchange(one.client())


@pytest.mark.parametrize('end, reason, settings', [
    (lambda one: None, 'answered', {'responses': '1'}), (end_by_silence, 'idle', {'session_timeout': '100ms'}),
    (end_for_a_newcomer, 'evicted', {'max_sessions': 1}), (end_by_hand, 'admin', {})])
def test_a_line_says_who_where_how_long_why_and_how_much(balancer, echo, monkeypatch, end, reason, settings):
    lines, one = [], balancer(**settings)
    server = echo('A')
    one.use(server.endpoint)
    one.server.change(one.server.table._settings, one.server.table.limit, lambda template, **fields: lines.append(
        dict(fields, text=template.format(**fields))))
    client = one.client()
    exchange(client)

    def is_told():
        if not lines:
            end(one)
        return lines
    wait_until('nothing was told', is_told)
    line = lines[0]
    assert line['client'] == '127.0.0.1:%d' % client.getsockname()[1]
    assert line['address'] == line['member'] == '127.0.0.1:%d' % server.endpoint[1]
    assert (line['reason'], line['bytes_out'], line['bytes_in'], line['datagrams_out'], line['datagrams_in']) == (
        reason, 5, 7, 1, 1)
    assert line['text'] == '%s to %s ended after %.3f s (%s), 5 bytes out, 7 in' % (
        line['client'], line['address'], line['duration'], reason)


def test_off_is_the_default():
    assert defaults().access_log is None
