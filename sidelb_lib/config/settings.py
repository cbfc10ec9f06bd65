"""From what was written to the settings in force, which are immutable, or to every mistake in one go.

An argument beats the environment, which beats the default.
"""
from __future__ import absolute_import, division, print_function

from collections import namedtuple

from ..checks import registry as checks
from ..errors import SettingsError, printable
from . import crosschecks
from .given import Given, from_arguments, from_environment
from .servers import TWO_ENTRIES, refuse_other_spellings
from .table import BY_KEY, TABLE, WRITTEN_DEFAULTS

#: What is in force, by attribute. `origins`: each key -> 'argument', 'environment SIDELB_X' or 'default'.
#: `unknown_variables`: ((SIDELB_* variable that is no setting, hint), ...).
Settings = namedtuple('Settings', [setting.attribute for setting in TABLE] + ['origins', 'unknown_variables'])

#: What one process serves. `process`: Settings of which those that belong to the process count, and `unknown_variables`;
#: `services`: ((name, Settings), ...), in which those of the process are the same; `of_file`: does a file name them?
Configuration = namedtuple('Configuration', 'process services of_file')

DEFAULT_SERVICE = 'default'          # the name of the only service, where no file names it

_NOT_GIVEN = Given('default', ())


def parse(arguments, environ):
    """The Settings out of the command line's arguments, without the program's name, and an environment.

    Raises SettingsError with every mistake. The values, beside words and numbers:

    - durations are float seconds, 0.0 where they are off
    - `listener` is (ip, port); `http` too, or None when off
    - `ring_domains` is (RingDomain, ...), `backends` (Backend, ...), see `servers`
    - `resolver` is ((ip, port), ...), () for resolv.conf
    - `check` is a checks.registry.Choice, whose name is 'off' when off; `group` is 'off' when off
    - `status_socket` is None when off; `reuse_port` is a bool
    - `max_connections` and `max_sessions` are None when the descriptor limit decides
    """
    mistakes = []
    environment, unknown = from_environment(environ)
    given = dict(environment, **from_arguments(arguments, mistakes))
    settings = settle(given, mistakes)
    mistakes += crosschecks.missing(given, 'listener' in environment)
    if mistakes:        # one of them may come from a variable that was mistyped
        raise SettingsError(mistakes + ['%s: no such setting%s' % one for one in unknown])
    return settings._replace(unknown_variables=unknown)


def configuration(arguments, environ):
    """Like `parse`, as the Configuration of a process with one service."""
    settings = parse(arguments, environ)
    return Configuration(settings, ((DEFAULT_SERVICE, settings),), False)


def settle(given, mistakes, told=lambda key, mistake: mistake):
    """The Settings of {key: Given}, defaults filled in; worth nothing where there were mistakes.

    `mistakes` gets what is wrong with a value, and what does not go together, as `told(key, mistake)` words it.
    """
    values, origins, wrong = {}, {}, set()
    for setting in TABLE:
        origin, texts = given.get(setting.key, _NOT_GIVEN)
        before = len(mistakes)
        if setting.key == 'check':           # what may be chosen depends on the protocol, which stands before it
            setting = setting._replace(parse=lambda text: checks.parse(text, values['proto']))
        origins[setting.key] = origin
        values[setting.attribute] = _value(setting, texts, mistakes) if texts else setting.default_value
        if len(mistakes) > before:
            wrong.add(setting.key)
    settings = _with_default_check(Settings(origins=origins, unknown_variables=(), **values))
    mistakes += [told(key, mistake) for key, mistake in crosschecks.mistakes_of(settings, wrong)]
    return settings


def defaults(**changes):
    """The Settings with every default but for `changes`: for tests, and whatever needs no user.

    Each change is by attribute, a value or the text that a user would write. Raises SettingsError for a wrong text.

        settings.defaults(connect_timeout=0.2, listener=('127.0.0.1', 0), check='off')
    """
    mistakes = []
    values, origins = {}, {}
    for setting in TABLE:
        value = changes.pop(setting.attribute, None)
        origins[setting.key] = 'default' if value is None else 'argument'
        if value is None:
            value = setting.default_value
        elif isinstance(value, str):
            value = _value(setting, [(setting.key + '=', value)], mistakes)
        values[setting.attribute] = value
    if mistakes or changes:
        raise SettingsError(mistakes + ['%s is no setting' % key for key in sorted(changes)])
    return _with_default_check(Settings(origins=origins, unknown_variables=(), **values))


def parse_one(key, text):
    """The value of one setting alone. Raises SettingsError."""
    mistakes = []
    value = _value(BY_KEY[key], [(BY_KEY[key].variable + '=', text)], mistakes)
    if mistakes:
        raise SettingsError(mistakes)
    return value


def _with_default_check(settings):
    if settings.proto == 'udp' and settings.origins['check'] == 'default':
        return settings._replace(check=checks.parse(checks.DEFAULTS['udp']))
    return settings


def _value(setting, texts, mistakes):
    """The value of what was written; None, or without the item in a list, where that was a mistake."""
    if setting.default in WRITTEN_DEFAULTS and [text.strip() for _, text in texts] == [setting.default]:
        return setting.default_value
    values = []
    for name, text in texts:
        for item in text.split(',') if setting.is_list else [text]:
            item = item.strip()
            try:
                if not item:
                    raise ValueError(_nothing(setting, text))
                if setting.servers is not None:
                    refuse_other_spellings(item)
                if setting.is_list and (TWO_ENTRIES.search(item) or ';' in item):
                    raise ValueError('separate them with commas')
                values.append(setting.parse(item))
            except ValueError as error:
                quoted = item[:1] in ('"', "'")       # `docker run --env-file` passes quotes on
                mistakes.append('%s%s: %s%s' % (name, printable(item), error,
                                                ' (leave the quotes out)' if quoted else ''))
    if setting.is_list:
        return tuple(values)
    return values[0] if values else None


def _nothing(setting, text):
    if not setting.is_list or not text.strip():
        return 'nothing is here'
    if text.endswith(','):               # `backends=a:1, b:1` are two arguments for the program
        return 'nothing is here after the last comma: write no space between the entries, or quote them all'
    return 'nothing is here between commas'
