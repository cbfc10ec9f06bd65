"""How many sessions a service may have: as its settings say, or as many as there are descriptors for."""
from __future__ import absolute_import, division, print_function


def session_limit(settings, budget, share, log):
    """A session that was accepted but gets no descriptor towards its server would be reset, one that waits in the kernel's
    queue is merely late. `budget` and `share`, which may be None, are of `limits`."""
    if settings.proto == 'udp':
        key, affordable = 'max_sessions', budget.sessions
    else:
        key, affordable = 'max_connections', budget.connections
    most = affordable if share is None else share.most
    wanted = getattr(settings, key) or most
    if wanted > most:
        log.warning('few_descriptors', '{key}={wanted} needs more open files than the limit allows: it is {most}', key=key,
                    wanted=wanted, most=most)
    return min(wanted, most)
