"""The doctor's look at DNS: each name server alone, the ring's names, the search list, the hosts file."""
from __future__ import absolute_import, division, print_function

from collections import namedtuple

import gevent

from ..compat import monotonic
from ..net.endpoints import endpoint_text
from ..observe.said import plural
from ..resolver.answers import EMPTY, FAILED, FOUND
from ..resolver.exchange import CLOSED, NO_TCP, SILENT, Deadline, Fault, exchange
from ..resolver.message import question
from ..resolver.resolv_conf import candidates
from .finding import DNS, note, ok, wrong

SERVER_SECONDS = 2.0
FEW_SEARCHED = 2                 # names that are asked in vain before the right one

MAX_LISTED = 10                  # targets without an address

#: What one name server says of one name and type. `kind` is FOUND, EMPTY or FAILED, `fault` and `text` tell of the last.
Said = namedtuple('Said', 'kind values fault text')


def look(examination):
    """The findings about name servers and names; [] where no name is looked up."""
    domains = [domain for domain in examination.domains if domain.asks_dns]
    found = hosts_file(examination)
    if not domains:
        return found
    configuration = examination.resolver.configuration()
    questions = [(name, rdtype) for domain in domains for rdtype in types_of(domain)
                 for name in candidates(domain.query, configuration.search, configuration.ndots)]
    answers = ask_each(configuration.servers, questions, monotonic)
    found += name_servers(configuration.servers, answers, examination.settings.resolver)
    for domain in domains:
        found += about(domain, configuration, answers)
    return found + own_addresses(examination.log)


def types_of(domain):
    """Of the records that are the servers of a name."""
    return ('SRV',) if domain.kind == 'srv' else ('A', 'AAAA')


def ask_each(servers, questions, clock):
    """{(server, name, type): Said} of each name server alone, all at the same time."""
    said = {}

    def ask(server, name, rdtype):
        deadline = Deadline(clock() + SERVER_SECONDS, clock)
        try:
            reply = exchange(server, question(name, rdtype), deadline)
        except Fault as fault:
            said[server, name, rdtype] = Said(FAILED, (), fault.kind, str(fault))
        else:
            said[server, name, rdtype] = Said(FOUND if reply.values else EMPTY, tuple(reply.values), None, None)
    gevent.joinall([gevent.spawn(ask, server, name, rdtype) for server in servers for name, rdtype in questions])
    return said


# --- name servers ----------------------------------------------------------------------------------------------------

def name_servers(servers, said, written):
    """One finding each: does it answer at all, and for both types?"""
    place = 'resolver=' if written else '/etc/resolv.conf'
    return [about_server(server, dict((key[2], one) for key, one in sorted(said.items()) if key[0] == server), place)
            for server in servers]


def about_server(server, said, place):
    """`said` is {type: Said}, of one name: what a server does, it does with all."""
    where = server[0] if server[1] == 53 else endpoint_text(*server)
    failed = dict((rdtype, one) for rdtype, one in said.items() if one.kind == FAILED)
    if not failed:
        return ok('dns.server', DNS, where, 'name server %s answers' % where)
    rdtype = sorted(failed)[0]
    fault, text = failed[rdtype].fault, failed[rdtype].text
    if fault == NO_TCP:
        return wrong('dns.tcp', DNS, where, "name server %s's answer is too long for UDP, and its TCP port %d is closed" % (
            where, server[1]), 'allow TCP port %d' % server[1])
    if len(failed) < len(said):
        if fault == SILENT:
            return wrong('dns.type', DNS, where, 'name server %s does not answer %s questions' % (where, rdtype),
                         'a firewall drops them, or it is too old')
        return wrong('dns.type', DNS, where, 'name server %s %s to %s questions' % (where, text, rdtype),
                     'ask its administrator')
    if fault == SILENT:
        return wrong('dns.server', DNS, where, 'name server %s does not answer' % where,
                     'allow UDP and TCP port %d to it, or remove it from %s' % (server[1], place))
    if fault == CLOSED:
        return wrong('dns.server', DNS, where, 'name server %s: nothing listens there (connection refused)' % where,
                     'start it, or remove it from %s' % place)
    return wrong('dns.server', DNS, where, 'name server %s %s' % (where, text),
                 'ask its administrator to answer this host')


# --- names -----------------------------------------------------------------------------------------------------------

def about(domain, configuration, answers):
    """What DNS says of one ring domain or named server."""
    ips, snapshot = [host for host, _ in domain.endpoints()], domain.snapshot()
    targets = snapshot.get('targets', ())
    if not ips and not targets:
        return [nothing_found(domain, configuration)]
    ipv6 = sum(':' in ip for ip in ips)
    counts = ['%d %s' % (count, family) for count, family in ((len(ips) - ipv6, 'IPv4'), (ipv6, 'IPv6')) if count]
    ttl = snapshot['ttl']
    found = [ok('dns.ring', DNS, domain.name, '%s has %s%s address%s%s' % (
        domain.name, '%s with ' % plural(len(targets), 'target') if targets else '', ' and '.join(counts) or 'no',
        '' if len(ips) == 1 else 'es', '' if ttl is None else ', TTL %d s' % ttl))]
    return (found + without_addresses(domain, targets) + search_list(domain, configuration, answers)
            + differ(domain, configuration, answers))


