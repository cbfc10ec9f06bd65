"""The doctor's look at the application's way to SideLB: does the servers' name lead here?"""
from __future__ import absolute_import, division, print_function

from ..net.endpoints import is_loopback, is_wildcard
from ..net.own_listener import would_come_back
from ..resolver.hosts_file import addresses_in_hosts, read_hosts
from .finding import APPLICATION, note, ok


def look(examination):
    """For clients that check the name in a certificate; only where they are on this host and there is a name."""
    settings = examination.settings
    ip = settings.listener[0]
    if settings.proto != 'tcp' or is_wildcard(ip) or not is_loopback(ip):
        return []
    return [finding for domain in examination.domains if domain.asks_dns and domain.kind != 'srv'
            for finding in name_leads_here(domain.name, settings.listener, examination.hosts)]


def name_leads_here(name, listener, hosts):
    try:
        text, _ = read_hosts(hosts)
    except EnvironmentError:
        text = ''
    if any(would_come_back((ip, listener[1]), listener) for ip in addresses_in_hosts(text, name)):
        return [ok('application.name', APPLICATION, name, '%s leads to SideLB (/etc/hosts)' % name)]
    return [note('application.name', APPLICATION, name, '%s does not lead to SideLB here; clients that verify the name in a '
                 'certificate (TLS verify-full) need that' % name,
                 'libpq: host=%s hostaddr=%s' % (name, listener[0]),
                 'others: add to /etc/hosts: %s %s' % (listener[0], name))]
