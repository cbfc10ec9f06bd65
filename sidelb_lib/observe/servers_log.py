"""Which servers there are, told in the log a while after they have changed: one line a change, not one an address."""
from __future__ import absolute_import, division, print_function

import gevent

from ..hub import never_waits
from . import said

GATHER_SECONDS = 1.0             # names of addresses come a little after these
MAX_NAMES = 3                    # in a text; the fields have all
MAX_SERVERS = 100                # in a line; more are told in further lines


class ServersLog(object):
    """Logs the event `servers_changed`. `observe` is an observer of `pool`.

    Whoever replays the events, in each of which `added` and `changed` have servers with all their addresses and `removed`
    has names, knows the servers.
    """

    def __init__(self, log, pool):
        self._log = log
        self._pool = pool
        self._told = {}                  # label of a server -> its addresses as texts
        self._timer = None

    @never_waits
    def observe(self, event, subject):
        if event == 'changed' and self._timer is None:
            self._timer = gevent.spawn_later(GATHER_SECONDS, self._tell_gathered)

    def close(self):
        if self._timer is not None:
            self._timer.kill(block=False)

    def _tell_gathered(self):
        self._timer = None
        self.tell()

    def tell(self):
        """Log what has changed since the last time."""
        now = labelled(self._pool.members)
        news = [('added', name) for name in now if name not in self._told]
        news += [('removed', name) for name in self._told if name not in now]
        news += [('changed', name) for name in now if self._told.get(name, now[name]) != now[name]]
        self._told = now
        news.sort(key=lambda one: (one[0], said.natural(one[1])))
        for start in range(0, len(news), MAX_SERVERS):
            self._say(news[start:start + MAX_SERVERS], now)

    def _say(self, news, now):
        names = dict((kind, [name for one, name in news if one == kind]) for kind in ('added', 'removed', 'changed'))
        parts = ['%d %s (%s)' % (len(names[kind]), word, listed(names[kind]))
                 for kind, word in (('added', 'new'), ('removed', 'left'), ('changed', 'changed')) if names[kind]]
        self._log.info('servers_changed', 'servers: {news}, {known} known', news=', '.join(parts), known=len(now),
                       added=_described(names['added'], now), changed=_described(names['changed'], now),
                       removed=names['removed'])


def labelled(members):
    """{name, or name:port where several have the name: addresses}."""
    names = {}
    for member in members:
        names.setdefault(member.name, []).append(member)
    return dict((name if len(same) == 1 else '%s:%d' % (name, member.addresses[0].port),
                 [str(one) for one in member.addresses]) for name, same in names.items() for member in same)


def listed(names):
    """`db1, db2, db3 and 7 more, *.example.com`."""
    suffix = said.common_suffix(names)
    texts = [name[:len(name) - len(suffix)] for name in names[:MAX_NAMES]]
    more = len(names) - len(texts)
    return ', '.join(texts) + (' and %d more' % more if more else '') + (', *%s' % suffix if suffix else '')


def _described(names, now):
    return [{'name': name, 'addresses': now[name]} for name in names]
