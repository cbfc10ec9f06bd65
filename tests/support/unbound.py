"""A real name server, unbound, that knows just what a test tells it."""
from __future__ import absolute_import, division, print_function

import os
import random
import shutil
import socket
import tempfile

from .places import Reservation, family_of
from .processes import Process, ProcessEnded, run
from .requirements import need_program

PORTS = range(10000, 30000)              # below those that the kernel hands out to whoever asks for any port
ATTEMPTS = 20

CONFIGURATION = '''
server:
    directory: "{directory}"
    chroot: ""
    username: ""
    pidfile: ""
    use-syslog: no
    do-daemonize: no
    verbosity: 1
    num-threads: 1
    log-queries: yes
    interface: {ip}@{port}
    access-control: 0.0.0.0/0 allow
    access-control: ::/0 allow
    module-config: "iterator"
    local-zone: "." static
    local-zone: "127.in-addr.arpa." static
    local-zone: "ip6.arpa." static
remote-control:
    control-enable: yes
    control-interface: "{directory}/control"
    control-use-cert: no
'''

STUB = '''
server:
    do-not-query-localhost: no
    local-zone: "{zone}." transparent
stub-zone:
    name: "{zone}"
    stub-addr: {server}
'''


class Unbound(object):
    """A name server that asks nobody but for `stubs`, {zone: (ip, port) of a name server}, whose answers it keeps for their
    TTL: what it does not know does not exist. A context manager.

    `records` are lines of a zone file, `set_records` replaces the records of one name. `port=0` picks one;
    53 needs a `namespace`. `str()` of it is `ip:port`.
    """

    def __init__(self, records=(), ip='127.0.0.1', port=0, namespace=None, stubs=()):
        self._program = need_program('unbound', 'unbound')
        self._control_program = need_program('unbound-control', 'unbound')
        self._records = list(records)
        self._namespace = namespace
        self._stubs = dict(stubs)
        self._wanted_port = port
        self.ip = ip
        self.port = None
        self._directory = None
        self._process = None

    def __str__(self):
        return '[%s]:%d' % (self.ip, self.port) if ':' in self.ip else '%s:%d' % (self.ip, self.port)

    def __enter__(self):
        self._directory = tempfile.mkdtemp(prefix='sidelb-unbound-')
        # AppArmor, where it is in force, lets the program at its usual path read /etc/unbound alone.
        copy = os.path.join(self._directory, 'unbound')
        shutil.copy(self._program, copy)
        self._program = copy
        try:
            self.start()
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_):
        self.stop()
        shutil.rmtree(self._directory, ignore_errors=True)

    # --- its life -------------------------------------------------------------------------------------------

    def start(self):
        """Start it; after a `stop()`, on the same port."""
        port = self.port or self._wanted_port
        for attempts_left in reversed(range(1 if port else ATTEMPTS)):
            try:
                return self._start(port or self._free_port())
            except ProcessEnded:
                self.stop()
                if not attempts_left:
                    raise

    def stop(self):
        if self._process is not None:
            self._process.close()
            self._process = None

    def _start(self, port):
        path = os.path.join(self._directory, 'unbound.conf')
        with open(path, 'w') as stream:
            stream.write(CONFIGURATION.format(directory=self._directory, ip=self.ip, port=port))
            stream.write('server:\n')
            for record in self._records:
                stream.write("    local-data: '%s'\n" % record)
            for zone, server in sorted(self._stubs.items()):
                stream.write(STUB.format(zone=zone, server='%s@%d' % server))
        self._process = Process([self._program, '-d', '-c', path], namespace=self._namespace)
        self._process.wait_for_output('start of service', timeout=20)
        self.port = port

    def _free_port(self):
        """A port that is free for TCP and UDP now; the caller must be ready to try again."""
        while True:
            port = random.choice(PORTS)
            sock = socket.socket(family_of(self.ip), socket.SOCK_DGRAM)
            try:
                sock.bind((self.ip, port))
                Reservation([self.ip], port).release()
                return port
            except EnvironmentError:
                continue
            finally:
                sock.close()

    # --- what it knows, and what it was asked ---------------------------------------------------------------

    def set_records(self, name, records):
        """Replace all records of `name` by these lines of a zone file. For a moment there are none."""
        self._control('local_data_remove', name)
        for record in records:
            self._control('local_data', record)

    def asked(self, name, rdtype):
        """How often it was asked for this."""
        return self._process.output.count(' %s. %s IN' % (name, rdtype))

    def _control(self, *arguments):
        configuration = os.path.join(self._directory, 'unbound.conf')
        finished = run([self._control_program, '-c', configuration] + list(arguments))
        assert finished.returncode == 0, finished


def host_records(name, ips, ttl=60):
    """The A and AAAA lines of a name."""
    return ['%s. %d IN %s %s' % (name, ttl, 'AAAA' if ':' in ip else 'A', ip) for ip in ips]


def server_records(name, ips, ttl=60):
    """A server with a confirmed name: A and AAAA lines, and for each address the PTR line that leads back."""
    return host_records(name, ips, ttl) + ['%s %d IN PTR %s.' % (reverse_name(ip), ttl, name) for ip in ips]


def reverse_name(ip):
    """The name under which the PTR record of an IP is, RFC 1035 section 3.5 and RFC 3596 section 2.5."""
    if ':' not in ip:
        return '.'.join(reversed(ip.split('.'))) + '.in-addr.arpa.'
    packed = bytearray(socket.inet_pton(socket.AF_INET6, ip))
    return '.'.join(reversed(''.join('%02x' % byte for byte in packed))) + '.ip6.arpa.'
