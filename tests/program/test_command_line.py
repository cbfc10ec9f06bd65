"""The command line: commands, help, exit codes, and that no traceback ever reaches a user."""
from __future__ import absolute_import, division, print_function

import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import threading

import docopt
import pytest
from gevent import monkey

import sidelb
from sidelb_lib import __version__
from sidelb_lib.config.table import TABLE

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
PROGRAM = os.path.join(ROOT, 'sidelb.py')
SERVERS = ['127.0.0.1:5432', '10.0.0.3:5432']


class Ended(object):
    """What became of a finished program."""

    def __init__(self, process):
        output, errors = process.communicate()
        self.code = process.returncode
        self.output = (output or b'').decode('ascii')
        self.errors = (errors or b'').decode('ascii')
        assert 'Traceback' not in self.errors + self.output, self.errors


def start(arguments, program=(PROGRAM,), shell_suffix=None, stdout=subprocess.PIPE, **environ):
    """Start SideLB with the variables of `environ` and no inherited SIDELB_* one; it can be interrupted."""
    variables = dict((name, os.environ[name]) for name in os.environ if name[:7] != 'SIDELB_')
    variables.update(environ)
    command = [sys.executable] + list(program) + list(arguments)
    if shell_suffix:
        command = ['sh', '-c', 'exec "$@" ' + shell_suffix, 'sh'] + command
    return subprocess.Popen(command, env=variables, cwd=ROOT, stdout=stdout, stderr=subprocess.PIPE,
                            preexec_fn=heed_interrupts)


