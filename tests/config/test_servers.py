"""Servers and rings: where options and what is no option stand close together."""
from __future__ import absolute_import, division, print_function

import pytest

from sidelb_lib.config.servers import parse_backend, parse_ring_domain, refuse_other_spellings


def mistake_of(parse, text):
    with pytest.raises(ValueError) as raised:
        parse(text)
    return str(raised.value)


def test_an_srv_name_without_a_port_takes_options():
    ring = parse_ring_domain('_pg._tcp.db.example.com/tier=2/max=5')
    assert (ring.port, ring.options.tier, ring.options.max) == (None, 2, 5)
    assert str(ring) == '_pg._tcp.db.example.com/tier=2/max=5'


def test_options_do_not_hide_that_the_port_is_missing():
    assert mistake_of(parse_ring_domain, 'db.example.com/weight=3').startswith('the port is missing: ')


def test_an_address_in_place_of_a_domain_is_told_where_it_belongs_with_its_port_or_without():
    assert mistake_of(parse_ring_domain, '10.0.0.1').endswith('use backends=ip:port')
    assert mistake_of(parse_ring_domain, '10.0.0.1:5432').endswith('use backends=10.0.0.1:5432')


def test_an_option_that_stands_twice_is_told_beside_what_is_wrong_with_the_first():
    assert mistake_of(parse_backend, 'a:1/weight=x/weight=2') == (
        '/weight= is a whole number of 0 to 256; /weight= is given twice: keep one')


@pytest.mark.parametrize('text', ['backup', 'down', 'weight', '10.0.0.1:1', 'a:1/weight=2', '10.0.0.1:1 weight'])
def test_a_name_that_is_the_word_of_another_program_is_no_spelling_of_an_option(text):
    refuse_other_spellings(text)
