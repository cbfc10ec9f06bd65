"""HTTP: what each path answers, and that no client, however it behaves, gets more than an answer."""
from __future__ import absolute_import, division, print_function

import contextlib
import errno
import json
import os
import signal
import socket
import zlib

import pytest
from gevent.event import Event

from sidelb_lib import compat
from sidelb_lib.observe import http_answers, http_listener, http_request, http_server
from sidelb_lib.config import settings
from sidelb_lib.net.listeners import listen_tcp
from sidelb_lib.errors import BindError

from ..support.clients import connect, read_all, read_line
from ..support.nameserver import name_server, until
from ..support.places import bound_socket
from ..support.program import Sidelb, run_sidelb
from ..support.recording import RecordingLog
from ..support.servers import Server, servers_on
from ..support.waiting import wait_until

SNAPSHOT = {'members': [], 'rings': [], 'proto': 'tcp'}
GET = 'GET %s HTTP/1.1\r\nHost: localhost\r\n\r\n'


class Response(object):
    """What came back: `status` (a number), `headers` (names in lower case), `text`."""

    def __init__(self, data):
        head, _, body = data.partition(b'\r\n\r\n')
        lines = head.decode('latin-1').split('\r\n')
        self.status = int(lines[0].split()[1]) if lines[0] else None
        pairs = [line.split(': ', 1) for line in lines[1:]]
        self.headers = dict((str(name.lower()), str(value)) for name, value in pairs)
        self.text = body.decode('utf-8')

    def __repr__(self):
        return '%s %s %r' % (self.status, self.headers, self.text)


def send(address, data, timeout=10.0):
    """Send bytes as they are and read to the end. Returns a Response."""
    with contextlib.closing(connect(address, timeout)) as client:
        client.sendall(data if isinstance(data, bytes) else data.encode('latin-1'))
        return Response(read_all(client))


def get(address, path):
    return send(address, GET % path)


class Stub(object):
    """Answers for a service; a test changes what it says."""

    def __init__(self):
        self.started = True, 'started'
        self.ready = True, 'ready'
        self.snapshot = lambda: SNAPSHOT


class Running(object):
    """A running HttpServer of this process: its `address`, `stub` and `log`."""

    def __init__(self, **options):
        self.stub = Stub()
        self.log = RecordingLog()
        application = http_answers.Application(
            lambda: self.stub.started, lambda: self.stub.ready, lambda with_history: self.stub.snapshot(), {'version': '1'},
            self.log, lambda: 0.0, ['web7.example.com'])
        self.server = http_server.HttpServer(listen_tcp('127.0.0.1', 0), application, self.log, **options)
        self.address = self.server.address

    def __enter__(self):
        self.server.start()
        return self

    def __exit__(self, *_):
        self.server.close()


@pytest.fixture(scope='module')
def running():
    with Running() as one:
        yield one


@pytest.fixture
def quiet(capfd):
    """Nothing may be written to stdout or stderr."""
    yield
    assert capfd.readouterr() == ('', '')


# --- what each path answers ---------------------------------------------------------------------------------

@contextlib.contextmanager
def sidelb_with_http(*arguments, **options):
    """A running Sidelb; its `http` is where it answers."""
    with Sidelb('http=127.0.0.1:0', *arguments, **options) as sidelb:
        match = sidelb.wait_for_log(r'status page at http://127\.0\.0\.1:(\d+)/')
        sidelb.http = '127.0.0.1', int(match.group(1))
        yield sidelb


def wait_for_answer(sidelb, path, status, reason):
    def answered():
        response = get(sidelb.http, path)
        return (response.status, reason in response.text) == (status, True)
    wait_until('%s is not %d %s' % (path, status, reason), answered)


def test_startup_is_ok_only_when_the_first_look_up_has_ended():
    answering = Event()
    with name_server() as dns, Server('A') as server:
        dns.misbehave(until(answering))
        with sidelb_with_http('ring_domain=db.example.com:5432', server, 'resolver=%s:%d' % dns.address) as sidelb:
            response = get(sidelb.http, '/startup')
            assert (response.status, response.text) == (
                503, 'starting: waiting for the first look-up of ring db.example.com:5432\n')
            assert get(sidelb.http, '/readiness').status == 200
            answering.set()
            wait_for_answer(sidelb, '/startup', 200, 'started: listening on %s' % sidelb.listener)


