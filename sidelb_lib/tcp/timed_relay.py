"""A relay that knows when its server's first byte came. Loaded where that is told to somebody; other relays lose nothing."""
from __future__ import absolute_import, division, print_function

from ..compat import READ
from ..hub import never_waits
from .direction import Direction
from .relay import Relay


class _FirstTimed(Direction):
    """Notes when its source is readable for the first time, and is as any other from then on."""

    __slots__ = ('first_ready',)

    def __init__(self, relay, source, sink):
        Direction.__init__(self, relay, source, sink)
        self.first_ready = None

    def start(self, loop):
        self._readable = loop.io(self.source.fileno(), READ)
        self._readable.start(self._ready_first)

    @never_waits
    def _ready_first(self):
        """Called by the hub, once."""
        self.first_ready = self._relay.clock()
        self._readable.callback = self.ready
        self.ready()


class TimedRelay(Relay):
    """`began` is when it started, which is when the server had been reached; `first_byte` how many seconds later the
    server's first byte came, None before that."""

    __slots__ = ('began', 'clock')

    kind_of_inbound = _FirstTimed

    def __init__(self, client, upstream, resources, clock):
        Relay.__init__(self, client, upstream, resources)
        self.clock = clock
        self.began = clock()

    @property
    def first_byte(self):
        came = self.inbound.first_ready
        return came - self.began if came is not None and self.inbound.moved else None
