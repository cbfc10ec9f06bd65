"""The sessions and states of the servers in the last 15 minutes, so that a new tab shows what an old one has seen."""
from __future__ import absolute_import, division, print_function

from array import array

POINTS = 90
STEP_SECONDS = 10.0
MIN_SECONDS = 5.0                # a rate over less says nothing
MAX_SESSIONS = 65535             # what a point holds
MAX_TRACKS = 300                 # servers; each has 2 bytes a point: at most 64 KiB a service

DIGITS = '0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz'
LETTERS = {'up': 'u', 'down': 'd', 'standby': 's', 'unchecked': 'c', 'draining': 'r', 'departing': 'p'}


class Track(object):
    """One server: sessions at each point, its states as runs, and how many sessions it had been given."""

    __slots__ = ('loads', 'runs', 'totals')

    def __init__(self):
        self.loads = array('H')
        self.runs = []                   # [letter, number of points]
        self.totals = (None, None)       # (when, total) at the last point, and at the one before

    def add(self, now, active, total, letter):
        self.loads.append(min(active, MAX_SESSIONS))
        if self.runs and self.runs[-1][0] == letter:
            self.runs[-1][1] += 1
        else:
            self.runs.append([letter, 1])
        if len(self.loads) > POINTS:
            del self.loads[0]
            self.runs[0][1] -= 1
            if not self.runs[0][1]:
                del self.runs[0]
        self.totals = (self.totals[1], (now, total))

    def new_per_second(self, now, total):
        """Of the last 10 s or a little more; None before that has been seen."""
        then = self.totals[0] or self.totals[1]
        if then is None or now < then[0] + MIN_SECONDS:
            return None
        return round(max(0, total - then[1]) / (now - then[0]), 2)

    def snapshot(self):
        """{'peak', 'load', 'states'}: a character a point in base 62 of the peak, `.` = not known; states as `u78d12`."""
        peak, missing = max(self.loads) if self.loads else 0, POINTS - len(self.loads)
        load = ''.join(DIGITS[-(-61 * value // peak) if peak else 0] for value in self.loads)
        runs = ([['.', missing]] if missing else []) + self.runs
        return {'peak': peak, 'load': '.' * missing + load, 'states': ''.join('%s%d' % tuple(run) for run in runs)}


NOTHING = Track()


class Timeline(object):
    """Of one service. `add` is called every STEP_SECONDS."""

    def __init__(self):
        self.whole = Track()
        self._tracks = {}                # name of a member -> Track

    def add(self, now, members, active, total):
        states = set(member.state for member in members)
        best = next((state for state in ('up', 'unchecked', 'standby') if state in states), 'down')
        self.whole.add(now, active, total, LETTERS[best])
        tracks = {}
        for member in members[:MAX_TRACKS]:
            if member.name not in tracks:        # several ports of one name share it
                track = tracks[member.name] = self._tracks.get(member.name) or Track()
                track.add(now, member.active, sum(address.total for address in member.addresses), LETTERS[member.state])
        self._tracks = tracks

    def of(self, name):
        return self._tracks.get(name, NOTHING)
