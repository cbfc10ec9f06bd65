"""What the doctor says of servers by what their checks tell."""
from __future__ import absolute_import, division, print_function

import pytest
from gevent import ssl

from ..support.certificates import Authority
from ..support.program import run_sidelb
from ..support.servers import Server

pytestmark = pytest.mark.slow


def doctor(server, check):
    finished = run_sidelb('doctor', '127.0.0.1:0', server, 'check=' + check)
    return ' '.join(finished.stdout.split())


def answering(reply):
    def answer(session):
        session.sock.recv(4096)
        session.sock.sendall(reply)
        session.sock.recv(4096)
    return Server('x', behaviour=answer)


def test_a_server_that_counts_each_check_is_noted_with_the_way_out():
    with answering(b'-NOAUTH Authentication required.\r\n+OK\r\n') as server:
        said = doctor(server, 'redis')
    assert 'note %s counts each check as an error (NOAUTH Authentication required.)' % server in said
    assert 'set SIDELB_CHECK_PASSWORD or check_password_file=' in said


def test_a_login_that_is_refused_has_a_way_out():
    with answering(b'-WRONGPASS invalid username-password pair\r\n') as server:
        said = doctor(server, 'redis/primary')
    assert 'WRONGPASS' in said and 'create the user of check_user=, or set SIDELB_CHECK_PASSWORD' in said


def test_a_server_with_the_role_is_shown_with_it():
    with answering(b'+PONG\r\n*3\r\n$6\r\nmaster\r\n:0\r\n*0\r\n+OK\r\n') as server:
        assert ' ms (primary)' in doctor(server, 'redis/prefer-replica')


def test_a_certificate_that_ends_soon_is_noted(tmpdir):
    certificate, key = Authority(str(tmpdir)).issue('db.example.com')

    def shake_hands(session):
        context = ssl.SSLContext(ssl.PROTOCOL_SSLv23)
        context.load_cert_chain(certificate, key)
        context.wrap_socket(session.sock, server_side=True).recv(10)
    with Server('x', behaviour=shake_hands) as server:
        assert 'note %s: certificate ends in 1 day' % server in doctor(server, 'tls')
