"""check=tcp: can a connection be opened?"""
from __future__ import absolute_import, division, print_function

from ..net.connect import ConnectError, connect
from .exchange import PASSED, ProbeFailed


def parse(arguments):
    if arguments is not None:
        raise ValueError('nothing comes after tcp but a port')


def make(options, context):
    return probe


def probe(address, deadline):
    try:
        connect(address, deadline.left()).close()
    except ConnectError as error:
        if error.local:
            raise
        raise ProbeFailed(str(error))
    return PASSED
