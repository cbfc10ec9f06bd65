"""What does not go together: each check is a pure function of the Settings.

It yields (key, mistake): the setting beside whose place in a file the mistake is told, and the text.
"""
from __future__ import absolute_import, division, print_function

import socket

from ..checks import registry as checks
from ..net.access import covers, is_allowed
from ..net.endpoints import canonical_ip, endpoint_text, family_of, is_loopback, is_unix, is_wildcard
from ..net.own_listener import bind_the_same, never, would_come_back
from ..pool.merging import tier_of
from .table import TABLE
from .values import value_text

#: What the other protocol has in place of a setting.
_TWINS = {'idle_timeout': 'session_timeout', 'session_timeout': 'idle_timeout',
          'max_connections': 'max_sessions', 'max_sessions': 'max_connections'}


def mistakes_of(settings, wrong):
    """All (key, mistake) of `settings`. `wrong`: keys whose value could not be read, on which nothing is built."""
    for keys, check in CROSSCHECKS:
        if not wrong.intersection(keys):
            for mistake in check(settings):
                yield mistake


def given_servers(given):
    return any(setting.key in given for setting in TABLE if setting.servers is not None)


def missing(given, variable_listens):
    if 'listener' not in given:
        yield 'no listener: name it first, like sidelb 127.0.0.1:5432 ..., or in SIDELB_BIND_ADDR'
    if not given_servers(given):
        taken = variable_listens and given['listener'].origin == 'argument'
        yield 'no server: name some as ring_domain=host:port, backends=ip:port or further arguments%s' % (
            ' (the first bare argument is the listener, before SIDELB_BIND_ADDR)' if taken else '')


def other_protocol(settings):
    proto = settings.proto
    for setting in TABLE:
        if setting.protocol not in (None, proto) and settings.origins[setting.key] != 'default':
            twin = _TWINS.get(setting.key)
            yield setting.key, '%s= is for proto=%s%s' % (
                setting.key, setting.protocol, ' (for %s use %s=)' % (proto, twin) if twin else '')


def check_of_other_protocol(settings):
    proto, check = settings.proto, settings.check
    if proto not in check.protocols:
        words = checks.words(proto)
        yield 'check', 'check=%s is not for proto=%s: choose %s or %s' % (
            value_text(check), proto, ', '.join(words[:-1]), words[-1])


def certificates(settings):
    mistake = checks.mistake_of(settings)
    if mistake:
        yield 'check_ca', mistake


def repeated_servers(settings):
    seen = {}
    for host, port, key in _server_endpoints(settings):
        entry = (host.rstrip('.'), port)
        text = endpoint_text(host, port) if port or is_unix(host) else host
        if entry not in seen:
            seen[entry] = key
        elif seen[entry] == key:
            yield key, '%s is named twice in %s: leave one out' % (text, key)
        else:
            yield key, '%s is both a ring_domain (many servers) and a backend (one server): keep one' % text


def srv_of_other_protocol(settings):
    for ring in settings.ring_domains:
        if ring.srv_protocol in ('tcp', 'udp') and ring.srv_protocol != settings.proto:
            yield 'ring_domain', 'ring_domain=%s is for proto=%s: set that, or correct the name' % (ring, ring.srv_protocol)


def loops(settings):
    listener = settings.listener
    if listener is None:
        return
    for host, port, key in _server_endpoints(settings):
        if _would_meet(listener, host, port):
            yield key, '%s is the listener %s itself, a loop: name the address of the server' % (
                endpoint_text(host, port), endpoint_text(*listener))


def http_on_the_listener(settings):
    listener, http = settings.listener, settings.http
    if listener and http and settings.proto == 'tcp' and bind_the_same(http, listener):
        yield 'http', 'http=%s is the address of the listener %s: give it another port' % (
            endpoint_text(*http), endpoint_text(*listener))


def unix_listener(settings):
    if not settings.listener or not is_unix(settings.listener[0]):
        if settings.origins['listener_mode'] != 'default' and settings.listener:
            yield 'listener_mode', 'listener_mode= is for a listener unix:/path'
        return
    listener = endpoint_text(*settings.listener)
    if settings.proto == 'udp':
        yield 'listener', 'the listener %s is for proto=tcp' % listener
    if settings.reuse_port:
        yield 'reuse_port', 'reuse_port=on: only one program can have the listener %s' % listener
    has_file = settings.listener[0][0] == '/'
    if settings.origins['listener_mode'] != 'default' and not has_file:
        yield 'listener_mode', 'listener_mode= is the mode of a file, and the listener %s has none' % listener
    for key in ('allow', 'deny', 'accept_proxy'):
        if getattr(settings, key):
            yield key, '%s= is about IP addresses, and clients of the listener %s have none: %s' % (
                key, listener, 'listener_mode= says who may connect' if has_file else
                'with unix:/path listener_mode= says who may connect')
    if settings.listener[0] == settings.status_socket:
        yield 'status_socket', 'status_socket=%s is the listener itself: give it another path' % settings.status_socket


