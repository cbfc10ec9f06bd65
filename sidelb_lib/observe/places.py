"""Where the status socket is when nobody has named a place."""
from __future__ import absolute_import, division, print_function

import os
import re

from ..errors import SidelbError, printable
from ..net.unix_socket import connect_code

DEFAULT_PATH = '/run/sidelb.sock'

#: Where unprivileged users may have made theirs; the group is the number of the user.
OF_USERS = (('/tmp/sidelb-*.sock', r'/tmp/sidelb-([0-9]+)\.sock\Z'),
            ('/run/user/*/sidelb.sock', r'/run/user/([0-9]+)/sidelb\.sock\Z'))


def socket_paths(environ, user):
    """Where a status socket may be: the default, then what an unprivileged `user` can make."""
    runtime = environ.get('XDG_RUNTIME_DIR')
    return [DEFAULT_PATH] + ([os.path.join(runtime, 'sidelb.sock')] if runtime else []) + ['/tmp/sidelb-%d.sock' % user]


def status_paths(settings, environ):
    """Where to make the status socket: the places to try, in order."""
    if not settings.status_socket:
        return []
    if settings.origins['status_socket'] == 'default':
        return socket_paths(environ, os.getuid())
    return [settings.status_socket]


def find(environ, user):
    """The path where a SideLB answers that `user` may ask and believe. Raises SidelbError that names all places tried."""
    paths = socket_paths(environ, user)
    found = first_that_listens(paths)
    if found:
        return found
    tried = ', '.join('%s (%s)' % (printable(path), _why_not(path)) for path in paths)
    others = of_other_users() if user == 0 else []
    raise SidelbError('no SideLB of this user answers; tried %s: %s' % (
        tried, 'there is one at %s: name it with --socket=PATH' % ', '.join(others) if others
        else 'is it running? Another place is named with --socket=PATH'))


def find_all(environ, user):
    """Like `find`, but a list: for root it may be those of other users, whose word is shown and decides nothing."""
    own = first_that_listens(socket_paths(environ, user))
    others = of_other_users() if user == 0 and not own else []
    return others or [own or find(environ, user)]


def first_that_listens(paths):
    """The first of `paths` where somebody listens whom we may ask and believe, else None.

    Anybody may make a socket in /tmp: only one of root's or our own is believed.
    """
    for path in paths:
        if not connect_code(path) and os.lstat(path).st_uid in (0, os.getuid()):
            return path
    return None


def _why_not(path):
    code = connect_code(path)
    return os.strerror(code) if code else 'made by another user'


def of_other_users(places=OF_USERS):
    """The sockets of other users where somebody listens: each is its owner's whose number is in its path."""
    import glob
    found = []
    for pattern, form in places:
        for path in sorted(glob.glob(pattern)):
            number = re.match(form, path)
            if number and os.lstat(path).st_uid == int(number.group(1)) and not connect_code(path):
                found.append(path)
    return found
