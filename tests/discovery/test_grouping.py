"""Which addresses are one server: the decisions alone, without a network."""
from __future__ import absolute_import, division, print_function

import os

from sidelb_lib.discovery import grouping
from sidelb_lib.discovery.grouping import Naming, Why, group_addresses as grouped

PORT = 5432
A4, B4, C4 = ('10.9.0.1', PORT), ('10.9.0.2', PORT), ('10.9.0.3', PORT)
A6, B6, C6 = ('2001:db8::1', PORT), ('2001:db8::2', PORT), ('2001:db8::3', PORT)


def named(*names):
    return Naming(names, None)


def nameless(kind=grouping.NO_PTR):
    return Naming((), Why(kind, kind))


def ring(*endpoints):
    return [[endpoint] for endpoint in endpoints]


def namings(**by_address):
    """{ip: Naming} from a4=..., b6=..."""
    addresses = {'a4': A4, 'b4': B4, 'c4': C4, 'a6': A6, 'b6': B6, 'c6': C6}
    return dict((addresses[key][0], naming) for key, naming in by_address.items())


def group_addresses(*args):
    """The groups as pairs (name, endpoints), and why some stand alone."""
    groups, alone = grouped(*args)
    return [(name, endpoints) for name, endpoints, _ in groups], alone


def kinds(alone):
    return dict((endpoint, why.kind) for endpoint, why in alone.items())


def test_both_families_of_a_name_are_one_server():
    known = namings(a4=named('db1'), a6=named('db1'), b4=named('db2'), b6=named('db2'))
    groups, alone = group_addresses(ring(A4, A6, B4, B6), known)
    assert groups == [('db1', [A4, A6]), ('db2', [B4, B6])]
    assert not alone


def test_addresses_that_have_not_been_looked_up_stand_alone_without_a_reason():
    groups, alone = group_addresses(ring(B4, A4), {})
    assert groups == [(None, [A4]), (None, [B4])]
    assert not alone


def test_an_address_without_a_name_stands_alone_beside_named_ones():
    known = namings(a4=named('db1'), a6=named('db1'), b4=nameless())
    groups, alone = group_addresses(ring(A4, A6, B4), known)
    assert groups == [(None, [B4]), ('db1', [A4, A6])]
    assert kinds(alone) == {B4: grouping.NO_PTR}


def test_an_empty_ring_has_no_groups():
    assert group_addresses([], {}) == ([], {})


def test_two_addresses_of_one_family_are_one_server_when_others_are_not():
    known = namings(a4=named('db1'), b4=named('db1'), c4=named('db2'))
    groups, _ = group_addresses(ring(A4, B4, C4), known)
    assert groups == [('db1', [A4, B4]), ('db2', [C4])]


def test_one_shared_name_of_several_is_enough():
    known = namings(a4=named('x', 'db1'), a6=named('db1', 'y'), b4=named('db2'))
    groups, _ = group_addresses(ring(A4, A6, B4), known)
    assert groups == [('db1', [A4, A6]), ('db2', [B4])]


def test_sharing_joins_along_a_chain_of_names():
    known = namings(a4=named('one', 'two'), b4=named('two', 'three'), b6=named('three'), c4=named('other'))
    groups, _ = group_addresses(ring(A4, B4, B6, C4), known)
    assert groups == [('one', [A4, B4, B6]), ('other', [C4])]


def test_the_ring_s_own_name_is_no_server_s_name():
    known = namings(a4=named('db.example.com'), b4=named('db.example.com', 'db2'), b6=named('db2'))
    groups, alone = group_addresses(ring(A4, B4, B6), known, frozenset(['db.example.com']))
    assert groups == [(None, [A4]), ('db2', [B4, B6])]
    assert kinds(alone) == {A4: grouping.RING_NAME}
    assert 'db.example.com' in alone[A4].text


def test_a_name_shared_by_all_is_an_alias_of_the_ring():
    known = namings(a4=named('alias'), b4=named('alias'), c4=named('alias'))
    groups, alone = group_addresses(ring(A4, B4, C4), known)
    assert groups == [(None, [A4]), (None, [B4]), (None, [C4])]
    assert set(kinds(alone).values()) == set([grouping.SHARED_BY_ALL])
    assert 'alias' in alone[A4].text


