"""The doctor's look at this host: can SideLB listen, has it enough descriptors and ports, will it be ended in time?"""
from __future__ import absolute_import, division, print_function

import errno
import os
import resource
import socket

from ..config.values import duration_text
from ..limits import Budget
from ..net.endpoints import endpoint_text, family_of, is_unix
from . import machine, paths
from .finding import HOST, note, ok, wrong

FEW_CLIENTS = 1000
WANTED_BUFFER_BYTES = 8 << 20          # of a UDP listener, see net.listeners

#: Who ends the program, and how long each gives it by default, in seconds.
POD, SUPERVISORD, SYSTEMD, DOCKER = 30, 10, 90, 10


def look(patient):
    """The findings about this host, but for those that need to know the servers."""
    settings = patient.settings
    found = timing(settings)
    found += listener(settings, patient.running)
    found += paths.access_log(settings)
    found += descriptors(settings)
    found += ports(settings)
    if settings.proto == 'udp':
        found += receive_buffer()
    found += status_socket(settings, patient.status_paths, patient.running)
    found += http(patient.process, patient.running)
    found += stop(patient.process, patient.environ, patient.running)
    return found + service_links(patient.ignored_variables)


def timing(settings):
    if settings.check.name == 'off' or settings.check_timeout <= settings.check_interval:
        return []
    return [note('settings.timing', HOST, 'check_timeout',
                 'check_timeout=%s is longer than check_interval=%s: a hanging server is found late' % (
                     duration_text(settings.check_timeout), duration_text(settings.check_interval)),
                 'lower check_timeout')]


# --- the listener ----------------------------------------------------------------------------------------------------

def listener(settings, running):
    """Could the listener be bound? A TCP socket tries, without listening, which takes no client from anybody and lets a
    service start meanwhile. A UDP socket would take datagrams: there the kernel's tables must do."""
    where = endpoint_text(*settings.listener)
    if running and running.get('listener') == where and running.get('proto') == settings.proto:
        return [ok('host.listener', HOST, where, '%s is served by SideLB %s, pid %s: %s' % (
            where, running.get('version'), running.get('pid'), running.get('readiness', '').replace('ready: ', '')))]
    if is_unix(settings.listener[0]):
        return [paths.unix_listener(where, settings.listener[0])]
    code = bind_error(settings.listener) if settings.proto == 'tcp' else udp_bind_error(settings.listener)
    return [_about_bind('host.listener', where, settings.listener, settings.proto, code)]


def _about_bind(identity, where, address, protocol, code):
    if not code:
        return ok(identity, HOST, where, '%s is free%s' % (where, ' (udp)' if protocol == 'udp' else ''))
    if code == errno.EACCES:
        return wrong(identity, HOST, where, 'uid %d may not bind port %d: ports below %s are for root' % (
            os.geteuid(), address[1], machine.kernel_setting('net.ipv4.ip_unprivileged_port_start') or '1024'),
            'use a port from 1024 up, or add the capability CAP_NET_BIND_SERVICE')
    if code == errno.EADDRNOTAVAIL:
        return wrong(identity, HOST, where, '%s is no address of this host' % address[0],
                     'listen on 127.0.0.1:%d, or see: ip -brief address' % address[1])
    if code == errno.EADDRINUSE:
        return wrong(identity, HOST, where, '%s is taken%s' % (where, _by(machine.holder_of(address, protocol))),
                     'stop that program, or give the listener another port')
    return wrong(identity, HOST, where, '%s cannot be bound: %s' % (where, os.strerror(code)),
                 'listen on 127.0.0.1:%d' % address[1])


def _by(holder):
    if holder is None:
        return ''
    if holder.pid is None:
        return ' by a process of uid %d' % holder.uid
    return ' by pid %d%s' % (holder.pid, ' (%s)' % holder.command if holder.command else '')


def bind_error(address):
    """The errno of binding a TCP socket that never listens, 0 for success."""
    try:
        sock = socket.socket(family_of(address[0]), socket.SOCK_STREAM)
    except EnvironmentError as error:
        return error.errno
    try:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if sock.family == socket.AF_INET6:
            sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        sock.bind(address)
        return 0
    except EnvironmentError as error:
        return error.errno
    finally:
        sock.close()


def udp_bind_error(address):
    """The errno that binding a UDP socket would have, as far as can be told without one on that port."""
    if not machine.may_bind(address[1]):
        return errno.EACCES
    code = bind_error((address[0], 0))
    if code:
        return code
    return errno.EADDRINUSE if machine.holder_of(address, 'udp') else 0


def http(settings, running):
    if not settings.http or running and running.get('http') == endpoint_text(*settings.http):
        return []
    where = endpoint_text(*settings.http)
    finding = _about_bind('host.http', 'http=' + where, settings.http, 'tcp', bind_error(settings.http))
    return [finding] if finding.level != 'ok' else []


# --- limits ----------------------------------------------------------------------------------------------------------

