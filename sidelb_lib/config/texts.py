"""Settings as people read them: the table of --help, what is in force, docs/settings.md, "did you mean"."""
from __future__ import absolute_import, division, print_function

import socket
import sys
import zlib

from . import crosschecks
from .table import BY_KEY, TABLE
from .values import value_text
from ..policies.registry import start_told

#: Words that somebody may expect for a setting, beside its near misses.
_OTHER_WORDS = dict((word, key) for key, words in (
    ('listener', 'bind bind_addr listen address port'), ('ring_domain', 'ring domain dns name'), ('proto', 'protocol'),
    ('backends', 'backend servers server hosts host upstream upstreams targets target pool'),
    ('mode', 'balance algorithm policy lb strategy'), ('check', 'health health_check healthcheck probe'),
    ('check_interval', 'interval'), ('http', 'metrics status page stats prometheus admin'), ('log_level', 'log verbose'),
    ('status_socket', 'socket'), ('spill', 'overprovisioning overprovisioning_factor overflow spillover'),
    ('instance', 'ordinal id index number'), ('server_wait', 'wait queue queue_timeout timeout_queue'),
    ('max_session_age', 'lifetime max_lifetime max_age')) for word in words.split())
_SEVERAL = {'timeout': ('connect_timeout', 'idle_timeout')}
_SERVER_OPTIONS = {'weight': 3, 'weights': 3, 'tier': 2, 'tiers': 2, 'max': 100}
_HINTS = dict((word, hint) for words, hint in (
    ('tls ssl cert key', 'TLS passes through unchanged; for one of its own see docs/tls.md'),
    ('workers threads processes nproc', 'one process uses one core; with reuse_port=on several share the listener'),
    ('sticky affinity persistence hash', 'with mode=source a client stays with its server'),
    ('backup backups failover fallback secondary priority zone zones region locality',
     'servers that come when nobody nearer is up have a tier behind their port: 10.0.0.1:5432/tier=2 (docs/srv.md)'),
    ('srv', 'ring_domain=_postgres._tcp.db.example.com is looked up as SRV'),
    ('daemon background pidfile user group chroot', 'supervisord, systemd or docker see to that'),
) for word in words.split())

_PAGE_HEAD = """\
# Settings

For those who look for the setting that does something, or want to know what one does.

Each can be given as an argument, `key=value`, or as an environment variable, `SIDELB_` and the key in capitals; the
listener is `SIDELB_BIND_ADDR`. An argument beats the environment, which beats the default. Durations are `500ms`,
`5s`, `2m`, `1h`; a bare number is seconds. `sidelb --check-config` shows what is in force and where it comes from.
In a file of [several services](services.md) those of the process stand in `[sidelb]`.

This page is made by `python -m sidelb_lib.config.texts > docs/settings.md`.
"""


#: Where a group's settings are explained with examples.
_GUIDES = {
    'Main': '[which mode](fleet.md#which-mode), [zones and SRV names](srv.md)',
    'Health': '[checks](checks.md), [servers that fail](behaviour.md)',
    'Discovery': '[SRV names and files](srv.md), [DNS that fails](behaviour.md)',
    'Balancing': '[zones: tiers and spill](srv.md), [a fleet: mode, instance and slow_start](fleet.md)',
    'Time-outs': '[long sessions](behaviour.md#long-sessions-and-servers-that-come-back)',
    'Operation': '[status](status.md), [metrics](metrics.md), [access log](access-log.md), [restart](restart.md)',
}


def help_table(width=100):
    """Every setting with its default and meaning under its group, as lines of at most `width` characters."""
    import textwrap
    lines = []
    for group, settings in grouped():
        lines += ['', '%s:' % group] if lines else ['%s:' % group]
        for setting in settings:
            head = '  %-19s %-17s ' % (setting.key, setting.default)
            lines += textwrap.wrap(setting.meaning, width, initial_indent=head, subsequent_indent=' ' * 40,
                                   break_on_hyphens=False)
    return '\n'.join(lines)


def grouped():
    """[(group, [Setting, ...]), ...] in the order of the table."""
    groups = []
    for setting in TABLE:
        if not groups or groups[-1][0] != setting.group:
            groups.append((setting.group, []))
        groups[-1][1].append(setting)
    return groups


