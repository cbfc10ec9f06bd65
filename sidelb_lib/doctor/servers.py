"""The doctor's look at the servers: how their addresses are grouped, and whether they answer."""
from __future__ import absolute_import, division, print_function

import errno
import os
import re
import time

from ..config.values import duration_text
from ..net.connect import no_source_address
from ..observe.said import certificate_words
from .finding import HOST, SERVERS, note, ok, wrong

MAX_LISTED = 10

_NO_ROUTE = 'no route'

#: Words of servers that did not let the check's user in.
_LOGIN = re.compile('(?i)role "[^"]*" does not exist|password|access denied|noperm|noauth|wrongpass|no pg_hba.conf entry')


def look(examination):
    """(findings about the servers, how many answer, how many there are)."""
    settings, members = examination.settings, examination.pool.members
    if settings.check.name == 'off':
        return [note('server', SERVERS, 'check', 'check=off: no server was asked', 'sidelb doctor ... check=tcp')], 0, 0
    found = []
    if settings.check.name == 'udp':
        found.append(note('server', SERVERS, 'check', 'check=udp finds closed ports only: silence counts as up'))
    reports = [Report(member, examination.outcomes, settings) for member in members]
    shared = _shared_by_all(reports)
    if shared:
        found.append(shared)
    elif len(reports) <= MAX_LISTED:
        found += [report.finding() for report in reports]
    else:
        found += [report.finding() for report in reports if not report.is_well]
        found += _rest([report for report in reports if report.is_well])
    found += _roles(settings, reports) + _told(reports)
    return found, sum(report.answers for report in reports), len(reports)


class Report(object):
    """What came of checking one member."""

    def __init__(self, member, outcomes, settings):
        self.member = member
        self.settings = settings
        self.parts = [(address, outcomes[address], in_words(outcomes[address], settings))
                      for address in member.addresses if address in outcomes]
        self.answers = any(not outcome.error for _, outcome, _ in self.parts)

    @property
    def is_well(self):
        """Do all of its addresses answer, but for those that no address of this host leads to?"""
        return self.answers and all(not outcome.error or text == _NO_ROUTE for _, outcome, text in self.parts)

    @property
    def errors(self):
        """The different errors, in words."""
        return sorted(set(text for _, outcome, text in self.parts if outcome.error))

    @property
    def slowest(self):
        return max(outcome.seconds for _, outcome, _ in self.parts if not outcome.error)

    @property
    def role(self):
        """What the check says of its part, like `standby (replica)`; None where there is nothing to say."""
        for _, outcome, _ in self.parts:
            if outcome.state == 'standby':
                return 'standby%s' % (' (%s)' % outcome.role if outcome.role else '')
        return None

    def finding(self):
        name = self.member.name
        if self.is_well and self.role:
            return ok('server', SERVERS, name, '%s: %s' % (name, self.role))
        if self.is_well:
            return ok('server', SERVERS, name, '%s: %s' % (name, self._each()))
        if len(self.errors) == 1 and not self.answers and len(self.parts) > 1:
            text = '%s: %s on %s addresses' % (name, self.errors[0],
                                               'both' if len(self.parts) == 2 else 'all %d' % len(self.parts))
        else:
            text = '%s: %s' % (name, self._each())
        return wrong('server', SERVERS, name, text, *[fix for error in self.errors for fix in fixes_for(
            error, self.parts[0][0].port)])

    def _each(self):
        return ', '.join('%s %s%s' % (address.host, text, ' (%s)' % outcome.role if outcome.role else '')
                         for address, outcome, text in self.parts)


def in_words(outcome, settings):
    """`0.1 ms`, or what is wrong, as the doctor puts it."""
    if not outcome.error:
        return '%.1f ms' % (1000 * outcome.seconds)
    if outcome.error == os.strerror(errno.ENETUNREACH):
        return _NO_ROUTE
    if outcome.error == os.strerror(errno.ETIMEDOUT):
        return 'no answer within %s' % seconds_text(settings.check_timeout)
    return outcome.error if outcome.error[:2].isupper() else outcome.error[:1].lower() + outcome.error[1:]


def seconds_text(seconds):
    return '%g s' % seconds if seconds >= 1 else duration_text(seconds)


