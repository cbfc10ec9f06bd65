"""check=postgres: what each answer means, and what a real server's log says of it."""
from __future__ import absolute_import, division, print_function

import binascii
import os
import socket
import struct

import pytest

from sidelb_lib.checks import registry
from sidelb_lib.checks.exchange import Deadline, Misconfigured, ProbeFailed, ServesNobody
from sidelb_lib.checks.postgres import SSL_REQUEST, Session
from sidelb_lib.config import settings
from sidelb_lib.config.values import Secret
from sidelb_lib.pool.members import Address

from ..support.postgres import PostgresCluster
from ..support.servers import Server

START = binascii.unhexlify('0000003f000300007573657200736964656c6200646174616261736500706f737467726573006170706c69636174'
                           '696f6e5f6e616d6500736964656c620000')


def make(check, **changes):
    given = settings.defaults(check=check, **changes)
    return registry.make(given.check, registry.Context(given, None))


def probe(check, address, seconds=5.0, **changes):
    return make(check, **changes)(Address(address[0], address[1], 0.0), Deadline(seconds))


def message(kind, body):
    return kind + struct.pack('!I', len(body) + 4) + body


def error(code, text):
    return message(b'E', b'SFATAL\0C' + code + b'\0M' + text + b'\0\0')


def answered(answer, check='postgres', **options):
    """What a probe makes of a server that says `answer` to the start of a session; (result, what it got)."""
    got = []

    def serve(session):
        got.append(session.sock.recv(4096))
        session.sock.sendall(answer)
        if session.sock.recv(4096)[:1] == b'Q':
            session.sock.sendall(options.get('timeline', NO_TIMELINE))
            session.sock.recv(4096)
    with Server('x', behaviour=serve) as server:
        changes = dict((name, options[name]) for name in options if name != 'timeline')
        return probe(check, server.address, **changes), got[0]


AUTH_OK = message(b'R', struct.pack('!I', 0))
READY = message(b'Z', b'I')
NO_TIMELINE = error(b'55000', b'recovery is in progress') + READY


def parameters(standby):
    return AUTH_OK + message(b'S', b'in_hot_standby\0' + standby + b'\0') + READY


def test_a_session_is_begun_as_the_protocol_has_it():
    result, got = answered(message(b'R', struct.pack('!I', 10) + b'SCRAM-SHA-256\0\0'))
    assert result.state == 'up' and got == START


@pytest.mark.parametrize('answer', [
    AUTH_OK + READY, error(b'28P01', b'password authentication failed'), error(b'28000', b'no pg_hba.conf entry for host'),
    error(b'3D000', b'database "postgres" does not exist'), error(b'08P01', b'no such user: sidelb'),
    message(b'v', struct.pack('!II', 0, 0)) + message(b'R', struct.pack('!I', 5) + b'salt')])
def test_a_server_that_evaluates_logins_is_well(answer):
    assert answered(answer)[0].state == 'up'


def test_one_that_refuses_the_user_again_and_again_logs_it_which_is_told():
    def refuse(session):
        session.sock.recv(4096)
        session.sock.sendall(error(b'28000', b'role "sidelb" does not exist'))
    with Server('x', behaviour=refuse) as server:
        check, address = make('postgres'), Address(server.address[0], server.address[1], 0.0)
        first, second = [check(address, Deadline(5.0)) for _ in range(2)]
    assert first.facts is None and second.state == 'up'
    assert second.facts['noisy'] == ('logs each check (role "sidelb" does not exist): create the role sidelb, or set '
                                     'check_user= and check_database=')


@pytest.mark.parametrize('answer, text', [
    (error(b'57P03', b'the database system is starting up'), 'the database system is starting up'),
    (error(b'53300', b'sorry, too many clients already'), 'sorry, too many clients already'),
    (b'HTTP/1.1 400 Bad Request\r\n', 'no PostgreSQL answer: H'),
])
def test_one_that_can_not_serve_fails_with_its_own_words(answer, text):
    with pytest.raises(ProbeFailed) as raised:
        answered(answer)
    assert str(raised.value) == text