def heed_interrupts():
    """Whoever runs the tests in the background of a shell has SIGINT ignored, and children inherit that."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)


def run(*arguments, **options):
    return Ended(start(arguments, **options))


class UnixServer(object):
    """Accepts one client at a time on a Unix socket and sends it `answer`, or never anything if that is None."""

    def __init__(self, path, answer):
        self.path = str(path)
        self.asked = threading.Event()
        self._answer = answer
        self._listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self._listener.bind(self.path)
        self._listener.listen(5)
        self._held = []
        thread = threading.Thread(target=self._serve)
        thread.daemon = True
        thread.start()

    def _serve(self):
        while True:
            try:
                client, _ = self._listener.accept()
            except EnvironmentError:
                return
            self._held.append(client)
            client.recv(64)
            self.asked.set()
            if self._answer is not None:
                client.sendall(self._answer)
                client.close()

    def close(self):
        self._listener.close()
        for client in self._held:
            client.close()


@pytest.fixture
def unix_server(tmpdir):
    servers = []

    def make(answer, name='sidelb.sock'):
        servers.append(UnixServer(tmpdir.join(name), answer))
        return servers[-1]
    yield make
    for server in servers:
        server.close()


@pytest.fixture
def call(monkeypatch, capsys):
    """Call `sidelb.main` in this process: (exit code, output, errors). Without any SIDELB_* variable."""
    for name in [name for name in os.environ if name.startswith('SIDELB_')]:
        monkeypatch.delenv(name)

    def call_main(*arguments):
        code = sidelb.main(list(arguments))
        return (code,) + tuple(capsys.readouterr())
    return call_main


# --- help and version ---

@pytest.mark.parametrize('arguments', [
    ['--help'], ['-h'], ['status', '--help'], SERVERS + ['-h', 'mode=x'], ['--hel', '-h']])
def test_help_lists_usage_examples_and_every_setting_within_100_columns(call, arguments):
    code, output, errors = call(*arguments)
    assert (code, errors) == (0, '')
    assert 'sidelb status [--json] [--history] [--watch] [--socket=PATH]' in output
    assert 'sidelb 127.0.0.1:5432 ring_domain=db.example.com:5432 mode=round-robin' in output
    assert 'SIDELB_BIND_ADDR' in output
    for setting in TABLE:
        assert '\n  %s ' % setting.key in output
    assert max(len(line) for line in output.splitlines()) <= 100


def test_version(call):
    assert call('--version') == (0, 'SideLB %s\n' % __version__, '')


def test_every_option_of_the_usage_is_explained():
    usage, _, explained = sidelb.USAGE.partition('Options:')
    used = set(re.findall(r'(?<![\w-])--[a-z-]+', usage))
    assert len(used) > 8
    for option in used:
        assert len(re.findall(r'^  (?:-h, )?%s\b' % option, explained, re.M)) == 1, option


def test_all_three_ways_to_start_it_are_the_same():
    program = run('--version')
    module = run('--version', program=('-m', 'sidelb'))
    script = run('--version', program=('-c', 'import sys; from sidelb import main; sys.exit(main())'))
    assert program.output == module.output == script.output == 'SideLB %s\n' % __version__
    assert (program.code, module.code, script.code) == (0, 0, 0)


# --- settings ---

def taken_socket():
    """A listener on a port of its own; the caller closes it."""
    sock = socket.socket()
    sock.bind(('127.0.0.1', 0))
    sock.listen(1)
    return sock


def address_of(sock):
    return '%s:%d' % sock.getsockname()


def test_check_config_prints_what_is_in_force_and_where_it_comes_from():
    ended = run('--check-config', *(SERVERS + ['refresh=5s']), SIDELB_MODE='least-connections')
    assert (ended.code, ended.errors) == (0, '')
    rows = [line.split(None, 2) for line in ended.output.splitlines()]
    assert [row[0] for row in rows] == [setting.key for setting in TABLE]
    assert ['listener', '127.0.0.1:5432', 'argument'] in rows
    assert ['mode', 'least-connections', 'environment SIDELB_MODE'] in rows
    assert ['refresh', '5s', 'argument'] in rows
    assert ['check', 'tcp', 'default'] in rows


def test_check_config_binds_nothing(call):
    taken = taken_socket()
    try:
        assert call('--check-config', address_of(taken), '10.0.0.3:5432')[0] == 0
    finally:
        taken.close()


def test_check_config_of_the_environment_alone(call, monkeypatch):
    monkeypatch.setenv('SIDELB_BIND_ADDR', '0.0.0.0:5432')
    monkeypatch.setenv('SIDELB_RING_DOMAIN', 'db.example.com:5432')
    code, output, _ = call('--check-config')
    assert code == 0
    assert 'db.example.com:5432' in output and 'environment SIDELB_RING_DOMAIN' in output


def test_check_config_tells_what_is_hardly_meant():
    ended = run('--check-config', *(SERVERS + ['check_timeout=9s']), SIDELB_VERSION='3.1')
    assert ended.code == 0 and len(ended.output.splitlines()) == len(TABLE)
    unknown, slow = ended.errors.splitlines()
    assert unknown.startswith('sidelb: SIDELB_VERSION: no such setting')
    assert slow.startswith('sidelb: check_timeout=9s is longer than check_interval=5s')


def test_wrong_settings_are_all_listed_on_stderr_and_nothing_is_started(call):
    for arguments in (['5432', 'mode=x', 'mod=y'], ['--check-config', '5432', 'mode=x', 'mod=y']):
        code, output, errors = call(*arguments)
        assert (code, output) == (2, '')
        lines = errors.splitlines()
        assert lines[0] == 'sidelb: mod=: no such setting: did you mean mode=?'
        assert lines[1].startswith('sidelb: listener 5432: ')
        assert lines[2].startswith('sidelb: mode=x: choose')
        assert lines[3].startswith('sidelb: no server: ')
        assert lines[4:] == ['sidelb: nothing was started; sidelb --help explains every setting']


def test_without_anything_it_says_what_is_needed(call):
    code, _, errors = call()
    assert code == 2
    assert 'sidelb: no listener: ' in errors and 'sidelb: no server: ' in errors


def test_a_bind_that_fails_is_one_line():
    taken = taken_socket()
    try:
        ended = run(address_of(taken), '127.0.0.1:1', 'status_socket=off')
        assert ended.errors.startswith('sidelb: ') and address_of(taken) in ended.errors
    finally:
        taken.close()
    assert ended.code == 1
    assert len(ended.errors.splitlines()) == 1
    assert 'ss -lntup shows who has it' in ended.errors


def test_a_file_that_is_no_configuration_has_not_a_mistake_a_line(call, tmpdir):
    wrong = tmpdir.join('notes')
    wrong.write('\n'.join('line %d' % number for number in range(1000)))
    code, _, errors = call('--config=%s' % wrong)
    lines = errors.splitlines()
    assert code == 2 and len(lines) == 22 and re.match(r'sidelb: and \d+ more', lines[-2])


def test_the_doctor_without_anything_says_what_it_is_given(call):
    code, _, errors = call('doctor')
    assert code == 2
    assert errors.startswith('sidelb: doctor: give it what SideLB is started with: sidelb doctor 127.0.0.1:5432')


# --- usage ---

@pytest.mark.parametrize('line, says', [
    ('--json', '--json does not belong here'),
    ('--socket=/x 127.0.0.1:1 127.0.0.1:2', '--socket does not belong here: the usage is sidelb [--check-config]'),
    ('status --check-config', '--check-config does not belong here: the usage is sidelb status'),
    ('status everything', 'everything does not belong here: the usage is sidelb status'),
    ('status status', 'that is too much: the usage is sidelb status'),
    ('status --json --json', 'that is too much: the usage is sidelb status'),
    ('status --json=yes', '--json takes no value: write --json alone'),
    ('status --history', '--history goes with --json; the table shows the last 15 minutes where it has the room'),
    ('status --socket', '--socket: the value is missing: write --socket=PATH'),
    ('--config', '--config: the value is missing: write --config=FILE'),
    ('demo now', 'now does not belong here: the usage is sidelb demo [--keep]'),
    ('demo --json', '--json does not belong here: the usage is sidelb demo [--keep]'),
    ('--health-check-uds status', 'status does not belong here: the usage is sidelb --health-check-uds'),
    ('--health-check-uds --socket=/a --socket=/b', 'that is too much'),
    ('--check-config --check-config', 'that is too much'),
    ('--vers', '--vers: did you mean --version?'),
    ('--check 127.0.0.1:1', '--check: settings have no dashes: check=VALUE'),
    ('--check-confg', '--check-confg: did you mean --check-config?'),
    ('--mode=round-robin', '--mode: settings have no dashes: mode=VALUE'),
    ('--ring-domain=x', '--ring-domain: settings have no dashes: ring_domain=VALUE'),
    ('--xyzzy', '--xyzzy: sidelb has no such option'),
    ('-x', '-x: sidelb has no such option'),
    ('- 127.0.0.1:1', '-: sidelb has no such option'),
    ('-- 127.0.0.1:1', '--: sidelb has no such option'),
    ('-v', '-v: sidelb has no such option: they are written out, like --watch'),
    ('--listen 127.0.0.1:1', '--listen: settings have no dashes: listener=VALUE'),
    ('events --tail', '--tail: sidelb has no such option'),
    ('drain', 'the server is missing: the usage is sidelb drain <server> [--wait]'),
    ('weight db1', 'the weight is missing: the usage is sidelb weight <server> <weight> [--force]'),
    ('weight db1 3 4', '4 does not belong here'),
    ('close --service=db', 'the server is missing: the usage is sidelb close <server>'),
    ('statsu', 'statsu: did you mean sidelb status?'),
    ('stop', 'stop: what has started SideLB stops it, by SIGTERM'),
    ('run 127.0.0.1:1 127.0.0.1:2', 'run: SideLB serves without a word for it: sidelb 127.0.0.1:5432 ring_domain='),
    ('undrain db1', 'undrain: did you mean sidelb enable SERVER?'),
    ('frobnicate', 'frobnicate: no such command: there are status, reload,'),
    ('help', 'did you mean sidelb --help?'),
    ('version', 'did you mean sidelb --version?'),
])
def test_a_wrong_usage_is_said_in_one_line_with_a_way_out(call, line, says):
    code, output, errors = call(*line.split())
    assert (code, output) == (2, '')
    first, second = errors.splitlines()
    assert first.startswith('sidelb: ') and says in first
    assert second == 'sidelb: sidelb --help shows how it is used'


# --- commands ---

def test_a_healthy_instance(call, unix_server):
    path = unix_server(b'HEALTHY\n').path
    assert call('--health-check-uds', '--socket=' + path) == (0, 'Healthy\n', '')


def test_an_unhealthy_instance_says_so_on_stderr(call, unix_server):
    path = unix_server(b'UNHEALTHY\n').path
    code, output, errors = call('--health-check-uds', '--socket', path)
    assert (code, output) == (1, '')
    assert errors.startswith('sidelb: ') and path in errors and len(errors.splitlines()) == 1


def test_an_instance_that_does_not_run(call, tmpdir):
    for command in ('--health-check-uds', 'status'):
        code, output, errors = call(command, '--socket=' + str(tmpdir.join('none.sock')))
        assert (code, output) == (1, '')
        assert 'none.sock' in errors and len(errors.splitlines()) == 1


def test_the_socket_of_the_environment_is_asked_unless_an_argument_names_one(call, unix_server, monkeypatch):
    monkeypatch.setenv('SIDELB_STATUS_SOCKET', unix_server(b'HEALTHY\n', 'healthy.sock').path)
    assert call('--health-check-uds')[0] == 0
    assert call('--health-check-uds', '--socket=' + unix_server(b'UNHEALTHY\n', 'other.sock').path)[0] == 1


@pytest.mark.parametrize('command', ['--health-check-uds', 'status'])
def test_a_socket_that_is_turned_off_can_not_be_asked(call, monkeypatch, command):
    monkeypatch.setenv('SIDELB_STATUS_SOCKET', 'off')
    code, _, errors = call(command)
    assert code == 1
    assert errors == 'sidelb: SIDELB_STATUS_SOCKET turns the status socket off: there is none to ask\n'


def test_commands_do_not_care_for_wrong_settings(call, unix_server, monkeypatch):
    monkeypatch.setenv('SIDELB_MODE', 'fastest')
    assert call('--health-check-uds', '--socket=' + unix_server(b'HEALTHY\n').path)[0] == 0


def test_several_sockets_are_all_asked(call, unix_server):
    one, other = unix_server(b'{"a": 1', 'one'), unix_server(b'{"a": 1', 'other')
    code, _, errors = call('status', '--json', '--socket=' + one.path, '--socket=' + other.path)
    assert code == 1 and one.path in errors          # the first answer is no JSON, and that is said
    assert one.asked.is_set()


def test_light_commands_load_no_dns_library():
    code = ("import sys, sidelb; sidelb.main(['--help']); sidelb.main(['status', '--socket=/none']); "
            "sidelb.main(['--check-config', '127.0.0.1:1', '127.0.0.1:2']); "
            "assert 'dns' not in sys.modules and 'sidelb_lib.service' not in sys.modules")
    assert run(program=('-c', code)).code == 0


# --- surroundings ---

def test_gevent_is_not_tuned_by_variables_of_the_application(unix_server):
    path = unix_server(b'HEALTHY\n').path
    ended = run('--health-check-uds', '--socket=' + path, GEVENT_LOOP='no.such.loop', GEVENT_RESOLVER='no.such')
    assert (ended.code, ended.output, ended.errors) == (0, 'Healthy\n', '')


def test_gevents_plugins_of_the_application_are_neither_looked_for_nor_called(tmpdir):
    about = tmpdir.mkdir('tuning-1.0.dist-info')
    about.join('METADATA').write('Metadata-Version: 2.1\nName: tuning\nVersion: 1.0\n')
    about.join('entry_points.txt').write('[gevent.plugins.monkey.will_patch_all]\ntuning = tuning:be_called\n')
    tmpdir.join('tuning.py').write('def be_called(event):\n    raise SystemExit("called")\n')
    code = ('import sys, sidelb; assert not set(["pkg_resources", "importlib_metadata"]).intersection(sys.modules); '
            'sys.exit(sidelb.main(["--version"]))')
    ended = run(program=('-c', code), PYTHONPATH=os.pathsep.join([str(tmpdir), ROOT]))
    assert (ended.code, ended.errors) == (0, '')


def test_the_warnings_of_an_uncompiled_docopt_are_kept_from_the_user(tmpdir):
    source = docopt.__file__.replace('.pyc', '.py')
    shutil.copy(source, str(tmpdir.join('docopt.py')))
    ended = run('--check-config', *SERVERS, PYTHONPATH=str(tmpdir), PYTHONDONTWRITEBYTECODE='1')
    assert (ended.code, ended.errors) == (0, '')


@pytest.mark.parametrize('argument', [
    b'\xff\xfe', b'mode=\xff', b'\xff=x', b'--\xff', b'a\x1b[2J\n:1', b'b\xc3\xbccher:1', b''])
def test_odd_bytes_in_arguments_and_variables_end_in_plain_lines(argument):
    for ended in (run(*(SERVERS + [argument])), run(*SERVERS, SIDELB_RESOLVER=b'\xff\x1b' + argument)):
        assert ended.code == 2
        assert ended.errors.startswith('sidelb: ')
        assert '\x1b' not in ended.errors


def test_odd_bytes_in_a_path_are_shown_escaped():
    ended = run('--check-config', *(SERVERS + [b'status_socket=/tmp/\xff\xc3\xbc']))
    assert ended.code == 0
    assert '/tmp/\\x' in ended.output


@pytest.mark.parametrize('unbuffered', ['', '1'])
@pytest.mark.parametrize('command', ['--help', '--version'])
def test_a_reader_that_is_gone_ends_it_quietly(command, unbuffered):
    reader, writer = os.pipe()
    close = monkey.get_original('os', 'close')      # gevent's own, since 25.8.1, closes a moment later
    close(reader)
    process = start([command], stdout=writer, PYTHONUNBUFFERED=unbuffered)
    close(writer)
    ended = Ended(process)
    assert (ended.code, ended.errors) == (141, '')


def test_a_closed_stdout_is_no_failure():
    ended = run('--help', shell_suffix='>&-')
    assert (ended.code, ended.errors) == (0, '')


@pytest.mark.parametrize('unbuffered', ['', '1'])
def test_a_full_disk_is_one_line(unbuffered):
    ended = run('--help', shell_suffix='>/dev/full', PYTHONUNBUFFERED=unbuffered)
    assert ended.code == 1
    assert len(ended.errors.splitlines()) == 1 and 'No space left' in ended.errors


def test_an_interrupt_ends_it_quietly(unix_server):
    server = unix_server(None)
    process = start(['status', '--socket=' + server.path])
    assert server.asked.wait(20)
    process.send_signal(signal.SIGINT)
    ended = Ended(process)
    assert (ended.code, ended.output, ended.errors) == (130, '', '')


#: Raises KeyboardInterrupt at the n-th name that gevent puts in place of one of the standard library.
INTERRUPTED_WHILE_PATCHING = """
import sys

def interrupt(frame, event, arg):
    if frame.f_code.co_name == 'patch_item':
        left.pop()
        if not left:
            sys.settrace(None)
            raise KeyboardInterrupt

left = [None] * int(sys.argv[1])
sys.settrace(interrupt)
import sidelb
sys.exit(sidelb.main(['--version']))
"""


@pytest.mark.parametrize('step', [9, 13, 17, 21])
def test_an_interrupt_while_threads_are_patched_ends_it_quietly(step):
    ended = run(str(step), program=('-c', INTERRUPTED_WHILE_PATCHING))
    assert (ended.code, ended.output, ended.errors) == (130, '', '')


def test_an_unexpected_error_is_one_line_that_says_where(call, monkeypatch):
    monkeypatch.setattr(sidelb, 'help_text', lambda: {}['missing'])
    code, _, errors = call('--help')
    assert code == 1
    assert errors.startswith("sidelb: unexpected error: KeyError('missing'")
    assert '(test_command_line.py, line ' in errors and len(errors.splitlines()) == 1
