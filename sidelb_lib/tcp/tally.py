"""What is counted of clients, and what the log says of how they fared."""
from __future__ import absolute_import, division, print_function

import collections

from ..durations import Durations
from ..net.endpoints import UNIX, endpoint_text


class Tally(object):
    """`clock()` is in seconds. `change` first: it takes the settings.

    `times_sessions`: does somebody want to know how long sessions and their servers take?
    """

    def __init__(self, log, clock):
        self.accepted = 0
        self.retries = 0
        self.connect_times = Durations()      # of attempts that succeeded
        self.refused = {}                     # kind of NobodyReachable -> how many clients were reset for it
        self.denied = collections.Counter()   # reason -> how many clients were not let in for it
        self.ended = collections.Counter()    # reason -> how many sessions ended for it
        self._log = log
        self._clock = clock
        self.times_sessions = False
        self._times = None                    # a session_end.Times, where somebody may ask for metrics
        self._logs_probes = False
        self._tells = ()                      # what is called with each session that has ended, and the reason

    def change(self, settings, access_log=None):
        """Log as these settings say, from now on; sessions by `access_log`, if that is given."""
        self._logs_probes = settings.log_level == 'debug'
        access_log, self._tells = access_log or (self._log_session if self._logs_probes else None), ()
        if access_log:
            from .session_end import Lines
            self._tells += (Lines(access_log, self._clock).add,)
        if settings.http:
            from .session_end import Times
            self._times = self._times or Times(self._clock)
            self._tells += (self._times.add,)
        self.times_sessions = bool(self._tells)

    def refuse(self, session, error):
        """A client was reset, since no server could be reached."""
        self.refused[error.kind] = self.refused.get(error.kind, 0) + 1
        self._log.warning('refused', 'reset {client}: {reason}', client=peer_text(session.peer), reason=str(error))

    def deny(self, peer, reason, text=None):
        """A client that had been accepted was not let in, and reset: it counts as nothing else."""
        self.accepted -= 1
        self.denied[reason] += 1
        self._log.warning('client_denied', 'reset {client}: {reason}', client=peer_text(peer),
                          reason=text or reason.replace('_', ' '))

    def probe(self, peer):
        """What had been accepted was a health check of whoever is before us: it counts as nothing."""
        self.accepted -= 1
        if self._logs_probes:
            self._log.debug('probed', '{client} has looked whether somebody is here', client=peer_text(peer))

    def end(self, session, reason):
        """A session has ended."""
        self.ended[reason] += 1
        for tell in self._tells:
            tell(session, reason)

    def crash(self, session, trace):
        """A session met an exception that nobody expected."""
        self._log.error('session_failed', 'unexpected error in the session of {client}, which ends: {trace}',
                        client=peer_text(session.peer), trace=trace)

    def _log_session(self, template, **fields):
        self._log.debug('session', template, **fields)

    def counts(self):
        """A plain dict, for the status."""
        counts = {'total': self.accepted, 'retries': self.retries, 'refused': dict(self.refused),
                  'denied': dict(self.denied), 'ended': dict(self.ended),
                  'connect_seconds': self.connect_times.snapshot()}
        return dict(counts, **self._times.snapshot()) if self._times else counts


def peer_text(peer):
    """`127.0.0.1:50000` or `[::1]:50000` of what accept gave; `unix:pid 7 uid 0` for a unix-domain listener."""
    if peer[0].startswith(UNIX):
        return peer[0]
    return endpoint_text(*peer[:2])
