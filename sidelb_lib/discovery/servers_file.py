"""A file of servers that an agent writes: consul-template, confd, Ansible."""
from __future__ import absolute_import, division, print_function

import os

import gevent
from gevent.event import Event

from ..hub import never_waits
from ..net.endpoints import endpoint_text
from ..net.own_listener import would_come_back
from ..net.small_file import read_small_file
from .file_names import FileNames
from .grouper import Grouper
from .grouping import OF_ADDRESS
from .looked_up import LookedUp

_MAX_BYTES = 1 << 20


class FileSource(LookedUp):
    """The servers that a file lists, read again when it changes, all or nothing.

    `file` has a `path` and `servers_in(text)` -> [Backend], which raises ValueError. A file that has changed is looked at
    again `interval` seconds later, and read when it is the same then: whoever writes it in place may be half-way. One that
    is gone, or wrong, or empty leaves the servers that are known; empty it lets them go after `hold` seconds. Names of
    servers are looked up as those of static ones; `make_named(backend)` makes the source of one that is listed by name.
    """

    kind = 'file'
    tier = 1                                 # of the best servers that it may list
    port = None
    asks_dns = False

    def __init__(self, file, pool, names, log, listeners, clock, hold=30.0, interval=1.0, make_named=None):
        LookedUp.__init__(self, clock)
        self.name = file.path
        self.source = 'file %s' % file.path
        self.listeners = listeners           # a function
        self._file = file
        self._log = log
        self._hold = hold
        self._interval = interval
        self._options = {}
        self.grouper = Grouper(self.source, pool, names, log, lambda endpoint: self._options.get(endpoint), OF_ADDRESS)
        self._units = []
        self._named = FileNames(make_named, pool, lambda *news: self.on_change and self.on_change(*news))
        self._read = None                    # what the file looked like when it was read last
        self._seen = None                    # what it looked like the last time
        self._empty_since = None
        self._wake = Event()

    def go_on_from(self, former):
        self._units, self._options = former._units, former._options
        self._named.go_on_from(former._named)

    def run(self):
        grouping = gevent.spawn(self.grouper.run)
        try:
            while True:
                self._wake.clear()
                self.look()
                self._wake.wait(self._interval)
        finally:
            grouping.kill()                  # and wait: it may be updating the pool
            self._named.close()

    def close(self):
        self.grouper.close()

    @never_waits
    def refresh_now(self):
        self._read = None
        for source in self._named.sources():
            source.refresh_now()
        self.grouper.refresh_now()
        self._wake.set()

    @never_waits
    def need(self, endpoint=None):
        """The file is looked at every second anyway."""
        for source in self._named.sources():
            source.need(endpoint)

    def endpoints(self):
        return sorted([endpoint for unit in self._units for endpoint in unit] +
                      [endpoint for source in self._named.sources() for endpoint in source.endpoints()])

    @property
    def settled(self):
        return self.state != 'pending' and all(source.settled for source in self._named.sources())

    @property
    def error(self):
        """What is wrong with the file, or with a name in it, or None."""
        errors = ['%s: %s' % (source.name, source.error) for source in self._named.sources() if source.error]
        return self._error or (sorted(errors)[0] if errors else None)

    def publish(self):
        """Give the pool what there is now, for those that do not `run` it."""
        self.look()

    def look(self):
        """Look at the file, and take what it lists where that has changed."""
        signature = _signature(self.name)
        first, stable = self.state == 'pending', signature == self._seen
        self._seen = signature
        if self.state == 'holding':
            self._let_go_in_time()
        if signature == self._read and not first or not (first or stable):
            return
        self._read = signature
        try:
            data = read_small_file(self.name, _MAX_BYTES)
            if len(data) > _MAX_BYTES:               # what was cut off may be the half of an address
                raise ValueError('it has more than %d bytes' % _MAX_BYTES)
            backends = self._file.servers_in(data.decode('latin-1'))
            self._refuse_loops(backends)
        except (EnvironmentError, ValueError) as error:
            return self._end('failing', getattr(error, 'strerror', None) or str(error))
        self._answered = self._clock()
        if backends or not self._units and not self._named:
            self._take(backends)
        else:
            self._empty_since = self._clock()
            self._end('holding', 'it lists no server')

    def _take(self, backends):
        self._options = dict((endpoint, backend.options) for backend in backends for endpoint in backend.addresses)
        self._units = [list(backend.addresses) for backend in backends if backend.addresses]
        self._named.take([backend for backend in backends if not backend.addresses])
        self.grouper.publish(self._units)
        self._end(*(('ok', None) if backends else ('empty', 'it lists no server')))

    def _let_go_in_time(self):
        if self._clock() - self._empty_since >= self._hold:
            self._take([])

    def _refuse_loops(self, backends):
        for backend in backends:
            for endpoint in backend.addresses:
                if any(would_come_back(endpoint, listener) for listener in self.listeners()):
                    raise ValueError('%s is our own listener' % endpoint_text(*endpoint))

    def _end(self, state, error):
        self._lookups[state] += 1
        changed = (state, error) != (self.state, self._error)
        self._error = error
        self._enter(state)
        if state == 'ok':
            self._log.info('servers_file', '{path}: {count} server(s)', path=self.name, count=self._count())
        elif changed:
            self._log.warning('servers_file_failing', '{path}: {error}; {count} server(s) known', path=self.name,
                              error=error, count=self._count())

    def _count(self):
        return len(self._units) + len(self._named)


def _signature(path):
    try:
        status = os.stat(path)
    except EnvironmentError as error:
        return error.errno
    return status.st_mtime, status.st_ctime, status.st_size, status.st_ino
