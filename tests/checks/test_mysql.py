"""check=mysql: a login is answered, and read_only says the role; a real MariaDB holds nothing against the host."""
from __future__ import absolute_import, division, print_function

import binascii
import hashlib
import struct

import pytest
from gevent import ssl

from sidelb_lib.checks import registry
from sidelb_lib.checks.exchange import PASSED, Deadline, Misconfigured, ProbeFailed
from sidelb_lib.config import settings
from sidelb_lib.config.values import Secret
from sidelb_lib.pool.members import Address

from ..support.certificates import Authority
from ..support.mariadb import MariaServer
from ..support.netns import NetworkNamespace, in_namespace
from ..support.requirements import need_namespaces
from ..support.servers import Server
from ..support.waiting import wait_until

GREETING = (b'\x0a5.5.5-10.11.19-MariaDB\0' + b'\x07\0\0\0' + b'12345678' + b'\0' + b'\xfe\xf7' + b'\x2d' + b'\x02\0' +
            b'\xff\x81' + b'\x15' + b'\0' * 10 + b'901234567890' + b'\0' + b'mysql_native_password\0')
RESPONSE = binascii.unhexlify('3e000001018208000000000' '12d' + '00' * 23) + b'sidelb\0\0mysql_native_password\0'
OK = b'\x00\x00\x00\x02\x00\x00\x00'


def packet(number, body):
    return struct.pack('<I', len(body))[:3] + struct.pack('B', number) + body


def error(code, text):
    return b'\xff' + struct.pack('<H', code) + b'#HY000' + text


def probe(check, address, seconds=5.0, **changes):
    given = settings.defaults(check=check, **changes)
    return registry.make(given.check, registry.Context(given, None))(Address(address[0], address[1], 0.0),
                                                                     Deadline(seconds))


def answered(*packets, **options):
    """What a probe makes of a server that greets and then says `packets`: (result, what it got)."""
    got = []

    def serve(session):
        session.sock.sendall(packet(0, options.get('greeting', GREETING)))
        if options.get('greeting', GREETING)[:1] == b'\x0a':
            got.append(session.sock.recv(4096))
            for each in packets:
                session.sock.sendall(each)
            got.append(session.sock.recv(4096))
    with Server('x', behaviour=serve) as server:
        return probe(options.get('check', 'mysql'), server.address), got


def test_the_login_is_as_the_protocol_has_it_and_ends_by_a_goodbye():
    result, got = answered(packet(2, OK))
    assert result.state == 'up' and got == [RESPONSE, binascii.unhexlify('0100000001')]


@pytest.mark.parametrize('code', [1045, 1044])
def test_a_server_that_refuses_the_login_is_well_and_may_log_it(code):
    result, _ = answered(packet(2, error(code, b'Access denied')))
    assert result.state == 'up' and result.facts['noisy'].startswith('logs each check (%d Access denied): ' % code)


@pytest.mark.parametrize('text', ["1040 Too many connections", "1129 Host 'a' is blocked", "1130 Host 'a' is not allowed"])
def test_one_that_can_not_serve_fails_with_its_own_words(text):
    code, _, words = text.partition(' ')
    with pytest.raises(ProbeFailed) as raised:
        answered(greeting=b'\xff' + struct.pack('<H', int(code)) + words.encode('ascii'))
    assert str(raised.value) == text


def test_another_server_is_told():
    with pytest.raises(ProbeFailed) as raised:
        answered(greeting=b'HTTP/1.1 400')
    assert str(raised.value).startswith('no MySQL greeting: HTTP')


@pytest.mark.parametrize('value, check, state', [
    (b'0', 'mysql/primary', 'up'), (b'1', 'mysql/primary', 'standby'), (b'1', 'mysql/replica', 'up'),
    (b'0', 'mysql/replica', 'standby')])
def test_the_role_decides(value, check, state):
    column = packet(2, b'\x03def\0\0\0\x12@@global.read_only\0\x0c\x3f\0\x01\0\0\0\x08\x80\0\0\0\0')
    result, _ = answered(packet(2, OK), packet(1, b'\x01'), column, binascii.unhexlify('05000003fe00000200'),
                         packet(4, b'\x01' + value), binascii.unhexlify('05000005fe00000200'), check=check)
    assert result.state == state


def test_a_login_that_is_refused_is_no_failure_where_a_role_is_asked_for():
    with pytest.raises(Misconfigured):
        answered(packet(2, error(1045, b'Access denied')), check='mysql/primary')


# --- MySQL 8, which Debian does not have: as its documentation and its source, sql/auth/sha2_password.cc, have it -------

NONCE = b'abcdefghijklmnopqrst'
SWITCH = packet(2, b'\xfecaching_sha2_password\0' + NONCE + b'\0')
FAST, FULL = packet(4, b'\x01\x03'), packet(4, b'\x01\x04')
GREETING_8 = GREETING.replace(b'5.5.5-10.11.19-MariaDB', b'8.0.36').replace(b'mysql_native', b'caching_sha2')


def switched(*packets, **options):
    """(result, what the probe answered to SWITCH)."""
    got = []

    def serve(session):
        session.sock.sendall(packet(0, GREETING))
        session.sock.recv(4096)
        session.sock.sendall(SWITCH)
        got.append(session.sock.recv(4096))
        for each in packets:
            session.sock.sendall(each)
        session.sock.recv(4096)
    with Server('x', behaviour=serve) as server:
        return probe('mysql', server.address, **options), got[0]


def test_a_user_without_a_password_says_so_by_one_zero_byte():
    assert switched(packet(4, OK)) == (PASSED, packet(3, b'\0'))


