"""Each test of this folder fails when something that is marked as never waiting waits."""
from __future__ import absolute_import, division, print_function

import pytest


@pytest.fixture(autouse=True)
def nothing_waits_in_the_hub(hub_guard):
    return hub_guard
