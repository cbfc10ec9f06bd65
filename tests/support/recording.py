"""A log that remembers, for tests that look at what was said."""
from __future__ import absolute_import, division, print_function

from sidelb_lib.observe.logs import filled


class RecordingLog(object):
    """Stands in for `sidelb_lib.logs.EventLog`: keeps each event as (level, event, message, fields)."""

    def __init__(self):
        self.lines = []

    def events(self, event):
        """The messages of all lines with this event name, oldest first."""
        return [message for _, name, message, _ in self.lines if name == event]

    def _keep(self, level, event, template, fields):
        self.lines.append((level, event, filled(template, fields), fields))

    def debug(self, event, template, **fields):
        self._keep('debug', event, template, fields)

    def access(self, write, template, **fields):
        if write:
            write(filled(template, fields))
        else:
            self._keep('info', 'session', template, fields)

    def info(self, event, template, **fields):
        self._keep('info', event, template, fields)

    def warning(self, event, template, **fields):
        self._keep('warning', event, template, fields)

    def error(self, event, template, **fields):
        self._keep('error', event, template, fields)