def unix_servers(settings):
    for backend in settings.backends:
        if backend.addresses and is_unix(backend.addresses[0][0]):
            if settings.proto == 'udp':
                yield 'backends', '%s is for proto=tcp' % str(backend)
            if settings.check.port:
                yield 'check', 'check=%s: the server %s has no ports' % (value_text(settings.check), backend)


def sources(settings):
    families = [family_of(ip) for ip in settings.source]
    if len(set(families)) < len(families):
        yield 'source', 'source=%s: one address of each family is enough' % ','.join(settings.source)
    for ip, family in zip(settings.source, families):
        servers = [host for host, _, _ in _server_endpoints(settings) if canonical_ip(host) and family_of(host) == family]
        far = [host for host in servers if not is_loopback(host)]
        if is_loopback(ip) and far:
            yield 'source', 'source=%s is for servers on this host, and %s is elsewhere' % (ip, far[0])


def nobody_allowed(settings):
    for network in settings.allow:
        denied = [other for other in settings.deny if covers(other, network)]
        if denied:
            yield 'allow', 'allow=%s lets nobody in, for deny=%s has all of it, and is asked first' % (network, denied[0])
    listener, key = settings.listener, 'accept_proxy' if settings.accept_proxy else 'allow'
    networks = getattr(settings, key)             # of those who connect
    has_ip = listener and not is_unix(listener[0])
    if networks and has_ip and family_of(listener[0]) not in [network.family for network in networks]:
        family = 'IPv6' if family_of(listener[0]) == socket.AF_INET6 else 'IPv4'
        yield key, '%s= has no %s network, and the clients of the listener %s come from such: add one' % (
            key, family, endpoint_text(*listener))


def notes(settings):
    """What is no mistake, but hardly meant."""
    listener = settings.listener
    is_own = is_loopback(listener[0]) and not is_wildcard(listener[0]) and not settings.accept_proxy
    if is_own and settings.allow and not is_allowed(listener[0], settings.allow, settings.deny):
        yield 'allow= leaves out %s: clients of the listener %s are on this host, and mostly come from there' % (
            listener[0], endpoint_text(*listener))
    if settings.check.name != 'off' and settings.check_timeout > settings.check_interval:
        yield 'check_timeout=%s is longer than check_interval=%s: a server that hangs is found late' % (
            value_text(settings.check_timeout), value_text(settings.check_interval))
    servers = settings.backends + settings.ring_domains
    if settings.servers_file or any(ring.srv_protocol for ring in settings.ring_domains):
        return                                   # there tiers and weights may come from elsewhere, too
    if len(set(tier_of(server.options) for server in servers)) == 1:
        for key in 'spill', 'tier_return':
            if settings.origins[key] != 'default' and getattr(settings, key):
                yield '%s= is about several tiers, and all servers are of one: give those that come later /tier=2' % key
    if all(server.options and server.options.weight == 0 for server in servers):
        yield 'every server has /weight=0, which takes no new session: they are only tried as a last resort'


#: (keys of single values that a check builds on, the check), in the order in which mistakes are told.
CROSSCHECKS = (
    (('proto',), other_protocol),
    (('proto', 'check'), check_of_other_protocol),
    (('proto', 'check', 'check_ca', 'check_expect', 'check_host'), certificates),
    (('proto',), srv_of_other_protocol),
    ((), repeated_servers),
    (('listener',), loops),
    (('listener', 'http', 'proto'), http_on_the_listener),
    (('listener', 'allow', 'deny', 'accept_proxy'), nobody_allowed),
    (('listener', 'proto', 'listener_mode', 'reuse_port', 'status_socket'), unix_listener),
    (('proto', 'check'), unix_servers),
    (('source',), sources),
)


def _server_endpoints(settings):
    """(host, port, key of the setting that names it) of all servers."""
    for backend in settings.backends:
        for host, port in backend.addresses or ((backend.name, backend.port),):
            yield host, port, 'backends'
    for ring in settings.ring_domains:
        yield ring.name, ring.port, 'ring_domain'


def _would_meet(listener, host, port):
    """Would a connection to (host, port) come to the listener? Without asking for our own addresses."""
    ips = ('127.0.0.1', '::1') if host == 'localhost' else (host if is_unix(host) else canonical_ip(host),)
    return any(ip and would_come_back((ip, port), listener, never) for ip in ips)
