"""What was written where: the texts that arguments and the environment give for each setting, not yet read."""
from __future__ import absolute_import, division, print_function

import re
from collections import namedtuple

from ..errors import printable
from .table import BY_KEY, BY_VARIABLE, PREFIX
from .texts import did_you_mean

TESTS_PREFIX = 'SIDELB_TEST_'        # the test suite's own variables

#: What Kubernetes puts into every container beside a Service whose name is, or begins with, `sidelb`.
_OF_KUBERNETES = re.compile(
    r'SIDELB_(.+_)?(SERVICE_HOST|SERVICE_PORT(_.+)?|PORT_[0-9]+_(TCP|UDP|SCTP)(_(PROTO|PORT|ADDR))?)=|'
    r'SIDELB_(.+_)?PORT=(tcp|udp|sctp)://')

#: Settings that may be given more than once: what they name adds up.
ADD_UP = ('ring_domain', 'backends')

#: What a user wrote for one key: `origin` is where, as --check-config shows it; `texts` is [(how a mistake names it, text)].
Given = namedtuple('Given', 'origin texts')


def from_environment(environ):
    """({key: Given}, ((variable, hint), ...)) of an environment; the latter are SIDELB_* variables that are no settings.

    An empty variable counts as unset: compose files pass such. Unknown ones are no mistake: an image may have a
    SIDELB_VERSION, which its builder has set for other ends.
    """
    given, unknown = {}, []
    for variable in sorted(environ):
        text = environ[variable].strip()
        if not variable.startswith(PREFIX) or variable.startswith(TESTS_PREFIX) or not text:
            continue
        if variable in BY_VARIABLE:
            given[BY_VARIABLE[variable].key] = Given('environment ' + variable, [(variable + '=', text)])
        elif not _OF_KUBERNETES.match('%s=%s' % (variable, text)):
            near = did_you_mean(variable[len(PREFIX):], lambda setting: setting.variable)
            unknown.append((printable(variable), near))
    return given, tuple(unknown)


def of_service_links(environ):
    """The variables with which Kubernetes describes Services named sidelb: they are none of ours."""
    return [variable for variable in sorted(environ) if _OF_KUBERNETES.match('%s=%s' % (variable, environ[variable]))]


def from_arguments(arguments, mistakes):
    """{key: Given} of the command line's arguments. Bare ones are the listener, unless listener= is there, and servers."""
    given = {}
    bare = []
    for argument in arguments:
        key, equals, text = argument.partition('=')
        head, _, tail = argument.partition(':')
        if not equals and head in BY_KEY and re.match('[a-z]', tail):
            mistakes.append('%s: a setting is written %s=%s' % (printable(argument), head, printable(tail)))
            continue
        if '/' in key or ':' in key or not equals and argument not in BY_KEY:      # 10.0.0.1:5432/weight=3
            bare.append(argument)
        elif key == 'check_password':
            mistakes.append('check_password=: every user of this host can read command lines: use SIDELB_CHECK_PASSWORD or '
                            'check_password_file=')
        elif key not in BY_KEY:
            near = did_you_mean(key, lambda setting: setting.key + '=')
            mistakes.append('%s: no such setting%s' % (printable(key + '='), near))
        elif not text.strip():
            mistakes.append('%s=: the value is missing: write %s=VALUE, or leave it out' % (key, key))
        else:
            texts = given.setdefault(key, Given('argument', [])).texts
            texts.append((key + '=', text.strip()))
            if len(texts) == 2 and key not in ADD_UP:
                mistakes.append('%s= is given twice: keep one' % key)
    if bare and 'listener' not in given:
        given['listener'] = Given('argument', [('listener ', bare.pop(0).strip())])
    if bare:
        texts = given.setdefault('backends', Given('argument', [])).texts
        texts += [('server ', argument.strip()) for argument in bare]
    return given
