"""Which session makes room for a newcomer when there can be no more of them."""
from __future__ import absolute_import, division, print_function

import heapq

#: Sessions without a reply yet may be this share of the table before they go first: a flood of invented sources gets no
#: more of it, and a real newcomer keeps its place for as long as the flood takes to fill that.
SHARE_WITHOUT_REPLY = 1 / 4


class RoomMaker(object):
    """Chooses among `sessions` (key -> Session): the one idle longest, of those that never had a reply if they are many.

    Candidates are found a sixteenth of the table at a time, so that a flood of unknown sources costs the same for each
    datagram however large the table is.
    """

    def __init__(self, sessions):
        self._sessions = sessions
        self._candidates = []              # (last used, key), the best last

    def choose(self, spared=None):
        """A session that is not `spared`, or None when there is no other."""
        while True:
            if not self._candidates:
                self._candidates = self._find(spared)
                if not self._candidates:
                    return None
            last_used, key = self._candidates.pop()
            session = self._sessions.get(key)
            if session is not None and session.last_used == last_used and session is not spared:
                return session

    def _find(self, spared):
        sessions = [session for session in self._sessions.values() if session is not spared]
        without_reply = [session for session in sessions if not session.datagrams_received]
        if len(without_reply) > len(sessions) * SHARE_WITHOUT_REPLY:
            sessions = without_reply
        entries = ((session.last_used, session.key) for session in sessions)
        return heapq.nsmallest(len(self._sessions) // 16 + 1, entries)[::-1]
