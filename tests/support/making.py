"""A fixture whose value makes parts that end with the test."""
from __future__ import absolute_import, division, print_function

import pytest


def making(make, end):
    """A fixture: a function that calls `make` and returns what it made; `end(made)` is called when the test is over."""
    def fixture():
        parts = []

        def make_one(*args, **options):
            parts.append(make(*args, **options))
            return parts[-1]
        yield make_one
        for made in parts:
            end(made)
    return pytest.fixture(fixture)
