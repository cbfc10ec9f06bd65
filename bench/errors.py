"""What the harness itself can fail with."""
from __future__ import absolute_import, division, print_function


class BenchError(Exception):
    """One clear line for the person who runs the benchmark."""


class Missing(BenchError):
    """A program that this machine does not have; the text names it and where to get it."""
