"""Each test of this folder fails when something that is marked as never waiting waits."""
from __future__ import absolute_import, division, print_function

import pytest

from .parts import Balancer, NamedEcho


@pytest.fixture(autouse=True)
def nothing_waits_in_the_hub(hub_guard):
    return hub_guard


@pytest.fixture
def balancer(request):
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

    def make(name, host='127.0.0.1', port=0):
        servers.append(NamedEcho(name, host, port))
        return servers[-1]
    yield make
    for server in servers:
        server.stop()
