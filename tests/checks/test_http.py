"""check=http and https: a status passes, or says why not."""
from __future__ import absolute_import, division, print_function

import contextlib
import time

import pytest
from gevent.server import StreamServer

from sidelb_lib.checks import registry
from sidelb_lib.checks.exchange import Deadline, ProbeFailed
from sidelb_lib.config import settings
from sidelb_lib.pool.members import Address

from ..support.certificates import Authority
from ..support.servers import Server


class Http(object):
    """Answers each request with bytes, one at a time with `slowly`; `requests` are the heads it got."""

    def __init__(self, answer, slowly=0, **tls):
        self.requests = []
        self._answer = answer
        self._slowly = slowly
        self.server = StreamServer(('127.0.0.1', 0), self._serve, **tls)

    def __enter__(self):
        self.server.start()
        return self

    def __exit__(self, *_):
        self.server.stop(timeout=0)

    def _serve(self, sock, _):
        with contextlib.closing(sock):
            head = b''
            try:
                while b'\r\n\r\n' not in head:
                    received = sock.recv(4096)
                    if not received:
                        return
                    head += received
                self.requests.append(head)
                if not self._slowly:
                    return sock.sendall(self._answer)
                for byte in bytearray(self._answer):
                    sock.sendall(bytes(bytearray([byte])))
                    time.sleep(self._slowly)
            except EnvironmentError:
                pass


def probe(check, server, seconds=2.0, **changes):
    given = settings.defaults(check=check, **changes)
    address = Address('127.0.0.1', server.server.server_port, 0.0)
    return registry.make(given.check, registry.Context(given, None))(address, Deadline(seconds))


def failure(*arguments, **options):
    with pytest.raises(ProbeFailed) as raised:
        probe(*arguments, **options)
    return str(raised.value)


@pytest.mark.parametrize('answer', [
    b'HTTP/1.0 200 OK\r\n\r\n', b'HTTP/1.1 204\r\n', b'HTTP/1.1 200', b'HTTP/1.1 299 Fine\r\nA: b\r\n\r\nbody'])
def test_a_status_passes(answer):
    with Http(answer) as server:
        assert probe('http', server).state == 'up'


@pytest.mark.parametrize('answer, text', [
    (b'HTTP/1.1 503 Service Unavailable\r\n\r\n', 'HTTP 503 Service Unavailable'),
    (b'HTTP/1.1 301\r\n', 'HTTP 301'),
    (b'HTTP/2 200\r\n', 'no HTTP answer: 48 54 54 50 2f 32 20 32'),
    (b'HTTP/1.1 2000 x\r\n', 'no HTTP answer: 48 54 54 50 2f 31 2e 31'),
    (b'\x15\x03\x01\x00\x02', 'no HTTP answer: 15 03 01 00 02'),
    (b'', 'ends the connection early'),
])
def test_what_does_not_pass_says_why(answer, text):
    with Http(answer) as server:
        assert failure('http', server) == text


def test_the_request_names_the_host_and_the_path():
    with Http(b'HTTP/1.1 200 OK\r\n\r\n') as server:
        probe('http/health?ready=1', server)
        head = server.requests[0].decode('ascii')
    assert head.startswith('GET /health?ready=1 HTTP/1.1\r\nHost: 127.0.0.1:%d\r\n' % server.server.server_port)
    assert 'Connection: close\r\n' in head


def test_method_and_host_can_be_set():
    with Http(b'HTTP/1.1 200 OK\r\n\r\n') as server:
        probe('http', server, check_method='HEAD', check_host='db.example.com')
    assert server.requests[0].startswith(b'HEAD / HTTP/1.1\r\nHost: db.example.com\r\n')


def test_statuses_that_pass_can_be_set():
    with Http(b'HTTP/1.1 301 Moved\r\n\r\n') as server:
        assert probe('http', server, check_expect='200,300-399').state == 'up'


@pytest.mark.parametrize('path, changes, state', [
    ('/primary', {}, 'standby'), ('/replica?lag=10MB', {}, 'standby'), ('/', {'check_standby': '503'}, 'standby'),
    ('/', {'check_drain': '503'}, 'draining')])
def test_503_may_be_no_failure(path, changes, state):
    with Http(b'HTTP/1.1 503 Service Unavailable\r\n\r\n') as server:
        result = probe('http' + path, server, **changes)
    assert (result.state, result.text) == (state, 'HTTP 503 Service Unavailable')


def test_a_path_that_asks_for_a_role_makes_it_a_check_for_a_role():
    assert registry.parse('http:8008/primary', 'tcp').role == 'primary'
    assert registry.parse('http:8008/health', 'tcp').role is None


def test_a_slow_answer_fails_at_the_deadline():
    with Http(b'HTTP/1.1 200 OK\r\n\r\n', slowly=0.2) as server:
        began = time.time()
        assert failure('http', server, seconds=0.5) == 'no answer within 0.5 s'
        assert 0.4 < time.time() - began < 3


