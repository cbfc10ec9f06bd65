"""The log: events with stable names, as text or JSON, to a descriptor that may block without ever stalling traffic."""
from __future__ import absolute_import, division, print_function

import collections
import errno
import json
import os
import re
import select
import time

import gevent
from gevent import get_hub, monkey

from .text_log import TextLog
from ..compat import WRITE, monotonic, poll
from ..hub import never_waits

LEVELS = ('debug', 'info', 'warning', 'error')

CHUNK_BYTES = 4096               # PIPE_BUF: a pipe that poll calls writable takes so much without blocking, pipe(7)
MAX_LINES_WAITING = 10000        # behind a blocked reader; more are dropped and counted

MAX_RECENT = 100                 # events that are kept for those who ask later

FOLD_SECONDS = 60.0              # within such a window...
FOLD_AFTER = 5                   # ...an equal message is written so often; more are counted, and summed up at its end
MAX_FOLDED = 10000               # different messages that are remembered in a window

#: A full disk is no end: lines are dropped until there is room again.
FULL = frozenset([errno.ENOSPC, errno.EDQUOT, errno.EIO, errno.EFBIG])

#: Fields in which equal messages may differ.
VOLATILE_FIELDS = frozenset(['client', 'duration', 'bytes_in', 'bytes_out', 'size', 'trace', 'up', 'known', 'down_seconds'])

_COUNTED = re.compile(r'\b(\d+) (\w+)\((e?s)\)')


class EventLog(object):
    """What the modules are handed as `log`.

    `write` takes one finished line, `level` is the least level that is written, `form` is 'text' or 'json', `clock`
    gives the wall clock's seconds. Each method takes the event's stable name, a template and the fields that fill it;
    in JSON the fields are there by name. A flapping server or a flood of failing clients can't fill a disk: equal
    messages are folded, with a count.
    """

    def __init__(self, write, level='info', form='text', clock=time.time, steady_clock=monotonic):
        self._write = write
        self._clock = clock
        self._text = TextLog(write, format_text, clock)
        self.change(level, form)
        self._steady_clock = steady_clock
        self._window_end = 0
        self._seen = {}                  # (event, lasting fields) -> [times seen in this window, level, last message]
        self._window_timer = None
        self.recent = collections.deque(maxlen=MAX_RECENT)     # (seconds, level, event, message, fields) of `tell`
        self.followers = []              # called with the same; they neither block nor fail

    def change(self, level, form):
        """Write another level, or in another form, from now on."""
        self._least = LEVELS.index(level)
        self.close()
        self._format = format_json if form == 'json' else format_text
        self._tell_line = self._write_json if form == 'json' else self._text

    def debug(self, event, template, **fields):
        if self._least == 0:             # never folded: who asks for each connection gets each connection
            self._tell(self._clock(), 'debug', event, filled(template, fields), fields)

    def access(self, write, template, **fields):
        """A line about a session that has ended, by `write`, or where the others go: never folded, whatever the level, and
        not kept for those who ask later."""
        (write or self._write)(self._format(self._clock(), 'info', 'session', filled(template, fields), fields))

    def info(self, event, template, **fields):
        self._emit('info', event, template, fields)

    def warning(self, event, template, **fields):
        self._emit('warning', event, template, fields)

    def error(self, event, template, **fields):
        self._emit('error', event, template, fields)

    def _emit(self, level, event, template, fields):
        if LEVELS.index(level) < self._least:
            return
        now = self._clock()
        if self._steady_clock() >= self._window_end or len(self._seen) >= MAX_FOLDED:
            self._next_window()
        message = filled(template, fields)
        key = event, tuple(sorted((name, str(value)) for name, value in fields.items() if name not in VOLATILE_FIELDS))
        entry = self._seen.setdefault(key, [0, level, message])
        entry[0] += 1
        entry[2] = message
        if entry[0] <= FOLD_AFTER:
            self._tell(now, level, event, message, fields)
        elif self._window_timer is None:
            self._window_timer = gevent.spawn_later(FOLD_SECONDS, self._next_window)

    def _tell(self, *told):
        self._tell_line(*told)
        self.recent.append(told)
        for follower in self.followers:
            follower(told)

    def _write_json(self, *told):
        self._write(format_json(*told))

    def close(self):
        """Write what is left to be told together."""
        self._text.close()

    def _next_window(self):
        """Sum up what was folded in the window that ends, and begin the next."""
        now = self._clock()
        for (event, fields), (count, level, message) in sorted(self._seen.items()):
            if count > FOLD_AFTER:
                folded = dict(fields, repeated=count - FOLD_AFTER)
                text = '%s (and %d more like it)' % (message, count - FOLD_AFTER)
                self._tell(now, level, event, text, folded)
        self._seen = {}
        self._window_end = self._steady_clock() + FOLD_SECONDS
        timer, self._window_timer = self._window_timer, None
        if timer is not None and timer is not gevent.getcurrent():
            timer.kill(block=False)          # an event was quicker than the timer: it would cut the next window short


