"""The addresses of a name: from the hosts file, else from DNS, and never our own listener."""
from __future__ import absolute_import, division, print_function

import errno

from ..net.endpoints import endpoint_text
from ..net.own_listener import would_come_back
from ..resolver.answers import FOUND, empty, found
from ..resolver.hosts_file import MAX_BYTES, addresses_in_hosts, read_hosts


class AddressBook(object):
    """Finds the addresses of names. `hosts` is the path of a hosts file, `listeners` our own: [(ip, port)].

    One is enough for a service; it keeps nothing but what it has said in the log.
    """

    def __init__(self, resolver, log, hosts='/etc/hosts', listeners=()):
        self._resolver = resolver
        self._log = log
        self._hosts = hosts
        self.listeners = list(listeners)
        self._logged = set()

    def answers(self, name, port):
        """Yields ('A', Answer) and ('AAAA', Answer) for `name`, each as soon as it is known.

        The hosts file is read each time. When it has addresses of the name besides our own listener, they are all.
        """
        ips = [ip for ip in self._from_hosts(name) if not self._is_own('the hosts file', name, ip, port)]
        if ips:
            yield 'A', found([ip for ip in ips if ':' not in ip], None, (name,))
            yield 'AAAA', found([ip for ip in ips if ':' in ip], None, (name,))
            return
        for rdtype, answer in self._resolver.addresses(name):
            yield rdtype, self._without_own(answer, name, port)

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

    def _without_own(self, answer, name, port):
        if answer.kind != FOUND:
            return answer
        values = [ip for ip in answer.values if not self._is_own('DNS', name, ip, port)]
        if not values:
            return empty('nothing but our own listener', answer.names)
        return answer._replace(values=tuple(values))

    def _is_own(self, origin, name, ip, port):
        if not any(would_come_back((ip, port), listener) for listener in self.listeners):
            return False
        self._log_once('own_listener_skipped',
                       '{origin} points {name} at our own listener ({address}): skipped', key=(origin, name),
                       origin=origin, name=name, address=endpoint_text(ip, port))
        return True

    def _log_once(self, event, template, key=None, **fields):
        if (event, key) not in self._logged:
            self._logged.add((event, key))
            self._log.warning(event, template, **fields)
