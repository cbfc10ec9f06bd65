"""check=redis: PING, and ROLE."""
from __future__ import absolute_import, division, print_function

import pytest

from sidelb_lib.checks import registry
from sidelb_lib.checks.exchange import PASSED, Deadline, Misconfigured, ProbeFailed
from sidelb_lib.config import settings
from sidelb_lib.config.values import Secret
from sidelb_lib.pool.members import Address

from ..support.redis import redis, redis_servers
from ..support.servers import Server
from ..support.waiting import wait_until

MASTER = b'*3\r\n$6\r\nmaster\r\n:0\r\n*0\r\n'
REPLICA = b'*5\r\n$5\r\nslave\r\n$9\r\n127.0.0.1\r\n:44743\r\n$9\r\n%s\r\n:-1\r\n'


def probe(check, address, **changes):
    given = settings.defaults(check=check, **changes)
    return registry.make(given.check, registry.Context(given, None))(Address(address[0], address[1], 0.0), Deadline(2.0))


def answered(check, *replies, **changes):
    def answer(session):
        session.sock.recv(4096)
        session.sock.sendall(b''.join(replies) + b'+OK\r\n')
    with Server('x', behaviour=answer) as server:
        return probe(check, server.address, **changes)


@pytest.mark.parametrize('reply', [b'+PONG\r\n', b'-BUSY Redis is busy running a script\r\n',
                                   b'-NOAUTH Authentication required.\r\n'])
def test_a_server_that_answers_passes(reply):
    assert answered('redis', reply).state == 'up'


def test_one_that_wants_a_password_counts_an_error_which_is_told():
    assert 'SIDELB_CHECK_PASSWORD' in answered('redis', b'-NOAUTH Authentication required.\r\n').facts['noisy']


@pytest.mark.parametrize('reply, text', [
    (b'-LOADING Redis is loading the dataset in memory\r\n', 'LOADING Redis is loading the dataset in memory'),
    (b'-MASTERDOWN Link with MASTER is down\r\n', 'MASTERDOWN Link with MASTER is down'),
    (b'HTTP/1.1 400 Bad Request\r\n', 'no Redis answer: HTTP/1.1 400 Bad'),
])
def test_one_that_can_not_serve_fails_with_its_own_words(reply, text):
    with pytest.raises(ProbeFailed) as raised:
        answered('redis', reply)
    assert str(raised.value) == text


@pytest.mark.parametrize('reply', [b'-WRONGPASS invalid username-password pair\r\n', b'-DENIED protected mode\r\n'])
def test_a_wrong_password_is_no_failure_of_the_server(reply):
    with pytest.raises(Misconfigured):
        answered('redis', reply)


@pytest.mark.parametrize('check, role, state', [
    ('redis/primary', MASTER, 'up'), ('redis/replica', MASTER, 'standby'),
    ('redis/primary', REPLICA.replace(b'%s', b'connected'), 'standby'),
    ('redis/replica', REPLICA.replace(b'%s', b'connected'), 'up')])
def test_the_role_decides(check, role, state):
    assert answered(check, b'+PONG\r\n', role).state == state


@pytest.mark.parametrize('state', [b'handshake', b'connecting', b'connect', b'sync'])
def test_a_replica_that_is_not_connected_is_no_replica(state):
    reply = REPLICA.replace(b'$9\r\n%s', b'$%d\r\n%s' % (len(state), state))
    with pytest.raises(ProbeFailed) as raised:
        answered('redis/replica', b'+PONG\r\n', reply)
    assert 'not connected to its primary (%s)' % state.decode('ascii') in str(raised.value)


@pytest.mark.parametrize('reply, text', [
    (b'*2\r\n$8\r\nsentinel\r\n*1\r\n$4\r\nmain\r\n', 'this is a Sentinel'),
    (b'+OK\r\n', 'ROLE is answered by another thing'), (b'*0\r\n', 'ROLE is answered by another thing')])
def test_what_has_no_role_fails(reply, text):
    with pytest.raises(ProbeFailed) as raised:
        answered('redis/primary', b'+PONG\r\n', reply)
    assert str(raised.value) == text


@pytest.mark.parametrize('reply', [
    b"-NOPERM this user has no permissions to run the 'role' command\r\n", b'-ERR unknown command `ROLE`\r\n',
    b'-NOAUTH Authentication required.\r\n'])
def test_a_role_that_may_not_be_asked_for_is_no_failure_of_the_server(reply):
    with pytest.raises(Misconfigured) as raised:
        answered('redis/primary', b'+PONG\r\n', reply)
    assert str(raised.value) == reply[1:-2].decode('ascii')


def test_loading_comes_before_the_role():
    with pytest.raises(ProbeFailed):
        answered('redis/primary', b'-LOADING x\r\n', MASTER)


def test_a_real_pair_and_its_failover():
    with redis_servers(['127.0.0.2', '127.0.0.3']) as (one, other):
        assert redis(other.address, 'replicaof', one.address[0], str(one.address[1])) == 'OK'

        def roles():
            try:
                return [probe('redis/replica', server.address).state for server in (one, other)]
            except ProbeFailed:
                return None
        wait_until('the replica does not connect', lambda: roles() == ['standby', 'up'], 20)
        assert [probe('redis/primary', server.address).state for server in (one, other)] == ['up', 'standby']
        assert redis(other.address, 'replicaof', 'no', 'one') == 'OK'
        assert probe('redis/primary', other.address).state == 'up'


def test_a_real_server_with_a_password():
    with redis_servers(['127.0.0.2']) as (server,):
        assert redis(server.address, 'config', 'set', 'requirepass', 'secret') == 'OK'
        assert probe('redis', server.address).state == 'up'
        with pytest.raises(Misconfigured):
            probe('redis/primary', server.address)
        assert probe('redis/primary', server.address, check_password=Secret('secret')).state == 'up'
        with pytest.raises(Misconfigured):
            probe('redis/primary', server.address, check_password=Secret('wrong'))


def test_a_real_server_with_a_user_of_its_own_for_checks():
    """As the guide has it: ACL, Redis 6 and newer; and without the right to ask for the role it is told so."""
    with redis_servers(['127.0.0.2']) as (server,):
        assert redis(server.address, 'acl', 'setuser', 'sidelb', 'on', '>secret', '+ping', '+role', '+quit') == 'OK'
        login = dict(check_user='sidelb', check_password=Secret('secret'))
        assert probe('redis/primary', server.address, **login).state == 'up'
        assert probe('redis', server.address, **login) == PASSED
        errors = server.statistic('total_error_replies')
        for _ in range(20):
            probe('redis/primary', server.address, **login)
        assert server.statistic('total_error_replies') == errors
        assert redis(server.address, 'acl', 'setuser', 'sidelb', '-role') == 'OK'
        with pytest.raises(Misconfigured) as raised:
            probe('redis/primary', server.address, **login)
        assert str(raised.value).startswith('NOPERM ')
