"""docs/tls.md: stunnel in front of SideLB, with the file of packaging/, before real PostgreSQL servers that want TLS."""
from __future__ import absolute_import, division, print_function

import contextlib
import os

import pytest

from ..support.places import Reservation
from ..support.postgres import PostgresCluster
from ..support.processes import Process, run
from ..support.program import PROJECT, Sidelb
from ..support.requirements import need_program


@pytest.fixture(scope='module')
def cluster():
    with PostgresCluster(['127.0.0.2', '127.0.0.3']) as both:
        yield both


@contextlib.contextmanager
def stunnel(balancer, certificate, directory, host='db.example.com'):
    """Runs stunnel with packaging/stunnel/postgresql.conf, its places changed to the test's; the port to connect to."""
    with open(os.path.join(PROJECT, 'packaging', 'stunnel', 'postgresql.conf')) as stream:
        text = stream.read()
    with Reservation(['127.0.0.1']) as place:
        for shipped, ours in (('accept = 127.0.0.1:5433', 'accept = 127.0.0.1:%d' % place.port),
                              ('connect = 127.0.0.1:5432', 'connect = 127.0.0.1:%d' % balancer.port),
                              ('/etc/ssl/certs/db-ca.crt', certificate),
                              ('checkHost = db.example.com', 'checkHost = ' + host)):
            assert shipped in text, shipped
            text = text.replace(shipped, ours)
        path = os.path.join(str(directory), 'stunnel.conf')
        with open(path, 'w') as stream:
            stream.write(text)
        process = Process([need_program('stunnel', 'stunnel4'), path])
        try:
            process.wait_for_output('Configuration successful')
            yield place.port
        finally:
            process.stop()
            process.close()


def psql(cluster, port):
    return run([cluster.programs['psql'], '-X', '-A', '-t', '-h', '127.0.0.1', '-p', str(port), '-U', 'postgres',
                '-c', 'show cluster_name', 'sslmode=disable'])


def test_an_application_without_tls_reaches_every_server_through_stunnel(cluster, tmpdir):
    with Sidelb(*cluster.servers) as balancer, stunnel(balancer, cluster.authority_certificate, tmpdir) as port:
        answers = [psql(cluster, port) for _ in range(4)]
        assert sorted(answer.stdout.strip() for answer in answers) == ['server1', 'server1', 'server2', 'server2'], answers


def test_a_dead_server_costs_it_no_error(cluster, tmpdir):
    with Sidelb(*cluster.servers) as balancer, stunnel(balancer, cluster.authority_certificate, tmpdir) as port:
        cluster.servers[0].stop()
        try:
            assert [psql(cluster, port).stdout.strip() for _ in range(4)] == ['server2'] * 4
        finally:
            cluster.servers[0].start()


def test_a_certificate_for_another_name_is_refused(cluster, tmpdir):
    with Sidelb(*cluster.servers) as balancer:
        with stunnel(balancer, cluster.authority_certificate, tmpdir, host='other.example.com') as port:
            assert psql(cluster, port).returncode != 0
