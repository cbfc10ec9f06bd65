"""Each test of this folder fails when something that is marked as never waiting waits."""
from __future__ import absolute_import, division, print_function

import pytest

from ..support.making import making
from .parts import Balancer, NamedEcho

balancer = making(Balancer, Balancer.close)
echo = making(NamedEcho, NamedEcho.stop)


@pytest.fixture(autouse=True)
def nothing_waits_in_the_hub(hub_guard):
    return hub_guard
