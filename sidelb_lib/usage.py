"""How `sidelb` is called: its commands and options, and what to write in place of what was meant."""
from __future__ import absolute_import, division, print_function

import re
import warnings

from .errors import SidelbError, printable

USAGE = """\
Usage:
  sidelb status [--json] [--history] [--watch] [--socket=PATH]...
  sidelb reload [--socket=PATH]...
  sidelb doctor [--json] [--strict] [--within=SECONDS] [--config=FILE] [<setting>...]
  sidelb drain <server> [--wait] [--timeout=TIME] [--close] [--force] [--service=NAME]
               [--socket=PATH]...
  sidelb enable <server> [--service=NAME] [--socket=PATH]...
  sidelb weight <server> <weight> [--force] [--service=NAME] [--socket=PATH]...
  sidelb sessions [<server>] [--json] [--service=NAME] [--socket=PATH]...
  sidelb close <server> [--service=NAME] [--socket=PATH]...
  sidelb rebalance [--per-second=N] [--silent=TIME] [--wait] [--timeout=TIME] [--service=NAME]
                   [--socket=PATH]...
  sidelb events [--follow] [--json] [--service=NAME] [--socket=PATH]...
  sidelb demo [--keep]
  sidelb --health-check-uds [--socket=PATH]
  sidelb [--check-config] [--config=FILE] [<setting>...]
  sidelb --help | --version

Options:
  --check-config      Print the effective settings and where each comes from; bind nothing.
  --config=FILE       Serve the services that an INI file describes; SIGHUP reads it again.
  --health-check-uds  Ask a running SideLB for its health: prints Healthy, exit code 0; else 1.
  --socket=PATH       Its status socket; by default SIDELB_STATUS_SOCKET, or else the usual places.
  --json              Print JSON, one object a line.
  --history           With --json: the last 15 minutes of each server, too.
  --watch             Show the status on the terminal and keep it up to date; q ends it.
  --strict            Let the doctor's exit code be 1 for a note as well.
  --within=SECONDS    Bound the doctor's time, 1 to 60 [default: 20].
  --wait              Return when the sessions have ended, or all is even; in time, or exit code 1.
  --timeout=TIME      How long --wait waits [default: 30s].
  --close             Drain: cut the sessions that are left, after the wait if there is one.
  --force             Drain the last server that is up, or give it the weight 0.
  --per-second=N      Rebalance: sessions of each server to close a second [default: 1].
  --silent=TIME       Rebalance: close those alone that are silent for so long [default: 10s].
  --follow            Events: go on with those that come.
  --service=NAME      Only that service, where the file describes several.
  --keep              Let the demo run on and print where to connect.
  -h, --help          Print this and all settings.
  --version           Print the version.
"""

#: What is done to a running instance.
HANDS = ('drain', 'enable', 'weight', 'sessions', 'close', 'rebalance', 'events')
COMMANDS = ('status', 'reload', 'doctor', 'demo', '--health-check-uds') + HANDS

#: Words of other programs -> what is written here.
_OTHER_COMMANDS = dict(
    [(word, 'SideLB serves without a word for it: sidelb 127.0.0.1:5432 ring_domain=db.example.com:5432')
     for word in ('start', 'run', 'serve', 'listen', 'proxy')] +
    [(word, 'what has started SideLB stops it, by SIGTERM: systemctl, supervisorctl or docker')
     for word in ('stop', 'quit', 'shutdown', 'restart', 'kill')] +
    [(word, 'did you mean sidelb status?') for word in ('list', 'show', 'stats', 'info', 'ps', 'top', 'ls', 'servers')] +
    [(word, 'did you mean sidelb enable SERVER?') for word in ('undrain', 'resume', 'up', 'ready')] +
    [(word, 'did you mean sidelb drain SERVER?') for word in ('disable', 'pause', 'down', 'maint', 'remove')] +
    [(word, 'did you mean sidelb events --follow?') for word in ('log', 'logs', 'tail', 'watch')] +
    [(word, 'did you mean sidelb --check-config?') for word in ('check', 'test', 'validate', 'configtest', 'config')] +
    [(word, 'did you mean sidelb --health-check-uds?') for word in ('health', 'healthcheck', 'ping')] +
    [(word, 'did you mean sidelb doctor?') for word in ('diagnose', 'debug', 'diagnostics')] +
    [(word, 'did you mean sidelb --%s?' % word) for word in ('help', 'version')])

