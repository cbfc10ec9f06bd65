"""A real MariaDB server, and its own client program."""
from __future__ import absolute_import, division, print_function

import os
import shutil
import tempfile

from .certificates import Authority
from .places import Reservation
from .postgres import give_to_user
from .processes import Process, run
from .requirements import need_program

SETTINGS = ['--no-defaults', '--performance-schema=ON', '--log-warnings=2', '--innodb-buffer-pool-size=8M',
            '--innodb-log-file-size=4M', '--aria-pagecache-buffer-size=1M', '--key-buffer-size=1M', '--skip-log-bin',
            '--innodb-flush-log-at-trx-commit=0', '--plugin-maturity=unknown']


class MariaServer(object):
    """One server at `ip` (in `namespace`), running inside the `with`. Its name resolution is on, as by default.

    `query(statement)` asks it as its administrator, through its unix socket; `log` is what it has logged.
    """

    def __init__(self, ip='127.0.0.1', namespace=None, options=(), tls=False):
        self._programs = dict((name, need_program(name, 'mariadb-server', ['/usr/sbin/' + name]))
                              for name in ('mariadbd', 'mariadb-install-db', 'mariadb'))
        self._user = 'mysql' if os.getuid() == 0 else None
        self._namespace = namespace
        self._options = list(options)
        self._has_tls = tls
        self._ip = ip
        self._process = None

    def __enter__(self):
        self._directory = tempfile.mkdtemp(prefix='sidelb-maria-')
        self._reservation = Reservation([self._ip], 0, self._namespace)
        self.address = self._reservation.addresses[0]
        try:
            data = os.path.join(self._directory, 'data')
            os.mkdir(data)
            if self._has_tls:
                authority = Authority(self._directory)
                self._options += ['--ssl-ca=%s' % authority.certificate] + [
                    '--ssl-%s=%s' % option for option in zip(('cert', 'key'), authority.issue('db.example.com'))]
            give_to_user(self._user, self._directory)
            installed = run([self._programs['mariadb-install-db'], '--no-defaults', '--datadir=' + data, '--skip-test-db',
                             '--tmpdir=' + self._directory,
                             '--auth-root-authentication-method=normal'] + self._as_user(), timeout=60)
            assert installed.returncode == 0, installed
            self._socket = os.path.join(self._directory, 'socket')
            self._process = Process(
                [self._programs['mariadbd']] + SETTINGS + self._as_user() + self._options + [
                    '--datadir=' + data, '--tmpdir=' + self._directory, '--bind-address=' + self._ip,
                    '--port=%d' % self.address[1],
                    '--socket=' + self._socket, '--pid-file=' + os.path.join(self._directory, 'pid')],
                namespace=self._namespace, cwd=self._directory)
            self._process.wait_for_output('ready for connections', timeout=40)
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_):
        if self._process is not None:
            self._process.close()
        self._reservation.release()
        shutil.rmtree(self._directory, ignore_errors=True)

    def __str__(self):
        return '%s:%d' % self.address

    @property
    def log(self):
        return self._process.output

    def query(self, statement):
        """The answer to one statement, as text, columns with tabs between; it must succeed."""
        finished = run([self._programs['mariadb'], '--no-defaults', '--socket=' + self._socket, '-u', 'root', '-N', '-B',
                        '-e', statement])
        assert finished.returncode == 0, finished
        return finished.stdout.strip()

    def status(self, name):
        """One of its counters."""
        return int(self.query("show global status like '%s'" % name).split()[1])

    def connect_errors(self):
        """What it holds against the hosts that connect: at max_connect_errors, 100, it locks a host out."""
        return int(self.query('select coalesce(sum(sum_connect_errors), 0) from performance_schema.host_cache'))

    def _as_user(self):
        return ['--user=' + self._user] if self._user else []
