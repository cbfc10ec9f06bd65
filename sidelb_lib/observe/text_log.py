"""The log as text: of servers that go down or come up at once, the first few lines and then one for all others."""
from __future__ import absolute_import, division, print_function

import collections

import gevent

from .said import natural, plural
from .servers_log import listed

TOGETHER_SECONDS = 1.0
FIRST = 3                        # that have a line each

#: Events that are told together -> what is said of many. In JSON each event stands for itself, whoever replays them.
TURNS = {'member_down': 'down', 'member_up': 'up again'}


class TextLog(object):
    """Called with events as `EventLog` tells them. `write` takes a line, `form` makes one, `clock` is the wall clock."""

    def __init__(self, write, form, clock):
        self._write = write
        self._form = form
        self._clock = clock
        self._groups = collections.OrderedDict()     # (event, service, error) -> [lines written, events that have none]
        self._timer = None

    def __call__(self, now, level, event, message, fields):
        if event in TURNS:
            key = event, fields.get('service'), fields.get('error')
            self._end([other for other in self._groups if other[1] == key[1] and other[0] != event])
            group = self._groups.setdefault(key, [0, []])
            if group[0] == FIRST:
                group[1].append((now, level, event, message, fields))
                return
            group[0] += 1
            if self._timer is None:
                self._timer = gevent.spawn_later(TOGETHER_SECONDS, self._tick)
        else:                            # what it says may follow from what has happened before
            self._tell_all()
        self._write(self._form(now, level, event, message, fields))

    def _tick(self):
        """A group goes on for as long as it had something to tell."""
        self._timer = None
        self._end([key for key, (_, rest) in self._groups.items() if not rest])
        self._tell_all()
        if self._groups:
            self._timer = gevent.spawn_later(TOGETHER_SECONDS, self._tick)

    def _end(self, keys):
        for key in keys:
            self._tell(self._groups.pop(key))

    def _tell_all(self):
        for group in self._groups.values():
            self._tell(group)

    def _tell(self, group):
        rest, group[1] = group[1], []
        if len(rest) > 1:
            self._write(self._form(self._clock(), *together(rest)))
        elif rest:
            self._write(self._form(self._clock(), *rest[0][1:]))

    def close(self):
        """Tell what is left."""
        self._end(list(self._groups))
        if self._timer is not None:
            self._timer.kill(block=False)
            self._timer = None


def together(events):
    """(level, event, message, fields) of several events of one kind. Pure."""
    _, level, event, _, last = events[-1]
    names = sorted(set(fields['member'] for _, _, _, _, fields in events), key=natural)
    who = plural(len(names), 'more server')
    if len(events) > len(names):
        who = '%s of %s' % (plural(len(events), 'more address'), plural(len(names), 'server'))
    reason = ': %s' % last['error'] if last.get('error') else ''
    text = '%s are %s%s, %d of %d up (%s)' % (who, TURNS[event], reason, last['up'], last['known'], listed(names))
    return level, event, text, last