_LEAST_LIKENESS = 0.7            # of an option that is proposed: --tail is not --wait


class UsageError(SidelbError):
    """The command line itself is wrong, not a setting."""


def understand(arguments):
    """docopt's dict of what the arguments mean. Raises UsageError with what is wrong."""
    refuse_unknown_options(arguments)
    with warnings.catch_warnings():
        warnings.simplefilter('ignore')      # docopt 0.6.2 has invalid escapes, and 3.12 says so
        from docopt import DocoptExit, docopt
    try:
        chosen = docopt(USAGE, arguments, help=False)
    except DocoptExit as error:
        raise UsageError(_reason(str(error).split('\n')[0], arguments))
    if set(COMMANDS).intersection(chosen['<setting>']):      # `sidelb status too much`
        raise UsageError(explain(arguments))
    return chosen


def _reason(said, arguments):
    """What docopt has `said`, in our words."""
    if said.startswith('Usage:'):
        return explain(arguments)
    option = re.match(r'(--\S+) (requires argument|must not have an argument)', said)
    if not option:
        return said
    name = option.group(1)
    if option.group(2) == 'requires argument':
        value = re.search(r'%s=([A-Z]+)' % name, USAGE).group(1)
        return '%s: the value is missing: write %s=%s' % (name, name, value)
    return '%s takes no value: write %s alone' % (name, name)


def refuse_unknown_options(arguments):
    """docopt takes the beginning of a long option for that option, and does not name an unknown one."""
    from .config.texts import key_of, nearest
    known = re.findall(r'(?<![\w-])--?[a-z][a-z-]*', USAGE)
    for option in options_of(arguments):
        if option in known:
            continue
        key = key_of(option.lstrip('-'))
        near = nearest(option, known, _LEAST_LIKENESS)
        hint = 'sidelb has no such option'
        if key:
            hint = 'settings have no dashes: %s=VALUE' % key
        elif option.startswith('--') and near:
            hint = 'did you mean %s?' % near
        elif re.match('-[A-Za-z]', option):
            hint += ': they are written out, like --watch'
        raise UsageError('%s: %s' % (printable(option), hint))


def options_of(arguments):
    """The options among the arguments, without their values."""
    previous = [None] + arguments[:-1]
    return [argument.split('=')[0] for argument, before in zip(arguments, previous)
            if argument.startswith('-') and before not in ('--socket', '--config')]


def explain(arguments):
    """What does not fit the usage, in one line: docopt only says that something does not."""
    command = ([argument for argument in arguments if argument in COMMANDS] + ['[--check-config]'])[0]
    usage = ' '.join(re.search(r'sidelb %s.*(\n {8}.*)*' % re.escape(command), USAGE).group().split())
    places = re.findall(r'\[?<\w+>', usage)
    words = 0                        # that are no options
    for argument in arguments:
        name = argument.split('=')[0]
        if argument == command:
            continue
        words += not argument.startswith('-')
        fits = '[' + name in usage if argument.startswith('-') else words <= len(places) or '<setting>...' in usage
        if not fits:
            return '%s does not belong here: the usage is %s' % (printable(name), usage)
    missing = [place.strip('<>') for place in places[words:] if not place.startswith('[')]
    return '%s: the usage is %s' % ('the %s is missing' % missing[0] if missing else 'that is too much', usage)


def refuse_mistyped_command(arguments):
    """`sidelb statsu` is hardly meant as a listener, nor is `sidelb stop`."""
    from .config.texts import nearest
    word = arguments[0] if arguments else ''
    if not re.match('[a-z]+$', word) or word == 'localhost':
        return
    commands = [command for command in COMMANDS if not command.startswith('-')]
    hint = _OTHER_COMMANDS.get(word)
    if not hint:
        near = nearest(word, commands + ['help', 'version'])
        hint = _OTHER_COMMANDS.get(near) or near and 'did you mean sidelb %s?' % near
    raise UsageError('%s: %s' % (printable(word), hint or (
        'no such command: there are %s; else the listener comes first, like 127.0.0.1:5432' % ', '.join(commands))))
