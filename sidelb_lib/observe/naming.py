"""Which service and which server a command means: a server has several names."""
from __future__ import absolute_import, division, print_function

from .options import Refused, text_in
from ..compat import let_traffic_pass

NAMES_AT_ONCE = 50               # compared with a wrong one between two pauses: 1,000 servers' cost 0.2 to 0.4 s in all


def services_of(options, services):
    """[(name, Service)] of those of `services` that the options mean."""
    only = options.get('service')
    if only is not None and text_in(options, 'service') not in services:
        raise Refused('there is no service %s: there is %s' % (text_in(options, 'service'), ', '.join(services)))
    return [(name, service) for name, service in services.items() if only in (None, name)]


def servers_of(options, services, what='server', departing=False):
    """[(service's name, Service, Member)] of the server that the options name, in each of `services`, a list of (name,
    Service), that has it. Raises Refused for none, and where the name may mean several."""
    wanted = text_in(options, 'server')
    found, names = [], set()
    for name, service in services:
        known = service.pool.members + (service.pool.departing if departing else [])
        members = [member for member in known if wanted in names_of(member)]
        staying = sorted(full_name(member) for member in members if not member.departing)
        if len(staying) > 1:
            raise Refused('%s may be %s: say which' % (wanted, ' or '.join(staying)))
        found += [(name, service, member) for member in members]
        names.update(one for member in known for one in names_of(member))
    if not found:
        near = near_names(wanted, sorted(names))
        hint = 'did you mean %s?' % ' or '.join(near) if near else 'sidelb status and sidelb sessions list them'
        raise Refused('there is no %s %s: %s' % (what, wanted, hint))
    return found


def names_of(member):
    """What a person may call a member: its name, with its port, the first label of it, or any of its addresses."""
    port = member.addresses[0].port
    names = [member.name, '%s:%d' % (member.name, port)]
    for address in member.addresses:
        names += [str(address), address.host]
    if not member.name.replace('.', '').isdigit():
        names.append(member.name.partition('.')[0])
    return names


def near_names(wanted, names):
    """The three of `names` that are most like the wanted one, of those that are like it at all."""
    import difflib
    near = []
    for begin in range(0, len(names), NAMES_AT_ONCE):
        near = difflib.get_close_matches(wanted, near + names[begin:begin + NAMES_AT_ONCE], 3)
        let_traffic_pass()
    return near


def full_name(member):
    return member.name if member.name == str(member.addresses[0]) else '%s:%d' % (member.name, member.addresses[0].port)