def test_liveness_and_startup_without_any_name_to_look_up():
    with Server('A') as server, sidelb_with_http(server) as sidelb:
        assert get(sidelb.http, '/liveness').status == 200
        assert get(sidelb.http, '/liveness').text == 'alive\n'
        wait_for_answer(sidelb, '/startup', 200, 'started')


def test_readiness_follows_the_servers():
    with servers_on(['127.0.0.1', '127.0.0.2']) as (one, two):
        with sidelb_with_http(one, two, 'check_interval=100ms', 'check_timeout=1s') as sidelb:
            wait_for_answer(sidelb, '/readiness', 200, 'all 2 up')
            one.die()
            wait_for_answer(sidelb, '/readiness', 200, '1 of 2 up, 1 down')
            two.die()
            wait_for_answer(sidelb, '/readiness', 503, 'none of 2 is up')
            one.listen()
            wait_for_answer(sidelb, '/readiness', 200, '1 of 2 up, 1 down')


def test_not_ready_at_max_connections():
    with Server('A') as server, sidelb_with_http(server, 'max_connections=1') as sidelb:
        with contextlib.closing(sidelb.connect()) as client:
            assert read_line(client) == 'A'
            wait_for_answer(sidelb, '/readiness', 503, 'the only server is up, the limit of 1 connection is reached\n')
        wait_for_answer(sidelb, '/readiness', 200, 'the only server is up')


def test_during_the_drain_it_is_not_ready_and_goes_on_answering():
    with Server('A') as server, sidelb_with_http(server) as sidelb:
        sidelb.wait_until_up(server)
        with contextlib.closing(sidelb.connect()) as client:
            assert read_line(client) == 'A'
            sidelb.signal(signal.SIGTERM)
            sidelb.wait_for_log('draining')
            response = get(sidelb.http, '/readiness')
            assert (response.status, response.text) == (503, 'the only server is up, stopping\n')
            assert get(sidelb.http, '/liveness').status == 200
            assert get(sidelb.http, '/startup').status == 200
            assert json.loads(get(sidelb.http, '/status.json').text)['state'] == 'draining'
        assert sidelb.process.wait() == 0


def test_an_instance_that_takes_over_answers_from_the_drain_of_the_former_on():
    with Server('A') as server, sidelb_with_http(server, 'reuse_port=on') as former:
        with contextlib.closing(former.connect()) as client:
            assert read_line(client) == 'A'
            with Sidelb(server, 'http=127.0.0.1:%d' % former.http[1], 'reuse_port=on',
                        listener=former.listener) as latter:
                latter.wait_for_log('status page at http')
                latter.http = former.http
                its_pid = latter.status()['pid']
                former.signal(signal.SIGTERM)
                former.wait_for_log('draining')
                wait_until('the former one goes on answering',
                           lambda: [answering_pid(latter) for _ in range(20)] == [its_pid] * 20)
                assert get(latter.http, '/readiness').status == 200
                client.close()
                assert former.process.wait() == 0
                assert [answering_pid(latter) for _ in range(20)] == [its_pid] * 20


def answering_pid(sidelb):
    return json.loads(get(sidelb.http, '/status.json').text)['pid']


def test_the_status_is_that_of_the_status_socket():
    with Server('A') as server, sidelb_with_http(server) as sidelb:
        assert sidelb.who() == 'A'
        sidelb.wait_for_status('the session has not ended', lambda status: status['connections']['active'] == 0)
        response = get(sidelb.http, '/status.json')
        assert response.headers['content-type'] == 'application/json'
        by_http, by_socket = json.loads(response.text), sidelb.status()
        for status in by_http, by_socket:
            for service in [status] + list(status['services'].values()):
                moving = [service] + [address for member in service['members'] for address in member['addresses']]
                for part in moving:
                    for name in ('uptime', 'state_seconds', 'last_probe', 'probe_seconds', 'since'):
                        part.pop(name, None)
                service['connections'].pop('new_per_second')
                for member in service['members']:
                    member.pop('since'), member.pop('new_per_second')
                for event in service['events'] + status['changes']:
                    event.pop('time', None)
            status.pop('time')
        assert by_http == by_socket
        assert by_http['services']['default']['members'] == by_http['members']
        assert by_http['members'][0]['total'] == 1


