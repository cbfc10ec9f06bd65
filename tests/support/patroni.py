"""A real Patroni cluster: etcd, and PostgreSQL servers of which Patroni makes one the primary."""
from __future__ import absolute_import, division, print_function

import json
import os
import shutil
import signal
import socket
import tempfile

from .clients import read_all
from .places import Reservation
from .postgres import PROGRAMS, give_to_user
from .processes import Process, run
from .requirements import need_program
from .waiting import wait_until

TTL_SECONDS = 5           # after which a leader that says nothing is one no more; Patroni's own default is 30
LOOP_SECONDS = 1

NODE = '''
scope: sidelb
name: {name}
restapi: {{listen: '{ip}:{rest}', connect_address: '{ip}:{rest}'}}
etcd3: {{host: '127.0.0.1:{etcd}'}}
bootstrap:
  dcs: {{ttl: {ttl}, loop_wait: {loop}, retry_timeout: 2, synchronous_mode: true,
        postgresql: {{use_pg_rewind: false}}}}
  initdb: [{{encoding: UTF8}}, no-locale, no-sync]
postgresql:
  listen: '{ip}:{port}'
  connect_address: '{ip}:{port}'
  data_dir: {data}
  bin_dir: {programs}
  pgpass: {data}.pgpass
  authentication: {{superuser: {{username: postgres}}, replication: {{username: replicator}}}}
  pg_hba: ['local all all trust', 'host all all 127.0.0.0/8 trust', 'host replication all 127.0.0.0/8 trust']
  parameters: {{unix_socket_directories: '', fsync: 'off', shared_buffers: 16MB, autovacuum: 'off',
               max_connections: 40}}
'''


