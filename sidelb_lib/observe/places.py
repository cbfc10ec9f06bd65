"""Where the status socket is when nobody has named a place."""
from __future__ import absolute_import, division, print_function

import os

from ..net.unix_socket import connect_code

DEFAULT_PATH = '/run/sidelb.sock'


def socket_paths(environ, user):
    """Where a status socket may be: the default, then what an unprivileged `user` can make."""
    runtime = environ.get('XDG_RUNTIME_DIR')
    return [DEFAULT_PATH] + ([os.path.join(runtime, 'sidelb.sock')] if runtime else []) + ['/tmp/sidelb-%d.sock' % user]


def first_that_listens(paths):
    """The first of `paths` where somebody listens whom we may ask and believe, else the first.

    Anybody may make a socket in /tmp: only one of root's or our own is believed.
    """
    for path in paths:
        if not connect_code(path) and os.lstat(path).st_uid in (0, os.getuid()):
            return path
    return paths[0]
