"""Watches what is marked with `sidelb_lib.hub.never_waits` while tests run, and tells which of it has waited."""
from __future__ import absolute_import, division, print_function

import functools
import importlib
import inspect
import pkgutil
import sys

import greenlet
from gevent import get_hub

import sidelb_lib


def marked_functions():
    """[(module or class, name, function)] of all in sidelb_lib that is marked."""
    found = []
    for _, name, is_package in pkgutil.walk_packages(sidelb_lib.__path__, 'sidelb_lib.'):
        if not is_package and not is_optional(name):
            module = importlib.import_module(name)
            for owner in [module] + [one for one in vars(module).values()
                                     if inspect.isclass(one) and one.__module__ == name]:
                found += [(owner, key, value) for key, value in vars(owner).items()
                          if getattr(value, 'never_waits', None) is True and value.__module__ == name]
    return found


def is_optional(name):
    """Modules that need what may not be installed."""
    return name.endswith('.metrics')


class HubGuard(object):
    """A context manager: inside, a marked function that switches to the hub to wait is noted in `waited`; `called` has
    the names of those that were called. What runs in the hub itself needs no guard: gevent raises there."""

    def __init__(self, functions):
        self.called = set()
        self.waited = []
        self._functions = functions
        self._running = {}            # greenlet -> names of the marked functions that run in it

    def __enter__(self):
        for owner, name, function in self._functions:
            setattr(owner, name, self._guarded(name, function))
        self._former = greenlet.settrace(self._trace)
        return self

    def __exit__(self, *_):
        greenlet.settrace(self._former)
        for owner, name, function in self._functions:
            setattr(owner, name, function)

    def _guarded(self, name, function):
        @functools.wraps(function)
        def guarded(*arguments, **options):
            self.called.add(name)
            stack = self._running.setdefault(greenlet.getcurrent(), [])
            stack.append(name)
            try:
                return function(*arguments, **options)
            finally:
                stack.pop()
                if not stack:
                    self._running.pop(greenlet.getcurrent(), None)
        return guarded

    def _trace(self, event, arguments):
        origin, target = arguments
        if event == 'switch' and target is get_hub() and self._running.get(origin):
            self.waited.append('%s, called by %s' % (self._running[origin][-1], caller_of(origin)))


def caller_of(one):
    """Where a greenlet that has been left stands, for a person."""
    frame = one.gr_frame
    while frame is not None and 'sidelb_lib' not in frame.f_code.co_filename:
        frame = frame.f_back
    return '%s line %d' % (frame.f_code.co_filename, frame.f_lineno) if frame else sys.executable
