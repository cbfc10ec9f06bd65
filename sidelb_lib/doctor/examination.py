"""The service without a listener, run once: its sources look up, its names are confirmed, its servers are checked."""
from __future__ import absolute_import, division, print_function

import random
from collections import namedtuple

import gevent
from gevent.pool import Pool as Workers

from ..checks import registry as checks
from ..checks.exchange import Deadline, Misconfigured, ProbeFailed
from ..compat import monotonic
from ..net.connect import ConnectError
from ..policies.registry import policy_named
from ..pool.pool import Pool

LOOK_UP_SECONDS = 5.0
NAMES_SECONDS = 4.0
CHECKS_AT_ONCE = 64

#: What came of checking one address. `seconds` is how long it took where it passed; `error` says why not, else None;
#: `is_local`: for a reason of this host. `state`, `role` and `facts` are the check's.
Outcome = namedtuple('Outcome', 'seconds error is_local state role facts')


class Notebook(object):
    """Stands in for the log: what the service would have said, as (level, event, fields)."""

    def __init__(self):
        self.lines = []

    def debug(self, event, template, **fields):
        pass

    def info(self, event, template, **fields):
        self.lines.append(('info', event, dict(fields, message=template.format(**fields))))

    def warning(self, event, template, **fields):
        self.lines.append(('warning', event, dict(fields, message=template.format(**fields))))

    error = warning

    def warnings(self):
        return [(event, fields) for level, event, fields in self.lines if level == 'warning']


class Examination(object):
    """`look_up()`, then `learn_names()`, then `check()`; each ends by itself, within seconds that are bounded.

    `pool` has the servers then, as the service would have them, and `outcomes` {Address: Outcome}.
    """

    def __init__(self, settings, hosts='/etc/hosts', resolv_conf='/etc/resolv.conf', clock=monotonic):
        from ..discovery.sources import Sources
        self.settings = settings
        self.hosts = hosts
        self.log = Notebook()
        self.outcomes = {}
        self._clock = clock
        self.pool = Pool(policy_named(settings.mode, random.random), self.log, clock, settings)
        self._shared = Sources(settings, self.pool, self.log, clock, random.random, settings.listener, hosts, resolv_conf)
        self.resolver = self._shared.resolver
        self.sources = self._shared.all()

    @property
    def domains(self):
        """The sources that are looked up by name."""
        return [source for source in self.sources if hasattr(source, 'look_up')]

    @property
    def groupers(self):
        return [source.grouper for source in self.sources if hasattr(source, 'grouper')]

    def look_up(self):
        """Each source once, all at the same time."""
        jobs = [gevent.spawn(source.look_up if source in self.domains else source.publish) for source in self.sources]
        gevent.joinall(jobs, timeout=LOOK_UP_SECONDS)
        gevent.killall(jobs, block=False)

    def learn_names(self):
        """PTR names and what they resolve to, as far as they come within NAMES_SECONDS."""
        jobs = [gevent.spawn(grouper.learn) for grouper in self.groupers]
        gevent.joinall(jobs, timeout=NAMES_SECONDS)
        gevent.killall(jobs, block=False)

    def alone(self):
        """{endpoint: Why} of the addresses that no name makes part of a server."""
        alone = {}
        for grouper in self.groupers:
            alone.update(grouper.alone)
        return alone

    def check(self):
        """One check of each address."""
        if self.settings.check.name == 'off':
            return
        probe = checks.make(self.settings.check, checks.Context(self.settings, self._clock))
        workers = Workers(CHECKS_AT_ONCE)
        for address in self.pool.addresses():
            workers.spawn(self._check_one, probe, address)
        workers.join()

    def _check_one(self, probe, address):
        began, error, is_local, result = self._clock(), None, False, None
        try:
            result = probe(address, Deadline(self.settings.check_timeout, self._clock))
        except ProbeFailed as failure:
            error = str(failure)
        except (ConnectError, Misconfigured) as failure:
            error, is_local = str(failure), True
        except Exception as failure:
            error, is_local = 'unexpected %s: %s: please report this' % (type(failure).__name__, failure), True
        self.outcomes[address] = Outcome(None if error else self._clock() - began, error, is_local,
                                         getattr(result, 'state', None), getattr(result, 'role', None),
                                         getattr(result, 'facts', None) or {})
