"""What people do to a running process over its status socket: `drain {"server": "db1"}` and the like.

Who may connect to the socket may command: its mode is 0600. Every act is an event in the log that says who did it.
"""
from __future__ import absolute_import, division, print_function

import json

import gevent

from ..errors import SidelbError

LOOK_SECONDS = 0.02              # between two looks at what is waited for
MAX_WAIT_SECONDS = 24 * 3600.0


class Refused(SidelbError):
    """A command that is not carried out; the text says why. `mistakes` are those of a configuration, a line each."""

    def __init__(self, text, mistakes=()):
        SidelbError.__init__(self, text)
        self.mistakes = list(mistakes)


class Commands(object):
    """Carries commands out on `services`, a dict name -> Service. `reload()` returns the mistakes that are in its way."""

    def __init__(self, services, log, clock, reload):
        self._services = services
        self._log = log
        self._clock = clock
        self._reload = reload

    def answer(self, line, who):
        """The dict that answers a whole line, `name {options as JSON}`; None for what is no command. `who` is told in the
        log. May wait, where the command says so."""
        name, _, text = line.partition(' ')
        command = COMMANDS.get(name)
        if command is None:
            return None
        try:
            options = json.loads(text or '{}')
            if not isinstance(options, dict):
                raise ValueError('no object')
        except ValueError:
            return {'ok': False, 'error': 'the options of %s are no JSON object' % name}
        try:
            return dict(command(self, options, who), ok=True)
        except Refused as error:
            return dict({'mistakes': error.mistakes} if error.mistakes else {}, ok=False, error=str(error))

    # --- the commands -----------------------------------------------------------------------------------------------

    def drain(self, options, who):
        """No new sessions for a server; those that it has go on, or are cut after the wait (`close`)."""
        found = self._find(options)
        for name, service, member in found:
            if not options.get('force') and is_last(service, member):
                raise Refused('%s is the last server that is up%s: --force drains it all the same' % (
                    member.name, self._of(name)))
        for name, service, member in found:
            self._act('drain', who, name, service, member, member.state)
            service.pool.drain(member)
        if options.get('wait'):
            self._wait_until_idle(found, options.get('seconds', 30.0))
        if options.get('close'):
            for _, service, member in found:
                for address in member.addresses:
                    service.server.cut_sessions_of(address, 'admin')
            self._wait_until_idle(found, 1.0)
        left = sum(member.active for _, _, member in found)
        if options.get('wait') and left:
            raise Refused('%s still has %s after %g s; it goes on draining' % (
                found[0][2].name, counted(left, 'session'), options.get('seconds', 30.0)))
        return self._report(found)

    def enable(self, options, who):
        """Take a server in again that was drained."""
        found = self._find(options)
        for name, service, member in found:
            self._act('enable', who, name, service, member, member.state)
            service.pool.drain(member, False)
        return self._report(found)

    def reload(self, options, who):
        """Take the changed file of services over, all or nothing."""
        self._log.info('admin', '{command} by {who}', command='reload', who=who)
        mistakes = self._reload()
        if mistakes:
            raise Refused('the configuration is wrong, nothing has changed', mistakes)
        return {}

    # --- parts ------------------------------------------------------------------------------------------------------

    def _find(self, options):
        """[(service's name, Service, Member)] of the server that the options name, in every service that has it."""
        wanted, only = str(options.get('server', '')), options.get('service')
        if only is not None and only not in self._services:
            raise Refused('there is no service %s: there is %s' % (only, ', '.join(self._services)))
        found, names = [], set()
        for name, service in self._services.items():
            if only in (None, name):
                members = [member for member in service.pool.members if wanted in names_of(member)]
                if len(members) > 1:
                    raise Refused('%s may be %s: say which' % (wanted, ' or '.join(
                        sorted(full_name(member) for member in members))))
                found += [(name, service, member) for member in members]
                names.update(one for member in service.pool.members for one in names_of(member))
        if not found:
            import difflib
            near = difflib.get_close_matches(wanted, sorted(names), 3)
            raise Refused('there is no server %s%s' % (wanted, ': did you mean %s?' % ' or '.join(near) if near else ''))
        return found

    def _wait_until_idle(self, found, seconds):
        deadline = self._clock() + min(seconds, MAX_WAIT_SECONDS)
        while any(member.active for _, _, member in found) and self._clock() < deadline:
            gevent.sleep(LOOK_SECONDS)

    def _report(self, found):
        return {'servers': [dict(self._service_field(name), server=member.name, state=member.state, active=member.active)
                            for name, _, member in found]}

    def _act(self, command, who, name, service, member, former):
        person = who.partition(',')[0]
        if command == 'drain':
            service.drained_by[member.name] = person
        elif command == 'enable':
            service.drained_by.pop(member.name, None)
        service.changes.observe_person(command, member.name, person)
        service.log.info('admin', '{command} {member}{of} by {who}, was {former}', command=command, member=member.name,
                         of=self._of(name), who=who, former=former)

    def _of(self, name):
        return ' of %s' % name if len(self._services) > 1 else ''

    def _service_field(self, name):
        return {'service': name} if len(self._services) > 1 else {}


COMMANDS = {'drain': Commands.drain, 'enable': Commands.enable, 'reload': Commands.reload}


def is_last(service, member):
    """Would nobody be left to take new sessions?"""
    return takes_clients(member) and not any(
        takes_clients(other) for other in service.pool.members if other is not member)


def takes_clients(member):
    return member.state in ('up', 'unchecked')


def names_of(member):
    """What a person may call a member: its name, with its port, the first label of it, or any of its addresses."""
    port = member.addresses[0].port
    names = [member.name, '%s:%d' % (member.name, port)]
    for address in member.addresses:
        names += [str(address), address.host]
    if not member.name.replace('.', '').isdigit():
        names.append(member.name.partition('.')[0])
    return names


def full_name(member):
    return member.name if member.name == str(member.addresses[0]) else '%s:%d' % (member.name, member.addresses[0].port)


def counted(count, word):
    return '%d %s%s' % (count, word, '' if count == 1 else 's')
