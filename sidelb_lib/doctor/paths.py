"""Places in the file system that the service is going to make or write: a unix-domain listener, the access log."""
from __future__ import absolute_import, division, print_function

import errno
import os
import stat

from ..net.endpoints import ABSTRACT
from ..net.unix_socket import connect_code
from .finding import HOST, ok, wrong


def unix_listener(where, path):
    """Could a listener be bound at `path`, or with a @name? Nothing is made."""
    code = directory_error(path)
    if code:
        return about_directory('host.listener', where, path, code)
    if connect_code(path) not in (errno.ENOENT, errno.ECONNREFUSED):
        return wrong('host.listener', HOST, where, 'somebody answers at %s' % where,
                     'stop that program, or give the listener another path')
    return ok('host.listener', HOST, where, '%s is free' % where)


def access_log(settings):
    """Could its file be written? None is made."""
    path = settings.access_log
    if path in (None, 'on'):
        return []
    where = 'access_log=' + path
    try:
        is_directory, exists = stat.S_ISDIR(os.stat(path).st_mode), True
    except EnvironmentError:
        is_directory = exists = False
    if is_directory:
        return [wrong('host.access_log', HOST, where, '%s is a directory' % path, 'name a file in it')]
    if exists and not os.access(path, os.W_OK):
        return [wrong('host.access_log', HOST, where, 'uid %d may not write %s' % (os.geteuid(), path),
                      'give it to the user of SideLB')]
    code = 0 if exists else directory_error(path)
    return [about_directory('host.access_log', where, path, code)] if code else []


def directory_error(path):
    """The errno of making something at `path`, 0 for success."""
    if path[0] == ABSTRACT:
        return 0
    directory = os.path.dirname(path)
    if not os.path.isdir(directory):
        return errno.ENOENT
    return 0 if os.access(directory, os.W_OK | os.X_OK) else errno.EACCES


def about_directory(identity, where, path, code):
    directory = os.path.dirname(path)
    if code == errno.ENOENT:
        return wrong(identity, HOST, where, '%s: there is no directory %s' % (where, directory), 'mkdir -p %s' % directory)
    return wrong(identity, HOST, where, '%s: uid %d may not make a file in %s' % (where, os.geteuid(), directory),
                 'give that directory to the user of SideLB, or name another one')
