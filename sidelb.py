"""The command line of SideLB."""
from __future__ import absolute_import, division, print_function

import errno
import os
import re
import signal
import sys
import warnings

# An application that uses gevent may hand its tuning on to its sidecar: another event loop or resolver, a
# monitoring thread. The relay is built and measured on the defaults, so none of it counts here.
for _name in [_name for _name in os.environ if _name.startswith('GEVENT')]:
    del os.environ[_name]

# That children's ends are ignored is inherited, and is an error to whoever waits for one: with Python 2 gevent itself.
if signal.getsignal(signal.SIGCHLD) == signal.SIG_IGN:
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)

try:
    # Must precede every import that uses sockets, threads or clocks: an unpatched module would block every session.
    from gevent import monkey
    monkey.patch_all()

    from sidelb_lib import __version__
    from sidelb_lib.errors import SettingsError, SidelbError, printable
except ImportError as _error:
    sys.exit('sidelb: %s: install SideLB together with what it needs: pip install .' % _error)
except KeyboardInterrupt:
    sys.exit(130)

# What only some commands need is imported where it is used: a health check every few seconds should be cheap.

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

EXAMPLES = """\
Examples:
  sidelb 127.0.0.1:5432 ring_domain=db.example.com:5432 mode=round-robin
  sidelb 127.0.0.1:5432 100.100.100.103:5432 100.100.100.104:5432 mode=least-connections proto=tcp
  sidelb 0.0.0.0:9000 backends=10.1.0.5:9001,10.1.0.6:9001 ring_domain=nodes.example.com:9002
  sidelb                                   # all of it from SIDELB_* variables
  sidelb --config=/etc/sidelb.conf          # several services, from a file
"""

SETTINGS = """\
Settings are written key=value. The first bare argument is the listener, further ones are servers.
Each setting is an environment variable, too: SIDELB_ and the key in capitals (SIDELB_MODE); the
listener is SIDELB_BIND_ADDR. An argument beats the environment, which beats the default.
Durations are written 500ms, 5s, 2m or 1h; a bare number is seconds.
"""

#: What is done to a running instance.
HANDS = ('drain', 'enable', 'weight', 'sessions', 'close', 'rebalance', 'events')
COMMANDS = ('status', 'reload', 'doctor', 'demo', '--health-check-uds') + HANDS
INTERRUPTED = 130           # what a shell reports for SIGINT...
PIPE_CLOSED = 141           # ...and for SIGPIPE


class UsageError(SidelbError):
    """The command line itself is wrong, not a setting."""


def main(argv=None):
    """Run what `argv` asks for, the program's name left out. Returns the exit code; raises nothing."""
    try:
        open_standard_streams()
        leave_interrupts_to_us()
        code = run(sys.argv[1:] if argv is None else list(argv))
        sys.stdout.flush()
        return code
    except KeyboardInterrupt:
        return INTERRUPTED
    except UsageError as error:
        return fail([str(error), 'sidelb --help shows how it is used'], 2)
    except SettingsError as error:
        return fail(error.mistakes + ['nothing was started; sidelb --help explains every setting'], 2)
    except SidelbError as error:
        return fail([str(error)], 1)
    except EnvironmentError as error:
        discard_stdout()
        return PIPE_CLOSED if error.errno == errno.EPIPE else fail([str(error)], 1)
    except Exception as error:
        import traceback
        file_name, line = traceback.extract_tb(sys.exc_info()[2])[-1][:2]
        place = '%s, line %d' % (os.path.basename(file_name), line)
        return fail(['unexpected error: %r (%s): please report this' % (error, place)], 1)


