"""Imports go down the floors of the house, by folder, as ARCHITECTURE.md tells them."""
from __future__ import absolute_import, division, print_function

import ast
import io
import os
import re

import pytest

PROJECT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
LIBRARY = os.path.join(PROJECT, 'sidelb_lib')

#: Room -> the rooms that its modules may import from: a folder, or a module that lies beside the folders. `errors`,
#: `compat`, `durations`, `hub` and `limits` are the ground floor, open to all; nobody imports upwards, and siblings meet in
#: `service`.
ROOMS = {
    'compat': '',
    'errors': '',
    'durations': '',
    'hub': '',
    'limits': '',
    'patching': '',
    'net': '',
    'policies': '',
    'pool': 'net policies',
    'resolver': 'net',
    'checks': 'net',
    'tcp': 'net',
    'udp': 'net',
    'observe': 'net pool.merging',
    'config': 'net policies.registry checks.registry pool.merging',
    'discovery': 'net pool.merging resolver',
    'service': 'net policies pool checks resolver discovery config tcp udp observe',
    'reloading': 'config',
    'admin_state': 'net pool.merging',
    'doctor': 'net config pool policies checks resolver discovery observe',
    'signals': '',
    'process': 'net checks config observe service reloading admin_state signals',
    'usage': 'config',
    'demo': 'net config observe service',
}
GROUND = ('errors', 'compat', 'durations', 'hub', 'limits')


@pytest.fixture(scope='module')
def modules():
    """{module below sidelb_lib, with dots: [(imported module, is it imported at the head?)]}."""
    found = {}
    for directory, _, names in os.walk(LIBRARY):
        for name in names:
            if name.endswith('.py'):
                path = os.path.join(directory, name)
                parts = os.path.relpath(path, LIBRARY)[:-3].split(os.sep)
                found['.'.join(parts)] = list(imports_of(read(path), parts))
    return found


def read(path):
    with io.open(path, encoding='utf-8') as source:
        return ast.parse(source.read().encode('utf-8'))


def imports_of(tree, parts):
    """What a module imports from sidelb_lib, as dotted names below it."""
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and node.level:
            base = parts[:-node.level] + (node.module.split('.') if node.module else [])
            for alias in node.names:
                whole = base + [alias.name]
                if is_module(whole):
                    yield '.'.join(whole), node in tree.body
                elif base and is_module(base):
                    yield '.'.join(base), node in tree.body


def is_module(parts):
    return os.path.isfile(os.path.join(LIBRARY, *parts) + '.py')


def room_of(module):
    return module.split('.')[0]


def test_every_room_is_in_the_table(modules):
    assert sorted(set(room_of(name) for name in modules) - set(['__init__'])) == sorted(ROOMS)


def test_imports_stay_in_their_room_or_go_down_the_floors(modules):
    for module, imported in sorted(modules.items()):
        room = room_of(module)
        if room == '__init__':
            continue
        allowed = ROOMS[room].split()
        for name, _ in imported:
            assert (room_of(name) == room or name in GROUND or room_of(name) in allowed or name in allowed), (
                '%s imports %s, which is not below it' % (module, name))


def test_no_two_rooms_import_each_other_however_indirectly():
    graph = dict((room, set(room_of(name) for name in words.split())) for room, words in ROOMS.items())
    done = set()
    while len(done) < len(graph):
        ready = [room for room in graph if room not in done and graph[room] <= done]
        assert ready, 'a circle among %s' % sorted(set(graph) - done)
        done.update(ready)


def test_no_two_modules_import_each_other_at_their_heads(modules):
    graph = dict((module, set(name for name, at_head in imported if at_head)) for module, imported in modules.items())
    done = set()
    while len(done) < len(graph):
        ready = [module for module in graph if module not in done and graph[module] <= done]
        assert ready, 'a circle among %s' % sorted(set(graph) - done)
        done.update(ready)


def test_architecture_md_shows_every_file_of_the_library(modules):
    with io.open(os.path.join(PROJECT, 'ARCHITECTURE.md'), encoding='utf-8') as text:
        tree = text.read()
    for module in modules:
        name = module.split('.')[-1]
        if name != '__init__':
            assert re.search(r'\b%s(\.py)?\b' % re.escape(name), tree), '%s is not in ARCHITECTURE.md' % module


def test_only_compat_asks_for_a_version():
    for directory, _, names in os.walk(LIBRARY):
        for name in names:
            if name.endswith('.py') and name != 'compat.py':
                with io.open(os.path.join(directory, name), encoding='utf-8') as source:
                    text = source.read()
                assert 'version_info' not in text and 'PY2' not in text, name
