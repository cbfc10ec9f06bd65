"""Builds the sources of members out of settings. Imported after the listener accepts: this brings dnspython."""
from __future__ import absolute_import, division, print_function

from .addresses import AddressBook
from .domain import NamedServer, Ring, Static
from ..resolver.client import Resolver
from .server_names import ServerNames


def make_sources(settings, pool, log, clock, random, listener, hosts, resolv_conf):
    """All sources that `settings` name, which share one resolver and one cache of server names. Their `run` is the
    caller's."""
    resolver = Resolver(settings.resolver, resolv_conf)
    names = ServerNames(resolver, settings.group, longest=settings.refresh, clock=clock)
    book = AddressBook(resolver, log, hosts, [listener])
    timing = dict(refresh=settings.refresh, hold=settings.dns_hold, clock=clock, random=random)
    units = [list(backend.addresses) for backend in settings.backends if backend.addresses]
    sources = [Static(units, pool, names, log)] if units else []
    sources += [NamedServer(backend.name, backend.port, pool, book, log, **timing)
                for backend in settings.backends if not backend.addresses]
    sources += [Ring(name, port, pool, names, book, log, **timing) for name, port, _ in settings.ring_domains]
    return sources
