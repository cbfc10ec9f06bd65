from __future__ import absolute_import, division, print_function

import contextlib
import os
import socket

import pytest

from sidelb_lib.config import settings
from sidelb_lib.doctor import host, paths
from sidelb_lib.doctor.finding import NOTE, OK, WRONG
from ..support.netns import NetworkNamespace, entered
from ..support.processes import run
from ..support.program import COMMAND, PROJECT
from ..support.requirements import need, need_namespaces, need_program


@contextlib.contextmanager
def taken(kind=socket.SOCK_STREAM, ip='127.0.0.1'):
    """A socket of ours in the way; its port."""
    sock = socket.socket(socket.AF_INET, kind)
    sock.bind((ip, 0))
    if kind == socket.SOCK_STREAM:
        sock.listen(64)
    try:
        yield sock.getsockname()[1]
    finally:
        sock.close()


def free_port():
    with contextlib.closing(socket.socket()) as sock:
        sock.bind(('127.0.0.1', 0))
        return sock.getsockname()[1]


def one(findings):
    (finding,) = findings
    return finding


def test_a_free_listener_is_told_as_free():
    port = free_port()
    finding = one(host.listener(settings.defaults(listener=('127.0.0.1', port)), None))
    assert (finding.id, finding.level, finding.text) == ('host.listener', OK, '127.0.0.1:%d is free' % port)


@pytest.mark.parametrize('proto, kind', [('tcp', socket.SOCK_STREAM), ('udp', socket.SOCK_DGRAM)])
@pytest.mark.parametrize('wanted', ['127.0.0.1', '0.0.0.0'])
def test_a_listener_that_somebody_has_is_told_with_the_program(proto, kind, wanted):
    with taken(kind) as port:
        finding = one(host.listener(settings.defaults(listener=(wanted, port), proto=proto), None))
    assert finding.level == WRONG
    assert finding.text.startswith('%s:%d is taken by pid %d (' % (wanted, port, os.getpid()))
    assert finding.fixes == ('stop that program, or give the listener another port',)


def test_a_port_that_is_taken_on_another_address_is_free():
    with taken(ip='127.0.0.2') as port:
        assert one(host.listener(settings.defaults(listener=('127.0.0.1', port)), None)).level == OK


def test_looking_takes_no_client_from_the_one_who_listens():
    with taken() as port:
        wanted = settings.defaults(listener=('127.0.0.1', port))
        for _ in range(20):
            host.listener(wanted, None)
            with contextlib.closing(socket.create_connection(('127.0.0.1', port), 5)):
                pass


@pytest.mark.parametrize('proto', ['tcp', 'udp'])
def test_an_address_of_another_host_is_told(proto):
    finding = one(host.listener(settings.defaults(listener=('192.0.2.1', 5432), proto=proto), None))
    assert (finding.level, finding.text) == (WRONG, '192.0.2.1 is no address of this host')
    assert finding.fixes == ('listen on 127.0.0.1:5432, or see: ip -brief address',)


def test_the_running_sidelb_is_recognised_as_the_one_that_serves():
    running = {'listener': '127.0.0.1:5432', 'proto': 'tcp', 'version': '1.1.0', 'pid': 812,
               'readiness': 'all 3 up'}
    finding = one(host.listener(settings.defaults(listener=('127.0.0.1', 5432)), running))
    assert finding.text == '127.0.0.1:5432 is served by SideLB 1.1.0, pid 812: all 3 up'
    assert finding.level == OK


def test_an_unprivileged_user_is_told_about_low_ports():
    need('only root can become another user', os.getuid() == 0)
    program = ('import os\nfrom sidelb_lib.config import settings\nfrom sidelb_lib.doctor import host\n'
               'settings.defaults(proto="udp"), b"".decode("latin-1")\n'     # loads what root alone may read here
               'os.setgid(65534)\nos.setuid(65534)\n'
               'for proto in ("tcp", "udp"):\n'
               '    print(host.listener(settings.defaults(listener=("127.0.0.1", 532), proto=proto), None)[0].text)\n')
    need_namespaces()
    with NetworkNamespace() as namespace:      # the port where unprivileged ones begin is a setting of the namespace
        finished = run([COMMAND[0], '-c', program], cwd=PROJECT, namespace=namespace)
    assert finished.stdout.splitlines() == ['uid 65534 may not bind port 532: ports below 1024 are for root'] * 2, finished


