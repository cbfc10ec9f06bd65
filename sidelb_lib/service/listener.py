"""The listener of a service: bound as its settings say, unless its servers would be the listener itself."""
from __future__ import absolute_import, division, print_function

from ..errors import BindError, SidelbError
from ..net import unix_socket
from ..net.endpoints import endpoint_text, is_unix
from ..net.listeners import listen_tcp, listen_udp, why_not_bound
from ..net.own_listener import would_come_back


def bind_listener(settings):
    """The bound listener, which the caller owns; one of a unix-domain socket has its `file`. Raises BindError."""
    host, port = settings.listener
    refuse_loops(settings, host, port)
    try:
        if is_unix(host):
            return unix_socket.listen(host, settings.listener_mode)
        listen = listen_udp if settings.proto == 'udp' else listen_tcp
        return listen(host, port, settings.reuse_port)
    except (EnvironmentError, SidelbError) as error:
        raise BindError('cannot listen on %s: %s' % (
            endpoint_text(host, port), why_not_bound(error, host)))


def refuse_loops(settings, host, port):
    """A wildcard has every address of this host, which only the host itself can tell. Raises BindError."""
    addresses = [address for backend in settings.backends for address in backend.addresses]
    for address in addresses:
        if would_come_back(address, (host, port)):
            raise BindError('%s is an address of this host, and so the listener %s itself, a loop: name the address '
                            'of the server' % (endpoint_text(*address), endpoint_text(host, port)))
