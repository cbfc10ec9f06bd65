"""check=https[:PORT][/PATH]: as http, over TLS. See `http`."""
from __future__ import absolute_import, division, print_function

from . import http

parse = http.parse


def make(options, context):
    return http.make(options, context, secure=True)
