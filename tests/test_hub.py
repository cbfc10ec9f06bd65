"""What is marked as never waiting does not wait; the folders whose code runs in the hub are tested under a guard."""
from __future__ import absolute_import, division, print_function

import ast
import io
import os

import gevent

from sidelb_lib.hub import never_waits
from .support.hub_guard import HubGuard
from .support.program import PROJECT

WATCHERS = ('readable', 'writable', 'ready', 'leaving', 'timer', 'tick', 'watcher')
#: Handed to the hub, and no function of ours: a greenlet's or an event's own.
OTHERS = ('switch', 'wake', 'set', 'self')


class Part(object):
    @never_waits
    def reads(self):
        return 'read'

    @never_waits
    def waits(self):
        gevent.sleep(0)
        return 'waited'


def guarded_part():
    return HubGuard([(Part, name, vars(Part)[name]) for name in ('reads', 'waits')])


def test_a_marked_function_that_waits_is_found():
    with guarded_part() as guard:
        assert Part().waits() == 'waited'
    assert len(guard.waited) == 1 and guard.waited[0].startswith('waits, called by')


def test_a_marked_function_that_does_not_wait_is_left_alone():
    with guarded_part() as guard:
        assert Part().reads() == 'read'
        gevent.sleep(0)
    assert not guard.waited and guard.called == {'reads'}


def test_other_greenlets_may_wait_meanwhile():
    with guarded_part() as guard:
        sleeper = gevent.spawn(gevent.sleep, 0.001)
        Part().reads()
        sleeper.join()
    assert not guard.waited


def test_in_the_hub_itself_gevent_refuses_to_wait():
    hub, errors = gevent.get_hub(), []

    def in_the_hub():
        try:
            Part().waits()
        except BaseException as error:
            errors.append(type(error).__name__)
    hub.loop.run_callback(in_the_hub)
    gevent.sleep(0.001)
    assert errors == ['BlockingSwitchOutError']


def library():
    """[the syntax tree of a module of the library]."""
    for directory, _, names in os.walk(os.path.join(PROJECT, 'sidelb_lib')):
        for name in names:
            if name.endswith('.py'):
                with io.open(os.path.join(directory, name), encoding='utf-8') as source:
                    yield ast.parse(source.read().encode('utf-8'))


def handed_to_the_hub(tree):
    """The expressions for what a module gives the event loop, or whoever calls it from there."""
    for node in ast.walk(tree):
        if isinstance(node, ast.AugAssign) and getattr(node.target, 'attr', None) == 'observers':
            for one in node.value.elts:
                yield one
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
            owner, method = node.func.value, node.func.attr
            name = getattr(owner, 'attr', getattr(owner, 'id', ''))
            if method == 'run_callback' or (method, name) in (('append', 'observers'), ('append', 'followers')) or (
                    method == 'start' and name.strip('_') in WATCHERS and node.args):
                yield node.args[0]
            elif method == 'signal_handler':
                yield node.args[1]


def test_all_that_is_handed_to_the_hub_is_marked():
    trees = list(library())
    handed = set(getattr(one, 'attr', getattr(one, 'id', None)) for tree in trees for one in handed_to_the_hub(tree))
    assert set(['ready', '_carry', '_pool_changed', 'cut', 'request_stop']) <= handed
    marks = {}
    for tree in trees:
        for node in ast.walk(tree):
            if isinstance(node, ast.FunctionDef):
                marks.setdefault(node.name, []).append('never_waits' in [
                    getattr(decorator, 'id', None) for decorator in node.decorator_list])
    unmarked = sorted(name for name in handed - set(OTHERS) if not any(marks[name]))
    assert unmarked == [], 'these run in the hub, and are not marked'
    for name in ('_pool_changed', 'observe'):            # of several classes, all in the hub
        assert all(marks[name]), 'one of the functions %s is not marked' % name
