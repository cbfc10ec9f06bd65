"""Probes leave no trace in real servers: their logs and counters are compared before and after.

The rest is in the tests of each kind: the plain checks of PostgreSQL and MariaDB, and check=tcp.
"""
from __future__ import absolute_import, division, print_function

import os
import re
import shutil
import tempfile

import pytest

from sidelb_lib.checks import registry
from sidelb_lib.checks.exchange import Deadline
from sidelb_lib.config import settings
from sidelb_lib.pool.members import Address

from ..support.certificates import Authority
from ..support.mariadb import MariaServer
from ..support.places import Reservation
from ..support.postgres import PostgresCluster
from ..support.processes import Process
from ..support.redis import redis, redis_servers
from ..support.requirements import need_program
from ..support.servers import Server
from ..support.unbound import Unbound
from ..support.waiting import wait_until

PROBES = 20

NGINX = '''
daemon off;
master_process off;
pid {directory}/pid;
error_log {directory}/errors info;
events {{}}
http {{
    client_body_temp_path {directory}/a; proxy_temp_path {directory}/b; fastcgi_temp_path {directory}/c;
    uwsgi_temp_path {directory}/d; scgi_temp_path {directory}/e;
    access_log {directory}/requests;
    server {{
        listen {plain}; listen {secure} ssl;
        ssl_certificate {certificate}; ssl_certificate_key {key};
        location / {{ return 200 "well"; }}
    }}
}}
'''


class Nginx(object):
    """nginx at two addresses, in clear and with TLS. `log(name)` is what it wrote into `errors` or `requests`."""

    def __enter__(self):
        program = need_program('nginx', 'nginx')
        self._directory = tempfile.mkdtemp(prefix='sidelb-nginx-')
        self._held = [Reservation(['127.0.0.1']), Reservation(['127.0.0.1'])]
        self.plain, self.secure = [held.addresses[0] for held in self._held]
        certificate, key = Authority(self._directory).issue('web.example.com')
        configuration = os.path.join(self._directory, 'conf')
        with open(configuration, 'w') as stream:
            stream.write(NGINX.format(directory=self._directory, plain='%s:%d' % self.plain,
                                      secure='%s:%d' % self.secure, certificate=certificate, key=key))
        self._process = Process([program, '-c', configuration, '-e', os.path.join(self._directory, 'errors')])
        wait_until('nginx does not listen', lambda: os.path.exists(os.path.join(self._directory, 'pid')), 10)
        return self

    def __exit__(self, *_):
        self._process.close()
        for held in self._held:
            held.release()
        shutil.rmtree(self._directory)

    def log(self, name):
        with open(os.path.join(self._directory, name)) as stream:
            return stream.read()


@pytest.fixture(scope='module')
def nginx():
    with Nginx() as running:
        yield running


def probe_often(check, address, **changes):
    """Twenty probes, each of which passes."""
    given = settings.defaults(check=check, **changes)
    probe = registry.make(given.check, registry.Context(given, None))
    for _ in range(PROBES):
        assert probe(Address(address[0], address[1], 0.0), Deadline(5.0)).state == 'up'


@pytest.mark.parametrize('check, place, requests', [
    ('http', 'plain', PROBES), ('https', 'secure', PROBES), ('tls', 'secure', 0),
    (r'ask:GET / HTTP/1.0\r\n\r\n,want:HTTP/1.1 200', 'plain', PROBES)])
def test_a_web_server_logs_no_error_and_each_request_once(nginx, check, place, requests):
    errors, before = nginx.log('errors'), nginx.log('requests').count('\n')
    probe_often(check, getattr(nginx, place))
    wait_until('requests are missing', lambda: nginx.log('requests').count('\n') >= before + requests)
    assert nginx.log('requests').count('\n') == before + requests
    assert not re.search('error|reset|timed out|failed|prematurely', nginx.log('errors')[len(errors):])


@pytest.mark.parametrize('check', ['redis', 'redis/primary', r'ask:PING\r\n,want:+PONG,ask:QUIT\r\n,want:+OK'])
def test_redis_counts_no_error_and_keeps_no_client(check):
    with redis_servers(['127.0.0.2']) as (server,):
        errors, said = server.statistic('total_error_replies'), server._process.output
        rejected = server.statistic('rejected_connections')
        probe_often(check, server.address)
        assert server.statistic('total_error_replies') == errors
        assert server.statistic('rejected_connections') == rejected
        assert server._process.output == said
        wait_until('a probe is still a client', lambda: len(redis(server.address, 'client', 'list').splitlines()) == 1)


def test_a_name_server_gets_one_question_a_probe_and_logs_nothing_else():
    with Unbound(['a.example. A 127.0.0.1']) as server:
        said = server._process.output
        probe_often('dns/a.example', (server.ip, server.port), proto='udp')
        new = server._process.output[len(said):].splitlines()
        assert len(new) == PROBES and all(line.endswith(' a.example. A IN') for line in new), new


#: What sessions that went wrong leave behind, and the sessions themselves: those of probes that log in.
STATISTICS = """select sessions, xact_rollback, sessions_abandoned, sessions_fatal, sessions_killed, deadlocks, conflicts
                from pg_stat_database where datname = 'postgres'"""


def test_postgresql_counts_sessions_that_log_in_and_leave_as_they_ought_to():
    with PostgresCluster(['127.0.0.2']) as cluster:
        server, = cluster.servers
        cluster.query(server.address, "create role sidelb login")

        def statistics():
            return [int(number) for number in cluster.query(server.address, STATISTICS).split('|')]
        statistics()
        before, said = statistics(), server.log
        probe_often('postgres/primary', server.address)
        wait_until('sessions are missing', lambda: statistics()[0] >= before[0] + PROBES)
        assert statistics()[1:] == before[1:]
        lines = [line for line in server.log[len(said):].splitlines() if 'LOG:  connection ' not in line]
        # TLS is wanted: the first probe is told so, and the next ones go by it.
        assert [line.rpartition(', ')[2] for line in lines if re.search('FATAL|ERROR|LOG', line)] == ['no encryption'], lines


@pytest.mark.parametrize('check, read_only', [('mysql/primary', 0), ('mysql/replica', 1), ('mysql/prefer-replica', 0)])
def test_mariadb_counts_no_login_that_failed_and_no_client_that_was_cut(maria, check, read_only):
    maria.query("create user if not exists sidelb@'%%'; set global read_only=%d" % read_only)
    counters = ('Aborted_connects', 'Aborted_clients', 'Access_denied_errors', 'Connection_errors_internal')
    before, said = [maria.status(name) for name in counters], maria.log
    probe_often(check, maria.address)
    assert [maria.status(name) for name in counters] == before and maria.connect_errors() == 0
    assert maria.log == said


@pytest.fixture(scope='module')
def maria():
    with MariaServer('127.0.0.2') as running:
        yield running


def children():
    """The processes that this one has started, those that nobody has waited for among them."""
    found = []
    for name in os.listdir('/proc'):
        try:
            with open('/proc/%d/stat' % int(name)) as stat:
                if int(stat.read().rpartition(')')[2].split()[1]) == os.getpid():
                    found.append(int(name))
        except (ValueError, EnvironmentError):
            pass
    return found


def test_a_check_by_a_program_says_nothing_itself_and_leaves_nothing_behind():
    with Server('x') as server:
        probe_often('run:/bin/true', server.address)
        descriptors, others = len(os.listdir('/proc/self/fd')), children()
        probe_often('run:/bin/true', server.address)
        assert server.accepted == 0 and len(os.listdir('/proc/self/fd')) <= descriptors
        assert not set(children()) - set(others)
