"""What is told of a session that has ended: a line of the log, and how long it took. Loaded where somebody wants that."""
from __future__ import absolute_import, division, print_function

from .tally import peer_text
from ..durations import LONG_BOUNDS, Durations

MAX_TRIED = 10                   # addresses that are named in one line


def line_of(session, reason, now):
    """(template, fields), see `observe.logs`. `session` has ended for `reason`, a word."""
    fields = {'client': peer_text(session.peer), 'reason': reason, 'duration': round(now - session.opened, 6)}
    template = '{client}'
    via = getattr(session, 'via', None)            # of a ProxiedSession
    if via:
        template += ' via {via}'
        fields['via'] = peer_text(via)
    tried = list(session.lease.tried or ())[:MAX_TRIED] if session.lease is not None else []
    if tried:
        fields['tries'] = sorted(str(address) for address in tried)
    if session.relay is None:
        return template + ' ended after {duration:.3f} s ({reason}), without a server', fields
    fields.update(address=str(session.address), member=session.address.member.name,
                  bytes_out=session.relay.outbound.moved, bytes_in=session.relay.inbound.moved)
    template += ' to {address} ended after {duration:.3f} s ({reason}), {bytes_out} bytes out, {bytes_in} in'
    for name, text, seconds in times_of(session):
        if seconds is not None:
            fields[name] = round(1000 * seconds, 3)
            template += ', %s {%s:g} ms' % (text, name)
    if tried:
        template += '; tried before: ' + ', '.join('{tries[%d]}' % position for position in range(len(tried)))
    return template, fields


def times_of(session):
    """[(field, words, seconds or None)]: until the attempt that succeeded, that attempt, the server's first byte. Of a
    session that had begun before somebody wanted to know there is the first alone."""
    began, relay = session.lease.began, session.relay
    return [('wait_ms', 'waited', began - session.opened),
            ('connect_ms', 'connected in', None if relay.began is None else relay.began - began),
            ('first_byte_ms', 'first byte after', relay.first_byte)]


class Lines(object):
    """Tells `access_log`, which is called with a template and fields."""

    def __init__(self, access_log, clock):
        self._access_log = access_log
        self._clock = clock

    def add(self, session, reason):
        """It has ended."""
        template, fields = line_of(session, reason, self._clock())
        self._access_log(template, **fields)


class Times(object):
    """How long sessions lasted, and how long their servers took to the first byte."""

    def __init__(self, clock):
        self._clock = clock
        self._sessions = Durations(LONG_BOUNDS)
        self._first_bytes = Durations()

    def add(self, session, _):
        """It has ended. Who got no server had no session worth the name."""
        relay = session.relay
        if relay is not None:
            self._sessions.add(self._clock() - session.opened)
            first_byte = relay.first_byte
            if first_byte is not None:
                self._first_bytes.add(first_byte)

    def snapshot(self):
        """A plain dict, for the metrics."""
        return {'session_seconds': self._sessions.snapshot(), 'first_byte_seconds': self._first_bytes.snapshot()}