def test_a_password_is_proved_as_the_server_checks_it():
    """It keeps SHA256(SHA256(password)): what that with the nonce takes out of the answer must hash to it."""
    result, got = switched(FAST, packet(5, OK), check_password=Secret('secret'))
    stored = hashlib.sha256(hashlib.sha256(b'secret').digest()).digest()
    mask = hashlib.sha256(stored + NONCE).digest()
    proof = bytes(bytearray(a ^ b for a, b in zip(bytearray(got[4:]), bytearray(mask))))
    assert result == PASSED and got[:4] == b'\x20\0\0\x03' and hashlib.sha256(proof).digest() == stored


def test_where_the_server_has_not_cached_the_password_the_way_out_is_told():
    with pytest.raises(Misconfigured) as raised:
        switched(FULL, check_password=Secret('secret'))
    assert str(raised.value) == 'caching_sha2_password wants TLS or a login before: give sidelb no password'


def test_over_tls_a_server_that_has_not_cached_the_password_gets_it(tmpdir):
    certificate, key = Authority(str(tmpdir)).issue('db.example.com')
    got = []

    def serve(session):
        session.sock.sendall(packet(0, GREETING_8.replace(b'\xfe\xf7', b'\xfe\xff')))
        got.append(session.sock.recv(36))                    # and not what comes behind it
        context = ssl.SSLContext(ssl.PROTOCOL_SSLv23)
        context.load_cert_chain(certificate, key)
        sock = context.wrap_socket(session.sock, server_side=True)
        got.append(sock.recv(4096))
        sock.sendall(packet(3, b'\x01\x04'))
        got.append(sock.recv(4096))
        sock.sendall(packet(5, OK))
        got.append(sock.recv(4096))
    with Server('x', behaviour=serve) as server:
        assert probe('mysql', server.address, check_password=Secret('secret')) == PASSED
        wait_until('no goodbye', lambda: len(got) == 4)
    head = binascii.unhexlify('018a080000000001' '2d' + '00' * 23)
    assert got[0] == packet(1, head) and got[1][:4] == struct.pack('<I', len(got[1]) - 4)[:3] + b'\x02'
    assert got[1][4:].startswith(head + b'sidelb\0\x20') and got[2:] == [packet(4, b'secret\0'), packet(0, b'\x01')]


def test_a_server_whose_default_it_is_needs_no_switch():
    result, got = answered(packet(2, OK), greeting=GREETING_8)
    assert result == PASSED and got[0].endswith(b'sidelb\0\0caching_sha2_password\0')


def test_another_method_of_login_is_told():
    with pytest.raises(Misconfigured) as raised:
        answered(packet(2, b'\xfesha256_password\0' + NONCE + b'\0'))
    assert str(raised.value) == 'the server wants a method of login that is not known: sha256_password'


@pytest.fixture(scope='module')
def server():
    with MariaServer('127.0.0.2') as one:
        yield one


@pytest.mark.parametrize('user', ['sidelb', 'nobody'])
def test_a_real_server_counts_nothing_against_a_host_that_probes_it(user):
    """Seen from an address other than 127.0.0.1, for that alone is counted; 100 errors would lock the host out."""
    need_namespaces()
    with NetworkNamespace(['10.9.0.1']) as namespace, MariaServer('10.9.0.1', namespace) as server:
        server.query("create user if not exists sidelb@'%'")
        aborted, before = server.status('Aborted_connects'), server.log
        given = settings.defaults(check='mysql', check_user=user)
        check = registry.make(given.check, registry.Context(given, None))
        address = registry.Approach(Address('10.9.0.1', server.address[1], 0.0), None, in_namespace(namespace))
        for _ in range(300):
            assert check(address, Deadline(5.0)).state == 'up'
        assert server.connect_errors() == 0
        if user == 'sidelb':
            new = server.log[len(before):].splitlines()        # the host's name can't be resolved in there
            assert server.status('Aborted_connects') == aborted
            assert not [line for line in new if 'could not be resolved' not in line]


@pytest.mark.parametrize('check', ['mysql', 'mysql/primary'])
def test_a_real_server_that_wants_tls_gets_it_and_counts_nothing(check):
    with MariaServer('127.0.0.2', options=['--require-secure-transport=ON'], tls=True) as server:
        server.query("create user sidelb@'%'; create user guarded@'%' identified by 'secret'")
        given = settings.defaults(check=check)
        one = registry.make(given.check, registry.Context(given, None))
        address = Address(server.address[0], server.address[1], 0.0)
        assert one(address, Deadline(5.0)).state == 'up'     # the first one without TLS, and is told so
        before, said = [server.status(name) for name in ('Aborted_connects', 'Aborted_clients')], server.log
        for _ in range(20):
            assert one(address, Deadline(5.0)).state == 'up'
        assert probe(check, server.address, check_user='guarded', check_password=Secret('secret')).state == 'up'
        assert [server.status(name) for name in ('Aborted_connects', 'Aborted_clients')] == before and server.log == said


def test_a_real_server_tells_its_role(server):
    server.query("create user if not exists sidelb@'%'; create user if not exists guarded@'%' identified by 'secret'")
    assert probe('mysql/primary', server.address).state == 'up'
    server.query('set global read_only=1')
    try:
        assert probe('mysql/primary', server.address).state == 'standby'
        assert probe('mysql/replica', server.address, check_user='guarded', check_password=Secret('secret')).state == 'up'
        with pytest.raises(Misconfigured):
            probe('mysql/replica', server.address, check_user='guarded', check_password=Secret('wrong'))
    finally:
        server.query('set global read_only=0')
