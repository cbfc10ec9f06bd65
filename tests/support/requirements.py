"""What a test needs from the machine. Missing: a skip that says so, or a failure under SIDELB_TEST_ALL=1."""
from __future__ import absolute_import, division, print_function

import glob
import importlib
import os
import subprocess

import pytest

SYSTEM_DIRECTORIES = ('/usr/local/sbin', '/usr/local/bin', '/usr/sbin', '/usr/bin', '/sbin', '/bin')


def need(what, satisfied):
    """Go on only if `satisfied`; `what` is the sentence that tells what is missing."""
    if satisfied:
        return
    if os.environ.get('SIDELB_TEST_ALL') == '1':
        pytest.fail('%s, and SIDELB_TEST_ALL=1 wants every test to run' % what)
    pytest.skip(what)


def need_program(name, package, patterns=()):
    """The path of program `name`, of Debian's `package`; `patterns` (glob) are places to look at first."""
    path = find_program(name, patterns)
    need('%s is not installed (Debian: apt install %s)' % (name, package), path)
    return path


def need_module(name):
    """The module `name` of a package of PyPI with the same name can be imported."""
    try:
        importlib.import_module(name)
    except ImportError:
        need('%s is not installed (pip install %s)' % (name, name), False)


def need_namespaces():
    """Network namespaces can be made here."""
    need('network namespaces need Linux and root', os.path.exists('/proc/self/ns/net') and os.getuid() == 0)
    need_program('ip', 'iproute2')
    unshare = need_program('unshare', 'util-linux')
    # Root in a container may be forbidden to.
    attempt = subprocess.Popen([unshare, '--net', '--mount', 'true'], stderr=subprocess.PIPE)
    reason = attempt.communicate()[1].decode('utf-8', 'replace').strip()
    need('network namespaces are not permitted here: %s' % reason, attempt.returncode == 0)


def find_program(name, patterns=()):
    """The path of a program, or None. Daemons are in sbin, which is not on everybody's PATH."""
    candidates = []
    for pattern in patterns:
        candidates += sorted(glob.glob(pattern), reverse=True)
    directories = os.environ.get('PATH', '').split(os.pathsep) + list(SYSTEM_DIRECTORIES)
    candidates += [os.path.join(directory, name) for directory in directories if directory]
    for candidate in candidates:
        if os.path.isfile(candidate) and os.access(candidate, os.X_OK):
            return candidate
    return None
