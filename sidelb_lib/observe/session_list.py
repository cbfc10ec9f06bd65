"""The sessions of a process as people see them: which there are, and what each does."""
from __future__ import absolute_import, division, print_function

import heapq

from ..compat import paced

MAX_LISTED = 1000                # the oldest; of the others it is told how many there are
AT_ONCE = 256                    # sessions looked at between two pauses


def sessions_of(services, is_wanted=lambda session: True):
    """[(service's name, service, session)] of `services`, a list of (name, Service): those that are wanted."""
    found = []
    for name, service in services:
        for session in paced(service.server.living(), AT_ONCE):
            if is_wanted(session):
                found.append((name, service, session))
    return found


def close_all(found, reason):
    """End the sessions of `found`. Returns how many still went on: others have ended while they were looked for."""
    closed = 0
    for _, service, session in paced(found, AT_ONCE):
        if not session.ended:
            service.server.cut_one(session, reason)
            closed += 1
    return closed


def listed(found, now):
    """The oldest of `found` as dicts of JSON's types, durations in seconds. `server` and `address` are None while a client
    waits for a server."""
    rows = []
    for name, _, session in heapq.nsmallest(MAX_LISTED, found, key=lambda one: one[2].opened):
        address = session.address
        sent, received = session.carried()
        if not session.ended:
            rows.append({
                'service': name, 'session': session.client_text, 'server': address and address.member.name,
                'address': address and str(address), 'age': round(now - session.opened, 3),
                'silent': round(session.silent_seconds(now), 3), 'bytes_sent': sent, 'bytes_received': received})
    return rows