# --- limits ----------------------------------------------------------------------------------------------------------

def limited(monkeypatch, hard):
    monkeypatch.setattr(host.resource, 'getrlimit', lambda which: (hard, hard))


@pytest.mark.parametrize('proto, text', [
    ('tcp', '20000 open files allow 9800 clients at once'), ('udp', '20000 open files allow 19600 UDP clients at once')])
def test_what_the_limit_of_open_files_allows_is_told(proto, text, monkeypatch):
    limited(monkeypatch, 20000)
    finding = one(host.descriptors(settings.defaults(proto=proto)))
    assert (finding.level, finding.text) == (OK, text)


def test_few_open_files_are_a_note_with_the_way_out(monkeypatch):
    limited(monkeypatch, 256)
    finding = one(host.descriptors(settings.defaults()))
    assert (finding.level, finding.text) == (NOTE, '256 open files allow 64 clients at once; more wait')
    assert finding.fixes == ('raise the hard limit (ulimit -Hn, docker --ulimit nofile=, LimitNOFILE=)',)


def test_more_clients_than_open_files_are_wrong(monkeypatch):
    limited(monkeypatch, 20000)
    finding = one(host.descriptors(settings.defaults(max_connections=50000)))
    assert finding.level == WRONG
    assert finding.text == ('max_connections=50000 needs 100400 open files, the hard limit is 20000: only 9800 clients at '
                            'once')
    assert finding.fixes == ('raise the limit, or lower max_connections',)


def kernel(namespace, *values):
    sysctl = need_program('sysctl', 'procps')
    for value in values:
        finished = run([sysctl, '-qw', value], namespace=namespace)
        assert finished.returncode == 0, finished


def test_few_local_ports_and_a_listener_among_them_are_notes():
    need_namespaces()
    with NetworkNamespace() as namespace:
        kernel(namespace, 'net.ipv4.ip_local_port_range=32768 60999')
        with entered(namespace):
            found = host.ports(settings.defaults(listener=('127.0.0.1', 40000), max_connections=50000))
            kernel(namespace, 'net.ipv4.ip_local_reserved_ports=39000-41000')
            reserved = host.ports(settings.defaults(listener=('127.0.0.1', 40000)))
    assert [finding.text for finding in found] == [
        '28232 local ports to each server address, fewer than max_connections=50000',
        'port 40000 is in the local port range: a connection may hold it at a restart']
    assert all(finding.level == NOTE and finding.fixes for finding in found) and not reserved


# --- the status socket, and who ends the program ---------------------------------------------------------------------

def test_the_first_place_where_a_status_socket_can_be_is_told(tmpdir):
    paths = [str(tmpdir.join('missing', 'sidelb.sock')), str(tmpdir.join('sidelb.sock'))]
    finding = one(host.status_socket(settings.defaults(listener=('127.0.0.1', 1)), paths, None))
    assert (finding.level, finding.text) == (OK, 'status socket: %s' % paths[1])
    assert not tmpdir.listdir(), 'the doctor wrote something'


def test_no_place_for_a_status_socket_is_a_note_that_names_all(tmpdir):
    paths = [str(tmpdir.join('missing', 'sidelb.sock')), str(tmpdir.mkdir('sidelb.sock'))]
    finding = one(host.status_socket(settings.defaults(listener=('127.0.0.1', 1)), paths, None))
    assert finding.level == NOTE
    assert finding.text == ('no place for the status socket (%s does not exist; %s is a directory), so sidelb status will '
                            'not work' % (os.path.dirname(paths[0]), paths[1]))


