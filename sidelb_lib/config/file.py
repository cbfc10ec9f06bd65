"""Several services in one file: sections [sidelb], [defaults], [service:NAME] and [include], with the keys of the table.

In a service its own section beats [defaults], which beats what is built in. What belongs to the process stands in
[sidelb]; arguments and SIDELB_* variables for it beat the file. Every mistake is told with its file and line.
"""
from __future__ import absolute_import, division, print_function

import glob
import os
import re
import socket
from collections import OrderedDict

from ..checks import registry as checks
from ..errors import SettingsError, printable
from ..net.endpoints import endpoint_text
from ..net.own_listener import bind_the_same
from . import ini
from .crosschecks import given_servers
from .given import Given, from_arguments, from_environment
from .settings import Configuration, settle
from .table import BY_KEY
from .texts import did_you_mean, nearest

_SERVICE = re.compile(r'service:([a-z0-9][a-z0-9_.-]{0,31})\Z')


def load(path, arguments, environ):
    """The Configuration that the file at `path` describes. Raises SettingsError with every mistake."""
    if not path:
        raise SettingsError(['--config=: the path of the file is missing'])
    mistakes = []
    sections = _sections(path, environ, mistakes)
    of_process = _given(sections.get('sidelb'), mistakes, '[sidelb]', True)
    defaults = _given(sections.get('defaults'), mistakes, '[defaults]', False)
    environment, unknown = from_environment(environ)
    outside = dict(environment, **from_arguments(arguments, mistakes))
    mistakes += _outside_of_the_file(outside)
    of_process.update((key, given) for key, given in outside.items() if BY_KEY[key].of_process)
    process = settle(of_process, mistakes)._replace(unknown_variables=unknown)
    services = [(name, _service(section, defaults, of_process, mistakes))
                for name, section in _services(sections)]
    if not services and not mistakes:
        mistakes.append('%s: there is no service: add a section [service:NAME]' % printable(path))
    mistakes += _overlapping(services)
    if mistakes:
        raise SettingsError(sorted(OrderedDict.fromkeys(mistakes), key=_place))
    return Configuration(process, tuple(services), True)


def _place(mistake):
    """Sorts mistakes by file and line, behind those that have none."""
    place = re.match(r'(.*?):([0-9]+): ', mistake)
    return (place.group(1), int(place.group(2))) if place else ('', 0)


# --- sections ---

def _sections(path, environ, mistakes):
    """{name: Section} of the file and of those that it includes, in order."""
    variables = dict(('ENV_' + name, text) for name, text in environ.items())
    variables['host_node_name'] = socket.gethostname()
    found = OrderedDict()
    for section in ini.read(path, variables, mistakes):
        _add(found, section, ('sidelb', 'defaults', 'include'), mistakes)
    for included in _included(path, found.get('include'), mistakes):
        for section in ini.read(included, variables, mistakes):
            _add(found, section, (), mistakes)
    return found


def _add(found, section, plain_names, mistakes):
    name = section.name
    if name not in plain_names and not _SERVICE.match(name):
        mistakes.append('%s: [%s]: %s' % (section.where, printable(name), _why_no_section(name, plain_names)))
    elif name in found:
        mistakes.append('%s: [%s] is there twice: first at %s' % (section.where, name, found[name].where))
    else:
        found[name] = section


def _why_no_section(name, plain_names):
    if name.startswith('service:'):
        return 'the name of a service has 1 to 32 small letters, digits and _ . - inside'
    if not plain_names:
        return 'an included file has sections [service:NAME] only'
    near = nearest(name.lower(), plain_names + ('service:',))
    return 'no such section: %s' % (
        'did you mean [%s]?' % near.replace('service:', 'service:NAME') if near
        else 'there are [sidelb], [defaults], [service:NAME] and [include]')