def without_addresses(domain, targets):
    """The targets of an SRV name that are no servers because they have no address."""
    lost = [target for target in targets if not target['addresses']]
    found = [wrong('dns.target', DNS, target['name'], '%s, a target of %s, has no address: %s' % (
        target['name'], domain.name, target['error']), 'add its A or AAAA record, or take it out of the SRV records')
        for target in lost[:MAX_LISTED]]
    if len(lost) > MAX_LISTED:
        found.append(wrong('dns.target', DNS, domain.name, '%d more targets have no address' % (len(lost) - MAX_LISTED)))
    return found


def nothing_found(domain, configuration):
    tried = [name.rstrip('.') for name in candidates(domain.query, configuration.search, configuration.ndots)]
    if domain.state == 'failing':
        return wrong('dns.ring', DNS, domain.name, '%s could not be looked up: %s' % (
            domain.name, domain.snapshot()['error'] or 'no name server answers'))
    is_srv = domain.kind == 'srv'
    return wrong('dns.ring', DNS, domain.name, '%s has no %s: %s%s' % (
        domain.name, 'servers' if is_srv else 'addresses', domain.snapshot()['error'] or 'no such records',
        '; tried %s' % ', '.join(tried) if len(tried) > 1 else ''),
        'check the spelling (in Kubernetes: the name of the port), or add its SRV records' if is_srv else
        'check the spelling, or add its A and AAAA records')


def search_list(domain, configuration, answers):
    """Names that are asked in vain at each refresh, and a stranger further down the list."""
    names = candidates(domain.query, configuration.search, configuration.ndots)
    kinds = [kind_of(name, domain, configuration.servers, answers) for name in names]
    if FOUND not in kinds:
        return []
    right, found = kinds.index(FOUND), []
    if right >= FEW_SEARCHED:
        found.append(note('dns.search', DNS, domain.name, '%d names are asked before %s at each refresh (search list, '
                          'ndots:%d)' % (right, names[right].rstrip('.'), configuration.ndots),
                          'write a final dot: ' + with_dot(domain, names[right])))
    others = [name for name, kind in list(zip(names, kinds))[right + 1:] if kind == FOUND]
    if others:
        found.append(note('dns.stranger', DNS, domain.name, '%s has %s, too: SideLB would go there if %s failed' % (
            others[0].rstrip('.'), 'servers' if domain.kind == 'srv' else 'addresses', names[right].rstrip('.')),
            'write a final dot: ' + with_dot(domain, names[right])))
    return found


def with_dot(domain, name):
    """How a ring is written so that no search list is in its way."""
    return 'ring_domain=%s.%s' % (name.rstrip('.'), '' if domain.port is None else ':%d' % domain.port)


def kind_of(name, domain, servers, answers):
    """The best that any name server says of a name."""
    kinds = [answers[server, name, rdtype].kind for server in servers for rdtype in types_of(domain)
             if (server, name, rdtype) in answers]
    return FOUND if FOUND in kinds else EMPTY if EMPTY in kinds else FAILED


def differ(domain, configuration, answers):
    """Name servers that disagree: whoever asks the other one has other servers."""
    for name in candidates(domain.query, configuration.search, configuration.ndots):
        for rdtype in types_of(domain):
            its = dict((server, answers[server, name, rdtype]) for server in configuration.servers
                       if (server, name, rdtype) in answers and answers[server, name, rdtype].kind != FAILED)
            everything = set(value for answer in its.values() for value in answer.values)
            for server, answer in sorted(its.items()):
                lacks = sorted(everything - set(answer.values))
                if lacks:
                    return [note('dns.differ', DNS, domain.name, 'name servers disagree on %s: %s lacks %s' % (
                        name.rstrip('.'), server[0], ', '.join(lacks[:3])), 'bring their zones into step')]
        if kind_of(name, domain, configuration.servers, answers) == FOUND:
            break
    return []


# --- the hosts file, and our own listener ----------------------------------------------------------------------------

def hosts_file(examination):
    """An entry of the hosts file decides before DNS is asked."""
    found = []
    for domain in examination.domains:
        if domain.asks_dns:
            continue
        ips = [host for host, _ in domain.endpoints()]
        local = [ip for ip in ips if ip.startswith('127.') or ip == '::1']
        if local:
            there, listener = endpoint_text(local[0], domain.port), endpoint_text(*examination.settings.listener)
            found.append(wrong('dns.hosts', DNS, domain.name, '/etc/hosts sends %s to %s, which is not the listener %s: DNS '
                               'is not asked' % (domain.name, there, listener),
                               'listen on %s, or remove that line' % there))
        elif ips:
            found.append(note('dns.hosts', DNS, domain.name, '/etc/hosts gives %s the address %s: DNS is not asked' % (
                domain.name, ', '.join(ips[:3])), 'remove it unless you meant it'))
    return found


def own_addresses(log):
    """What the service would warn of while it looks names up."""
    found = []
    for event, fields in log.warnings():
        if event == 'own_listener_skipped' and fields['origin'] == 'DNS':
            found.append(note('dns.address', DNS, fields['name'], 'DNS gives %s our own listener (%s): skipped' % (
                fields['name'], fields['address']), 'take that record out'))
        elif event not in ('own_listener_skipped', 'dns_failing', 'dns_empty', 'hosts_entry_decides', 'srv_no_address'):
            found.append(note('dns.other', DNS, event, fields['message']))
    return found