@pytest.mark.parametrize('drain, environ, level, text', [
    ('8s', {}, OK, "drain_timeout=8s is below Docker's default grace period (10 s)"),
    ('10s', {}, NOTE, "drain_timeout=10s is not below Docker's default grace period (10 s); what is really set cannot be "
     'seen from inside'),
    ('30s', {'KUBERNETES_SERVICE_HOST': '10.0.0.1'}, NOTE, "drain_timeout=30s is not below a pod's default "
     'terminationGracePeriodSeconds (30 s); what is really set cannot be seen from inside'),
    ('29s', {'KUBERNETES_SERVICE_HOST': '10.0.0.1'}, OK, "drain_timeout=29s is below a pod's default "
     'terminationGracePeriodSeconds (30 s)'),
    ('12s', {'SUPERVISOR_ENABLED': '1'}, NOTE, "drain_timeout=12s is not below supervisord's default stopwaitsecs (10 s); "
     'what is really set cannot be seen from inside'),
    ('60s', {'INVOCATION_ID': '0a'}, OK, "drain_timeout=60s is below systemd's default TimeoutStopSec (90 s)"),
])
def test_a_drain_that_would_be_killed_is_told(drain, environ, level, text, monkeypatch):
    monkeypatch.setattr(host.machine, 'command_of', lambda pid: 'init')
    finding = one(host.stop(settings.defaults(drain_timeout=drain), environ, None))
    assert (finding.level, finding.text) == (level, text)
    assert bool(finding.fixes) == (level == NOTE)


def test_a_check_slower_than_its_interval_is_a_note():
    slow = settings.defaults(check_timeout='9s')
    assert one(host.timing(slow)).text == 'check_timeout=9s is longer than check_interval=5s: a hanging server is found late'
    assert not host.timing(settings.defaults())
    assert not host.timing(settings.defaults(check_timeout='9s', check='off'))


def test_variables_of_service_links_are_a_note():
    finding = one(host.service_links(['SIDELB_PORT', 'SIDELB_PORT_80_TCP']))
    assert finding.text == '2 variables of Kubernetes service links ignored: SIDELB_PORT and 1 more'
    assert not host.service_links([])


# --- what it will make in the file system ---------------------------------------------------------------------------------

def about_listener(path):
    return one(host.listener(settings.defaults(listener='unix:%s' % path), None))


def test_a_unix_listener_is_free_taken_or_has_no_directory(tmpdir):
    path = tmpdir.join('app.sock')
    assert (about_listener(path).level, about_listener(path).text) == (OK, 'unix:%s is free' % path)
    assert about_listener('@sidelb-doctor-%d' % os.getpid()).level == OK
    with contextlib.closing(socket.socket(socket.AF_UNIX)) as taken:
        taken.bind(str(path))
        assert about_listener(path).level == OK                    # nobody listens: a file that was left behind
        taken.listen(1)
        assert (about_listener(path).level, about_listener(path).text) == (WRONG, 'somebody answers at unix:%s' % path)
    missing = about_listener(tmpdir.join('no', 'app.sock'))
    assert missing.text == 'unix:%s/no/app.sock: there is no directory %s/no' % (tmpdir, tmpdir)
    assert missing.fixes == ('mkdir -p %s/no' % tmpdir,)


def about_access_log(path):
    return paths.access_log(settings.defaults(access_log=str(path)))


def test_an_access_log_that_can_be_written_is_no_finding_and_is_not_made(tmpdir):
    assert about_access_log('on') == about_access_log(tmpdir.join('access.log')) == [] == tmpdir.listdir()
    tmpdir.join('access.log').write('')
    assert about_access_log(tmpdir.join('access.log')) == []


def test_one_that_can_not_be_written_is_wrong(tmpdir, monkeypatch):
    where = tmpdir.join('no', 'access.log')
    assert one(about_access_log(where)).text == 'access_log=%s: there is no directory %s/no' % (where, tmpdir)
    assert one(about_access_log(tmpdir)).text == '%s is a directory' % tmpdir
    monkeypatch.setattr(os, 'access', lambda path, mode: False)
    assert one(about_access_log(tmpdir.join('access.log'))).text == (
        'access_log=%s/access.log: uid %d may not make a file in %s' % (tmpdir, os.geteuid(), tmpdir))
    tmpdir.join('access.log').write('')
    assert one(about_access_log(tmpdir.join('access.log'))).text == 'uid %d may not write %s/access.log' % (
        os.geteuid(), tmpdir)
