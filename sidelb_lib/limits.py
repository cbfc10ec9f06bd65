"""Descriptors: raise the limit of the process, and share it out among what needs them."""
from __future__ import absolute_import, division, print_function

import resource

MAX_RESERVED = 400               # pipes of bulk transfers (128), probes (64), DNS (64), status and HTTP (32 each), the rest
MAX_PIPES = 64                   # each has two descriptors


def raise_descriptor_limit():
    """Raise the soft limit of open files to the hard one. Returns the limit in force."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard == resource.RLIM_INFINITY:
        hard = 1 << 20                   # fs.nr_open's default: no process gets more
    if soft == resource.RLIM_INFINITY or soft >= hard:
        return hard
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, resource.getrlimit(resource.RLIMIT_NOFILE)[1]))
    except ValueError:
        return soft
    return hard


class Budget(object):
    """How many descriptors go where, out of the `limit` of the process, which has so many `services`.

    `pipes` is the number of pipes, `connections` that of TCP connections, `sessions` that of UDP sessions: of one
    service, if it is the only one of its share to use it.
    """

    def __init__(self, limit, services=1):
        reserved = min(MAX_RESERVED, limit // 2)
        share = (limit - reserved) // services
        self.pipes = min(MAX_PIPES, reserved // 4) // services
        self.connections = share // 2    # each has two sockets
        self.sessions = share            # each has one
