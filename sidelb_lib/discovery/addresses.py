"""The addresses of a name: from the hosts file, else from DNS. The edge where addresses that others wrote come in: here
they are folded and filtered, once for all sources, as the settings do with those that users write.
"""
from __future__ import absolute_import, division, print_function

import errno
from collections import OrderedDict

from ..net.endpoints import endpoint_text, is_ipv6, is_loopback, is_one_host, unmapped
from ..net.own_listener import would_come_back
from ..resolver.answers import FOUND, empty, found
from ..resolver.hosts_file import MAX_BYTES, addresses_in_hosts, read_hosts

HOSTS, DNS = 'the hosts file', 'DNS'

_MAX_LOGGED = 1000            # different facts about names that are remembered


class AddressBook(object):
    """Finds the addresses of names. `hosts` is the path of a hosts file, `listeners` our own: [(ip, port)].

    One is enough for a service; it keeps nothing but what it has said in the log.
    """

    def __init__(self, resolver, log, hosts='/etc/hosts', listeners=()):
        self.listeners = list(listeners)
        self._resolver = resolver
        self._log = log
        self._hosts = hosts
        self._logged = set()

    def answers(self, name, port):
        """Yields ('A', Answer) and ('AAAA', Answer) for `name`, each as soon as it is known.

        The hosts file is read each time. When it has addresses of the name that servers can have, they are all.
        """
        ips, _ = self.usable(HOSTS, name, self._from_hosts(name), port)
        if ips:
            self._log_entry(name, ips, port)
            yield 'A', found([ip for ip in ips if not is_ipv6(ip)], None, (name,))
            yield 'AAAA', found([ip for ip in ips if is_ipv6(ip)], None, (name,))
            return
        for rdtype, answer in self._resolver.addresses(name):
            yield rdtype, self._filtered(answer, name, port)

    def usable(self, origin, name, ips, port):
        """([ip that a server of `name` may have], why there is none of the others or None).

        IPv4 addresses in IPv6 form become what they are: to the kernel they are the same. Addresses that no single host
        has, like the 0.0.0.0 that filtering resolvers answer, would lead to this very host; so would our own listener.
        """
        kept, reason = OrderedDict(), None
        for ip in map(unmapped, ips):
            if not is_one_host(ip):
                reason = 'nothing but %s, which is no address of a server' % ip
                self._log_once('unusable_address', '{origin} says that {name} is {address}, which is no address of a '
                               'server: left out', (origin, name), origin=origin, name=name, address=ip)
            elif any(would_come_back((ip, port), listener) for listener in self.listeners):
                reason = 'nothing but our own listener'
                self._log_own(origin, name, endpoint_text(ip, port))
            else:
                kept[ip] = True
        return list(kept), reason

    def _from_hosts(self, name):
        if self._hosts is None:
            return []
        try:
            text, whole = read_hosts(self._hosts)
        except EnvironmentError as error:
            if error.errno != errno.ENOENT:
                self._log_once('hosts_unreadable', '{path} cannot be read: {error}', path=self._hosts,
                               error=error.strerror)
            return []
        if not whole:
            self._log_once('hosts_too_long', 'only the first {bytes} bytes of {path} are used',
                           path=self._hosts, bytes=MAX_BYTES)
        return addresses_in_hosts(text, name)

    def _filtered(self, answer, name, port):
        if answer.kind != FOUND:
            return answer
        ips, reason = self.usable(DNS, name, answer.values, port)
        if not ips and answer.values:
            return empty(reason, answer.names)
        return answer._replace(values=tuple(ips))

    # --- what is logged, each fact once -----------------------------------------------------------------------------

    def _log_entry(self, name, ips, port):
        """A hosts entry decides, and DNS is not asked: whoever wonders why finds it in the log."""
        if not self._is_news('hosts_entry_decides', (name, port) + tuple(ips)):
            return
        name = name.rstrip('.')
        fields = dict(name=name, addresses=', '.join(endpoint_text(ip, port) for ip in ips), path=self._hosts)
        if name != 'localhost' and any(is_loopback(ip) for ip in ips):
            self._log.warning('hosts_entry_decides', '{path} says that {name} is {addresses}, on this host and not our '
                              'listener: DNS is not asked; listen there, or remove the entry', **fields)
        else:
            self._log.info('hosts_entry_decides', '{path} says that {name} is {addresses}: DNS is not asked', **fields)

    def _log_own(self, origin, name, address):
        """Clients that check a server's name find us by such an entry of the hosts file; in DNS it is a mistake."""
        template = '{origin} points {name} at our own listener ({address}): skipped'
        if not self._is_news('own_listener_skipped', (origin, name)):
            return
        if origin == HOSTS:
            self._log.info('own_listener_skipped', template, origin=origin, name=name, address=address)
        else:
            self._log.warning('own_listener_skipped', template, origin=origin, name=name, address=address)

    def _log_once(self, event, template, key=None, **fields):
        if self._is_news(event, key):
            self._log.warning(event, template, **fields)

    def _is_news(self, event, key):
        if (event, key) in self._logged:
            return False
        if len(self._logged) >= _MAX_LOGGED:
            self._logged.clear()
        self._logged.add((event, key))
        return True
