"""Asking name servers: the search list, which server when, and for how long.

It never raises for what the network or a file does: every outcome is an Answer.
"""
from __future__ import absolute_import, division, print_function

import gevent

from .. import compat
from ..net.endpoints import endpoint_text
from .answers import EMPTY, FAILED, FOUND, empty, failed, found
from .exchange import Deadline, Fault, Silence, exchange
from .resolv_conf import Configuration, ResolvConf, candidates


class Resolver(object):
    """Asks the name servers in `resolv_conf` (a path, read again when it changes) or `servers`, [(ip, port)].

    Each attempt at a server may take `attempt` seconds, one look-up `lifetime` in all. A server that was silent is
    asked last for `demotion` seconds. `port` is that of the servers in resolv.conf.
    """

    def __init__(self, servers=None, resolv_conf='/etc/resolv.conf', attempt=2.0, lifetime=5.0, demotion=30.0,
                 port=53, clock=compat.monotonic):
        self._attempt = attempt
        self._lifetime = lifetime
        self._demotion = demotion
        self._clock = clock
        if servers:
            fixed = Configuration(list(servers), [], 0, None)
            self.configuration = lambda: fixed
        else:
            self.configuration = ResolvConf(resolv_conf, port).configuration
        self._silent_until = {}      # server -> when it is asked in its turn again
        self._qualified = {}         # name -> the candidate that was found last

    def addresses(self, name):
        """Look up both families at once: yields ('A', Answer) and ('AAAA', Answer), each when it is in.

        `name` goes through the search list unless it ends with a dot; both answers are of the same candidate. When a
        candidate that was right before can't be looked up, the search ends: the next one may be someone else.
        """
        deadline = self._clock() + self._lifetime
        configuration = self.configuration()
        unfound = {}
        for candidate in candidates(name, configuration.search, configuration.ndots):
            waiting, hit = {}, False
            for rdtype, answer in self._ask_both(candidate, deadline):
                waiting[rdtype] = answer
                if hit or answer.kind == FOUND:
                    hit = True
                    for item in sorted(waiting.items()):
                        yield item
                    waiting = {}
            if hit:
                self._qualified[name] = candidate
                return
            for rdtype, answer in waiting.items():
                if rdtype not in unfound or unfound[rdtype].kind == EMPTY:
                    unfound[rdtype] = answer
            if self._qualified.get(name) == candidate and any(a.kind == FAILED for a in waiting.values()):
                break
        for item in sorted(unfound.items()):
            yield item

    def pointers(self, ip, lifetime=None):
        """The PTR names of `ip`: an Answer."""
        from . import message as dns_message
        try:
            name = dns_message.reverse_name(ip.split('%')[0])
        except ValueError as error:
            return failed(str(error))
        return self.ask(name, 'PTR', lifetime)

    def ask(self, name, rdtype, lifetime=None):
        """Ask for the records of one type of the absolute `name` within `lifetime` seconds: an Answer."""
        from . import message as dns_message
        try:
            query = dns_message.question(name, rdtype)
        except ValueError as error:
            return failed(str(error))
        deadline = self._clock() + (self._lifetime if lifetime is None else lifetime)
        configuration = self.configuration()
        servers, faults = self._in_turn(configuration.servers), {}
        while servers and self._clock() < deadline:
            server = servers.pop(0)
            try:
                return _answer(exchange(server, query, self._attempt_until(deadline)))
            except Silence as silence:
                self._silent_until[server] = self._clock() + self._demotion
                servers.append(server)
                faults[server] = str(silence)
            except Fault as fault:
                faults[server] = str(fault)
        return failed(_explain(faults, configuration.note))

    def _ask_both(self, name, deadline):
        """Yields (type, Answer) for A and AAAA in the order in which they come in."""
        jobs = [gevent.spawn(self._ask_contained, name, rdtype, deadline) for rdtype in ('A', 'AAAA')]
        try:
            for job in gevent.iwait(jobs):
                yield job.value
        finally:
            gevent.killall(jobs, block=False)

    def _ask_contained(self, name, rdtype, deadline):
        try:
            return rdtype, self.ask(name, rdtype, max(0, deadline - self._clock()))
        except Exception as error:    # a fault of ours or of the library ends this question alone
            return rdtype, failed('unexpected %s: %s' % (type(error).__name__, error))

    def _attempt_until(self, deadline):
        return Deadline(min(deadline, self._clock() + self._attempt), self._clock)

    def _in_turn(self, servers):
        now = self._clock()
        return sorted(servers, key=lambda server: self._silent_until.get(server, now) > now)


def _answer(reply):
    if reply.values:
        return found(sorted(set(reply.values)), reply.ttl, reply.names)
    return empty('no such name (NXDOMAIN)' if reply.rcode == 'NXDOMAIN' else 'no such records', reply.names)


def _explain(faults, note):
    text = '; '.join('%s %s' % (endpoint_text(*server), fault) for server, fault in sorted(faults.items()))
    return (text or 'no time left') + (' (%s)' % note if note else '')
