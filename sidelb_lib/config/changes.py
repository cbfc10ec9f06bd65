"""What differs between two configurations, and whether the running process can take it over. Pure."""
from __future__ import absolute_import, division, print_function

from collections import OrderedDict, namedtuple

from ..net.endpoints import endpoint_text
from ..net.own_listener import bind_the_same
from .table import TABLE

#: `added` and `removed` are names of services, `changed` is {name: [keys]}, `process` are keys.
Changes = namedtuple('Changes', 'added removed changed process')


def changes(old, new):
    """The Changes from one Configuration to the other, in the order of the new one."""
    former, wanted = OrderedDict(old.services), OrderedDict(new.services)
    changed = OrderedDict()
    for name, settings in wanted.items():
        keys = differing(former[name], settings, of_process=False) if name in former else []
        if keys:
            changed[name] = keys
    return Changes([name for name in wanted if name not in former], [name for name in former if name not in wanted],
                   changed, differing(old.process, new.process, of_process=True))


def differing(one, other, of_process=None):
    """The keys of the settings whose values differ."""
    return [setting.key for setting in TABLE if of_process in (None, setting.of_process)
            and getattr(one, setting.attribute) != getattr(other, setting.attribute)]


def need_restart(old, new):
    """What a running process cannot take over: one line each."""
    fixed = set(setting.key for setting in TABLE if setting.needs_restart)
    found = changes(old, new)
    lines = ['[sidelb] %s: a change needs a restart' % key for key in found.process if key in fixed]
    former, wanted = dict(old.services), dict(new.services)
    for name, keys in found.changed.items():
        lines += ['[service:%s] %s: a change needs a restart' % (name, key) for key in keys if key in fixed]
        if 'listener' in keys and 'proto' not in keys:
            lines += _moved(name, former[name], wanted[name])
    return lines


def _moved(name, old, new):
    where = '[service:%s] listener: from %s to %s' % (name, endpoint_text(*old.listener), endpoint_text(*new.listener))
    if new.proto == 'udp':
        yield where + ' needs a restart: UDP sessions answer from the address that their clients know'
    elif bind_the_same(old.listener, new.listener):
        yield where + ' needs a restart: they overlap, so the new one cannot be bound beside the old one'
