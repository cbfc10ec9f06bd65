"""What the tests of UDP share: `balancer(...)` and `echo(name, ...)` make parts that end with the test.

Each of them fails when something that is marked as never waiting waits.
"""
from __future__ import absolute_import, division, print_function

import pytest

from .parts import Balancer, NamedEcho


@pytest.fixture(autouse=True)
def nothing_waits_in_the_hub(hub_guard):
    return hub_guard


@pytest.fixture
def balancer():
    balancers = []

    def make(*args, **options):
        balancers.append(Balancer(*args, **options))
        return balancers[-1]
    yield make
    for made in balancers:
        made.close()


@pytest.fixture
def echo():
    servers = []

    def make(*args, **options):
        servers.append(NamedEcho(*args, **options))
        return servers[-1]
    yield make
    for server in servers:
        server.stop()
