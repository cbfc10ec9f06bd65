"""Asking name servers: resolv.conf, search list, time-outs, UDP and TCP.

It never raises for what the network or a file does: every outcome is an Answer.
"""
from __future__ import absolute_import, division, print_function

import os
import socket
import struct
from collections import namedtuple

import gevent

from .. import compat
from ..net.endpoints import canonical_ip, endpoint_text, family_of

FOUND, EMPTY, FAILED = 'found', 'empty', 'failed'

#: What became of a question. `kind` FOUND: `values` (a tuple of texts), `ttl` in seconds or None where there
#: is none, `names`: the name asked for and all that it is an alias of. EMPTY: there is no such name or it has
#: no such records. FAILED: nobody gave a usable answer. `reason` tells the last two to a person.
Answer = namedtuple('Answer', 'kind values ttl names reason')

#: What resolv.conf says; `note` explains servers that it does not name.
Configuration = namedtuple('Configuration', 'servers search ndots note')

_MOST_SERVERS = 8
_MOST_SEARCHED = 32
_MOST_FILE_BYTES = 65536
_MOST_BAD_DATAGRAMS = 16      # in one attempt: reading a flood must not keep the other greenlets waiting
_UNUSABLE = 'sends no usable answer: %s'


def found(values, ttl, names):
    return Answer(FOUND, tuple(values), ttl, tuple(names), None)


def empty(reason, names=()):
    return Answer(EMPTY, (), None, tuple(names), reason)


def failed(reason):
    return Answer(FAILED, (), None, (), reason)


def retry_delay(failures, shortest, longest, random):
    """Seconds to wait after `failures` in a row: `shortest`, doubling to `longest`, less up to a quarter."""
    delay = min(longest, shortest * 2 ** min(failures - 1, 30))
    return max(min(shortest, longest), delay * (1 - 0.25 * random()))


def parse_resolv_conf(text, port=53):
    """The Configuration in the text of a resolv.conf(5). As in libc, wrong lines are ignored."""
    servers, search, ndots = [], [], 1
    for line in text.splitlines():
        words = line.split('#')[0].split(';')[0].split()
        if len(words) > 1:
            if words[0] == 'nameserver' and canonical_ip(words[1].split('%')[0]):
                servers.append((str(words[1]), port))
            elif words[0] in ('search', 'domain'):
                search = [str(word) for word in words[1:]]
            elif words[0] == 'options':
                for word in words[1:]:
                    if word.startswith('ndots:') and word[6:].isdigit():
                        ndots = min(int(word[6:]), 15)
    note = None
    if not servers:
        servers, note = [('127.0.0.1', port)], 'resolv.conf names no server'
    return Configuration(servers[:_MOST_SERVERS], search[:_MOST_SEARCHED], ndots, note)


def candidates(name, search, ndots):
    """The absolute names to try for `name`, in order, as resolv.conf(5) has it."""
    if name.endswith('.'):
        return [name]
    searched = ['%s.%s.' % (name, domain.strip('.')) for domain in search if domain.strip('.')]
    if name.count('.') >= ndots:
        return [name + '.'] + searched
    return searched + [name + '.']


class _Fault(Exception):
    """A server gave no usable answer, and will not by being asked again at once."""


class _Silence(_Fault):
    """A server did not answer in time; it may the next time."""


