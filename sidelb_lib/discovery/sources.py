"""The table of sources, and what they share. Imported after the listener accepts: this brings dnspython.

A new source is a method of Sources, a file, and two rows: one here, one in the table of settings. It has

- `source`: what the pool calls it, and `kind`: a word for the status, or 'static' for none
- `settled`: whether it has been asked once, whatever came of it
- `run()`: gives the pool its servers, again and again, in a greenlet of its own; `publish()` or `look_up()`: once
- `refresh_now()`: a person wants it asked now. `need(endpoint)`: a server failed, or any is wanted; never waits
- `close()`: the setting names it no more. `snapshot()`: a plain dict for the status, if it is not 'static'
"""
from __future__ import absolute_import, division, print_function

from collections import OrderedDict

from ..hub import never_waits
from ..resolver.client import Resolver
from .addresses import AddressBook
from .server_names import ServerNames
from .static import Static

# The modules of a source are loaded by the first of its kind.


class Sources(object):
    """What all sources of one service share: a resolver, the names of servers, the addresses of names, the pace.

    Each method makes the sources out of one setting. Their `run` is the caller's.
    """

    def __init__(self, settings, pool, log, clock, random, listener, hosts, resolv_conf):
        self.resolver = Resolver(settings.resolver, resolv_conf, clock=clock, hold=settings.dns_hold,
                                 changed=self._log_change)
        self._settings = settings
        self._pool = pool
        self._log = log
        self._clock = clock
        self._names = ServerNames(self.resolver, settings.group, longest=settings.refresh, clock=clock)
        self._book = AddressBook(self.resolver, log, hosts, [listener])
        self._made = OrderedDict()           # (method, what a source was made of) -> [source] or []
        self._timing = dict(refresh=settings.refresh, hold=settings.dns_hold, obsolete=settings.dns_obsolete, clock=clock,
                            random=random)
        pool.observers.append(self._observe)

    def all(self):
        """The sources that the settings name, in the order of the table."""
        return self.change(self._settings)[1]

    def change(self, settings):
        """Make what `settings` name and there is not yet. Returns ([source that is no longer named], [new source])."""
        wanted = OrderedDict()
        for attribute, make, is_one_source in SOURCES:
            value = getattr(settings, attribute)
            for part in [value] if is_one_source else [(item,) for item in value]:
                wanted[make, part] = make
        gone = [source for key in list(self._made) if key not in wanted for source in self._made.pop(key)]
        for source in gone:
            source.close()
        new = [key for key in wanted if key not in self._made]
        for key in new:
            self._made[key] = list(wanted[key](self, key[1]))
        return gone, [source for key in new for source in self._made[key]]

    def close(self):
        """Hear no more of the pool. The sources' greenlets are the caller's."""
        self._pool.observers.remove(self._observe)

    def listener_moved(self, listener):
        """Our own listener is `listener`, (ip, port), from now on."""
        self._book.listeners = [listener]

    @never_waits
    def _observe(self, event, subject):
        """A server that is missed is looked up: an observer of the pool."""
        if event in ('failed', 'down', 'wanted'):
            endpoint = None if event == 'wanted' else subject.endpoint
            for sources in self._made.values():
                for source in sources:
                    source.need(endpoint)

    def _log_change(self, name, former, candidate):
        self._log.warning('search_changed', '{name} is now {candidate}, no longer {former}, by the search list; if that is '
                          'another service, name it with a final dot', name=name, candidate=candidate.rstrip('.'),
                          former=former.rstrip('.'))

    def static(self, backends):
        written = [backend for backend in backends if backend.addresses]
        if written:
            options = dict((endpoint, backend.options) for backend in written for endpoint in backend.addresses)
            yield Static([list(backend.addresses) for backend in written], self._pool, self._names, self._log, options)

    def named(self, backends):
        for backend in backends:
            if not backend.addresses:
                from .named_server import NamedServer
                yield NamedServer(backend.name, backend.port, self._pool, self._book, self._log, backend.options,
                                  **self._timing)

    def file(self, servers_file):
        if servers_file:
            from .servers_file import FileSource
            yield FileSource(servers_file, self._pool, self._names, self._log, lambda: self._book.listeners,
                             self._clock, self._settings.dns_hold, make_named=self._named_in_file)

    def _named_in_file(self, backend):
        from .file_names import NamedInFile
        return NamedInFile(backend.name, backend.port, self._pool, self._book, self._log, backend.options, **self._timing)

    def rings(self, ring_domains):
        for ring in ring_domains:
            name, port, options = ring
            if ring.srv_protocol:
                from .srv import Srv
                yield Srv(name, port, self._pool, self.resolver, self._names, self._book, self._log, options, **self._timing)
            else:
                from .ring import Ring
                yield Ring(name, port, self._pool, self._names, self._book, self._log, options, **self._timing)


#: (attribute of the settings, the method of Sources that makes the sources of its value, are they one source or one for
#: each item?).
SOURCES = (
    ('backends', Sources.static, True),
    ('backends', Sources.named, False),
    ('ring_domains', Sources.rings, False),
    ('servers_file', Sources.file, True),
)
