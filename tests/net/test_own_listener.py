from __future__ import absolute_import, division, print_function

import pytest

from sidelb_lib.net.endpoints import is_local
from sidelb_lib.net.own_listener import bind_the_same, never, would_come_back


@pytest.mark.parametrize('ip, port, listener, own', [
    ('127.0.0.1', 5432, ('127.0.0.1', 5432), True),
    ('127.0.0.1', 5433, ('127.0.0.1', 5432), False),
    ('127.0.0.2', 5432, ('127.0.0.1', 5432), False),
    ('127.0.0.2', 5432, ('0.0.0.0', 5432), True),
    ('::1', 5432, ('::', 5432), True),
    ('10.9.0.1', 5432, ('0.0.0.0', 5432), False),
    ('10.9.0.5', 5432, ('0.0.0.0', 5432), True),
    ('10.9.0.5', 5433, ('0.0.0.0', 5432), False),
    ('10.9.0.5', 5432, ('10.9.0.6', 5432), False),
    ('0.0.0.0', 5432, ('127.0.0.1', 5432), True),
    ('0.0.0.0', 5432, ('127.0.0.2', 5432), False),
    ('0.0.0.0', 5432, ('0.0.0.0', 5432), True),
    ('::', 5432, ('::1', 5432), True),
    ('0.0.0.0', 5432, ('10.9.0.5', 5432), False),
    # A wildcard listens for its own family alone.
    ('::1', 5432, ('0.0.0.0', 5432), False),
    ('127.0.0.1', 5432, ('::', 5432), False),
    ('10.9.0.5', 5432, ('::', 5432), False),
])
def test_our_own_listener_is_recognised(ip, port, listener, own):
    """10.9.0.5 plays an address of this machine."""
    assert would_come_back((ip, port), listener, '10.9.0.5'.__eq__) is own


def test_the_host_need_not_be_asked():
    assert not would_come_back(('10.9.0.5', 1), ('0.0.0.0', 1), never)
    assert would_come_back(('127.3.2.1', 1), ('0.0.0.0', 1), never)


def test_an_address_of_this_machine_is_told_from_others():
    assert is_local('127.0.0.1')
    assert not is_local('192.0.2.1')
    assert not is_local('2001:db8::1')


@pytest.mark.parametrize('one, other, same', [
    (('127.0.0.1', 1), ('127.0.0.1', 1), True),
    (('127.0.0.1', 0), ('127.0.0.1', 0), False),
    (('127.0.0.1', 1), ('127.0.0.1', 2), False),
    (('127.0.0.1', 1), ('127.0.0.2', 1), False),
    (('0.0.0.0', 1), ('127.0.0.2', 1), True),
    (('10.0.0.1', 1), ('0.0.0.0', 1), True),
    (('::', 1), ('127.0.0.2', 1), False),
])
def test_listeners_that_get_in_each_others_way_are_told(one, other, same):
    assert bind_the_same(one, other) is same
