"""Servers that a file lists by name: each is looked up by a source of its own, as those of `backends`."""
from __future__ import absolute_import, division, print_function

import gevent

from .named_server import NamedServer


class NamedInFile(NamedServer):
    kind = 'file'


class FileNames(object):
    """Their loops run here until a name is listed no more, or `close`.

    `make(backend)` -> NamedInFile, of whose news `on_change(source, former state)` is told.
    """

    def __init__(self, make, pool, on_change):
        self._make = make
        self._on_change = on_change
        self._pool = pool
        self._running = {}                 # Backend -> (source, greenlet)
        self._formers = {}                 # name of a source -> the one that a reload has ended, until the first `take`
        self._is_followed = False          # do others go on from these?

    def __len__(self):
        return len(self._running) + len(self._formers)

    def sources(self):
        return [source for source, _ in self._running.values()]

    def go_on_from(self, former):
        """Those that stay know what they knew in `former`, other FileNames, whose pool and names these have."""
        former._is_followed = True
        self._formers = dict(former._formers)
        self._formers.update((source.source, source) for source in former.sources())

    def take(self, backends):
        """Look up these from now on. What stays keeps what it knows."""
        for backend in [backend for backend in self._running if backend not in backends]:
            source, greenlet = self._running.pop(backend)
            greenlet.kill()              # and wait: it may be updating the pool
            if source.source not in [one.source for one in self.sources()]:
                self._pool.update(source.source, [])
        for backend in backends:
            if backend not in self._running:
                source = self._make(backend)
                source.on_change = self._on_change
                if source.source in self._formers:
                    source.go_on_from(self._formers.pop(source.source))
                self._running[backend] = source, gevent.spawn(source.run)
        for name in self._formers:
            self._pool.update(name, [])
        self._formers = {}

    def close(self):
        """The file is read no more, or by others."""
        if self._is_followed:
            gevent.killall([greenlet for _, greenlet in self._running.values()])
        else:
            self.take([])