class PatroniCluster(object):
    """Nodes on one port of the addresses `ips`, with their REST API on another, `rest_port`. Runs inside the `with`.

    Replication is synchronous: what was committed is on the replica, too.
    """

    def __init__(self, ips):
        self._programs = dict((name, need_program(name, package, [PROGRAMS + name, '/usr/bin/' + name]))
                              for name, package in (('patroni', 'patroni'), ('etcd', 'etcd-server'),
                                                    ('initdb', 'postgresql'),
                                                    ('psql', 'postgresql'), ('pgbench', 'postgresql')))
        self._user = 'postgres' if os.getuid() == 0 else None
        self._ips = ips
        self._held = []
        self._nodes = {}
        self._etcd = None

    def __enter__(self):
        self.directory = tempfile.mkdtemp(prefix='sidelb-patroni-')
        try:
            give_to_user(self._user, self.directory)
            postgres, rest, etcd, peers = [self._reserve(ips) for ips in (
                self._ips, self._ips, ['127.0.0.1'], ['127.0.0.1'])]
            self.addresses, self.rest_port = postgres.addresses, rest.port
            self._start_etcd('http://127.0.0.1:%d' % etcd.port, 'http://127.0.0.1:%d' % peers.port)
            for number, ip in enumerate(self._ips, 1):
                self._configure('node%d' % number, ip, etcd.port)
                self.start('node%d' % number)
                if number == 1:               # who begins is the leader of the first cluster, and the others copy it
                    wait_until('no first leader', lambda: self.leader() == 'node1', 30)
            replicas = len(self._ips) - 1
            wait_until('no synchronous replica', lambda: self.roles() == {'leader': 1, 'sync_standby': replicas}, 30)
        except BaseException:
            self.__exit__(Exception)
            raise
        return self

    def __exit__(self, kind=None, *_):
        for name, process in self._nodes.items():
            if kind is not None:
                print(process.describe())
            self.kill(name)
        if self._etcd is not None:
            self._etcd.close()
        for reservation in self._held:
            reservation.release()
        shutil.rmtree(self.directory, ignore_errors=True)

    def start(self, name):
        # Where it is restarted, its PostgreSQL is one that was killed; Patroni sees to it.
        if name in self._nodes:
            self._nodes[name].close()
        self._nodes[name] = Process([self._programs['patroni'], self._path(name + '.yml')], user=self._user,
                                    cwd=self.directory)

    def kill(self, name):
        """SIGKILL to a node's Patroni and to its PostgreSQL, as when a host loses its power."""
        self._nodes[name].kill()
        try:
            with open(os.path.join(self._path(name), 'postmaster.pid')) as stream:
                postmaster = int(stream.readline())
            os.kill(postmaster, signal.SIGKILL)           # its children end when they find their parent dead
        except (EnvironmentError, ValueError):
            pass

    def members(self):
        """What the REST API of some node lists; nothing while none answers."""
        for ip in self._ips:
            try:
                return json.loads(self._ask(ip, 'GET', '/cluster').partition('\r\n\r\n')[2])['members']
            except (EnvironmentError, ValueError, KeyError):
                pass
        return []

    def roles(self):
        """How many that run have each role."""
        roles = {}
        for member in self.members():
            if member['state'] in ('running', 'streaming'):
                roles[member['role']] = roles.get(member['role'], 0) + 1
        return roles

    def leader(self):
        return next((member['name'] for member in self.members()
                     if member['role'] == 'leader' and member['state'] == 'running'), None)

    def ask_for_role(self, name):
        """A psql that asks the server of that node, and none between, 50 times a second. A Process.

        It prints `SECONDS|t` while that is a replica, and `SECONDS|f` from the moment when its promotion has ended.
        """
        script = self._path('role.sql')
        with open(script, 'w') as stream:
            stream.write('select extract(epoch from clock_timestamp()), pg_is_in_recovery() \\watch 0.02\n')
        return Process([self._programs['psql'], '-XAtqf', script],
                       environ=self.environ((self._ip(name), self.addresses[0][1])))

    def switch_over(self):
        """Ask Patroni to make another the leader, and wait until it is."""
        leader = self.leader()
        said = self._ask(self._ip(leader), 'POST', '/switchover', json.dumps({'leader': leader}))
        assert 'Successfully switched over' in said, said

    def _ip(self, name):
        return next(member['host'] for member in self.members() if member['name'] == name)

    def _ask(self, ip, method, path, body=''):
        """What the REST API of the node at `ip` answers. patronictl does no more, and takes a second to start."""
        sock = socket.create_connection((ip, self.rest_port), 30)
        try:
            sock.sendall(('%s %s HTTP/1.0\r\nContent-Length: %d\r\n\r\n%s' % (
                method, path, len(body), body)).encode('ascii'))
            return read_all(sock).decode('utf-8')
        finally:
            sock.close()

    def query(self, address, statement):
        finished = run([self._programs['psql'], '-XAtqc', statement], environ=self.environ(address))
        assert finished.returncode == 0, finished
        return finished.stdout.strip()

    def environ(self, address):
        environ = dict((name, value) for name, value in os.environ.items() if not name.startswith('PG'))
        environ.update(PGHOST=address[0], PGPORT=str(address[1]), PGUSER='postgres', PGDATABASE='postgres',
                       PGCONNECT_TIMEOUT='30', PGSSLMODE='disable')
        return environ

    @property
    def pgbench(self):
        return self._programs['pgbench']

    def _reserve(self, ips):
        self._held.append(Reservation(ips))
        return self._held[-1]

    def _path(self, name):
        return os.path.join(self.directory, name)

    def _start_etcd(self, client, peer):
        self._etcd = Process([self._programs['etcd'], '--name', 'one', '--data-dir', self._path('etcd'), '--unsafe-no-fsync',
                              '--listen-client-urls', client, '--advertise-client-urls', client,
                              '--listen-peer-urls', peer, '--initial-advertise-peer-urls', peer,
                              '--initial-cluster', 'one=' + peer], cwd=self.directory)
        self._etcd.wait_for_output('ready to serve client requests', timeout=20)

    def _configure(self, name, ip, etcd_port):
        with open(self._path(name + '.yml'), 'w') as stream:
            stream.write(NODE.format(
                name=name, ip=ip, rest=self.rest_port, port=self.addresses[0][1], etcd=etcd_port, ttl=TTL_SECONDS,
                loop=LOOP_SECONDS, data=self._path(name),
                programs=os.path.dirname(self._programs['initdb'])))