def test_a_name_shared_by_all_leaves_the_servers_their_other_names():
    known = namings(a4=named('alias', 'db1'), a6=named('alias', 'db1'), b4=named('alias', 'db2'))
    groups, alone = group_addresses(ring(A4, A6, B4), known)
    assert groups == [('db1', [A4, A6]), ('db2', [B4])]
    assert not alone


def test_a_single_server_with_both_families_is_grouped_by_the_name_they_share():
    groups, alone = group_addresses(ring(A4, A6), namings(a4=named('db1'), a6=named('db1')))
    assert groups == [('db1', [A4, A6])]
    assert not alone


def test_a_single_address_has_its_name():
    assert group_addresses(ring(A4), namings(a4=named('db1')))[0] == [('db1', [A4])]


def test_a_name_shared_by_all_but_one_counts():
    known = namings(a4=named('db1'), b4=named('db1'), c4=nameless())
    assert group_addresses(ring(A4, B4, C4), known)[0] == [(None, [C4]), ('db1', [A4, B4])]


def test_an_address_whose_names_are_not_known_does_not_make_an_alias_a_server():
    for c4 in ({}, {'c4': nameless(grouping.FAILED)}):
        groups, _ = group_addresses(ring(A4, B4, C4), namings(a4=named('alias'), b4=named('alias'), **c4))
        assert groups == [(None, [A4]), (None, [B4]), (None, [C4])]


def test_an_address_whose_names_are_not_known_leaves_servers_grouped():
    known = namings(a4=named('db1'), a6=named('db1'), b4=named('db2'), b6=named('db2'))
    groups, _ = group_addresses(ring(A4, A6, B4, B6, C4), known)
    assert groups == [(None, [C4]), ('db1', [A4, A6]), ('db2', [B4, B6])]


def test_one_name_on_two_ports_is_two_servers():
    other_port = (A6[0], PORT + 1)
    groups, _ = group_addresses(ring(A4, other_port), namings(a4=named('db1'), a6=named('db1')))
    assert groups == [('db1', [A4]), ('db1', [other_port])]


def test_addresses_joined_by_hand_stay_joined():
    groups, alone = group_addresses([[A4, B4], [C4]], {})
    assert groups == [(None, [A4, B4]), (None, [C4])]
    assert not alone
    groups, alone = group_addresses([[A4, B4], [C4]], namings(a4=nameless(), b4=nameless(), c4=nameless()))
    assert groups == [(None, [A4, B4]), (None, [C4])]
    assert kinds(alone) == {C4: grouping.NO_PTR}


def test_addresses_joined_by_hand_take_the_name_that_any_of_them_has():
    groups, _ = group_addresses([[A4, B4]], namings(a4=named('db1'), b4=named('db1')))
    assert groups == [('db1', [A4, B4])]
    groups, _ = group_addresses([[A4, A6], [B4]], namings(a4=nameless(), a6=named('db1'), b4=named('db2')))
    assert groups == [('db1', [A4, A6]), ('db2', [B4])]


def test_the_order_of_the_addresses_makes_no_difference():
    known = namings(a4=named('db1'), a6=named('db1'), b4=named('db2'), b6=named('db2'), c4=nameless())
    endpoints = [A4, A6, B4, B6, C4]
    assert group_addresses(ring(*endpoints), known) == group_addresses(ring(*reversed(endpoints)), known)


def test_thousands_of_addresses_are_grouped_quickly_whatever_they_claim():
    """A chain that joins them one by one took seconds when each step copied what was joined before."""
    endpoints = [('10.%d.%d.%d' % (n >> 16, n >> 8 & 255, n & 255), PORT) for n in range(4096)]
    known = dict((ip, named('n%d' % n, 'n%d' % (n + 1))) for n, (ip, _) in enumerate(endpoints))
    began = os.times()[0]
    groups, _ = group_addresses(ring(*endpoints), known)
    assert os.times()[0] - began < 1.5     # of computing, however busy the machine is
    assert [len(group) for _, group in groups] == [4096]
