"""What has changed lately, gathered when it happens: a hundred servers that go down at once are one entry."""
from __future__ import absolute_import, division, print_function

import collections

from .said import natural, place_of
from ..hub import never_waits

MAX_ENTRIES = 50
MAX_NAMES = 3                    # that an entry keeps; more are counted
TOGETHER_SECONDS = 5.0           # equal changes within it are one

#: What a pool's observers hear -> the word for people, and how bad it is.
WORDS = {'down': ('down', 'bad'), 'up': ('up', 'good'), 'added': ('new', ''), 'removed': ('left', 'idle'),
         'role': ('role', 'idle'), 'drain': ('drain', 'idle'), 'enable': ('enable', 'good'), 'dns': ('DNS', 'warn'),
         'dns_ok': ('DNS', 'good'), 'file': ('file', 'warn'), 'file_ok': ('file', 'good'),
         'tier': ('tier', '')}


class Change(object):
    """One entry: an event of one or more servers, and what it is about."""

    __slots__ = ('began', 'when', 'event', 'about', 'names', 'count')

    def __init__(self, when, event, about):
        self.began = self.when = when
        self.event = event
        self.about = about
        self.names = []
        self.count = 0

    def text(self, suffix=''):
        if self.event in ('dns', 'dns_ok', 'file', 'file_ok'):          # no server's name
            suffix = ''
        names = [name[:-len(suffix)] if suffix and name.endswith(suffix) else name for name in self.names]
        names.sort(key=natural)
        more = self.count - len(names)
        who = ', '.join(names) + (' and %d more' % more if more else '')
        return ': '.join(part for part in (who, self.about) if part)


class Changes(object):
    """The last MAX_ENTRIES changes of a pool. `observe` is one of its observers, `clock` its clock."""

    def __init__(self, clock):
        self._clock = clock
        self._entries = collections.deque(maxlen=MAX_ENTRIES)
        self._seen = set()               # the names in the last entry

    @never_waits
    def observe(self, event, subject):
        if event == 'tier':
            self.remember(event, '', 'new sessions go to tier %d' % subject.tier)
            return
        if event not in WORDS:
            return
        about = subject.last_error if event == 'down' else _role_of(subject) if event == 'role' else None
        name = subject.member.name
        if event == 'down' and subject.member.up and name != str(subject):
            name = '%s %s' % (name, subject)
        self.remember(event, name, about)

    def observe_person(self, command, name, person):
        """A person, `uid 1000`, has drained or enabled a server."""
        if command in WORDS:
            self.remember(command, name, 'by %s' % person)

    def observe_lookup(self, source, former):
        """A source of addresses is in another state than `former`."""
        name, event = source.source.partition(' ')[2], place_of({'kind': source.kind, 'port': source.port}).lower()
        if source.state != 'ok':
            self.remember(event, name, source.error or source.state)
        elif former != 'pending':                    # at the start that is no news
            self.remember(event + '_ok', name, 'answers again' if event == 'dns' else 'is read again')

    def remember(self, event, name, about=None):
        now = self._clock()
        last = self._entries[-1] if self._entries else None
        if last is None or (last.event, last.about) != (event, about) or now - last.began > TOGETHER_SECONDS:
            last = Change(now, event, about)
            self._entries.append(last)
            self._seen = set()
        last.when = now
        if name not in self._seen:
            self._seen.add(name)
            last.count += 1
            if len(last.names) < MAX_NAMES:
                last.names.append(name)

    def entries(self):
        """The newest first."""
        return list(reversed(self._entries))


def _role_of(address):
    former = address.former_role
    return (address.role or 'no role') + (', was %s' % former if former and former != address.role else '')
