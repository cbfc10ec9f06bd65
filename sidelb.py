"""The command line of SideLB."""
from __future__ import absolute_import, division, print_function

import errno
import os
import signal
import sys

# An application that uses gevent may hand its tuning on to its sidecar: another event loop or resolver, a
# monitoring thread. The relay is built and measured on the defaults, so none of it counts here.
for _name in [_name for _name in os.environ if _name.startswith('GEVENT')]:
    del os.environ[_name]

# That children's ends are ignored is inherited, and is an error to whoever waits for one: with Python 2 gevent itself.
if signal.getsignal(signal.SIGCHLD) == signal.SIG_IGN:
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)

try:
    # Must precede every import that uses sockets, threads or clocks: an unpatched module would block every session.
    from sidelb_lib import patching
    patching.patch_all()

    from sidelb_lib import __version__
    from sidelb_lib.errors import SettingsError, SidelbError, printable
    from sidelb_lib.usage import HANDS, USAGE, UsageError, refuse_mistyped_command, understand
except ImportError as _error:
    sys.exit('sidelb: %s: install SideLB together with what it needs: pip install .' % _error)
except KeyboardInterrupt:
    os._exit(130)           # Python's own way out waits for ever for locks of threads that are patched by half

# What only some commands need is imported where it is used: a health check every few seconds should be cheap.

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

INTERRUPTED = 130           # what a shell reports for SIGINT...
PIPE_CLOSED = 141           # ...and for SIGPIPE
MAX_MISTAKES = 20           # are shown: a file that is no configuration has one a line


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
        return fail(shown(error.mistakes) + ['nothing was started; sidelb --help explains every setting'], 2)
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
    try:
        configuration = configure(chosen['<setting>'], chosen['--config'])
    except SettingsError as error:
        if not chosen['<setting>'] and not chosen['--config']:
            error.mistakes.insert(0, 'doctor: give it what SideLB is started with: sidelb doctor 127.0.0.1:5432 '
                                     'ring_domain=db.example.com:5432, or --config=FILE')
        raise
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


def shown(mistakes):
    more = len(mistakes) - MAX_MISTAKES
    return mistakes[:MAX_MISTAKES] + ['and %d more' % more] if more > 0 else mistakes


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