def describe(configuration):
    """What is in force, one line a setting: key, value, origin; of several services under the heads of a file."""
    if not configuration.of_file:
        return _rows(configuration.process, TABLE)
    blocks = ['[sidelb]\n' + _rows(configuration.process, [setting for setting in TABLE if setting.of_process])]
    blocks += ['[service:%s]\n%s' % (name, _rows(settings, [setting for setting in TABLE if not setting.of_process]))
               for name, settings in configuration.services]
    return '\n\n'.join(blocks)


def fingerprint(configuration):
    """A number by which instances can be compared: equal where the same is in force. What a password is plays no part, nor
    does `instance`, by which the instances of a fleet differ."""
    blocks = [('', configuration.process, True)] + [(name, settings, False) for name, settings in configuration.services]
    text = '\n'.join('%s %s=%s' % (name, setting.key, _value_text(setting, getattr(settings, setting.attribute)))
                     for name, settings, of_process in blocks for setting in TABLE
                     if setting.of_process == of_process and setting.key != 'instance')
    return zlib.crc32(text.encode('utf-8')) & 0xffffffff


def _rows(settings, table):
    rows = []
    for setting in table:
        value = getattr(settings, setting.attribute)
        origin = settings.origins[setting.key]
        if setting.key == 'instance':
            origin += ' (first server by %s)' % start_told(settings, socket.gethostname())
        rows.append((setting.key, _value_text(setting, value), origin))
    key_width = max(len(key) for key, _, _ in rows)
    value_width = min(40, max(len(value) for _, value, _ in rows))
    return '\n'.join('%-*s  %-*s  %s' % (key_width, key, value_width, value, origin)
                     for key, value, origin in rows)


def notes(configuration):
    """What is no mistake, but worth knowing, one line each."""
    lines = ['%s: no such setting%s' % one for one in configuration.process.unknown_variables]
    for name, settings in configuration.services:
        prefix = '[service:%s] ' % name if configuration.of_file else ''
        lines += [prefix + note for note in crosschecks.notes(settings)]
    return lines


def _value_text(setting, value):
    """A value as a user would write it."""
    if value == setting.default_value:
        return setting.default
    if setting.is_list:
        return ','.join(value_text(item) for item in value)
    return value_text(value)


def page(width=110):
    """docs/settings.md: every setting, in lines of at most `width` characters."""
    import textwrap
    lines = [_PAGE_HEAD]
    for group, settings in grouped():
        lines += ['## %s' % group, ''] + (['Guides: %s.' % _GUIDES[group], ''] if group in _GUIDES else [])
        for setting in settings:
            for_whom = ', for proto=%s' % setting.protocol if setting.protocol else ''
            for_whom += ', of the process' if setting.of_process else ''
            for_whom += '; a change needs a restart' if setting.needs_restart else ''
            item = '- **`%s`** (default `%s`%s): %s' % (setting.key, setting.default, for_whom, setting.meaning)
            lines += textwrap.wrap(item, width, subsequent_indent='  ', break_on_hyphens=False, break_long_words=False)
        lines.append('')
    return '\n'.join(lines)


def did_you_mean(word, name):
    """`: did you mean mode=?`, or a pointer to the help. `name(setting)` is how to propose a Setting."""
    word = word.lower().replace('-', '_')
    if word in _SERVER_OPTIONS:
        return ': it is an option of a server, behind its port: 10.0.0.1:5432/%s=%s' % (
            word.rstrip('s'), _SERVER_OPTIONS[word])
    if word in _HINTS:
        return ': ' + _HINTS[word]
    if word in _SEVERAL:
        return ': did you mean %s?' % ' or '.join(name(BY_KEY[key]) for key in _SEVERAL[word])
    key = key_of(word) or nearest(word, list(BY_KEY))
    return ': did you mean %s?' % name(BY_KEY[key]) if key else ': sidelb --help lists all'


def key_of(word):
    """The key of a setting that is called so, here or in other programs; None where there is none."""
    word = word.lower().replace('-', '_')
    return word if word in BY_KEY else _OTHER_WORDS.get(word)


def nearest(word, words, likeness=0.6):
    """That of `words` which `word` may have been meant for, or None."""
    import difflib
    near = difflib.get_close_matches(word, words, 1, likeness)
    return near[0] if near else None


if __name__ == '__main__':
    sys.stdout.write(page())
