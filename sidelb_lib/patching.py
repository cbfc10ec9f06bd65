"""Lets gevent take the place of what waits in the standard library. Comes before every import that uses it."""
from __future__ import absolute_import, division, print_function

import sys
import types

import gevent          # noqa: F401 - before the stand-in below: what it needs may need the real pkg_resources


def patch_all():
    """gevent's patching, without its plugins and without ssl, which the checks that need it take from gevent.

    gevent looks for plugins in every installed distribution, at each of its steps. A sidecar that is installed beside its
    application has no use for the application's, and the search costs: with it a start takes 151 ms of CPU up to here, and
    77 ms without (3.11.7, gevent 26.9.0; 28 November 2026). Older gevents search by pkg_resources: 203 and 63 ms, and 31.6
    in place of 24.1 MiB for the whole program (2.7.18, gevent 22.10.2).
    """
    stand_in = types.ModuleType('pkg_resources')
    stand_in.iter_entry_points = lambda group, name=None: iter(())
    kept = sys.modules.setdefault('pkg_resources', stand_in)
    try:
        from gevent import events, monkey
    finally:
        if kept is stand_in:
            del sys.modules['pkg_resources']
    events.notify_and_call_entry_points = events.notify
    # Else the hub imports pprint, dataclasses and inspect, for reports that nobody reads.
    gevent.config.format_context = repr.__module__ + '.repr'
    monkey.patch_all(ssl=False, subprocess=False)
