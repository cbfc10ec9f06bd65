"""Binds what health, metrics and the status page are served at, before anything else is loaded for them."""
from __future__ import absolute_import, division, print_function

import gevent

from ..compat import http_server_is_sound
from ..errors import BindError
from ..net.endpoints import endpoint_text, is_loopback, is_wildcard
from ..net.listeners import listen_tcp, why_not_bound


def bind_http(settings):
    """The bound listener for HTTP, which the caller owns; None where it is off. Raises BindError."""
    if not settings.http:
        return None
    host, port = settings.http
    where = 'http=%s' % endpoint_text(host, port)
    if not http_server_is_sound() and (is_wildcard(host) or not is_loopback(host)):
        raise BindError('%s: the HTTP server of gevent %s can be misled by crafted requests, fixed in 25.4.1: '
                        'bind it to loopback, like http=127.0.0.1:%d, or use a newer gevent' % (
                            where, gevent.__version__, port or 8404))
    try:
        return listen_tcp(host, port, settings.reuse_port)
    except EnvironmentError as error:
        raise BindError('cannot listen on %s: %s' % (where, why_not_bound(error, host)))