class ServiceLog(object):
    """The log of one service among several: each event has the field `service`."""

    def __init__(self, log, service):
        self._log = log
        self._service = service

    def debug(self, event, template, **fields):
        self._log.debug(event, template, service=self._service, **fields)

    def access(self, write, template, **fields):
        self._log.access(write, template, service=self._service, **fields)

    def info(self, event, template, **fields):
        self._log.info(event, template, service=self._service, **fields)

    def warning(self, event, template, **fields):
        self._log.warning(event, template, service=self._service, **fields)

    def error(self, event, template, **fields):
        self._log.error(event, template, service=self._service, **fields)


def filled(template, fields):
    """The message: `{count} server(s)` is `1 server` or `2 servers`."""
    text = template.format(**fields)
    return _COUNTED.sub(_plural, text) if '(s)' in template or '(es)' in template else text


def _plural(match):
    number, word, ending = match.groups()
    return '%s %s%s' % (number, word, '' if number == '1' else ending)


def timestamp(seconds):
    """RFC 3339 in UTC, with milliseconds."""
    milliseconds = int(seconds * 1000)
    return '%s.%03dZ' % (time.strftime('%Y-%m-%dT%H:%M:%S', time.gmtime(milliseconds // 1000)), milliseconds % 1000)


def format_text(now, level, event, message, fields):
    lines = (('%s: ' % fields['service'] if 'service' in fields else '') + message).splitlines() or ['']
    return '\n  '.join(['%s %s %s' % (timestamp(now), level, lines[0])] + lines[1:])


def format_json(now, level, event, message, fields):
    entry = collections.OrderedDict([('time', timestamp(now)), ('level', level), ('event', event)])
    entry['message'] = message
    for name in sorted(fields):
        if name not in entry:
            entry[name] = fields[name]
    return json.dumps(entry, default=str)


class LineWriter(object):
    """Writes lines to a descriptor that it does not own, and never blocks.

    A descriptor that is not writable now (a pipe whose reader sleeps, a stopped terminal) makes lines wait, and in the
    end be dropped: `on_loss(count)` is called once there is room again. The descriptor is not made non-blocking: that
    would change it for every process that shares it.
    """

    def __init__(self, descriptor, on_loss=lambda count: None):
        self.on_loss = on_loss
        self.broken = False              # the reader is gone for good
        self._descriptor = descriptor
        self._waiting = collections.deque()
        self._watcher = None
        self._dropped = 0
        self._poll = monkey.get_original('select', 'poll')()
        self._poll.register(descriptor, select.POLLOUT)

    def __call__(self, line):
        if self.broken:
            return
        if len(self._waiting) >= MAX_LINES_WAITING:
            self._dropped += 1
            return
        data = (line + '\n').encode('utf-8', 'replace') if not isinstance(line, bytes) else line + b'\n'
        self._waiting.append(data)
        if self._watcher is None:
            self._flush()

    @never_waits
    def _flush(self):
        """Write what can be written without blocking; come back when more can."""
        while self._waiting and not self.broken and poll(self._poll, 0):
            self._write_some()
        if self._waiting and not self.broken:
            if self._watcher is None:
                self._watcher = get_hub().loop.io(self._descriptor, WRITE)
                self._watcher.start(self._flush)
        elif self._watcher is not None:
            self._watcher.stop()
            self._watcher = None

    def _write_some(self):
        data = self._waiting[0]
        try:
            written = os.write(self._descriptor, data[:CHUNK_BYTES])
        except OSError as error:
            if error.errno in FULL:
                self._waiting.popleft()
                self._dropped += 1
            elif error.errno not in (errno.EAGAIN, errno.EINTR):
                self.broken = True           # the balancing goes on
                self._waiting.clear()
            return
        if written < len(data):
            self._waiting[0] = data[written:]
        else:
            self._waiting.popleft()
            if self._dropped:
                count, self._dropped = self._dropped, 0
                self.on_loss(count)

    def wait(self, seconds):
        """Until no line waits, so many seconds at most; others go on meanwhile."""
        deadline = monotonic() + seconds
        while self._waiting and not self.broken and monotonic() < deadline:
            gevent.sleep(0.01)

    def close(self, seconds=1.0):
        """Give waiting lines a last chance, while nothing else goes on. The descriptor may be another's afterwards: it is
        watched no more."""
        if self._watcher is not None:
            self._watcher.stop()
            self._watcher = None
        deadline = monotonic() + seconds
        while self._waiting and not self.broken and monotonic() < deadline:
            if poll(self._poll, 50):
                self._write_some()
