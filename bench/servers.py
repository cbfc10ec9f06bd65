"""The servers behind the proxies: one of each kind, started when first asked for, ended with the run.

All are the distribution's own packages, on loopback addresses only (Redis, which stands for many servers at
127.x.y.z, listens on the wildcard, and its protected mode refuses anyone who does not come from 127.0.0.0/8).
"""
from __future__ import absolute_import, division, print_function

import os
import shutil
import signal
import tempfile

import bench.errors
import bench.machine
import bench.processes

HOST = '127.0.0.1'
DNS_NAME = 'www.bench.test'
RING_NAME = 'db.bench.test'
RING_TTL = 15
POSTGRES_PLACES = ('/usr/lib/postgresql/*/bin', '/usr/pgsql-*/bin')


def member_addresses(count, port):
    """`count` addresses of 127.1.0.0/16, all of them the wildcard listener at `port`."""
    return [('127.1.{0}.{1}'.format(number // 250, number % 250 + 1), port) for number in range(count)]


class Servers(object):
    """Ports by kind of server.

    stack: an ExitStack that ends what was started here; core: where to pin servers, or None;
    directory: an existing directory for their files.
    """

    def __init__(self, stack, core, directory):
        self._stack = stack
        self._core = core
        self._directory = directory
        self._ports = {}

    def port(self, kind):
        """The port of the running server of `kind`, the name of a method below; `Missing` without it."""
        if kind not in self._ports:
            self._ports[kind] = getattr(self, '_' + kind)()
        return self._ports[kind]

    def _start(self, argv, port, **options):
        child = bench.processes.Child(argv, core=self._core, **options)
        self._stack.callback(child.stop)
        bench.processes.wait_for_port(child, (HOST, port))
        return port

    def _file(self, name, text):
        path = os.path.join(self._directory, name)
        with open(path, 'w') as out:
            out.write(text)
        return path

    def _redis(self):
        port = bench.machine.free_port()
        return self._start([
            bench.processes.find('redis-server', 'redis-server'), '--port', str(port), '--bind', '0.0.0.0',
            '--protected-mode', 'yes', '--save', '', '--appendonly', 'no', '--tcp-backlog', '4096',
            '--tcp-keepalive', '0', '--maxclients', '15000', '--dir', self._directory], port)

    def _greeter(self):
        """Sends a line to whoever connects and closes: the cheapest TCP server that Debian has."""
        port = bench.machine.free_port()
        config = self._file('greeter.conf', (
            '{module}daemon off; master_process off; pid {directory}/greeter.pid;\n'
            'error_log stderr warn; events {{ worker_connections 4000; }}\n'
            'stream {{ server {{ listen 127.0.0.1:{port} backlog=4096; return "+PONG\\r\\n"; }} }}\n'
        ).format(module=nginx_stream_module(), directory=self._directory, port=port))
        return self._start([bench.processes.find('nginx', 'nginx'), '-c', config, '-e', 'stderr'], port)

    def _iperf3(self):
        port = bench.machine.free_port()
        return self._start(
            [bench.processes.find('iperf3', 'iperf3'), '-s', '-B', HOST, '-p', str(port)], port)

    def _unbound(self):
        port = bench.machine.free_port()
        config = self._file('unbound.conf', unbound_config(port))
        # AppArmor, where it is in force, lets the program at its usual path read only files of /etc/unbound
        program = shutil.copy(bench.processes.find('unbound', 'unbound'), self._directory)
        return self._start([program, '-d', '-c', config], port)

    def _postgres(self):
        user = bench.processes.unprivileged('postgres', 'nobody')
        initdb = bench.processes.find('initdb', 'postgresql', POSTGRES_PLACES)
        server = bench.processes.find('postgres', 'postgresql', POSTGRES_PLACES)
        pgbench = bench.processes.find('pgbench', 'postgresql-contrib', POSTGRES_PLACES)
        parent = tempfile.TemporaryDirectory(prefix='sidelb-bench-pg-')
        self._stack.callback(parent.cleanup)
        data = os.path.join(parent.name, 'data')
        if user:
            os.chown(parent.name, user.pw_uid, user.pw_gid)
        bench.processes.run([initdb, '-D', data, '-U', 'bench', '-A', 'trust', '--no-sync', '--no-locale'],
                            60, user=user)
        port = bench.machine.free_port()
        self._start([server, '-D', data, '-p', str(port), '-c', 'listen_addresses=' + HOST,
                     '-c', 'unix_socket_directories=', '-c', 'fsync=off', '-c', 'autovacuum=off',
                     '-c', 'max_connections=100'], port, user=user, stop_signal=signal.SIGINT)
        bench.processes.run([pgbench, '-i', '-q', '--unlogged-tables', '-h', HOST, '-p', str(port),
                             '-U', 'bench', 'postgres'], 60)
        return port


def nginx_stream_module():
    """The `load_module` line that this nginx needs for stream, or ''; `Missing` when it has no stream."""
    nginx = bench.processes.find('nginx', 'nginx')
    # nginx -V writes to stderr
    options = bench.processes.run(['/bin/sh', '-c', 'exec "$0" -V 2>&1', nginx], 10).split()
    if '--with-stream' in options:
        return ''
    places = [option.partition('=')[2] for option in options if option.startswith('--modules-path=')]
    for place in places + ['/usr/lib/nginx/modules']:
        module = os.path.join(place, 'ngx_stream_module.so')
        if os.path.exists(module):
            return 'load_module {0};\n'.format(module)
    raise bench.errors.Missing('nginx has no stream module (Debian: libnginx-mod-stream)')


def unbound_config(port, members=1000):
    """One name for the load, and a ring of `members` addresses with PTR names for the test at rest."""
    lines = ['server:', '  interface: {0}@{1}'.format(HOST, port), '  num-threads: 1', '  username: ""',
             '  chroot: ""', '  do-daemonize: no', '  pidfile: ""', '  use-syslog: no',
             '  so-rcvbuf: 0', '  local-zone: "bench.test." static',
             '  local-zone: "127.in-addr.arpa." static',
             '  local-data: "{0}. 300 IN A 192.0.2.1"'.format(DNS_NAME)]
    for number, (address, _) in enumerate(member_addresses(members, 0)):
        name = 'node-{0}.bench.test.'.format(number)
        lines += ['  local-data: "{0}. {1} IN A {2}"'.format(RING_NAME, RING_TTL, address),
                  '  local-data: "{0} 3600 IN A {1}"'.format(name, address),
                  '  local-data-ptr: "{0} 3600 {1}"'.format(address, name)]
    return '\n'.join(lines) + '\n'
