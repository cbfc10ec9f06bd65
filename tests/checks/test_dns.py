"""check=dns[/NAME]: a question is answered."""
from __future__ import absolute_import, division, print_function

import pytest

from sidelb_lib.checks import registry
from sidelb_lib.checks.exchange import PASSED, Deadline, ProbeFailed
from sidelb_lib.config.settings import defaults
from sidelb_lib.pool.members import Address

from ..support.nameserver import dead, garbage, name_server, rcode


def run(check, server, seconds=2.0):
    host, port = server.address[:2]
    return registry.make(registry.parse(check), registry.Context(defaults(proto='udp'), None))(
        Address(host, port, 0.0), Deadline(seconds))


def failure(*arguments, **options):
    with pytest.raises(ProbeFailed) as raised:
        run(*arguments, **options)
    return str(raised.value)


def test_a_name_is_asked_for_its_address():
    with name_server() as server:
        server.misbehave(rcode('NXDOMAIN'))
        assert run('dns/health.example.com', server) == PASSED
        assert server.asked == [('health.example.com', 'A', 'udp')]


@pytest.mark.parametrize('code', ['SERVFAIL', 'REFUSED'])
def test_a_resolver_of_a_closed_network_passes_as_long_as_no_name_is_asked(code):
    with name_server() as server:
        server.misbehave(rcode(code))
        assert run('dns', server) == PASSED
        assert server.asked == [('.', 'NS', 'udp')]
        assert failure('dns/a.example.', server) == code


def test_no_answer_and_no_dns():
    with name_server() as server:
        server.misbehave(dead)
        assert failure('dns', server, seconds=0.05) == 'no answer within 0.05 s'
        server.misbehave(lambda *_: b'nonsense')
        assert failure('dns', server) == 'that is no DNS answer'
        server.misbehave(garbage)
        assert run('dns', server) == PASSED          # whatever follows the header


@pytest.mark.parametrize('name', ['a..b', 'x' * 64, 'a b', u'\xe4', '.'.join(['x' * 60] * 5), '.a'])
def test_a_wrong_name(name):
    with pytest.raises(ValueError) as raised:
        registry.parse('dns/' + name)
    assert str(raised.value).endswith('write dns[/NAME]')
