"""check=want:TEXT,ask:TEXT,...: a conversation goes as written."""
from __future__ import absolute_import, division, print_function

import io
import os
import re
import socket

import gevent
import pytest

from sidelb_lib.checks import registry
from sidelb_lib.checks.exchange import PASSED, Deadline, ProbeFailed
from sidelb_lib.config import settings
from sidelb_lib.pool.members import Address

from ..support.servers import Server, pour, swallow
from ..support.waiting import wait_until

SMTP = r'want:220,ask:HELO sidelb\r\n,want:250,ask:QUIT\r\n,want:221'


def steps(text):
    return registry.parse(text).options.steps


def mistake(text):
    with pytest.raises(ValueError) as raised:
        registry.parse(text)
    return str(raised.value)


def run(script, address, proto='tcp', seconds=2.0):
    probe = registry.make(registry.parse(script), registry.Context(settings.defaults(proto=proto), None))
    return probe(Address(address[0], address[1], 0.0), Deadline(seconds))


def failure(*arguments, **options):
    with pytest.raises(ProbeFailed) as raised:
        run(*arguments, **options)
    return str(raised.value)


@pytest.mark.parametrize('text, wanted', [
    (r'ask:a\r\n,want:b', ((True, b'a\r\n'), (False, b'b'))),
    (r'want:a\,b\\c\x00\xfF\t', ((False, b'a,b\\c\x00\xff\t'),)),
    ('send:00ff,expect:4F4b', ((True, b'\x00\xff'), (False, b'OK'))),
    ('send: 00 ff,expect:4F 4b', ((True, b'\x00\xff'), (False, b'OK'))),
    ('WANT:x', ((False, b'x'),)),
])
def test_what_is_written(text, wanted):
    assert steps(text) == wanted


@pytest.mark.parametrize('text, says', [
    ('want:', 'want: says nothing'), ('ask:x', 'nothing is wanted of the server'),
    ('send:0,expect:00', 'two hexadecimal digits'), ('send:xx,expect:00', 'two hexadecimal digits'),
    ('send:00,expect:', 'expect: says nothing'), ('send:00,expect:000', 'two hexadecimal digits'),
    (r'want:\q', r'\q means nothing'), (r'want:\x4', r'\x means nothing'), ('want:a,b', 'step 2 is none'),
    ('want:a,', 'nothing is here after the last comma'), (u'want:\xe4', r'write what is not ASCII as \xHH'),
    ('send:%s,expect:00' % ('00' * 1233), 'at most 1232 bytes'), ('want:a,' * 32 + 'want:a', 'at most 32 steps'),
])
def test_a_wrong_script(text, says):
    assert says in mistake(text) and 'write want:TEXT,ask:TEXT,...' in mistake(text)


def test_over_udp_it_is_one_question_and_one_answer():
    assert 'udp' in registry.parse('ask:a,want:b').protocols
    for text in ('want:a', 'want:a,ask:b', 'ask:a,want:b,ask:c'):
        assert 'udp' not in registry.parse(text).protocols


def test_an_answer_that_begins_as_wanted_passes_over_udp_and_another_does_not():
    server = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    server.bind(('127.0.0.1', 0))

    def answer():
        while True:
            question, client = server.recvfrom(100)
            server.sendto(b'OK\x00' + question, client)
    answering = gevent.spawn(answer)
    address = server.getsockname()
    assert run('send:00ff,expect:4f4b', address, 'udp') == PASSED
    assert failure('send:00ff,expect:4f4c', address, 'udp') == 'wanted OL, got OK\\x00\\x00\\xff'
    answering.kill()
    assert failure('send:00ff,expect:4f4b', address, 'udp', seconds=0.05) == 'no answer within 0.05 s'
    server.close()


def smtp(*greeting):
    """An SMTP server that says `greeting` in these pieces. It is written of whoever speaks before it has."""
    def behaviour(session):
        session.spoke_too_early = False
        for piece in greeting:
            session.send(piece)
            gevent.sleep(0.01)
        for wanted, answer in ((b'HELO sidelb\r\n', b'250-hello\r\n250 more\r\n'), (b'QUIT\r\n', b'221 bye\r\n')):
            assert session.recv() == wanted
            session.send(answer)
        swallow(session)
    return behaviour


@pytest.mark.parametrize('greeting', [
    [b'220 mail\r\n'], [b'22', b'0 mail\r\n'], [b'220', b' mail\r', b'\n'], [b'220-one\r\n220-two\r\n220 mail\r\n'],
    [b'220-one\r', b'\n220', b' mail\r\n']])
