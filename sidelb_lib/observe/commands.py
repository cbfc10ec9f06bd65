"""What people do to a running process over its status socket: `drain {"server": "db1"}` and the like.

A command is answered by one JSON object; `events` by one, and an event a line after it. Who may connect to the socket may
command: its mode is 0600. Every act is an event in the log that says who did it.
"""
from __future__ import absolute_import, division, print_function

import json

import gevent

from .following import MAX_FOLLOWERS, Follower
from .naming import servers_of, services_of
from .options import Refused, number_of, text_in, weight_of
from .said import rounded
from .session_list import close_all, listed, sessions_of
from ..errors import ADMIN

LOOK_SECONDS = 0.02              # between two looks at what is waited for
MAX_WAIT_SECONDS = 24 * 3600.0


class Commands(object):
    """Carries commands out on `services`, a dict name -> Service. `reload()` returns the mistakes that are in its way,
    `keep()` keeps what was set for the next start. `has_left()`: has whoever asks gone away? Then nothing is waited for any
    more, and what was to follow is not done."""

    def __init__(self, services, log, clock, reload, keep, has_left=lambda: False):
        self._services = services
        self._log = log
        self._clock = clock
        self._reload = reload
        self._keep = keep
        self._has_left = has_left

    def answer(self, line, who):
        """The dict that answers a whole line, `name {options as JSON}`; None for what is no command. `who` is told in the
        log. May wait, where the command says so. Where events follow the dict has the Follower as `events`."""
        name, _, text = line.partition(' ')
        command = COMMANDS.get(name)
        if command is None:
            return None
        try:
            options = json.loads(text or '{}')
            if not isinstance(options, dict):
                raise ValueError('no object')
        except (ValueError, RuntimeError):           # RuntimeError: nested too deeply
            return {'ok': False, 'error': 'the options of %s are no JSON object' % name}
        try:
            return dict(command(self, options, who), ok=True)
        except Refused as error:
            return dict({'mistakes': error.mistakes} if error.mistakes else {}, ok=False, error=str(error))

    # --- the commands -----------------------------------------------------------------------------------------------

    def drain(self, options, who):
        """No new sessions for a server; those that it has go on, or are cut after the wait (`close`)."""
        found = self._find(options)
        self._spare_the_last(found, options, 'drains it')
        seconds = number_of(options, 'seconds', 30.0, 0, MAX_WAIT_SECONDS)
        for name, service, member in found:
            self._act('drain', who, name, service, member.name, member.state)
            service.pool.drain(member)
        self._keep()
        # Addresses and not members: DNS may regroup them meanwhile.
        places = [(service, address) for _, service, member in found for address in member.addresses]
        if options.get('wait'):
            self._wait(lambda: not any(address.active and address.is_drained for _, address in places), seconds)
        if not all(address.is_drained for _, address in places):
            raise Refused('somebody has enabled %s meanwhile: its sessions go on' % found[0][2].name)
        if options.get('close') and not self._has_left():
            for service, address in places:
                service.server.cut_sessions_of(address, ADMIN)
            self._wait(lambda: not any(address.active for _, address in places), 1.0)
        left = sum(address.active for _, address in places)
        if options.get('wait') and left:
            raise Refused('%s still has %s after %g s; it goes on draining' % (
                found[0][2].name, counted(left, 'session'), seconds))
        return self._report(found)

    def enable(self, options, who):
        """Take a server in again that was drained, or one that has left since: once it is back."""
        wanted = text_in(options, 'server')
        absent = [(name, service) for name, service in self._chosen(options) if service.pool.enable_absent(wanted)]
        try:
            found = self._find(options)
        except Refused:
            if not absent:
                raise
            found = []
        for name, service in absent:
            self._act('enable', who, name, service, wanted, 'absent')
        for name, service, member in found:
            self._act('enable', who, name, service, member.name, member.state)
            service.pool.drain(member, False)
        self._keep()
        return {'servers': self._report(found)['servers'] + [
            dict(self._service_field(name), server=wanted, state='absent', active=sum(
                member.active for member in service.pool.departing if member.name == wanted))
            for name, service in absent]}

    def weight(self, options, who):
        """Another weight for a server, until another one is written: a number, a part of the written one, or that again."""
        found = self._find(options)
        wanted = [weight_of(options.get('weight'), member.written_weight) for _, _, member in found]
        if 0 in wanted:
            self._spare_the_last(found, options, 'takes its weight away')
        for (name, service, member), weight in zip(found, wanted):
            self._act('weight', who, name, service, member.name, '%g' % member.full_weight)
            service.pool.weigh(member, weight)
        self._keep()
        return {'servers': [dict(one, weight=rounded(member.full_weight))
                            for one, (_, _, member) in zip(self._report(found)['servers'], found)]}

    def sessions(self, options, who):
        """The oldest sessions, of all or of a server."""
        found = self._sessions_of(options) if options.get('server') else sessions_of(self._chosen(options))
        return {'sessions': listed(found, self._clock()), 'total': len(found), 'services': len(self._services)}

    def close(self, options, who):
        """End a session, named by its client's address, or all of a server."""
        wanted = text_in(options, 'server')
        found = sessions_of(self._chosen(options), lambda session: session.client_text == wanted)
        names = sorted(set(name for name, _, _ in found))
        if len(names) > 1:
            raise Refused('%s has sessions of %s: say which with --service' % (wanted, ' and '.join(names)))
        found = found or self._sessions_of(options, 'session or server')
        self._log.info('admin', '{command} {member} by {who}, {count} sessions', command='close', member=wanted, who=who,
                       count=len(found))
        return {'closed': close_all(found, ADMIN)}

    def rebalance(self, options, who):
        """Close silent sessions of servers that have more than their share."""
        per_second = int(number_of(options, 'per_second', 1, 1, 1000))
        silent = number_of(options, 'silent', 10.0, 0, MAX_WAIT_SECONDS)
        seconds = number_of(options, 'seconds', 30.0, 0, MAX_WAIT_SECONDS)
        chosen = [(name, service) for name, service in self._chosen(options) if service.settings.mode != 'source']
        if not chosen:
            raise Refused('mode=source gives each client its own server: there is nothing to rebalance')
        for name, service in chosen:                 # all of them, or none
            if service.state == 'draining':
                raise Refused('SideLB stops and takes no new sessions: there is nothing to rebalance')
            former = service.rebalancing
            if former is not None and not former.ended:
                raise Refused('a rebalance%s is going on already: %d of %d sessions closed' % (
                    self._of(name), former.closed, former.excess))
        runs = []
        for name, service in chosen:
            run = service.rebalance(per_second, silent)
            service.log.info('admin', '{command}{of} by {who}, {count} sessions above their share', command='rebalance',
                             of=self._of(name), who=who, count=run.excess)
            runs.append(run)
        if options.get('wait') and not self._wait(lambda: all(run.ended for run in runs), seconds):
            raise Refused('%d of %d sessions closed after %g s; it goes on' % (
                sum(run.closed for run in runs), sum(run.excess for run in runs), seconds))
        return {'services': [dict(self._service_field(name), excess=run.excess, closed=run.closed, ended=run.ended)
                             for (name, _), run in zip(chosen, runs)]}

    def events(self, options, who):
        """The latest events, and with `follow` those to come."""
        self._chosen(options)
        if options.get('follow') and len(self._log.followers) >= MAX_FOLLOWERS:
            raise Refused('%d others follow the events already: end one of them' % MAX_FOLLOWERS)
        return {'events': Follower(self._log, options.get('service'), bool(options.get('follow')))}

    def reload(self, options, who):
        """Take the changed file of services over, all or nothing."""
        self._log.info('admin', '{command} by {who}', command='reload', who=who)
        mistakes = self._reload()
        if mistakes:
            raise Refused('the configuration is wrong, nothing has changed', mistakes)
        return {}

    # --- parts ------------------------------------------------------------------------------------------------------

    def _chosen(self, options):
        return services_of(options, self._services)

    def _find(self, options):
        return servers_of(options, self._chosen(options))

    def _sessions_of(self, options, what='server'):
        """Those of the server that the options name, one that has left as well."""
        found = servers_of(options, self._chosen(options), what, departing=True)
        services = dict((name, service) for name, service, _ in found)
        members = set(member for _, _, member in found)
        return sessions_of(list(services.items()), lambda session: (
            session.address is not None and session.address.member in members))

    def _spare_the_last(self, found, options, what):
        for name, service, member in found:
            if not options.get('force') and is_last(service, member):
                raise Refused('%s is the last server that is up%s: --force %s all the same' % (
                    member.name, self._of(name), what))

    def _wait(self, is_over, seconds):
        """Returns whether it is over in time."""
        deadline = self._clock() + seconds
        while not is_over() and self._clock() < deadline and not self._has_left():
            gevent.sleep(LOOK_SECONDS)
        return is_over()

    def _report(self, found):
        return {'servers': [dict(self._service_field(name), server=member.name, state=member.state, active=member.active)
                            for name, _, member in found]}

    def _act(self, command, who, name, service, server, former):
        person = who.partition(',')[0]
        if command == 'drain':
            service.drained_by[server] = person
        elif command == 'enable':
            service.drained_by.pop(server, None)
        service.changes.observe_person(command, server, person)
        service.log.info('admin', '{command} {member}{of} by {who}, was {former}', command=command, member=server,
                         of=self._of(name), who=who, former=former)

    def _of(self, name):
        return ' of %s' % name if len(self._services) > 1 else ''

    def _service_field(self, name):
        return {'service': name} if len(self._services) > 1 else {}


COMMANDS = dict((command.__name__, command) for command in (
    Commands.drain, Commands.enable, Commands.weight, Commands.sessions, Commands.close, Commands.rebalance,
    Commands.events, Commands.reload))


def is_last(service, member):
    """Would nobody be left to take new sessions?"""
    return takes_clients(member) and not any(
        takes_clients(other) for other in service.pool.members if other is not member)


def takes_clients(member):
    return member.state in ('up', 'unchecked')


def counted(count, word):
    return '%d %s%s' % (count, word, '' if count == 1 else 's')
