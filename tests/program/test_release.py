"""tools/release: refuses what is no release, and makes one."""
from __future__ import absolute_import, division, print_function

import io
import os
import sys

import pytest

from ..support.processes import run
from ..support.program import copy_project
from ..support.requirements import need_module, need_program

pytestmark = pytest.mark.once

if sys.version_info[0] == 2:
    pytest.skip('tools/release runs on Python 3', allow_module_level=True)

GIT_ENVIRON = {'GIT_AUTHOR_NAME': 'Test', 'GIT_AUTHOR_EMAIL': 'test@example.com', 'GIT_COMMITTER_NAME': 'Test',
               'GIT_COMMITTER_EMAIL': 'test@example.com', 'GIT_CONFIG_NOSYSTEM': '1', 'GIT_CONFIG_GLOBAL': os.devnull}


class Clone(object):
    """A repository of its own with a copy of this project in it."""

    def __init__(self, directory):
        self.directory = directory
        self._environ = dict(os.environ, **GIT_ENVIRON)
        copy_project(directory)
        with io.open(os.path.join(directory, 'CHANGELOG.md'), 'w', encoding='utf-8') as out:
            out.write(u'# Changes\n\n## Unreleased\n\n- Something new.\n\n## 1.0.0\n\nThe first.\n')
        for command in (['init', '-q'], ['add', '-A'], ['commit', '-q', '-m', 'all']):
            assert self.git(*command).returncode == 0

    def git(self, *arguments):
        git = need_program('git', 'git')
        return run([git] + list(arguments), cwd=self.directory, environ=self._environ)

    def release(self, version):
        return run([sys.executable, os.path.join('tools', 'release'), version], cwd=self.directory, environ=self._environ,
                   timeout=50)

    def read(self, name):
        with io.open(os.path.join(self.directory, name), encoding='utf-8') as stream:
            return stream.read()


@pytest.fixture
def clone(tmpdir):
    need_module('wheel')
    return Clone(str(tmpdir))


def test_a_release_is_committed_tagged_and_built(clone):
    finished = clone.release('99.1.0')
    assert finished.returncode == 0, finished
    assert "__version__ = '99.1.0'" in clone.read('sidelb_lib/__init__.py')
    assert '## 99.1.0 (20' in clone.read('CHANGELOG.md') and 'Unreleased' not in clone.read('CHANGELOG.md')
    assert clone.git('describe').stdout.strip() == 'v99.1.0'
    assert not clone.git('status', '--porcelain').stdout
    assert sorted(os.listdir(os.path.join(clone.directory, 'dist'))) == [
        'sidelb-99.1.0-py2.py3-none-any.whl', 'sidelb-99.1.0.tar.gz']


@pytest.mark.parametrize('version, reason', [
    ('99.1', 'a version is three numbers'), ('0.9.0', 'not newer')])
def test_what_is_no_new_version_is_refused(clone, version, reason):
    finished = clone.release(version)
    assert finished.returncode == 1 and reason in finished.stderr
    assert not clone.git('tag').stdout and not clone.git('status', '--porcelain').stdout


def test_nothing_is_released_out_of_a_tree_with_changes_or_without_a_changelog(clone):
    with open(os.path.join(clone.directory, 'setup.py'), 'a') as out:
        out.write('\n')
    assert 'not clean' in clone.release('99.1.0').stderr
    with io.open(os.path.join(clone.directory, 'CHANGELOG.md'), 'w', encoding='utf-8') as out:
        out.write(u'# Changes\n\n## Unreleased\n\n## 1.0.0\n\nThe first.\n')
    clone.git('commit', '-q', '-am', 'nothing')
    assert 'nothing under' in clone.release('99.1.0').stderr