@pytest.mark.parametrize('check, is_certain', [('postgres/primary', True), ('postgres', False)])
def test_one_that_stops_is_believed_at_once_where_it_has_a_role(check, is_certain):
    with pytest.raises(ProbeFailed) as raised:
        answered(error(b'57P03', b'the database system is shutting down'), check)
    assert isinstance(raised.value, ServesNobody) == is_certain


@pytest.mark.parametrize('check, standby, state, role', [
    ('postgres/primary', b'off', 'up', 'primary'), ('postgres/primary', b'on', 'standby', 'replica'),
    ('postgres/replica', b'on', 'up', 'replica'), ('postgres/replica', b'off', 'standby', 'primary')])
def test_the_role_decides(check, standby, state, role):
    result, _ = answered(parameters(standby), check)
    assert (result.state, result.role) == (state, role)


@pytest.mark.parametrize('answer, facts', [
    (message(b'D', b'\0\1\0\0\0\x080000001A') + READY, {'timeline': 26}), (NO_TIMELINE, None),
    (message(b'D', b'\0\1\0\0\0\x03abc') + READY, None)])
def test_a_primary_tells_its_timeline_for_the_case_of_two(answer, facts):
    assert answered(parameters(b'off'), 'postgres/primary', timeline=answer)[0].facts == facts


@pytest.mark.parametrize('answer, state', [
    (message(b'D', b'\0\1\0\0\0\x03off') + READY, 'up'), (message(b'D', b'\0\1\0\0\0\x02on') + READY, 'standby')])
def test_an_older_server_is_asked_for_its_role(answer, state):
    """Before PostgreSQL 14, and YugabyteDB and CockroachDB: no in_hot_standby among the parameters."""
    assert answered(AUTH_OK + READY, 'postgres/primary', timeline=answer)[0][:2] == (
        state, 'primary' if state == 'up' else 'replica')


def test_one_whose_sessions_are_read_only_by_default_is_no_primary():
    answer = parameters(b'off').replace(READY, message(b'S', b'default_transaction_read_only\0on\0') + READY)
    assert answered(answer, 'postgres/primary')[0].state == 'standby'


def test_one_that_does_not_tell_its_role_is_never_taken_for_the_primary():
    with pytest.raises(Misconfigured) as raised:
        answered(AUTH_OK + READY, 'postgres/primary', timeline=READY)
    assert str(raised.value) == 'this server does not tell its role'


def test_a_password_is_sent_in_clear_to_loopback_alone_or_over_tls():
    result, _ = answered(message(b'R', struct.pack('!I', 3)) + parameters(b'on'), 'postgres/replica',
                         check_password=Secret('secret'))
    assert result.state == 'up'
    session = Session.__new__(Session)
    session._address, session._is_secure = Address('10.0.0.1', 5432, 0.0), False
    session._context = registry.Context(settings.defaults(check_password=Secret('secret')), None)
    with pytest.raises(Misconfigured) as raised:
        session._answer(3, b'', None)
    assert str(raised.value) == 'the server wants the password unencrypted: that is sent only over TLS or to loopback'


@pytest.mark.parametrize('answer, says', [
    (b'N', 'refuses TLS, and wants it'), (b'Sx', 'sends more than its answer before TLS begins')])
def test_what_comes_before_tls_is_told(answer, says):
    """The second is what CVE-2021-23222 is about."""
    def serve(session):
        if session.sock.recv(4096) == SSL_REQUEST:
            session.sock.sendall(answer)
        else:
            session.sock.sendall(error(b'28000', b'no pg_hba.conf entry for host "a", no encryption'))
        session.sock.recv(4096)
    with Server('x', behaviour=serve) as server:
        check, address = make('postgres'), Address(server.address[0], server.address[1], 0.0)
        assert check(address, Deadline(5.0)).state == 'up'       # it evaluates logins, and is remembered for TLS
        with pytest.raises(ProbeFailed) as raised:
            check(address, Deadline(5.0))
    assert str(raised.value) == says


def test_a_wrong_password_is_no_failure_of_the_server():
    with pytest.raises(Misconfigured) as raised:
        answered(error(b'28P01', b'password authentication failed for user "sidelb"'), 'postgres/primary')
    assert str(raised.value) == 'password authentication failed for user "sidelb"'


