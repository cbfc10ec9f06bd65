"""How a check is chosen, and that a new one is a file and a row."""
from __future__ import absolute_import, division, print_function

import pytest

from sidelb_lib.checks import registry


def mistake(text):
    with pytest.raises(ValueError) as raised:
        registry.parse(text)
    return str(raised.value)


@pytest.mark.parametrize('text, name, port', [
    ('tcp', 'tcp', None), ('TCP', 'tcp', None), ('udp', 'udp', None), ('dns', 'dns', None), ('off', 'off', None),
    ('false', 'off', None), ('send:00ff,expect:4F4b', 'script', None)])
def test_a_choice(text, name, port):
    choice = registry.parse(text)
    assert (choice.name, choice.port) == (name, port)


def test_a_choice_reads_as_it_was_written():
    for text in ('tcp', 'off', 'send:00ff,expect:4F4b'):
        assert str(registry.parse(text)) == text
        assert registry.parse(text) == registry.parse(text)
    assert registry.parse('tcp') != registry.parse('udp')


def test_an_exchange_is_bytes():
    assert registry.parse('send:00ff,expect:4F4b').options == (b'\x00\xff', b'OK')


def test_every_row_has_a_module_of_the_contract():
    for check in registry.CHECKS:
        module = registry._module(check.name)
        assert module.parse and module.make, check


def test_an_unknown_one_names_all():
    assert mistake('nonsense!') == 'choose tcp, udp, dns, send:HEX,expect:HEX or off'


def test_more_than_the_kind_takes_is_told_with_its_grammar():
    assert mistake('udp/x') == 'nothing comes after udp but a port: write udp'
