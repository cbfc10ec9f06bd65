"""What the log says of a service at its start."""
from __future__ import absolute_import, division, print_function

import socket

import gevent

from .. import __version__
from ..net.endpoints import is_local, is_loopback, is_unix, is_wildcard
from ..observe import snapshot
from ..policies.registry import start_told

FIRST_VERDICT_SECONDS = 5.0
LOOK_SECONDS = 0.1
MAX_TOLD = 3                     # servers and names in the first line of the log


def tell_listening(service):
    settings = service.settings
    names = [str(one) for one in settings.ring_domains + settings.backends]
    names += [settings.servers_file.path] if settings.servers_file else []
    service.log.info('listening', 'listening on {listener} ({proto}, {mode}, check {check}; servers from {servers}; SideLB '
                     '{version}; first server by {start})', listener=service.listener, proto=settings.proto,
                     mode=settings.mode, check=str(settings.check), servers=', '.join(names[:MAX_TOLD]) + (
                         ' and %d more' % (len(names) - MAX_TOLD) if len(names) > MAX_TOLD else ''), version=__version__,
                     start=start_told(settings, socket.gethostname()))


def tell_doubts(service):
    """What is no mistake, but hardly what is wanted on this host."""
    settings = service.settings
    host = settings.listener[0]
    if settings.mode == 'source' and (is_unix(host) or is_loopback(host) and not is_wildcard(host)):
        service.log.warning('source_is_one_client', 'mode=source on the listener {listener}: all clients have '
                            'the IP of this host, so sessions crowd on one server', listener=service.listener)
    for ip in settings.source:
        if not is_local(ip):
            service.log.warning('source_is_elsewhere', 'source={ip} is no address of this host: no server can be reached '
                                'from it', ip=ip)


def tell_first_verdict(service, servers_log, clock):
    """When every server has been checked, or after FIRST_VERDICT_SECONDS."""
    deadline = clock() + FIRST_VERDICT_SECONDS
    while clock() < deadline and service.state == 'running' and not is_checked(service):
        gevent.sleep(LOOK_SECONDS)
    if service.state != 'running':
        return
    servers_log.tell()
    verdict = snapshot.verdict_of(service)
    if verdict['level'] == 'bad':
        service.log.warning('checked', 'checked: {verdict}', verdict=verdict['text'])
    else:
        service.log.info('checked', 'checked: {verdict}', verdict=verdict['text'])


def is_checked(service):
    return service.startup()[0] and not any(member.state == 'unchecked' for member in service.pool.members)
