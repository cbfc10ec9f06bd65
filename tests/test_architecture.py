"""The table of modules in ARCHITECTURE.md is what the code does, and imports go in one direction."""
from __future__ import absolute_import, division, print_function

import ast
import glob
import io
import os
import re

PROJECT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))


def modules():
    """name -> names of the modules of sidelb_lib that it imports at its head, and those that it imports later."""
    found = {}
    for path in glob.glob(os.path.join(PROJECT, 'sidelb_lib', '*.py')):
        name = os.path.basename(path)[:-3]
        if name != '__init__':
            with io.open(path, encoding='utf-8') as source:
                tree = ast.parse(source.read().encode('utf-8'))
            found[name] = imports_of(tree)
    return found


def imports_of(tree):
    at_head, anywhere = set(), set()
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and node.level == 1:
            names = [node.module] if node.module else [alias.name for alias in node.names]
            names = [name for name in names if not name.startswith('__')]
            anywhere.update(names)
            if node in tree.body:
                at_head.update(names)
    return at_head, anywhere - at_head


def table():
    """module -> names in the last column, as ARCHITECTURE.md has it."""
    with io.open(os.path.join(PROJECT, 'ARCHITECTURE.md'), encoding='utf-8') as text:
        rows = re.findall(r'^\| `(\w+)` \| .* \| (.*) \|$', text.read(), re.M)
    return dict((str(name), set(str(word) for word in re.findall(r'\w+', names)) - set(['none'])) for name, names in rows)


def test_the_table_of_modules_is_what_the_code_does():
    real = dict((name, at_head | later) for name, (at_head, later) in modules().items())
    documented = table()
    assert sorted(documented) == sorted(real)
    for name in real:
        assert documented[name] == real[name], name


def test_no_two_modules_import_each_other_however_indirectly():
    graph = dict((name, at_head | later) for name, (at_head, later) in modules().items())
    done = set()
    while len(done) < len(graph):
        ready = [name for name in graph if name not in done and graph[name] <= done]
        assert ready, 'a circle among %s' % sorted(set(graph) - done)
        done.update(ready)


def test_working_modules_never_import_the_settings_or_the_service():
    composers = set(['service', 'demo', 'sources'])
    for name, (at_head, later) in modules().items():
        if name not in composers:
            assert not (at_head | later) & set(['settings', 'service']), name


def test_discovery_and_probes_do_not_know_each_other():
    graph = modules()
    assert 'probes' not in graph['discovery'][0] and 'discovery' not in graph['probes'][0]


def test_only_compat_asks_for_a_version():
    for path in glob.glob(os.path.join(PROJECT, 'sidelb_lib', '*.py')):
        with io.open(path, encoding='utf-8') as source:
            text = source.read()
        if not path.endswith('compat.py'):
            assert 'version_info' not in text and 'PY2' not in text, path
