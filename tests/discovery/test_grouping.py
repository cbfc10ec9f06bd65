"""Which addresses are one server: the decisions alone, without a network."""
from __future__ import absolute_import, division, print_function

import os

import pytest

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


# --- a name that many share ------------------------------------------------------------------------------------------

def many(*texts):
    """A ring and its namings, of 'NAME' for an IPv4 address of that name, '-' for one without, '?' for one not yet looked
    up, '!' for a failed look-up; behind '6' the same for an IPv6 address."""
    endpoints, known = [], {}
    for number, text in enumerate(texts):
        ip = '2001:db8::%x' % (number + 1) if text.startswith('6') else '10.9.0.%d' % (number + 1)
        text = text.lstrip('6')
        endpoints.append((ip, PORT))
        if text != '?':
            known[ip] = nameless() if text == '-' else nameless(grouping.FAILED) if text == '!' else named(text)
    return ring(*endpoints), known


def groups_of(*texts):
    """The number of servers that are found, and the kinds of reasons for those that stand alone."""
    groups, alone = group_addresses(*many(*texts))
    return len(groups), sorted(set(why.kind for why in alone.values()))


@pytest.mark.parametrize('texts, servers', [
    ('aaaaa', 5), ('aaaaa-', 6), ('aaa-', 4), ('aaa--', 5), ('aaaab', 5), ('aaab', 4), ('aaabb', 4),
    ('aaa---', 4), ('aaa----', 5), ('aaabbb', 2), ('aabb', 2), ('aab', 2), ('aa-', 2), ('aa', 2), ('abc', 3)])
def test_a_name_that_most_addresses_claim_is_no_server_s(texts, servers):
    """Else one of five servers would take all sessions of theirs, as soon as a sixth joins that has no such name."""
    assert groups_of(*texts)[0] == servers


def test_a_name_that_most_addresses_of_a_family_claim_is_no_server_s():
    """The other family may have no PTR records at all."""
    assert groups_of('a', 'a', 'a', '6-', '6-', '6-') == (6, [grouping.NO_PTR, grouping.SHARED_BY_ALL])
    assert groups_of('a', 'a', 'a', '-', '-', '-', '-', '6a') == (5, [grouping.NO_PTR])


def test_dual_stack_servers_with_names_of_their_own_are_not_taken_for_one():
    assert groups_of('a', '6a', 'b', '6b', 'c', '6c') == (3, [])
    assert groups_of('a', '6a') == (1, [])


def test_addresses_whose_names_may_still_come_are_waited_for():
    assert groups_of('a', 'a', '?', '?')[0] == 4
    assert groups_of('a', 'a', '?', '-', '-', '-')[0] == 5
    assert groups_of('a', 'a', 'a', '!', '-', '-')[0] == 6
    assert groups_of('a', 'a', '!', '-', '-', '-', '-')[0] == 6


def test_a_joined_unit_is_one_server_however_many_addresses_it_has():
    unit = [A4, B4, C4]
    known = namings(a4=named('db1'), b4=named('db1'), c4=named('db1'), a6=named('db1'))
    assert group_addresses([unit, [A6]], known) == ([('db1', [A4, B4, C4, A6])], {})


def test_why_most_stand_alone_is_told():
    _, alone = group_addresses(*many('a', 'a', 'a', '-'))
    assert alone['10.9.0.1', PORT].text == 'most addresses claim the name a, so it names no single server'