@pytest.mark.parametrize('wanted', ['220', r'220\x20'])
def test_smtp_in_whichever_pieces(greeting, wanted):
    with Server(behaviour=smtp(*greeting)) as server:
        assert run(SMTP.replace('220', wanted), server.address) == PASSED
        wait_until('it was cut off', lambda: server.sessions[0].ended == 'eof')


def test_lines_that_are_wanted_one_by_one_are_read_one_by_one():
    with Server(behaviour=lambda session: session.send(b'220-a\r\n220-b\r\n220 c\r\n')) as server:
        assert run(r'want:220-a,want:220-b,want:220 c', server.address) == PASSED


@pytest.mark.parametrize('said, says', [
    (b'421 4.3.2 down\r\n', 'wanted 220, got 421 4.3.2 down'), (b'\x00\xff', 'wanted 220, got \\x00\\xff'),
    (b'22', 'wanted 220, got 22'), (b'', 'step 1 (want 220): ends the connection early')])
def test_what_is_not_wanted(said, says):
    with Server(behaviour=lambda session: session.send(said)) as server:
        assert failure('want:220', server.address) == says


def test_silence_names_the_step():
    with Server(behaviour=smtp(b'220 ok\r\n')) as server:
        assert failure(r'want:220,want:250', server.address, seconds=0.05) == (
            'step 2 (want 250): no answer within 0.05 s')


def test_a_line_without_end_is_a_failure_and_no_memory():
    with Server(behaviour=pour(1 << 20)) as server:
        said = failure(r'want:\x00\x01,want:x', server.address)
        assert 'a line' in said or 'wanted x, got' in said
    with Server(behaviour=lambda session: session.send(b'OK' * 5000)) as server:
        assert failure('want:OK,want:x', server.address) == 'step 2 (want x): a line has more than 4096 bytes'


@pytest.mark.parametrize('check', [r'want:hello,ask:x\r\n,want:welcome', 'redis', 'tls'])
@pytest.mark.parametrize('version, greeting', [('v1', b'PROXY UNKNOWN\r\n'), ('v2', b'\r\n\r\n\0\r\nQUIT\n\x20\0\0\0')])
def test_where_servers_want_a_proxy_header_a_conversation_begins_with_one(check, version, greeting):
    said = []

    def serve(session):
        said.append(session.sock.recv(len(greeting)))
        session.sock.sendall(b'hello')
        said.append(session.sock.recv(4096))
    with Server(behaviour=serve) as server:
        assert not passes(check, server.address, proxy=version)
    assert said[0] == greeting and said[1]


def test_a_port_of_the_checks_own_wants_no_proxy_header():
    def serve(session):
        session.sock.sendall(b'+PONG\r\n' if session.sock.recv(1) == b'*' else b'-ERR\r\n')
        session.sock.recv(4096)
    with Server(behaviour=serve) as server:
        ip, port = server.address
        assert passes('redis:%d' % port, (ip, 1), proxy='v1')
        assert not passes('redis', server.address, proxy='v1')


def passes(check, address, **options):
    probe = registry.make(registry.parse(check), registry.Context(settings.defaults(**options), None))
    try:
        return probe(Address(address[0], address[1], 0.0), Deadline(1.0)).state == 'up'
    except ProbeFailed:
        return False


def recipe(port):
    """The script that docs/checks.md has for the service of that port."""
    path = os.path.join(os.path.dirname(__file__), '..', '..', 'docs', 'checks.md')
    with io.open(path, encoding='utf-8') as stream:
        return str(re.search(r"127[.]0[.]0[.]1:%d .* 'check=(.*)'$" % port, stream.read(), re.MULTILINE).group(1))


@pytest.mark.parametrize('port, conversation', [
    (25, [b'220 mail.example.com ESMTP', b'HELO sidelb', b'250 mail.example.com', b'QUIT', b'221 bye']),
    (143, [b'* OK [CAPABILITY IMAP4rev1] ready', b'a LOGOUT', b'* BYE Logging out']),
    (11211, [None, b'version', b'VERSION 1.6.18', b'quit'])])
def test_the_recipes_of_the_guide_pass_and_say_goodbye(port, conversation):
    heard = []

    def serve(session):
        for answer, question in zip(conversation[::2], conversation[1::2] + [None]):
            if answer:
                session.send(answer + b'\r\n')
            if question:
                heard.append(session.recv())
        swallow(session)
    with Server('x', behaviour=serve) as server:
        assert run(recipe(port), server.address) == PASSED
        wait_until('no goodbye', lambda: heard == [each + b'\r\n' for each in conversation[1::2]])


def test_a_recipe_fails_where_the_server_is_full():
    with Server('x', behaviour=lambda session: session.send(b'421 too many connections\r\n')) as server:
        assert failure(recipe(25), server.address) == 'wanted 220, got 421 too many connections'