def descriptors(settings):
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    limit = 1 << 20 if hard == resource.RLIM_INFINITY else hard
    budget = Budget(limit)
    tcp = settings.proto == 'tcp'
    key, clients, each = ('max_connections', budget.connections, 2) if tcp else ('max_sessions', budget.sessions, 1)
    what = 'clients' if tcp else 'UDP clients'
    wanted = getattr(settings, key)
    raise_it = 'raise the hard limit (ulimit -Hn, docker --ulimit nofile=, LimitNOFILE=)'
    if wanted and wanted > clients:
        needed = wanted * each + limit - clients * each
        return [wrong('host.descriptors', HOST, key, '%s=%d needs %d open files, the hard limit is %d: only %d %s at '
                      'once' % (key, wanted, needed, limit, clients, what),
                      'raise the limit, or lower %s' % key)]
    if clients < FEW_CLIENTS:
        return [note('host.descriptors', HOST, key, '%d open files allow %d %s at once; more wait' % (
            limit, clients, what), raise_it)]
    return [ok('host.descriptors', HOST, key, '%d open files allow %d %s at once' % (limit, clients, what))]


def ports(settings):
    first, last = machine.local_ports()
    found = []
    wanted = settings.max_connections if settings.proto == 'tcp' else settings.max_sessions
    if wanted and wanted > last - first + 1:
        key = 'max_connections' if settings.proto == 'tcp' else 'max_sessions'
        found.append(note('host.ports', HOST, key, '%d local ports to each server address, fewer than %s=%d' % (
            last - first + 1, key, wanted), 'sysctl net.ipv4.ip_local_port_range'))
    port = settings.listener[1]
    if first <= port <= last and not machine.is_reserved(port):
        found.append(note('host.ports', HOST, str(port), 'port %d is in the local port range: a connection may hold it at a '
                          'restart' % port, 'sysctl net.ipv4.ip_local_reserved_ports=%d' % port))
    return found


def receive_buffer():
    limit = int(machine.kernel_setting('net.core.rmem_max') or 0)
    if not limit or limit >= WANTED_BUFFER_BYTES or machine.has_capability(machine.CAP_NET_ADMIN):
        return []
    return [note('host.buffer', HOST, 'net.core.rmem_max',
                 'net.core.rmem_max allows a receive buffer of %d KiB, not 8 MiB' % (limit // 1024),
                 'sysctl net.core.rmem_max=%d' % WANTED_BUFFER_BYTES)]


# --- the status socket, and who ends the program ---------------------------------------------------------------------

def status_socket(settings, places, running):
    if not places:
        return []
    reasons = []
    for path in places:
        reason = machine.why_no_socket_in(os.path.dirname(path) or '.')
        if reason is None and os.path.isdir(path):
            reason = '%s is a directory' % path
        if reason is None and running and running.get('socket') == path and not _serves(running, settings):
            return [note('host.status_socket', HOST, path, 'another SideLB answers at %s' % path,
                         'status_socket=PATH of its own')]
        if reason is None:
            return [ok('host.status_socket', HOST, path, 'status socket: %s' % path)]
        reasons.append(reason)
    return [note('host.status_socket', HOST, places[0], 'no place for the status socket (%s), so sidelb status will not '
                 'work' % '; '.join(reasons), 'mount a tmpfs on /run, or name another place: status_socket=PATH')]


def _serves(running, settings):
    return running.get('listener') == endpoint_text(*settings.listener)


def stop(settings, environ, running):
    """Is `drain_timeout` below what is waited for before SIGKILL? What is really set can't be seen from inside."""
    drain = 'drain_timeout=%s' % duration_text(settings.drain_timeout)
    if environ.get('KUBERNETES_SERVICE_HOST'):
        whose, seconds, what = "a pod's default terminationGracePeriodSeconds", POD, 'that'
    elif environ.get('SUPERVISOR_ENABLED') or _ended_by(running, 'supervisord'):
        whose, seconds, what = "supervisord's default stopwaitsecs", SUPERVISORD, 'stopwaitsecs'
    elif environ.get('INVOCATION_ID') or _ended_by(running, 'systemd'):
        whose, seconds, what = "systemd's default TimeoutStopSec", SYSTEMD, 'TimeoutStopSec'
    else:
        whose, seconds, what = "Docker's default grace period", DOCKER, 'the grace period (docker stop -t)'
    if settings.drain_timeout < seconds:
        return [ok('host.stop', HOST, 'drain_timeout', '%s is below %s (%d s)' % (drain, whose, seconds))]
    return [note('host.stop', HOST, 'drain_timeout', '%s is not below %s (%d s); what is really set cannot be seen from '
                 'inside' % (drain, whose, seconds), 'set %s to %d s or more, or lower drain_timeout' % (
                     what, int(settings.drain_timeout) + 2))]


def _ended_by(running, name):
    """Is process 1, or the parent of the SideLB that runs, this program?"""
    pids = [1, machine.parent_of(running['pid'])] if running and running.get('pid') else [1]
    return name in [machine.command_of(pid) for pid in pids if pid]


def service_links(variables):
    """Kubernetes describes each Service in variables; of one named sidelb they look like ours."""
    if not variables:
        return []
    more = ' and %d more' % (len(variables) - 1) if len(variables) > 1 else ''
    return [note('host.links', HOST, variables[0], '%d variable%s of Kubernetes service links ignored: %s%s' % (
        len(variables), '' if len(variables) == 1 else 's', variables[0], more),
        'enableServiceLinks: false in the pod spec')]