def run(arguments):
    """Like `main`, but errors are raised."""
    if '-h' in arguments or '--help' in arguments:
        return say(help_text())
    if '--version' in arguments:
        return say('SideLB ' + __version__)
    chosen = understand(arguments)
    if chosen['demo']:
        from sidelb_lib.demo import play as demo
        return demo.run(chosen['--keep'], sys.stdout)
    for name in HANDS:
        if chosen[name]:
            return act(name, chosen)
    if chosen['doctor']:
        return examine(chosen)
    if chosen['reload']:
        return reload_all(sockets_of(chosen))
    if not (chosen['status'] or chosen['--health-check-uds']):
        return serve(chosen['<setting>'], chosen['--config'], chosen['--check-config'])
    from sidelb_lib.observe import status_client
    if chosen['status']:
        if chosen['--watch'] and not chosen['--json'] and not sys.stdout.isatty():
            raise UsageError('--watch needs a terminal; use sidelb status in a loop, or --json')
        if chosen['--history'] and not chosen['--json']:
            raise UsageError('--history goes with --json; the table shows the last 15 minutes where it has the room')
        paths = chosen['--socket'] or status_sockets(only_own=False)
        return status_client.print_status(paths, chosen['--json'], chosen['--watch'], sys.stdout, os.environ,
                                          chosen['--history'])
    healthy, reason = status_client.health_check(sockets_of(chosen)[0])
    return say('Healthy') if healthy else fail([reason], 1)


def serve(arguments, path, only_check):
    try:
        configuration = configure(arguments, path)
    except SettingsError:
        refuse_mistyped_command(arguments)
        raise
    if only_check:
        from sidelb_lib.config import texts
        tell(texts.notes(configuration))
        return say(texts.describe(configuration))
    from sidelb_lib import process
    return process.run(configuration, os.environ, path and (lambda: configure(arguments, path)))


def reload_all(paths):
    """Have the running instances read their files again."""
    from sidelb_lib.observe import command_client
    mistakes = command_client.reload(paths)
    return fail(mistakes, 1) if mistakes else say('reloaded')


def act(name, chosen):
    """Have the running instances do something."""
    from sidelb_lib.observe import command_client
    options = {'service': chosen['--service']}
    if name == 'events':
        options['follow'] = chosen['--follow']
        return command_client.events(sockets_of(chosen), options, sys.stdout, chosen['--json'])
    if name != 'rebalance' and chosen['<server>'] is not None:
        options['server'] = chosen['<server>']
    if name in ('drain', 'rebalance'):
        options.update(wait=chosen['--wait'], seconds=seconds_of(chosen, '--timeout'))
    if name == 'drain':
        options.update(close=chosen['--close'], force=chosen['--force'])
    elif name == 'weight':
        options.update(weight=chosen['<weight>'], force=chosen['--force'])
    elif name == 'rebalance':
        number = chosen['--per-second']
        if not (number.isdigit() and 1 <= int(number) <= 1000):
            raise UsageError('--per-second=%s: write a whole number, 1 to 1000' % printable(number))
        options.update(per_second=int(number), silent=seconds_of(chosen, '--silent'))
    return command_client.command(sockets_of(chosen), name, options, sys.stdout, name == 'sessions' and chosen['--json'])


def sockets_of(chosen):
    return chosen['--socket'] or status_sockets(only_own=True)


def seconds_of(chosen, option):
    """The time that an option gives. Raises UsageError."""
    from sidelb_lib.config.values import duration
    try:
        return duration(0, 24 * 3600)(chosen[option])
    except ValueError as error:
        raise UsageError('%s=%s: %s' % (option, printable(chosen[option]), error))


def examine(chosen):
    """Serve nothing, and tell what is right and wrong."""
    within = chosen['--within']
    if not (within.isdigit() and 1 <= int(within) <= 60):
        raise UsageError('--within=%s: write whole seconds, 1 to 60' % printable(within))
    configuration = configure(chosen['<setting>'], chosen['--config'])
    from sidelb_lib.doctor import run
    return run.run(configuration, os.environ, sys.stdout, chosen['--json'], chosen['--strict'], float(within))


def configure(arguments, path):
    """The Configuration of the arguments and the environment, and of the file at `path` unless that is None."""
    if path is not None:
        from sidelb_lib.config import file
        return file.load(path, arguments, os.environ)
    from sidelb_lib.config import settings
    return settings.configuration(arguments, os.environ)


def status_sockets(only_own):
    """Where running SideLBs are asked, when no --socket says so: one place, or for root all users' (not `only_own`)."""
    from sidelb_lib.config import settings
    from sidelb_lib.observe import places
    text = os.environ.get('SIDELB_STATUS_SOCKET', '').strip()
    if not text:
        where = os.environ, os.getuid()
        return [places.find(*where)] if only_own else places.find_all(*where)
    path = settings.parse_one('status_socket', text)
    if path is None:
        raise SidelbError('SIDELB_STATUS_SOCKET turns the status socket off: there is none to ask')
    return [path]


