"""CONTRIBUTING.md: a toy of each kind is built out of its own code blocks, and nothing else is touched."""
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
    """[(the file that a block is for, its language, its code)] in the order of the page."""
    page = read(os.path.join(PROJECT, 'CONTRIBUTING.md'))
    return re.findall(r'`([\w/]+\.(?:py|md))`:\n\n```(python|diff)\n(.*?)```\n', page, re.DOTALL)


def apply(tree, path, language, code):
    """A new file, or a diff: parts between `@@`, each of which must fit in one place."""
    path = os.path.join(tree, *path.split('/'))
    if language == 'python':
        assert not os.path.exists(path)
        return write(path, code)
    text = read(path)
    for part in code.split('@@\n'):
        lines = part.splitlines(True)
        former = ''.join(line[1:] for line in lines if line[0] in ' -')
        assert text.count(former) == 1, '%s does not fit %s' % (former, path)
        text = text.replace(former, ''.join(line[1:] for line in lines if line[0] in ' +'))
    write(path, text)


@pytest.fixture(scope='module')
def tree(tmpdir_factory):
    copy = str(tmpdir_factory.mktemp('contributing').join('tree'))
    for name in ('sidelb_lib', 'docs', 'tests'):
        shutil.copytree(os.path.join(PROJECT, name), os.path.join(copy, name),
                        ignore=shutil.ignore_patterns('__pycache__', '*.pyc'))
    for name in ('sidelb.py', 'README.md', 'ARCHITECTURE.md', 'setup.cfg'):
        shutil.copy(os.path.join(PROJECT, name), copy)
    for path, language, code in blocks():
        apply(copy, path, language, code)
    apply(copy, 'ARCHITECTURE.md', 'diff', ' ## The tree\n+toss echo directory\n')
    with io.open(os.path.join(copy, 'docs', 'settings.md'), 'wb') as page:
        subprocess.check_call([sys.executable, '-m', 'sidelb_lib.config.texts'], cwd=copy, env=clean_environ(), stdout=page)
    return copy


def run(tree, *arguments):
    process = subprocess.Popen([sys.executable, os.path.join(tree, 'sidelb.py')] + list(arguments), cwd=tree,
                               env=clean_environ(), stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    output = process.communicate()[0].decode('utf-8')
    return process.returncode, output


def test_the_page_has_one_of_each_kind():
    assert [path for path, language, _ in blocks() if language == 'python'] == [
        'sidelb_lib/policies/toss.py', 'sidelb_lib/checks/echo.py', 'sidelb_lib/discovery/directory.py']
    assert [path for path, language, _ in blocks() if language == 'diff'] == [
        'sidelb_lib/policies/registry.py', 'sidelb_lib/checks/registry.py', 'sidelb_lib/config/table.py',
        'sidelb_lib/service/service.py', 'sidelb_lib/observe/metrics.py', 'docs/metrics.md',
        'sidelb_lib/discovery/sources.py', 'sidelb_lib/config/table.py']


@pytest.mark.once
def test_nothing_else_must_be_touched(tree):
    """What holds the tables, the folders and the guides together passes with the toys."""
    process = subprocess.Popen(
        [sys.executable, '-m', 'pytest', '-q', '-p', 'no:cacheprovider', 'tests/test_architecture.py',
         'tests/config/test_texts.py::test_docs_settings_md_is_what_the_table_says',
         'tests/observe/test_metrics.py::test_the_table_in_the_guide_is_the_table_of_the_program'],
        cwd=tree, env=clean_environ(), stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    output = process.communicate()[0].decode('utf-8')
    assert process.returncode == 0, output


def test_help_and_mistakes_know_them(tree):
    code, output = run(tree, '--help')
    assert code == 0 and all(word in output for word in ('toss', 'min_servers', 'servers_directory'))
    code, output = run(tree, '--check-config', '127.0.0.1:0', '10.0.0.1:1', 'mode=tos', 'check=ecko')
    assert code == 2 and 'toss' in output and 'echo[:PORT][/LINE]' in output
    code, output = run(tree, '--check-config', '127.0.0.1:0', '10.0.0.1:1', 'mode=toss', 'check=echo/' + 101 * 'x')
    assert code == 2 and 'the line has at most 100 characters' in output
    assert run(tree, '--check-config', '127.0.0.1:0', '10.0.0.1:1', 'mode=toss', 'check=echo/ping')[0] == 0


def get(port, path):
    with contextlib.closing(connect(('127.0.0.1', port))) as client:
        client.sendall(('GET %s HTTP/1.0\r\n\r\n' % path).encode('ascii'))
        return read_all(client).decode('utf-8')


def test_all_serve(tree, tmpdir):
    with Server('A', behaviour=echo) as server:
        command = [sys.executable, os.path.join(tree, 'sidelb.py'), '127.0.0.1:0', '%s/max=7' % server, 'mode=toss',
                   'check=echo/ping', 'status_socket=off', 'http=127.0.0.1:0', 'min_servers=2',
                   'servers_directory=%s' % tmpdir]
        with Process(command, environ=clean_environ()) as sidelb:
            port = int(sidelb.wait_for_output(r'listening on 127\.0\.0\.1:(\d+)').group(1))
            http = int(sidelb.wait_for_output(r'at http://127\.0\.0\.1:(\d+)').group(1))
            wait_until('nobody has looked for servers', lambda: ' 200 ' in get(http, '/startup')[:20])
            assert ' 503 ' in get(http, '/readiness')[:20]
            with contextlib.closing(connect(('127.0.0.1', port))) as client:
                client.sendall(b'hello')
                assert client.recv(5) == b'hello'
            with Server('B', behaviour=echo) as other:
                tmpdir.join(str(other)).write('')
                wait_until('it is not found', lambda: ' 200 ' in get(http, '/readiness')[:20])
            metrics = get(http, '/metrics')
            assert 'sidelb_member_limit{' in metrics or 'pip install' in metrics