def _included(path, section, mistakes):
    """The paths that `[include] files =` names, relative to the file, in order."""
    paths = []
    for key, entry in section.entries.items() if section else ():
        if key != 'files':
            mistakes.append('%s: %s = : [include] has files = only' % (entry.where, printable(key)))
            continue
        for where, text in entry.pieces:
            for pattern in (text or '').replace(',', ' ').split():
                whole = os.path.join(os.path.dirname(path), pattern)
                matching = sorted(glob.glob(whole)) if re.search(r'[*?\[]', pattern) else [whole]
                if matching == [whole] and not os.path.exists(whole):
                    mistakes.append('%s: %s: there is no such file' % (where, printable(whole)))
                    matching = []
                paths += [one for one in matching if one not in paths]
    return paths


def _services(sections):
    return [(name.partition(':')[2], section) for name, section in sections.items() if name.startswith('service:')]


# --- settings ---

def _given(section, mistakes, place, of_process):
    """{key: Given} of one section; `of_process`: whether settings of the process belong there, or those of services."""
    given = {}
    for key, entry in section.entries.items() if section else ():
        setting = BY_KEY.get(key)
        name = '%s: %s = ' % (entry.where, printable(key))
        if setting is None:
            mistakes.append(name + ': no such setting' + did_you_mean(key, lambda near: near.key + ' ='))
        elif setting.of_process != of_process:
            mistakes.append('%sstands in %s: it belongs to %s' % (
                name, place, 'the process, in [sidelb]' if setting.of_process else
                'services, in [service:NAME] or [defaults]'))
        elif not entry.pieces:
            mistakes.append('%s: the value is missing' % name.rstrip())
        elif len(entry.pieces) > 1 and not setting.is_list:
            mistakes.append('%s: this line continues %s = : begin it without blanks' % (entry.pieces[1][0], key))
        else:
            given[key] = Given(entry.where, [('%s: %s = ' % (where, key), text) for where, piece in entry.pieces
                                             if piece is not None for text in _items(setting, piece)])
    return given


def _items(setting, piece):
    """A list's line may end in a comma before the next one."""
    piece = re.sub(r'\s*,\s*\Z', '', piece) if setting.is_list else piece
    return piece.split('\n') if setting.is_list else [piece]


def _service(section, defaults, of_process, mistakes):
    """The Settings of one service."""
    own = _given(section, mistakes, '[%s]' % section.name, False)
    given = dict(_fitting(defaults, own), **own)
    if 'listener' not in given:
        mistakes.append('%s: [%s] has no listener: add listener = 127.0.0.1:5432' % (section.where, section.name))
    if not given_servers(given):
        mistakes.append('%s: [%s] has no server: add ring_domain = host:port or backends = ip:port' % (
            section.where, section.name))
    given.update(of_process)

    def told(key, mistake):
        place = given[key].origin if key in given else section.where
        return '%s: [%s] %s' % (place if ':' in place else section.where, section.name, mistake)
    return settle(given, mistakes, told)


def _fitting(defaults, own):
    """The defaults without those that are for the other protocol than the service's."""
    proto = _text(own.get('proto') or defaults.get('proto')) or 'tcp'
    return dict((key, given) for key, given in defaults.items()
                if BY_KEY[key].protocol in (None, proto) and not (key == 'check' and _check_of_other(proto, given)))


def _text(given):
    return given.texts[0][1].strip().lower() if given and given.texts else ''


def _check_of_other(proto, given):
    try:
        return proto not in checks.parse(_text(given)).protocols
    except ValueError:                   # a mistake, which is told with the others
        return False


def _outside_of_the_file(outside):
    for key in sorted(outside):
        if not BY_KEY[key].of_process:
            name, text = outside[key].texts[0]
            yield '%s%s: with --config services stand only in the file: leave it out' % (name, printable(text))


def _overlapping(services):
    """Two services that would listen on one address."""
    for position, (name, settings) in enumerate(services):
        for other_name, other in services[:position]:
            if settings.listener and other.listener and settings.proto == other.proto and bind_the_same(
                    settings.listener, other.listener):
                yield '%s: [service:%s] listens on %s, where [service:%s] does: give it another address' % (
                    settings.origins['listener'], name, endpoint_text(*settings.listener), other_name)
