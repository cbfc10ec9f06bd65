"""`sidelb events`: the log's events to whoever asks on the status socket, without ever waiting for a slow reader."""
from __future__ import absolute_import, division, print_function

import collections

from gevent.event import Event

from .logs import format_json
from ..hub import never_waits
from ..net.unix_socket import has_closed

MAX_FOLLOWERS = 8
MAX_WAITING = 1000               # events behind a slow reader; older ones are dropped and counted
LOOK_SECONDS = 1.0               # until it is noticed that a reader has left
PATIENCE = 60.0                  # seconds for a reader to take something


class Follower(object):
    """The events of `log`, those of `service` alone unless that is None: the latest, and with `goes_on` those to come.

    `send_to(client)` ends when all is sent, the reader has left or takes nothing more.
    """

    def __init__(self, log, service, goes_on):
        self._log = log
        self._service = service
        self._goes_on = goes_on
        self._waiting = collections.deque(told for told in log.recent if self._wants(told))
        self._lost = 0
        self._news = Event()
        if goes_on:                  # now: what happens until the reader is there counts
            log.followers.append(self)

    @never_waits
    def __call__(self, told):
        """The log's news. Neither blocks nor fails."""
        if self._wants(told):
            if len(self._waiting) >= MAX_WAITING:
                self._waiting.popleft()
                self._lost += 1
            self._waiting.append(told)
            self._news.set()

    def _wants(self, told):
        return self._service is None or told[-1].get('service') == self._service

    def send_to(self, client):
        """Raises an EnvironmentError when the reader is gone."""
        try:
            client.settimeout(PATIENCE)
            while True:
                while self._waiting:
                    client.sendall(self._next_line())
                if not self._goes_on or has_closed(client):
                    return
                self._news.clear()
                self._news.wait(LOOK_SECONDS)
        finally:
            self.close()

    def _next_line(self):
        told = self._waiting[0]
        if self._lost:
            count, self._lost = self._lost, 0
            told = (told[0], 'warning', 'events_lost', '%d events were lost: they were not read in time' % count,
                    {'count': count})
        else:
            self._waiting.popleft()
        return (format_json(*told) + '\n').encode('utf-8', 'replace')

    def close(self):
        """Idempotent."""
        if self in self._log.followers:
            self._log.followers.remove(self)