def fixes_for(error, port):
    if error == 'connection refused':
        return ['start the server, or correct the port: nothing listens on %d' % port]
    if error.startswith('no answer'):
        return ['check the host, firewalls, its accept queue: they look alike from here']
    if _LOGIN.search(error):
        return ['create the user of check_user=, or set SIDELB_CHECK_PASSWORD: docs/checks.md says which rights it needs']
    return []


def _shared_by_all(reports):
    """One cause is one finding: every server has the same error."""
    errors = set(tuple(report.errors) for report in reports)
    if len(reports) < 2 or len(errors) != 1 or any(report.answers for report in reports):
        return None
    (error,) = errors
    if len(error) != 1:
        return None
    ports = set(address.port for report in reports for address, _, _ in report.parts)
    where = ' on port %d' % min(ports) if len(ports) == 1 else ''
    fixes = ['check the port'] if error[0] == 'connection refused' else fixes_for(error[0], min(ports))
    return wrong('server', SERVERS, 'all', 'all %d servers: %s%s' % (len(reports), error[0], where), *fixes)


def _rest(reports):
    if not reports:
        return []
    return [ok('server', SERVERS, 'the rest', '%d more answer, the slowest in %.1f ms' % (
        len(reports), 1000 * max(report.slowest for report in reports)))]


def _roles(settings, reports):
    """With a check for a role somebody has to have it."""
    answering = [report for report in reports if report.answers]
    if not answering or any(report.role is None for report in answering):
        return []
    wanted = str(settings.check).rpartition('/')[2]
    return [wrong('server', SERVERS, 'role', 'none of %d servers is the %s' % (len(reports), wanted),
                  'see what its cluster says, or correct check=')]


def _told(reports):
    """What checks of servers that are well have told beside that: each thing once, with the first server."""
    found = {}
    for report in reports:
        for address, outcome, _ in report.parts:
            text, _, fix = outcome.facts.get('noisy', '').rpartition(': ')
            if fix:
                found.setdefault(fix, note('server.noisy', SERVERS, str(address), '%s %s' % (address, text), fix))
            if outcome.facts.get('not_after') is not None:
                words = certificate_words(outcome.facts['not_after'] - time.time())
                if words:
                    found.setdefault(words, note('server.certificate', SERVERS, str(address), '%s: %s' % (address, words),
                                                 'renew it'))
    return [found[key] for key in sorted(found)]


def look_at_routes(examination):
    """Whether this host has an address of each server's family, and a route; part of what is said of the host."""
    members = examination.pool.members
    lost = [address for address in examination.pool.addresses() if no_source_address(address)]
    if not lost:
        return []
    families = set(address.family for address in lost)
    ipv6_alone = all(':' in address.host for address in lost)
    others = all(any(address not in lost for address in member.addresses) for member in members)
    level = note if others else wrong
    count = '%d address%s of servers %s out of reach' % (
        len(lost), '' if len(lost) == 1 else 'es', 'is' if len(lost) == 1 else 'are')
    if ipv6_alone and len(families) == 1 and not any(
            ':' in address.host for address in examination.pool.addresses() if address not in lost):
        return [level('host.family', HOST, 'IPv6', 'this host has no IPv6: %s' % count,
                      'none needed while IPv4 works; else enable IPv6' if others else 'enable IPv6')]
    where = lost[0].host
    return [level('host.route', HOST, where, 'no route to %s%s' % (
        where, ' and %d more' % (len(lost) - 1) if len(lost) > 1 else ''), 'add a route: ip route get %s' % where)]


# --- against the instance that runs ----------------------------------------------------------------------------------

def compare(examination, running):
    """Where the running SideLB for this listener sees it otherwise."""
    if not running:
        return []
    theirs = dict((address['address'], address['state']) for member in running.get('members', ())
                  for address in member['addresses'] if member['state'] != 'departing')
    found = []
    for address in examination.pool.addresses():
        outcome, state = examination.outcomes.get(address), theirs.get(str(address))
        if state is None:
            found.append(note('running.differs', SERVERS, str(address), 'the running SideLB does not have %s yet' % address,
                              'kill -HUP %s looks up now' % running.get('pid')))
        elif outcome and not outcome.is_local and bool(outcome.error) == (state == 'up'):
            here, there = ('down', 'up') if outcome.error else ('up', state)
            found.append(note('running.differs', SERVERS, str(address), '%s is %s here; the running SideLB counts it %s' % (
                address, here, there)))
    return found