def test_the_readiness_is_the_verdict_of_the_status_word_for_word():
    with Server('A') as server, sidelb_with_http(server) as sidelb:
        status = json.loads(get(sidelb.http, '/status.json').text)
        assert get(sidelb.http, '/readiness').text == status['verdict']['text'] + '\n' == status['readiness'] + '\n'


@pytest.mark.parametrize('accepted, is_compressed', [
    ('gzip', True), ('br, GZip;q=0.5', True), ('gzip;q=0', False), ('gzip;q=0.000, br', False), ('notgzip', False),
    ('', False)])
def test_the_status_is_compressed_for_those_who_take_gzip(running, accepted, is_compressed, monkeypatch):
    big = {'members': [{'name': 'db%d.example.com' % number} for number in range(300)], 'proto': 'tcp'}
    monkeypatch.setattr(running.stub, 'snapshot', lambda: big)
    request = (GET % '/status.json')[:-2] + 'Accept-Encoding: %s\r\n\r\n' % accepted
    with contextlib.closing(connect(running.address)) as client:
        client.sendall(request.encode())
        head, _, body = read_all(client).partition(b'\r\n\r\n')
    assert (b'Content-Encoding: gzip' in head) is is_compressed
    if is_compressed:
        assert len(body) < 3000
        body = zlib.decompress(body, 16 + zlib.MAX_WBITS)
    assert json.loads(body.decode()) == big


def test_the_page_is_html():
    with Running() as running:
        response = get(running.address, '/')
    assert response.status == 200 and response.headers['content-type'] == 'text/html; charset=utf-8'
    assert '<title>SideLB</title>' in response.text


def test_it_answers_on_ipv6():
    with Server('A') as server, Sidelb(server, 'http=[::1]:0') as sidelb:
        port = int(sidelb.wait_for_log(r'at http://\[::1\]:(\d+)/').group(1))
        assert send(('::1', port), 'GET /liveness HTTP/1.1\r\nHost: [::1]:%d\r\n\r\n' % port).status == 200


def test_it_is_off_unless_asked_for():
    with Server('A') as server, Sidelb(server) as sidelb:
        assert sidelb.who() == 'A'
        assert 'http' not in sidelb.log


# --- starting -----------------------------------------------------------------------------------------------

def test_an_address_that_is_taken_is_one_line_and_nothing_is_served():
    with contextlib.closing(bound_socket('127.0.0.1', 0)) as taken, Server('A') as server:
        taken.listen(1)
        address = '127.0.0.1:%d' % taken.getsockname()[1]
        finished = run_sidelb('127.0.0.1:0', server, 'http=' + address)
    assert finished.returncode == 1
    assert finished.stderr == 'sidelb: cannot listen on http=%s: %s: ss -lntup shows who has it\n' % (
        address, os.strerror(errno.EADDRINUSE))
    assert finished.stdout == ''


def bind_http(address):
    return http_listener.bind_http(settings.parse(['127.0.0.1:0', '127.0.0.1:1', 'http=' + address], {}))


@pytest.mark.parametrize('address', ['0.0.0.0:0', '[::]:0', '192.0.2.1:8404'])
def test_an_http_server_with_known_holes_is_not_exposed(address, monkeypatch):
    monkeypatch.setattr(http_listener, 'http_server_is_sound', lambda: False)
    with pytest.raises(BindError) as refusal:
        bind_http(address)
    assert 'http=' + address in str(refusal.value) and '25.4.1' in str(refusal.value)
    assert 'http=127.0.0.1:' in str(refusal.value) and '\n' not in str(refusal.value)