def test_a_huge_answer_is_not_read_to_its_end():
    with Http(b'HTTP/1.1 200 OK\r\n\r\n' + b'x' * (10 << 20)) as server:
        assert probe('http', server).state == 'up'


def test_over_tls(tmpdir):
    certificate, key = Authority(str(tmpdir)).issue('db.example.com')
    with Http(b'HTTP/1.1 200 OK\r\n\r\n', certfile=certificate, keyfile=key) as server:
        for check in ('https/', 'tls'):
            found = probe(check, server)
            assert found.state == 'up' and 0 < found.facts['not_after'] - time.time() <= 2 * 86400


@pytest.mark.parametrize('answer, says', [
    (b'\x15\x03\x03\x00\x02\x02\x28', 'HANDSHAKE_FAILURE'), (b'\x15\x03\x03\x00\x02\x02\x50', 'INTERNAL_ERROR'),
    (b'HTTP/1.1 400 Bad Request\r\n\r\n', ''), (b'', '')])
@pytest.mark.parametrize('check', ['tls', 'https'])
def test_a_handshake_that_is_refused_says_why(check, answer, says):
    """RFC 8446, 6: alerts 40 and 80; and what is no TLS at all."""
    def refuse(session):
        session.sock.recv(4096)
        session.sock.sendall(answer)
    with Server('x', behaviour=refuse) as server:
        given = settings.defaults(check=check)
        address = Address(server.address[0], server.address[1], 0.0)
        with pytest.raises(ProbeFailed) as raised:
            registry.make(given.check, registry.Context(given, None))(address, Deadline(5.0))
    assert str(raised.value).startswith('TLS: ') and says in str(raised.value).upper()


# --- what products answer, as they say in their sources and documentation; none of them but Patroni is in Debian ---------

PATRONI = b'Server: BaseHTTP/0.6 Python/3.11.2\r\nContent-Type: application/json\r\n\r\n{"state": "running"}'


@pytest.mark.parametrize('check, answer, state', [
    ('http:1/primary', b'HTTP/1.0 200 OK\r\n' + PATRONI, 'up'),
    ('http:1/primary', b'HTTP/1.0 503 Service Unavailable\r\n' + PATRONI, 'standby'),
    ('http:1/replica?lag=10MB', b'HTTP/1.0 503 Service Unavailable\r\n' + PATRONI, 'standby'),
    # clustercheck of Galera
    ('http:1/', b'HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nConnection: close\r\nContent-Length: 40\r\n\r\n'
                b'Percona XtraDB Cluster Node is synced.\r\n', 'up'),
    ('http:1/', b'HTTP/1.1 503 Service Unavailable\r\nContent-Type: text/plain\r\nConnection: close\r\nContent-Length: 44'
                b'\r\n\r\nPercona XtraDB Cluster Node is not synced.\r\n', 'HTTP 503 Service Unavailable'),
    # CockroachDB, ready and draining
    ('http:1/health?ready=1', b'HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 4\r\n\r\n{\n}', 'up'),
    ('http:1/health?ready=1', b'HTTP/1.1 503 Service Unavailable\r\nContent-Type: application/json\r\n\r\n'
                              b'{"error": "node is shutting down", "code": 14}', 'HTTP 503 Service Unavailable'),
    # followers of Consul and YugabyteDB send to the leader; Elasticsearch that waits for a status in vain
    ('http:1/v1/status/leader', b'HTTP/1.1 301 Moved Permanently\r\nLocation: http://a/\r\n\r\n',
     'HTTP 301 Moved Permanently'),
    ('http:1/_cluster/health?wait_for_status=yellow&timeout=1s', b'HTTP/1.1 408 Request Timeout\r\n\r\n{}',
     'HTTP 408 Request Timeout')])
def test_products(check, answer, state):
    with Http(answer) as server:
        check = check.replace('http:1', 'http:%d' % server.server.server_port)
        if state.startswith('HTTP'):
            assert failure(check, server) == state
        else:
            assert probe(check, server).state == state


def test_certificates_are_verified_where_an_authority_is_named(tmpdir):
    ours, other = Authority(str(tmpdir.mkdir('a'))), Authority(str(tmpdir.mkdir('b')))
    certificate, key = ours.issue('db.example.com')
    with Http(b'HTTP/1.1 200 OK\r\n\r\n', certfile=certificate, keyfile=key) as server:
        assert probe('https', server, check_ca=ours.certificate, check_host='db.example.com').state == 'up'
        assert failure('https', server, check_ca=other.certificate, check_host='db.example.com').startswith('TLS: ')
        assert failure('https', server, check_ca=ours.certificate, check_host='x.example.com').startswith('TLS: ')