def help_text():
    from sidelb_lib.config import texts
    title = 'SideLB %s, a sidecar load balancer for TCP and UDP.\n' % __version__
    return '\n'.join([title, USAGE, EXAMPLES, SETTINGS, texts.help_table()])


# --- understanding the command line ---

def understand(arguments):
    """docopt's dict of what the arguments mean. Raises UsageError with what is wrong."""
    refuse_unknown_options(arguments)
    with warnings.catch_warnings():
        warnings.simplefilter('ignore')      # docopt 0.6.2 has invalid escapes, and 3.12 says so
        from docopt import DocoptExit, docopt
    try:
        chosen = docopt(USAGE, arguments, help=False)
    except DocoptExit as error:
        reason = str(error).split('\n')[0]
        raise UsageError(explain(arguments) if reason.startswith('Usage:') else reason)
    if set(COMMANDS).intersection(chosen['<setting>']):      # `sidelb status too much`
        raise UsageError(explain(arguments))
    return chosen


def refuse_unknown_options(arguments):
    """docopt takes the beginning of a long option for that option, and does not name an unknown one."""
    from sidelb_lib.config.table import BY_KEY
    from sidelb_lib.config.texts import nearest
    known = re.findall(r'(?<![\w-])--?[a-z][a-z-]*', USAGE)
    for option in options_of(arguments):
        if option in known:
            continue
        key = option.lstrip('-').replace('-', '_')
        near = nearest(option, known)
        hint = 'sidelb has no such option'
        if key in BY_KEY:
            hint = 'settings have no dashes: %s=VALUE' % key
        elif option.startswith('--') and near:
            hint = 'did you mean %s?' % near
        raise UsageError('%s: %s' % (printable(option), hint))


def options_of(arguments):
    """The options among the arguments, without their values."""
    previous = [None] + arguments[:-1]
    return [argument.split('=')[0] for argument, before in zip(arguments, previous)
            if argument.startswith('-') and before not in ('--socket', '--config')]


def explain(arguments):
    """What does not fit the usage, in one line: docopt only says that something does not."""
    command = ([argument for argument in arguments if argument in COMMANDS] + ['[--check-config]'])[0]
    usage = re.search('sidelb %s.*' % re.escape(command), USAGE).group()
    for argument in arguments:
        name = argument.split('=')[0]
        if name != command and '[' + name not in usage:
            return '%s does not belong here: the usage is %s' % (printable(name), usage)
    return 'that is too much: the usage is %s' % usage


def refuse_mistyped_command(arguments):
    """`sidelb statsu` is hardly meant as a listener."""
    from sidelb_lib.config.texts import nearest
    if len(arguments) == 1:
        near = nearest(arguments[0], ['status', 'reload', 'demo', 'sessions', 'rebalance', 'events', 'help', 'version'])
        if near:
            raise UsageError('did you mean sidelb %s?' % (near if near in COMMANDS else '--' + near))


# --- output ---

def open_standard_streams():
    """With `>&-` the next file to be opened, perhaps a client's socket, would get what is written to stdout."""
    descriptor = os.open(os.devnull, os.O_RDWR)
    while descriptor <= 2:
        descriptor = os.open(os.devnull, os.O_RDWR)
    os.close(descriptor)
    if sys.stdout is None:
        sys.stdout = os.fdopen(1, 'w')
    if sys.stderr is None:
        sys.stderr = os.fdopen(2, 'w')


def leave_interrupts_to_us():
    """gevent's hub prints a KeyboardInterrupt before it raises it in the main greenlet."""
    from gevent.hub import Hub, get_hub
    get_hub().NOT_ERROR = Hub.NOT_ERROR + (KeyboardInterrupt,)


def say(text):
    sys.stdout.write(text + '\n')
    return 0


def fail(lines, code):
    """Tell what went wrong on stderr. Returns the exit code."""
    tell(lines)
    return code


def tell(lines):
    try:
        sys.stderr.write(''.join('sidelb: %s\n' % line for line in lines))
    except EnvironmentError:      # stderr is closed
        pass


def discard_stdout():
    """The reader of our output is gone: what is left goes nowhere, also when Python flushes it at exit."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, sys.stdout.fileno())
    os.close(nowhere)


if __name__ == '__main__':
    sys.exit(main())