@pytest.mark.parametrize('address', ['127.0.0.1:0', '127.0.0.9:0', '[::1]:0'])
def test_an_http_server_with_known_holes_may_be_on_loopback(address, monkeypatch):
    monkeypatch.setattr(http_listener, 'http_server_is_sound', lambda: False)
    bind_http(address).close()


def test_a_sound_http_server_may_be_anywhere(monkeypatch):
    monkeypatch.setattr(http_listener, 'http_server_is_sound', lambda: True)
    bind_http('0.0.0.0:0').close()


@pytest.mark.parametrize('version, sound', [
    ('22.10.2', False), ('24.11.1', False), ('25.4.0', False), ('25.4.1', True), ('25.5.1', True), ('26.9.0', True)])
def test_which_versions_are_sound(version, sound, monkeypatch):
    monkeypatch.setattr('gevent.__version__', version)
    assert compat.http_server_is_sound() is sound


# --- what may be asked --------------------------------------------------------------------------------------

def test_every_answer_keeps_browsers_from_storing_guessing_framing_and_sharing(running):
    for path in '/', '/status.json', '/liveness', '/metrics', '/nothing':
        headers = get(running.address, path).headers
        assert headers['cache-control'] == 'no-store'
        assert headers['x-content-type-options'] == 'nosniff'
        assert headers['x-frame-options'] == 'DENY'
        assert headers['cross-origin-resource-policy'] == 'same-origin'
        assert "default-src 'none'" in headers['content-security-policy']
        assert "frame-ancestors 'none'" in headers['content-security-policy']
        assert headers['connection'] == 'close'


def test_it_may_be_asked_by_the_names_that_http_hosts_gives():
    with Server('A') as server, sidelb_with_http(server, 'http_hosts=db.Example.com,metrics.example.net') as sidelb:
        for host, status in (('db.example.com', 200), ('metrics.example.net:8404', 200), ('evil.example.net', 403)):
            assert send(sidelb.http, 'GET /liveness HTTP/1.1\r\nHost: %s\r\n\r\n' % host).status == status, host


def test_head_is_answered_like_get_without_a_body(running):
    for path in '/', '/liveness', '/status.json', '/nothing':
        full = get(running.address, path)
        head = send(running.address, 'HEAD %s HTTP/1.1\r\nHost: localhost\r\n\r\n' % path)
        assert (head.status, head.text) == (full.status, '')
        assert int(head.headers['content-length']) == len(full.text.encode('utf-8')) > 0


@pytest.mark.parametrize('method', ['POST', 'PUT', 'DELETE', 'OPTIONS', 'TRACE', 'PATCH', 'BREW', 'get'])
def test_any_other_method_is_refused(running, method):
    request = '%s /status.json HTTP/1.1\r\nHost: localhost\r\nContent-Length: 4\r\n\r\nbody' % method
    response = send(running.address, request)
    assert (response.status, response.headers['allow']) == (405, 'GET, HEAD')


@pytest.mark.parametrize('path', [
    '/nothing', '/metrics/', '//', '/../etc/passwd', '/%2e%2e/etc/passwd', '*', '/status', '/%00', '/%ff%fe'])
def test_any_other_path_is_not_found(running, path):
    response = get(running.address, path)
    assert response.status == 404 and '/readiness' in response.text
    assert 'passwd' not in response.text


def test_a_query_changes_nothing(running):
    assert get(running.address, '/liveness?verbose=1').text == 'alive\n'


@pytest.mark.parametrize('host', [
    'localhost', 'localhost:8404', 'LOCALHOST', 'localhost.', '127.0.0.1', '127.0.0.1:8404', '[::1]', '[::1]:8404',
    '10.1.2.3:8404', '[2001:db8::1]:8404', 'page.localhost', 'sidelb:8404', 'web7.example.com',
    'Web7.Example.com:8404'])
def test_these_hosts_are_ours(running, host):
    assert send(running.address, 'GET /status.json HTTP/1.1\r\nHost: %s\r\n\r\n' % host).status == 200


@pytest.mark.parametrize('host', [
    'evil.example', 'evil.example:8404', '127.0.0.1.evil.example', 'localhost.evil.example', 'evil.example:8404:1',
    'web8.example.com', '', ':8404', '[::1', '[::1]evil.example', 'localhost/evil.example', 'user@localhost',
    '127.0.0.1,evil.example', '[evil.example]', '0x7f.1', 'localhost evil.example'])
