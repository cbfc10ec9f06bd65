"""Asking name servers: the search list, which server when, and for how long.

It never raises for what the network or a file does: every outcome is an Answer.
"""
from __future__ import absolute_import, division, print_function

import os

import gevent

from .. import compat
from ..net.endpoints import endpoint_text
from .answers import EMPTY, FAILED, FOUND, empty, failed, found
from .exchange import Deadline, Fault, Silence, exchange
from .resolv_conf import Configuration, ResolvConf, candidates
from .search import Search

_MAX_ROUNDS = 8
_LONGEST_LOOK_UP = 60.0       # seconds, whatever resolv.conf says
_HASTE = 4                    # a server that was silent for one candidate gets this part of the time for the next ones


class Resolver(object):
    """Asks the name servers in `resolv_conf` (a path, read again when it changes) or `servers`, [(ip, port)].

    Servers are asked in the order of resolv.conf(5) for each query: one that was silent for another question must not
    lose its place to one that knows less. Each attempt at a server may take `attempt` seconds, each name `lifetime`, but
    for what resolv.conf says of `timeout` and `attempts`. `port` is that of the servers in resolv.conf. `hold` and
    `changed` are those of `search.Search`; `environ` may have LOCALDOMAIN and RES_OPTIONS.
    """

    def __init__(self, servers=None, resolv_conf='/etc/resolv.conf', attempt=2.0, lifetime=5.0, port=53,
                 clock=compat.monotonic, hold=0.0, changed=lambda name, former, candidate: None, environ=os.environ):
        self._attempt = attempt
        self._lifetime = lifetime
        self._clock = clock
        self._search = Search(hold, clock, changed)
        self._queries = 0
        if servers:
            fixed = Configuration(servers, options={'ndots': 0})
            self.configuration = lambda: fixed
        else:
            self.configuration = ResolvConf(resolv_conf, port, environ).configuration

    def addresses(self, name):
        """Look up both families at once: yields ('A', Answer) and ('AAAA', Answer), each when it is in."""
        return self.records(name, ('A', 'AAAA'))

    def records(self, name, rdtypes):
        """Look up records of several types at once: yields (type, Answer), each when it is in.

        `name` goes through the search list unless it ends with a dot; all answers are of the same candidate. Each one has
        its own time, so that one that nobody answers for does not hide the others.
        """
        configuration = self.configuration()
        unfound, doubt, silent = {}, None, dict((rdtype, set()) for rdtype in rdtypes)
        for candidate in candidates(name, configuration.search, configuration.ndots):
            waiting, hit = {}, False
            for rdtype, answer in self._ask_all(candidate, rdtypes, silent):
                waiting[rdtype] = answer
                if not hit and answer.kind == FOUND:
                    hit = True
                    doubt = self._search.found(name, candidate, doubt)
                if hit:
                    for item in sorted(waiting.items()):
                        yield item[0], item[1]._replace(doubt=doubt)
                    waiting = {}
            if hit:
                return
            _keep_the_worst(unfound, waiting)
            kinds = [answer.kind for answer in waiting.values()]
            if self._search.ends(name, candidate, kinds):
                break
            if FAILED in kinds and not doubt:
                doubt = '%s could not be looked up' % candidate.rstrip('.')
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

    def ask(self, name, rdtype, lifetime=None, silent=None):
        """Ask for the records of one type of the absolute `name` within `lifetime` seconds: an Answer.

        `silent`, a set of servers, need not be waited for as long as others; those that are silent now are added.
        """
        from . import message as dns_message
        try:
            query = dns_message.question(name, rdtype)
        except ValueError as error:
            return failed(str(error))
        configuration = self.configuration()
        servers, faults, last = self._in_order(configuration), {}, None
        attempt, rounds, longest = self._limits(configuration)
        deadline = self._clock() + min(longest if lifetime is None else lifetime, _LONGEST_LOOK_UP)
        hasty = frozenset(silent or ())
        for number in range(rounds):
            waiting = len(servers)
            for server in list(servers):
                left = deadline - self._clock()
                if left <= 0:
                    break
                # In the first round every server gets its turn, however short the time is.
                patience = attempt if number else min(attempt, left / waiting)
                waiting -= 1
                moment = self._clock() + min(left, patience / _HASTE if server in hasty else patience)
                try:
                    return _answer(exchange(server, query, Deadline(moment, self._clock), configuration.use_tcp))
                except Silence as silence:
                    faults[server], last = str(silence), silence.kind
                    if silent is not None:
                        silent.add(server)
                except Fault as fault:
                    faults[server], last = str(fault), fault.kind
                    servers.remove(server)
            query = dns_message.without_edns(query)    # a firewall may drop what it does not know
        return failed(_explain(faults, configuration.note), last)

    def _ask_all(self, name, rdtypes, silent):
        """Yields (type, Answer) in the order in which they come in. `silent` has a set for each type, see `ask`."""
        jobs = [gevent.spawn(self._ask_contained, name, rdtype, silent[rdtype]) for rdtype in rdtypes]
        try:
            for job in gevent.iwait(jobs):
                yield job.value
        finally:
            gevent.killall(jobs, block=False)

    def _ask_contained(self, name, rdtype, silent):
        try:
            if rdtype == 'AAAA' and self.configuration().no_aaaa:
                return rdtype, empty('resolv.conf says no-aaaa')
            return rdtype, self.ask(name, rdtype, silent=silent)
        except Exception as error:    # a fault of ours or of the library ends this question alone
            return rdtype, failed('unexpected %s: %s' % (type(error).__name__, error))

    def _in_order(self, configuration):
        servers = list(configuration.servers)
        if configuration.rotate:
            first = self._queries % len(servers)
            self._queries += 1
            servers = servers[first:] + servers[:first]
        return servers

    def _limits(self, configuration):
        """(seconds of one attempt, how often each server is asked, seconds of all)."""
        if configuration.timeout is None and configuration.attempts is None:
            return self._attempt, _MAX_ROUNDS, self._lifetime
        attempt, rounds = configuration.timeout or self._attempt, configuration.attempts or 2
        return attempt, rounds, attempt * rounds * len(configuration.servers)


def _keep_the_worst(unfound, answers):
    """Add the answers of another candidate: of several the first failure counts, or else the latest empty one."""
    for rdtype, answer in answers.items():
        if rdtype not in unfound or unfound[rdtype].kind == EMPTY:
            unfound[rdtype] = answer


def _answer(reply):
    if reply.values:
        return found(sorted(set(reply.values)), reply.ttl, reply.names)
    reason = 'no such name (NXDOMAIN)' if reply.rcode == 'NXDOMAIN' else 'no such records'
    return empty(reason, reply.names, reply.ttl)


def _explain(faults, note):
    text = '; '.join('%s %s' % (endpoint_text(*server), fault) for server, fault in sorted(faults.items()))
    return (text or 'no time left') + (' (%s)' % note if note else '')
