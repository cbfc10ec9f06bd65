"""The doctor's look at reverse DNS: which addresses count as servers of their own although they are not, and why."""
from __future__ import absolute_import, division, print_function

import gevent

from ..discovery.grouping import FAILED, NO_PTR, RING_NAME, SHARED_BY_ALL, UNCONFIRMED
from ..resolver.answers import FOUND
from ..resolver.message import reverse_name
from .finding import SERVERS, note, wrong

OWNER_SECONDS = 2.0


def look(examination):
    """The findings about grouping; [] where no server has a second address, for then there is nothing to group."""
    endpoints = [endpoint for domain in examination.domains if domain.kind == 'ring' for endpoint in domain.endpoints()]
    members = [member for member in examination.pool.members if len(member.addresses) > 1]
    level = severity(endpoints, members)
    if examination.settings.group == 'off' or level is None:
        return many(members)
    alone = dict((endpoint, why) for endpoint, why in examination.alone().items() if endpoint in endpoints)
    owners = owners_of([endpoint[0] for endpoint, why in alone.items() if why.kind == NO_PTR],
                       [member.name for member in examination.pool.members], examination.resolver)
    found = []
    for kind, tell in TELLERS:
        concerned = sorted(endpoint for endpoint, why in alone.items() if why.kind == kind)
        if concerned:
            found += tell(level, concerned, alone, owners, examination)
    return found + many(members)


def severity(endpoints, members):
    """`wrong` where servers get an uneven load, `note` where it is even all the same, None where nothing is to be grouped.

    With both families, an address that stands alone beside servers of two addresses doubles its server's share.
    """
    ipv6 = sum(':' in host for host, _ in endpoints)
    ipv4 = len(endpoints) - ipv6
    if not ipv4 or not ipv6:
        return None if not members else note
    return wrong if members or ipv4 != ipv6 else note


def owners_of(ips, names, resolver):
    """{ip: the server's name whose A or AAAA records have it}."""
    owners = {}

    def ask(ip, name):
        answer = resolver.ask(name + '.', 'AAAA' if ':' in ip else 'A', OWNER_SECONDS)
        if answer.kind == FOUND and ip in answer.values:
            owners[ip] = name
    named = [name for name in names if ':' not in name and not name.rpartition('.')[2].isdigit()]
    gevent.joinall([gevent.spawn(ask, ip, name) for ip in ips for name in named], timeout=OWNER_SECONDS * 2)
    return owners


def without_pointer(level, endpoints, alone, owners, examination):
    found, unowned = [], []
    for host, port in endpoints:
        owner = owners.get(host)
        if owner:
            found.append(level('rdns.pointer', SERVERS, host, '%s has no PTR record, so it counts as a separate server, and '
                               '%s gets a double share of the load' % (host, owner), 'add the PTR record below'))
            found[-1] = found[-1]._replace(records=(pointer_record(host, owner),))
        else:
            unowned.append(host)
    if unowned:
        found.append(level('rdns.pointer', SERVERS, unowned[0], '%s no PTR record, so %s' % (
            listed(unowned, 'has', 'have'), 'it counts as a separate server' if len(unowned) == 1 else
            'each counts as a separate server'), 'give each address of a server a PTR record with its name'))
    return found


def unconfirmed(level, endpoints, alone, owners, examination):
    found = []
    for host, port in endpoints:
        answer = examination.resolver.pointers(host, OWNER_SECONDS)
        name = answer.values[0] if answer.kind == FOUND else 'another name'
        rdtype = 'AAAA' if ':' in host else 'A'
        double = any(member.name == name for member in examination.pool.members)
        finding = level('rdns.unconfirmed', SERVERS, host, 'the PTR record of %s says %s, but that name does not resolve '
                        'back to it, so it counts as a separate server%s' % (
                            host, name, ', and %s gets a double share of the load' % name if double else ''),
                        'add the %s record below (or group=ptr, to trust PTR alone)' % rdtype)
        found.append(finding._replace(records=('%s. IN %s %s' % (name, rdtype, host),)))
    return found


def shared(level, endpoints, alone, owners, examination):
    name = alone[endpoints[0]].text.split(' the name ')[1].split(',')[0]
    return [level('rdns.shared', SERVERS, name, 'all %d addresses have the PTR name %s, which therefore names no single '
                  'server: each counts as a separate server (even only if all have IPv4 and IPv6)' % (len(endpoints), name),
                  'let each PTR record name the server')]


def ring_name(level, endpoints, alone, owners, examination):
    name = alone[endpoints[0]].text.split(' name ')[1].split(' ')[0]
    return [level('rdns.ring_name', SERVERS, name, 'the PTR record%s of %s name%s the ring, %s, and no server: %s' % (
        '' if len(endpoints) == 1 else 's', hosts_text(endpoints), 's' if len(endpoints) == 1 else '', name,
        'it counts as a separate server' if len(endpoints) == 1 else 'each counts as a separate server'),
        'let each PTR record name the server')]


def failed(level, endpoints, alone, owners, examination):
    reason = alone[endpoints[0]].text.partition(': ')[2] or alone[endpoints[0]].text
    return [level('rdns.failed', SERVERS, endpoints[0][0], 'no answer about the PTR record%s of %s (%s): %s' % (
        '' if len(endpoints) == 1 else 's', hosts_text(endpoints), reason,
        'it counts as a separate server' if len(endpoints) == 1 else 'each counts as a separate server'),
        'let it answer for the reverse zone; if there is none, group=off')]


def many(members):
    """Several addresses of one family in one server: that is rare, and often a copied PTR record."""
    found = []
    for member in members:
        for family, is_ipv6 in (('IPv4', False), ('IPv6', True)):
            count = sum((':' in address.host) == is_ipv6 for address in member.addresses)
            if count > 1:
                found.append(note('rdns.many', SERVERS, member.name, '%s has %d %s addresses and counts as one server' % (
                    member.name, count, family), 'if they are two, give each its own PTR name'))
    return found


def pointer_record(ip, name):
    return '%s IN PTR %s.' % (reverse_name(ip), name)


def listed(hosts, singular, plural):
    shown = ', '.join(hosts[:3])
    if len(hosts) > 3:
        shown += ' and %d more' % (len(hosts) - 3)
    return '%s %s' % (shown, singular if len(hosts) == 1 else plural)


def hosts_text(endpoints):
    hosts = [host for host, _ in endpoints]
    return ', '.join(hosts[:3]) + (' and %d more' % (len(hosts) - 3) if len(hosts) > 3 else '')


#: Why an address stands alone -> who tells it, in the order of the report.
TELLERS = ((NO_PTR, without_pointer), (UNCONFIRMED, unconfirmed), (SHARED_BY_ALL, shared), (RING_NAME, ring_name),
           (FAILED, failed))