def test_no_page_can_ask_under_its_own_name(running, host):
    for path in '/', '/status.json', '/metrics', '/liveness':
        response = send(running.address, 'GET %s HTTP/1.1\r\nHost: %s\r\n\r\n' % (path, host))
        assert response.status == 403, path
        assert response.text.startswith('this is not the host that was asked for')


@pytest.mark.parametrize('headers', ['', 'X: y\r\n', 'Host: localhost\r\nHost: localhost\r\n',
                                     'Host: localhost\r\nHOST: evil.example\r\n'])
def test_a_request_has_one_host(running, headers):
    response = send(running.address, 'GET /status.json HTTP/1.1\r\n%s\r\n' % headers)
    assert (response.status, response.text) == (400, 'a request has one Host header\n')


def test_http_1_0_needs_no_host(running):
    assert send(running.address, 'GET /liveness HTTP/1.0\r\n\r\n').text == 'alive\n'
    assert send(running.address, 'GET /liveness HTTP/1.0\r\nHost: evil.example\r\n\r\n').status == 403


# --- clients that misbehave ---------------------------------------------------------------------------------

@pytest.mark.parametrize('data', [
    'GET\r\n\r\n', 'GET /\r\n\r\n', 'GET / HTTP/0.9\r\n\r\n', 'GET / HTTP/2.0\r\nHost: localhost\r\n\r\n', '\r\n\r\n',
    'PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n', 'GET / HTTP/1.1 x\r\nHost: localhost\r\n\r\n',
    ' GET / HTTP/1.1\r\nHost: a\r\n\r\n', 'GET  / HTTP/1.1\r\nHost: localhost\r\n\r\n',
    'GET / HTTP/1.1\nHost: localhost\n\n', 'GET / HTTP/1.1\r\nHost\r\n\r\n',
    'GET / HTTP/1.1\r\nHost: localhost\r\n folded: x\r\n\r\n', 'GET / HTTP/1.1\r\nHost : localhost\r\n\r\n',
    'GET /\x00 HTTP/1.1\r\nHost: localhost\r\n\r\n', 'GET / HTTP/1.1\r\nHost: local\x00host\r\n\r\n',
    'GET / HTTP/1.1\r\nHost: localhost\r\nX: a\rb\r\n\r\n', 'GET / HTTP/1.1\r\nHost: localhost\r\nX: a\nY: b\r\n\r\n',
    'GET /\xff HTTP/1.1\r\nHost: localhost\r\n\r\n', 'G\xc4T / HTTP/1.1\r\nHost: localhost\r\n\r\n',
    '\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n', '\x00' * 100 + '\r\n\r\n'])
def test_what_is_no_request_is_refused(running, data, quiet):
    response = send(running.address, data)
    assert (response.status, response.text) == (400, 'that is no request of HTTP/1.0 or HTTP/1.1\n')


@pytest.mark.parametrize('headers', [
    'Content-Length: 5', 'Content-Length: -1', 'Content-Length: x', 'Content-Length: 99999999999999999999',
    'Content-Length: 5\r\nContent-Length: 6', 'Transfer-Encoding: chunked', 'Transfer-Encoding: chunked, x',
    'Content-Length: 5\r\nTransfer-Encoding: chunked', 'Expect: 100-continue',
    'Connection: upgrade\r\nUpgrade: websocket', 'Connection: keep-alive'])
def test_a_body_and_a_second_request_are_never_read(running, headers, quiet):
    request = 'GET /liveness HTTP/1.1\r\nHost: localhost\r\n%s\r\n\r\n' % headers
    response = send(running.address, request + '0\r\n\r\n' + GET % '/status.json')
    assert (response.status, response.text) == (200, 'alive\n')


