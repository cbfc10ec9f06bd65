"""Real PostgreSQL servers with TLS, and its own client programs."""
from __future__ import absolute_import, division, print_function

import os
import shutil
import signal
import tempfile

from .certificates import Authority
from .places import Reservation
from .processes import Process, run
from .requirements import need, need_program
from .waiting import wait_until

PROGRAMS = '/usr/lib/postgresql/*/bin/'
HOST = 'db.example.com'                  # what the servers' certificate says

SETTINGS = {
    'ssl': 'on',
    'fsync': 'off',                      # nothing of this must last
    'shared_buffers': '16MB',
    'max_connections': '60',
    'wal_level': 'minimal',
    'max_wal_senders': '0',
    'autovacuum': 'off',
    'log_connections': 'on',
}


class PostgresCluster(object):
    """Several equal servers on one port of different loopback addresses, each named by `show cluster_name`.

    A context manager: all run when the `with` begins. They want TLS: a plain connection is refused. As root
    they run as the user postgres, because PostgreSQL refuses to run as root.
    """

    settings = SETTINGS
    rules = ('hostssl all all 127.0.0.0/8 trust',)

    def __init__(self, ips, port=0):
        self.programs = dict((name, need_program(name, 'postgresql', [PROGRAMS + name]))
                             for name in ('initdb', 'postgres', 'psql', 'pgbench'))
        self.user = 'postgres' if os.getuid() == 0 else None
        self._ips = ips
        self._port = port
        self._directory = None
        self._reservation = None
        self.servers = []

    def __enter__(self):
        self._directory = tempfile.mkdtemp(prefix='sidelb-pg-')
        try:
            self._reservation = Reservation(self._ips, self._port)
            self._prepare()
            for server in self.servers:
                server.start()
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_):
        for server in self.servers:
            server.stop()
        if self._reservation:
            self._reservation.release()
        shutil.rmtree(self._directory, ignore_errors=True)

    def _prepare(self):
        """One initialised data directory, copied for each server."""
        authority = Authority(self._directory)
        self.authority_certificate = authority.certificate
        certificate, key = authority.issue(HOST)
        template = os.path.join(self._directory, 'template')
        self._give_to_user(self._directory)
        self._run('initdb', '-D', template, '-U', 'postgres', '-A', 'trust', '-E', 'UTF8', '--no-locale',
                  '--no-sync', user=self.user)
        with open(os.path.join(template, 'pg_hba.conf'), 'w') as stream:
            stream.write('\n'.join(self.rules + ('',)))
        for number, ip in enumerate(self._reservation.ips, 1):
            data = os.path.join(self._directory, 'data%d' % number)
            shutil.copytree(template, data)
            for path, name in ((certificate, 'server.crt'), (key, 'server.key')):
                shutil.copy(path, os.path.join(data, name))
            os.chmod(os.path.join(data, 'server.key'), 0o600)
            os.chmod(data, 0o700)
            self._give_to_user(data)
            self.servers.append(PostgresServer(self, 'server%d' % number, (ip, self._reservation.port), data))

    def _give_to_user(self, top):
        give_to_user(self.user, top)

    def _run(self, name, *arguments, **options):
        finished = run([self.programs[name]] + list(arguments), cwd=self._directory, timeout=60, **options)
        assert finished.returncode == 0, finished
        return finished

    # --- clients --------------------------------------------------------------------------------------------

    def client_environ(self, address, host=HOST, **more):
        """The environment that makes libpq connect to `address` and want a certificate for `host`."""
        environ = dict((name, value) for name, value in os.environ.items() if not name.startswith('PG'))
        environ.update(
            HOME=self._directory, PGHOST=host, PGHOSTADDR=address[0], PGPORT=str(address[1]),
            PGUSER='postgres', PGDATABASE='postgres', PGCONNECT_TIMEOUT='20',
            PGSSLMODE='verify-full', PGSSLROOTCERT=self.authority_certificate)
        environ.update(more)
        return environ

    def psql(self, address, query, **environ):
        """Run one query through psql. Returns it as `processes.Finished`."""
        return run([self.programs['psql'], '-X', '-A', '-t', '-c', query],
                   environ=self.client_environ(address, **environ))

    def query(self, address, query):
        """The answer to one query, as text; it must succeed."""
        finished = self.psql(address, query)
        assert finished.returncode == 0 and not finished.stderr, finished
        return finished.stdout.strip()

    def pgbench(self, address, *arguments):
        """Run pgbench. Returns it as `processes.Finished`."""
        return run([self.programs['pgbench']] + list(arguments), environ=self.client_environ(address),
                   timeout=50)


def give_to_user(user, top):
    """Everything under `top` to the user that servers run as; None changes nothing."""
    if not user:
        return
    import pwd
    need('there is no user %s' % user, user in [entry.pw_name for entry in pwd.getpwall()])
    owner = pwd.getpwnam(user)
    for directory, _, names in os.walk(top):
        for path in [directory] + [os.path.join(directory, name) for name in names]:
            os.chown(path, owner.pw_uid, owner.pw_gid)


class PostgresServer(object):
    """One server of a PostgresCluster; `start()` and `stop()` as often as wanted."""

    def __init__(self, cluster, name, address, data):
        self.name = name
        self.address = address
        self._cluster = cluster
        self._data = data
        self._process = None

    def __str__(self):
        return '%s:%d' % self.address

    def start(self):
        command = [self._cluster.programs['postgres'], '-D', self._data, '-k', self._data,
                   '-h', self.address[0], '-p', str(self.address[1]), '-c', 'cluster_name=' + self.name]
        for setting in sorted(self._cluster.settings.items()):
            command += ['-c', '%s=%s' % setting]
        self._process = Process(command, user=self._cluster.user, cwd=self._data)
        self._process.wait_for_output('ready to accept (read-only )?connections', timeout=40)

    def stop(self, how=signal.SIGQUIT):
        """Stop at once, as a crash would: sessions are cut, pg_ctl's 'immediate'. SIGINT is its 'fast': in good order."""
        if self._process is not None:
            try:
                self._process.stop(how)
            finally:
                self._process.close()
                self._process = None

    @property
    def log(self):
        return self._process.output

    def connections(self):
        """How many clients were authorized since the start, as its log says; a probe is none."""
        return self._process.output.count('connection authorized')


class StreamingPair(PostgresCluster):
    """A primary, `servers[0]`, and its replica, `servers[1]`: plain streaming replication, and nobody who promotes."""

    settings = dict(SETTINGS, wal_level='replica', max_wal_senders='4')
    rules = PostgresCluster.rules + ('host replication all 127.0.0.0/8 trust',)

    def __enter__(self):
        PostgresCluster.__enter__(self)
        try:
            primary, replica = self.servers
            replica.stop()
            shutil.rmtree(replica._data)
            program = need_program('pg_basebackup', 'postgresql', [PROGRAMS + 'pg_basebackup'])
            copied = run([program, '-D', replica._data, '-R', '-X', 'stream', '-c', 'fast'],
                         environ=self.client_environ(primary.address, PGSSLMODE='disable'), timeout=60)
            assert copied.returncode == 0, copied
            for name in os.listdir(replica._data):
                if name.startswith('.s.PGSQL'):         # the primary's sockets are in its directory
                    os.remove(os.path.join(replica._data, name))
            self._give_to_user(replica._data)
            replica.start()
            wait_until('the replica does not stream', lambda: self.query(
                primary.address, 'select count(*) from pg_stat_replication') == '1', 20)
        except BaseException:
            self.__exit__()
            raise
        return self
