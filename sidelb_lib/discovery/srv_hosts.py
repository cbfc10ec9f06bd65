"""The addresses of SRV targets: each target is asked for in its own time, and none waits for another one."""
from __future__ import absolute_import, division, print_function

from collections import OrderedDict, deque

import gevent
from gevent.event import Event

from ..net.endpoints import Endpoint, endpoint_key
from .family import FamilyState, state_of_lookup

AT_ONCE = 16                  # targets that are looked up at the same time
_DOUBTFUL_AT_ONCE = 8         # of them, those whose last look-up brought nothing: they may be silent again
_IN_A_SECOND = 4              # so many targets that serve, and so many that don't, are looked up, however short their TTLs
_SLACK = 0.5                  # seconds that a target is asked before its time, along with others


class Host(object):
    """The addresses of one target. They have a TTL of their own: with that of the records, 0 at Consul, all targets would
    be asked for at each look-up."""

    def __init__(self, name, port, pace):
        self.name = name
        self.port = port
        self.families = {'A': FamilyState(), 'AAAA': FamilyState()}
        self.endpoints = []          # of both, sorted
        self.pace = pace
        self.asked = None            # when it was looked up last; None before that
        self.pause = 0               # seconds from then until it is asked again
        self.is_wanted = False       # by a person, whatever its TTL is

    def take(self, rdtype, answer, now, hold, obsolete):
        self.families[rdtype].take(answer, now, hold, obsolete)
        self.endpoints = sorted(set(Endpoint(ip, self.port) for family in self.families.values() for ip in family.ips),
                                key=endpoint_key)

    @property
    def is_doubtful(self):
        """Did its last look-up bring nothing?"""
        return self.verdict[0] in ('failing', 'empty')

    @property
    def verdict(self):
        """(state, error text or None) of its last look-up; 'pending' before the first."""
        return ('pending', None) if self.asked is None else state_of_lookup(self.families)


class Hosts(object):
    """The Hosts of the targets that there are, and the greenlets that look them up.

    `look_up(host)` does that, and sets `families`, `asked` and `pause`. `news` counts those that have ended.
    `is_up(endpoint)` tells how a server does; `shortest` and `longest` bound the seconds between two look-ups of one.
    """

    def __init__(self, look_up, make_pace, is_up, clock, shortest, longest):
        self._look_up = look_up
        self._make_pace = make_pace
        self._is_up = is_up
        self._clock = clock
        self._shortest = shortest
        self._longest = longest
        self._known = OrderedDict()  # (name, port) -> Host
        self._waiting = deque()
        self._doubtful = deque()
        self._under_way = {}         # Host -> the greenlet that looks it up
        self._idle = Event()
        self._idle.set()
        self.news = 0

    def go_on_from(self, former):
        """Know what `former`, other Hosts, knew; all are due."""
        for key, host in former._known.items():
            self._known[key] = known = Host(host.name, host.port, self._make_pace())
            known.families, known.endpoints = dict(host.families), host.endpoints

    def keep(self, keys):
        """These, (name, port), are the targets."""
        former, self._known = self._known, OrderedDict()
        for key in keys:
            self._known[key] = former.get(key) or Host(key[0], key[1], self._make_pace())

    def __getitem__(self, target):
        return self._known[target.name, target.port]

    def families(self):
        return [family for host in self._known.values() for family in host.families.values()]

    @property
    def busy(self):
        """Is one being looked up?"""
        return not self._idle.is_set()

    def wait(self, seconds):
        """Until none is being looked up, or so many seconds."""
        self._idle.wait(seconds)

    def want_all(self):
        """A person wants them looked up."""
        for host in self._known.values():
            host.is_wanted = True

    def ask(self, is_served):
        """Begin to look up those that are due, the longest overdue ones first."""
        due = [(seconds, host) for seconds, host in self._dues(is_served)
               if seconds <= _SLACK and host not in self._under_way]
        due.sort(key=lambda pair: pair[0])
        hosts = [host for _, host in due]
        self._waiting = deque(host for host in hosts if not host.is_doubtful)
        self._doubtful = deque(host for host in hosts if host.is_doubtful)
        self._fill()

    def due_in(self):
        """Seconds until one is due that is not being looked up."""
        busy = set(self._under_way).union(self._waiting, self._doubtful)
        dues = [seconds for seconds, host in self._dues(True) if host not in busy]
        return min(dues) if dues else float('inf')

    def _dues(self, is_served):
        """[(seconds until it is due, Host)]. One that is down may have moved: it waits for others that are down alone. While
        none of all serves, those are due that were not asked a moment ago, whatever their TTLs."""
        now = self._clock()
        serving = set(host for host in self._known.values() if any(map(self._is_up, host.endpoints)))
        at_rest, lost = self._spacing(len(serving)), self._spacing(len(self._known) - len(serving))
        dues = []
        for host in self._known.values():
            pause = max(host.pause if is_served else 0, at_rest if host in serving else lost)
            at_once = host.is_wanted or host.asked is None
            dues.append((float('-inf') if at_once else host.asked + pause - now, host))
        return dues

    def _spacing(self, count):
        """Seconds between two look-ups of one of so many."""
        return min(max(self._shortest, count / _IN_A_SECOND), self._longest)

    def close(self):
        self._waiting.clear()
        self._doubtful.clear()
        gevent.killall(list(self._under_way.values()), block=False)

    def _fill(self):
        """Use the places that are free."""
        doubtful = sum(host.is_doubtful for host in self._under_way)
        while len(self._under_way) < AT_ONCE:
            if self._waiting:
                host = self._waiting.popleft()
            elif self._doubtful and doubtful < _DOUBTFUL_AT_ONCE:
                host = self._doubtful.popleft()
                doubtful += 1
            else:
                break
            self._under_way[host] = gevent.spawn(self._work, host)
        if self._under_way:
            self._idle.clear()
        else:
            self._idle.set()

    def _work(self, host):
        host.is_wanted = False
        try:
            self._look_up(host)
        finally:
            del self._under_way[host]
            self.news += 1
            self._fill()