def test_without_a_password_the_way_out_is_told():
    with pytest.raises(Misconfigured) as raised:
        answered(message(b'R', struct.pack('!I', 5) + b'salt'), 'postgres/primary')
    assert 'SIDELB_CHECK_PASSWORD or check_password_file=' in str(raised.value)


def test_very_many_iterations_are_refused():
    from sidelb_lib.checks.postgres import Scram
    scram = Scram('x', {})
    nonce = scram.first().split(b'r=')[1]
    with pytest.raises(Misconfigured):
        scram.final(b'r=' + nonce + b'x,s=c2FsdA==,i=100001')


# --- real servers ----------------------------------------------------------------------------------------------------

@pytest.fixture(scope='module')
def cluster():
    with PostgresCluster(['127.0.0.2']) as one:
        server, = one.servers
        one.query(server.address, "set password_encryption='scram-sha-256'; create role sidelb login password 'secret'")
        yield one


def rules(cluster, *lines):
    """Have the server decide by these lines of pg_hba.conf."""
    server, = cluster.servers
    path = os.path.join(server._data, 'pg_hba.conf')
    with open(path, 'w') as stream:
        stream.write('\n'.join(lines + ('hostssl all postgres 127.0.0.0/8 trust', '')))
    cluster.query(server.address, 'select pg_reload_conf()')


@pytest.mark.parametrize('lines', [('host all sidelb 127.0.0.0/8 scram-sha-256',),
                                   ('hostssl all sidelb 127.0.0.0/8 scram-sha-256',)])
def test_a_real_server_logs_no_failure_of_the_plain_check(cluster, lines):
    rules(cluster, *lines)
    server, = cluster.servers
    check, address = make('postgres'), Address(server.address[0], server.address[1], 0.0)
    check(address, Deadline(5.0))                  # where TLS is wanted the first one is told so
    before = server._process.output
    for _ in range(20):
        assert check(address, Deadline(5.0)).state == 'up'
    new = server._process.output[len(before):]
    assert 'FATAL' not in new and 'could not receive' not in new and 'EOF detected' not in new, new


@pytest.mark.parametrize('method', ['scram-sha-256', 'trust'])
@pytest.mark.parametrize('kind', ['host', 'hostssl'])
def test_a_real_server_tells_its_role(cluster, method, kind):
    rules(cluster, '%s all sidelb 127.0.0.0/8 %s' % (kind, method))
    server, = cluster.servers
    found = probe('postgres/primary', server.address, check_password=Secret('secret'))
    assert (found.state, found.facts) == ('up', {'timeline': 1})
    assert probe('postgres/replica', server.address, check_password=Secret('secret')).state == 'standby'


def test_a_real_server_and_a_wrong_password(cluster, tmpdir):
    rules(cluster, 'host all sidelb 127.0.0.0/8 scram-sha-256')
    server, = cluster.servers
    with pytest.raises(Misconfigured):
        probe('postgres/primary', server.address, check_password=Secret('wrong'))
    path = tmpdir.join('password')
    path.write('secret\n')
    assert probe('postgres/primary', server.address, check_password_file=str(path)).state == 'up'


def test_a_real_server_that_is_full_says_so(cluster):
    """After it has let the user in: of 60 places three are for superusers."""
    rules(cluster, 'host all sidelb 127.0.0.0/8 trust')
    server, = cluster.servers
    held = []
    try:
        with pytest.raises(ProbeFailed) as raised:
            for _ in range(60):
                assert probe('postgres', server.address).state == 'up'
                held.append(socket.create_connection(server.address))
                held[-1].sendall(START)
                assert held[-1].recv(1) == b'R'
        assert 'remaining connection slots are reserved' in str(raised.value)
    finally:
        for each in held:
            each.close()


def test_a_real_server_without_tls_logs_no_failure_of_the_plain_check():
    class Plain(PostgresCluster):
        settings = dict(PostgresCluster.settings, ssl='off')
        rules = ('host all all 127.0.0.0/8 scram-sha-256',)
    with Plain(['127.0.0.2']) as cluster:
        server, = cluster.servers
        check, before = make('postgres'), server.log
        for _ in range(20):
            assert check(Address(server.address[0], server.address[1], 0.0), Deadline(5.0)).state == 'up'
        new = server.log[len(before):]
        assert 'FATAL' not in new and 'could not receive' not in new, new
