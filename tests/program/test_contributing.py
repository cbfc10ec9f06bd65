"""CONTRIBUTING.md: a toy policy and a toy check are built out of its own code blocks, and nothing else is touched."""
from __future__ import absolute_import, division, print_function

import contextlib
import io
import os
import re
import shutil
import subprocess
import sys

import pytest

from ..support.clients import connect, read_all
from ..support.processes import Process
from ..support.program import clean_environ
from ..support.servers import Server, echo
from ..support.waiting import wait_until

PROJECT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))


def read(path):
    with io.open(path, encoding='utf-8') as stream:
        return stream.read()


def write(path, text):
    with io.open(path, 'w', encoding='utf-8') as stream:
        stream.write(text)


def blocks():
    """[(the file that a block is for, its code)] in the order of the page."""
    return re.findall(r'`(sidelb_lib/[\w/]+\.py)`:\n\n```python\n(.*?)```\n', read(os.path.join(PROJECT, 'CONTRIBUTING.md')),
                      re.DOTALL)


def apply(tree, path, code):
    """A new file; or lines for one that is there: an import joins the others, a line that begins as one of the file does
    takes its place, with what follows it."""
    path = os.path.join(tree, *path.split('/'))
    if not os.path.exists(path):
        return write(path, code)
    text, before = read(path), ''
    for line in code.splitlines():
        if line.startswith('from '):
            last = [each for each in text.splitlines() if each.startswith('from ')][-1]
            text = text.replace(last + '\n', '%s\n%s\n' % (last, line), 1)
        elif line.startswith('    '):
            text = text.replace(before, '%s%s\n' % (before, line), 1)
        else:
            before = line + '\n'
            former = '^%s.*\n' % re.escape(line.partition('=')[0] + '= (')
            text = re.sub(former, before.replace('\\', '\\\\'), text, count=1, flags=re.MULTILINE)
    write(path, text)


@pytest.fixture(scope='module')
def tree(tmpdir_factory):
    copy = str(tmpdir_factory.mktemp('contributing').join('tree'))
    shutil.copytree(os.path.join(PROJECT, 'sidelb_lib'), os.path.join(copy, 'sidelb_lib'),
                    ignore=shutil.ignore_patterns('__pycache__', '*.pyc'))
    shutil.copy(os.path.join(PROJECT, 'sidelb.py'), copy)
    for path, code in blocks():
        apply(copy, path, code)
    return copy


def run(tree, *arguments):
    process = subprocess.Popen([sys.executable, os.path.join(tree, 'sidelb.py')] + list(arguments), cwd=tree,
                               env=clean_environ(), stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    output = process.communicate()[0].decode('utf-8')
    return process.returncode, output


def test_the_page_has_a_policy_and_a_check():
    assert [path for path, _ in blocks()] == [
        'sidelb_lib/policies/toss.py', 'sidelb_lib/policies/registry.py', 'sidelb_lib/checks/echo.py',
        'sidelb_lib/checks/registry.py']


def test_help_and_mistakes_know_them(tree):
    code, output = run(tree, '--help')
    assert code == 0 and 'toss' in output
    code, output = run(tree, '--check-config', '127.0.0.1:0', '10.0.0.1:1', 'mode=tos', 'check=ecko')
    assert code == 2 and 'toss' in output and 'echo[:PORT][/LINE]' in output
    code, output = run(tree, '--check-config', '127.0.0.1:0', '10.0.0.1:1', 'mode=toss', 'check=echo/' + 101 * 'x')
    assert code == 2 and 'the line has at most 100 characters' in output
    assert run(tree, '--check-config', '127.0.0.1:0', '10.0.0.1:1', 'mode=toss', 'check=echo/ping')[0] == 0


def readiness(port):
    with contextlib.closing(connect(('127.0.0.1', port))) as client:
        client.sendall(b'GET /readiness HTTP/1.0\r\n\r\n')
        return read_all(client).decode('ascii')


def test_both_serve(tree):
    with Server('A', behaviour=echo) as server:
        command = [sys.executable, os.path.join(tree, 'sidelb.py'), '127.0.0.1:0', str(server), 'mode=toss',
                   'check=echo/ping', 'status_socket=off', 'http=127.0.0.1:0']
        with Process(command, environ=clean_environ()) as sidelb:
            port = int(sidelb.wait_for_output(r'listening on 127\.0\.0\.1:(\d+)').group(1))
            http = int(sidelb.wait_for_output(r'at http://127\.0\.0\.1:(\d+)').group(1))
            wait_until('the check passes', lambda: 'the only server is up\n' in readiness(http))
            with contextlib.closing(connect(('127.0.0.1', port))) as client:
                client.sendall(b'hello')
                assert client.recv(5) == b'hello'
