"""The file of `admin_state`: what people have set on the running process, drains and weights, for the next start.

It names servers and says nothing of where they are: that is always a matter of the configuration and of DNS. A file that
is older than an hour tells of another time, and is not taken up; so it is written once more at the end.
"""
from __future__ import absolute_import, division, print_function

import json
import os
import time

from .net.small_file import read_small_file
from .pool.merging import MAX_WEIGHT

MAX_AGE = 3600.0                 # seconds
MAX_BYTES = 1024 * 1024
_MAX_WRITTEN = 1e8               # SRV records have weights up to 65535, and several of one server are added


class Unusable(ValueError):
    """What the file holds is nothing that this module has written."""


class AdminState(object):
    """`services` is a dict name -> Service, `now()` is the time of day."""

    def __init__(self, path, log, now=time.time):
        self._path = path
        self._log = log
        self._now = now
        self._written = None

    def restore(self, services):
        """Once, before the first server is known."""
        try:
            kept = parse(read_small_file(self._path, MAX_BYTES), self._now())
        except EnvironmentError as error:
            if os.path.lexists(self._path):
                self._log.warning('admin_state_failed', 'admin_state={path} was not read: {error}', path=self._path,
                                  error=error.strerror)
            return
        except Unusable as error:
            self._log.warning('admin_state_failed', 'admin_state={path} was not taken up: {error}', path=self._path,
                              error=str(error))
            return
        for name, (drained, weights) in kept.items():
            if name in services:
                services[name].restore(drained, weights)

    def keep(self, services, again=False):
        """Write what is set now, unless that has been written; `again` does it in any case, for the age."""
        state = dict((name, service.set_by_people()) for name, service in services.items())
        if state == self._written and not again:
            return
        try:
            write(self._path, text_of(state, self._now()))
            self._written = state
        except EnvironmentError as error:
            self._log.warning('admin_state_failed', 'admin_state={path} was not written: {error}', path=self._path,
                              error=error.strerror)


def text_of(state, now):
    """The file's bytes for {service: ({drained server: who}, {server: (weight, the written one)})}."""
    services = dict((name, {'drained': drained, 'weights': weights}) for name, (drained, weights) in state.items())
    return (json.dumps({'written': now, 'services': services}, indent=1, sort_keys=True) + '\n').encode('ascii')


def parse(data, now):
    """What `text_of` was given. Raises Unusable."""
    if len(data) > MAX_BYTES:
        raise Unusable('it is larger than %d bytes' % MAX_BYTES)
    try:
        content = json.loads(data.decode('utf-8'))
        written = float(content['written'])
        state = dict((str(name), (_drained(one['drained']), _weights(one['weights'])))
                     for name, one in content['services'].items())
    except (ValueError, KeyError, TypeError, AttributeError, RuntimeError):    # RuntimeError: nested too deeply
        raise Unusable('it is damaged')
    if not -MAX_AGE < now - written < MAX_AGE:
        raise Unusable('it was written more than an hour ago')
    return state


def _drained(content):
    return dict((str(name), str(who)) for name, who in content.items())


def _weights(content):
    weights = {}
    for name, (weight, written) in content.items():
        if not (0 <= weight <= MAX_WEIGHT and 0 <= written < _MAX_WRITTEN):
            raise ValueError(weight)
        weights[str(name)] = (weight, written)
    return weights


def write(path, data):
    """Whoever reads `path` finds all of it or what was there before."""
    new = '%s.%d.new' % (path, os.getpid())
    descriptor = os.open(new, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW, 0o600)
    try:
        with os.fdopen(descriptor, 'wb') as stream:
            stream.write(data)
        os.rename(new, path)
    except EnvironmentError:
        os.unlink(new)
        raise