@pytest.mark.parametrize('data', [
    'GET /%s HTTP/1.1\r\nHost: localhost\r\n\r\n' % ('a' * 9000),
    'GET / HTTP/1.1\r\nHost: localhost\r\nX: %s\r\n\r\n' % ('a' * 100000),
    'GET / HTTP/1.1\r\nHost: localhost\r\n%s\r\n' % ('X: y\r\n' * 65), 'a' * 100000],
    ids=['line', 'header', 'headers', 'no end'])
def test_a_request_is_bounded(running, data, quiet):
    assert send(running.address, data).status == 431


def test_the_largest_request_is_answered(running):
    head = 'GET /liveness HTTP/1.1\r\nHost: localhost\r\nX: %s\r\n\r\n'
    assert send(running.address, head % ('a' * (http_request.MAX_HEAD_BYTES - len(head)))).text == 'alive\n'
    assert send(running.address, GET[:-2] % '/liveness' + 'X: y\r\n' * 63 + '\r\n').text == 'alive\n'


def test_a_request_may_come_byte_by_byte(running):
    with contextlib.closing(connect(running.address)) as client:
        for byte in (GET % '/liveness'):
            client.sendall(byte.encode('ascii'))
        assert Response(read_all(client)).text == 'alive\n'


def test_a_client_that_never_finishes_its_request_is_sent_away(quiet):
    with Running(head_seconds=0.2) as running:
        for beginning in '', 'GET', 'GET / HTTP/1.1\r\nHost: localhost\r\n':
            response = send(running.address, beginning)
            assert (response.status, response.text) == (408, 'a request takes at most 0.2 s\n')


def test_a_client_that_takes_no_answer_is_cut_off(quiet):
    with Running(answer_seconds=0.3) as running:
        running.stub.snapshot = lambda: dict(SNAPSHOT, filling='x' * 30000000)
        with contextlib.closing(connect(running.address)) as client:
            client.sendall((GET % '/status.json').encode('ascii'))
            wait_until('nobody is served', lambda: running.server._clients)
            wait_until('it is still served', lambda: not running.server._clients)
        assert get(running.address, '/liveness').status == 200


def test_clients_that_leave_early_are_no_trouble(quiet):
    with Running() as running:
        for data in b'', b'GET', (GET % '/status.json').encode('ascii'):
            with contextlib.closing(connect(running.address)) as client:
                client.sendall(data)
        assert get(running.address, '/liveness').status == 200
        wait_until('somebody is still served', lambda: not running.server._clients)
        assert running.log.lines == []


def test_whoever_keeps_connections_open_keeps_nobody_out(quiet):
    with Running(max_clients=3) as running:
        idle = []
        try:
            for number in range(5):
                idle.append(connect(running.address))
                wait_until('it was not accepted', lambda: len(running.server._clients) == min(number + 1, 3))
            assert get(running.address, '/liveness').status == 200
            assert [client.recv(1) for client in idle[:3]] == [b'', b'', b'']      # the oldest had to go
        finally:
            for client in idle:
                client.close()


def test_running_out_of_descriptors_is_survived_in_silence(monkeypatch, quiet):
    with Running() as running:
        accept = http_server.WSGIServer.do_read
        failures = [errno.EMFILE, errno.ECONNABORTED]

        def failing(server):
            if failures:
                raise socket.error(failures.pop(0), 'provoked')
            return accept(server)
        monkeypatch.setattr(http_server.WSGIServer, 'do_read', failing)
        assert get(running.address, '/liveness').status == 200
        assert not failures


def test_an_unexpected_error_is_an_answer_and_a_line_in_the_log(quiet):
    with Running() as running:
        running.stub.snapshot = lambda: 1 // 0
        response = get(running.address, '/status.json')
        assert (response.status, response.text) == (500, 'unexpected error: the log tells more\n')
        line, = running.log.events('http_failed')
        assert '/status.json' in line and 'ZeroDivisionError' in line


def test_a_hundred_clients_at_once_are_all_answered_and_the_balancer_too():
    import gevent
    with Server('A') as server, sidelb_with_http(server) as sidelb:
        jobs = [gevent.spawn(get, sidelb.http, '/status.json' if number % 2 else '/') for number in range(100)]
        assert sidelb.who() == 'A'
        gevent.joinall(jobs)
        assert [job.value.status for job in jobs] == [200] * 100