class Resolver(object):
    """Asks the name servers in `resolv_conf` (a path, read again when it changes) or `servers`, [(ip, port)].

    Each attempt at a server may take `attempt` seconds, one look-up `lifetime` in all. A server that was silent is
    asked last for `demotion` seconds. `port` is that of the servers in resolv.conf.
    """

    def __init__(self, servers=None, resolv_conf='/etc/resolv.conf', attempt=2.0, lifetime=5.0, demotion=30.0,
                 port=53, clock=compat.monotonic):
        self._path = resolv_conf
        self._attempt = attempt
        self._lifetime = lifetime
        self._demotion = demotion
        self._port = port
        self._clock = clock
        self._fixed = Configuration(list(servers), [], 0, None) if servers else None
        self._read = None            # the Configuration read last
        self._signature = None       # tells whether the file has changed since
        self._silent_until = {}      # server -> when it is asked in its turn again
        self._qualified = {}         # name -> the candidate that was found last

    def addresses(self, name):
        """Look up both families at once: yields ('A', Answer) and ('AAAA', Answer), each when it is in.

        `name` goes through the search list unless it ends with a dot; both answers are of the same candidate. When a
        candidate that was right before can't be looked up, the search ends: the next one may be someone else.
        """
        deadline = self._clock() + self._lifetime
        configuration = self._configuration()
        unfound = {}
        for candidate in candidates(name, configuration.search, configuration.ndots):
            waiting, hit = {}, False
            for rdtype, answer in self._ask_both(candidate, deadline):
                waiting[rdtype] = answer
                if hit or answer.kind == FOUND:
                    hit = True
                    for item in sorted(waiting.items()):
                        yield item
                    waiting = {}
            if hit:
                self._qualified[name] = candidate
                return
            for rdtype, answer in waiting.items():
                if rdtype not in unfound or unfound[rdtype].kind == EMPTY:
                    unfound[rdtype] = answer
            if self._qualified.get(name) == candidate and any(a.kind == FAILED for a in waiting.values()):
                break
        for item in sorted(unfound.items()):
            yield item

    def pointers(self, ip, lifetime=None):
        """The PTR names of `ip`: an Answer."""
        from . import message as dns_message
        try:
            name = dns_message.reverse_name(ip.split('%')[0])
        except ValueError as error:
            return failed(str(error))
        return self.ask(name, 'PTR', lifetime)

    def ask(self, name, rdtype, lifetime=None):
        """Ask for the records of one type of the absolute `name` within `lifetime` seconds: an Answer."""
        from . import message as dns_message
        try:
            query = dns_message.question(name, rdtype)
        except ValueError as error:
            return failed(str(error))
        deadline = self._clock() + (self._lifetime if lifetime is None else lifetime)
        configuration = self._configuration()
        servers, faults = self._in_turn(configuration.servers), {}
        while servers and self._clock() < deadline:
            server = servers.pop(0)
            try:
                return _answer(self._exchange(server, query, min(deadline, self._clock() + self._attempt)))
            except _Silence as silence:
                self._silent_until[server] = self._clock() + self._demotion
                servers.append(server)
                faults[server] = str(silence)
            except _Fault as fault:
                faults[server] = str(fault)
        return failed(_explain(faults, configuration.note))

    def _ask_both(self, name, deadline):
        """Yields (type, Answer) for A and AAAA in the order in which they come in."""
        jobs = [gevent.spawn(self._ask_contained, name, rdtype, deadline) for rdtype in ('A', 'AAAA')]
        try:
            for job in gevent.iwait(jobs):
                yield job.value
        finally:
            gevent.killall(jobs, block=False)

    def _ask_contained(self, name, rdtype, deadline):
        try:
            return rdtype, self.ask(name, rdtype, max(0, deadline - self._clock()))
        except Exception as error:    # a fault of ours or of the library ends this question alone
            return rdtype, failed('unexpected %s: %s' % (type(error).__name__, error))

    def _in_turn(self, servers):
        now = self._clock()
        return sorted(servers, key=lambda server: self._silent_until.get(server, now) > now)

    def _exchange(self, server, query, deadline):
        """One question to one server, by UDP, and by TCP if the answer is too long: a Reply, or a _Fault."""
        try:
            reply = self._by_udp(server, query, deadline)
            if reply.truncated:
                reply = self._by_tcp(server, query, deadline)
        except socket.timeout:
            raise _Silence('does not answer')
        except (EnvironmentError, EOFError, ValueError) as error:
            raise _Fault('fails (%s)' % (getattr(error, 'strerror', None) or error))
        if reply.truncated:
            raise _Fault('cuts its answer short')
        if reply.rcode not in ('NOERROR', 'NXDOMAIN'):
            raise _Fault('answers %s' % reply.rcode)
        return reply

    def _by_udp(self, server, query, deadline):
        """What is no answer, forged or broken, is passed over: the right answer may follow it.

        The socket is connected: the kernel drops what others send, and reports a server that is not there.
        """
        from . import message as dns_message
        malformed = None
        sock = socket.socket(family_of(server[0]), socket.SOCK_DGRAM)
        try:
            sock.connect(server)
            sock.send(query.to_wire())
            for _ in range(_MOST_BAD_DATAGRAMS):
                try:
                    sock.settimeout(self._left(deadline))
                    return dns_message.read_reply(query, sock.recv(65535))
                except dns_message.Malformed as error:
                    malformed = error
            raise _Fault(_UNUSABLE % malformed)
        except socket.timeout:
            raise _Silence(_UNUSABLE % malformed if malformed else 'does not answer')
        finally:
            sock.close()

    def _by_tcp(self, server, query, deadline):
        from . import message as dns_message
        sock = socket.socket(family_of(server[0]), socket.SOCK_STREAM)
        try:
            sock.settimeout(self._left(deadline))
            sock.connect(server)
            wire = query.to_wire()
            sock.sendall(struct.pack('!H', len(wire)) + wire)
            length, = struct.unpack('!H', self._receive(sock, 2, deadline))
            return dns_message.read_reply(query, self._receive(sock, length, deadline))
        except dns_message.Malformed as error:
            raise _Fault('answers, but %s' % error)
        finally:
            sock.close()

    def _receive(self, sock, size, deadline):
        """Exactly `size` bytes; socket.timeout at the deadline, EOFError at an early end."""
        data = b''
        while len(data) < size:
            sock.settimeout(self._left(deadline))
            piece = sock.recv(size - len(data))
            if not piece:
                raise EOFError('ends the connection early')
            data += piece
        return data

    def _left(self, deadline):
        left = deadline - self._clock()
        if left <= 0:
            raise socket.timeout('timed out')
        return left

    def _configuration(self):
        """The Configuration in force. A file that has become unreadable leaves the last one in force."""
        if self._fixed:
            return self._fixed
        signature = _signature(self._path)
        if self._read is None or signature != self._signature:
            self._signature = signature
            self._silent_until = {}
            try:
                with open(self._path, 'rb') as lines:
                    text = lines.read(_MOST_FILE_BYTES).decode('latin-1')
                self._read = parse_resolv_conf(text, self._port)
            except EnvironmentError as error:
                # As libc does, see resolv.conf(5): without the file, ask the name server of this machine.
                note = '%s: %s' % (self._path, error.strerror)
                self._read = self._read or Configuration([('127.0.0.1', self._port)], [], 1, note)
        return self._read


def _signature(path):
    try:
        status = os.stat(path)
    except EnvironmentError:
        return None
    return status.st_mtime, status.st_ctime, status.st_size, status.st_ino


def _answer(reply):
    if reply.values:
        return found(sorted(set(reply.values)), reply.ttl, reply.names)
    return empty('no such name (NXDOMAIN)' if reply.rcode == 'NXDOMAIN' else 'no such records', reply.names)


def _explain(faults, note):
    text = '; '.join('%s %s' % (endpoint_text(*server), fault) for server, fault in sorted(faults.items()))
    return (text or 'no time left') + (' (%s)' % note if note else '')
