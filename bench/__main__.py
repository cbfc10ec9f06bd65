"""SideLB beside HAProxy, nginx, Envoy, dnsdist and a direct connection, in one run on this machine.

Usage:
  bench [options] [--also=NAME=PATH]...
  bench soak [--minutes=N]      (see bench soak --help)

Options:
  --only=NAMES         Scenarios to run, with commas; * stands for anything: udp-*,latency
  --contestants=NAMES  Contestants to run, with commas: sidelb,haproxy
  --rounds=N           Rounds of each scenario [default: 5]
  --seconds=N          Length of one load in seconds [default: 3]
  --quick              One short round of the most telling scenarios, under two minutes
  --json=FILE          Write all figures of all rounds
  --markdown=FILE      Write tables
  --svg=FILE           Write a bar chart
  --from=FILE          Run nothing: show again what --json wrote
  --python=PATH        Interpreter for SideLB; default: the one that runs this
  --also=NAME=PATH     Another checkout of SideLB, to run under this name beside ours: before=../sidelb-1.0
  --sidelb=PATH        SideLB's program; default: sidelb.py beside this package
  --list               Name the scenarios and contestants, and say who is missing
  --help               Show this

Exit code: 0; 1 when a contestant failed or nothing could be run; 2 for a wrong argument; 130 on Ctrl-C.
"""
from __future__ import absolute_import, division, print_function

import collections
import contextlib
import fnmatch
import json
import os
import signal
import sys
import tempfile

import docopt

import bench.chart
import bench.contestants
import bench.errors
import bench.loads
import bench.machine
import bench.report
import bench.runner
import bench.scenarios
import bench.servers
import bench.soak

QUICK = bench.runner.Scale(rounds=1, seconds=0.5, rest_seconds=3)
REST_SECONDS = 15


class ArgumentError(bench.errors.BenchError):
    """A wrong argument: exit code 2."""


def main(arguments):
    if arguments[:1] == ['soak']:
        return bench.soak.main(arguments[1:])
    try:
        options = docopt.docopt(__doc__, arguments)
        scenarios = bench.scenarios.scenarios()
        contestants = bench.contestants.everyone(
            options['--python'] or sys.executable, options['--sidelb'] or beside_us('sidelb.py'),
            [checkout(text) for text in options['--also']])
        if options['--list']:
            show_list(scenarios, contestants)
            return 0
        if options['--from']:
            results, code = read(options['--from']), 0
        else:
            bench.machine.check_platform()
            results, code = measure(options, scenarios, contestants)
        write_reports(options, results, scenarios)
        return code
    except ArgumentError as error:
        sys.stderr.write('bench: {0}\n'.format(error))
        return 2
    except (bench.errors.BenchError, IOError, OSError) as error:
        sys.stderr.write('bench: {0}\n'.format(error))
        return 1


def checkout(text):
    """(name, its sidelb.py) of an argument of --also."""
    name, equals, path = text.partition('=')
    if not equals or not name or not path:
        raise ArgumentError('--also wants NAME=PATH, not {0}'.format(text))
    return name, path if path.endswith('.py') else os.path.join(path, 'sidelb.py')


def beside_us(name):
    return os.path.join(os.path.dirname(os.path.dirname(os.path.abspath(__file__))), name)


def show_list(scenarios, contestants):
    for scenario in scenarios:
        print('{0:<20} {1}'.format(scenario.name, scenario.title))
    print()
    for contestant in contestants:
        missing = contestant.missing()
        print('{0:<20} {1}'.format(contestant.name, 'missing: ' + missing if missing else contestant.title))


def measure(options, scenarios, contestants):
    """Run what was asked for; returns the results document and the exit code. Ctrl-C keeps what is done."""
    scale = QUICK if options['--quick'] else bench.runner.Scale(
        count(options, '--rounds', int), count(options, '--seconds', float), REST_SECONDS)
    wanted = chosen(scenarios, options['--only'], 'scenario')
    if options['--quick'] and not options['--only']:
        wanted = [scenario for scenario in wanted if scenario.quick]
    contestants = chosen(contestants, options['--contestants'], 'contestant')
    missing = collections.OrderedDict((each.name, each.missing()) for each in contestants if each.missing())
    contestants = [each for each in contestants if each.name not in missing]
    for name, reason in missing.items():
        say('{0} is left out: {1}'.format(name, reason))
    if not contestants:
        raise bench.errors.BenchError('no contestant is there')
    results = {'machine': bench.machine.describe(), 'scale': dict(scale._asdict()), 'missing': missing,
               'contestants': collections.OrderedDict((each.name, each.title) for each in contestants)}
    results['rounds'], results['failures'], code = run(wanted, contestants, scale)
    return results, code


def count(options, name, kind):
    """A positive number out of the options."""
    try:
        value = kind(options[name])
    except ValueError:
        value = 0
    if value <= 0:
        raise ArgumentError('{0} wants a positive number, not {1}'.format(name, options[name]))
    return value


def chosen(things, names, what):
    """Those whose name matches one of `names` (patterns with commas; None: all), in their own order."""
    patterns = [pattern.strip() for pattern in names.split(',')] if names else ['*']
    for pattern in patterns:
        if not fnmatch.filter([thing.name for thing in things], pattern):
            raise ArgumentError('there is no {0} {1!r}: see --list'.format(what, pattern))
    return [thing for thing in things if any(fnmatch.fnmatch(thing.name, pattern) for pattern in patterns)]


def run(scenarios, contestants, scale):
    """Rounds by scenario name, failures, and the exit code."""
    cores = bench.machine.plan_cores(os.sched_getaffinity(0))
    descriptors = bench.machine.raise_descriptor_limit()
    for ending in (signal.SIGINT, signal.SIGTERM):    # both unwind, which ends the children
        signal.signal(ending, signal.default_int_handler)
    code = 0
    with contextlib.ExitStack() as stack:
        if cores.load is not None:
            os.sched_setaffinity(0, [cores.load])
        directory = stack.enter_context(tempfile.TemporaryDirectory(prefix='sidelb-bench-'))
        servers = bench.servers.Servers(stack, cores.server, directory)
        loads = bench.loads.Loads(cores.load, directory)
        runner = bench.runner.Runner(contestants, servers, loads, scale, cores,
                                     descriptors, directory, say)
        try:
            for scenario in scenarios:
                runner.run(scenario)
                if runner.rounds.get(scenario.name):
                    print(bench.report.scenario_text(scenario, runner.rounds[scenario.name]) + '\n')
                    sys.stdout.flush()
        except KeyboardInterrupt:
            say('interrupted')
            code = 130
    return runner.rounds, runner.failures, code or int(bool(runner.failures) or not runner.rounds)


def say(line):
    """Progress and problems, beside the results on stdout."""
    sys.stderr.write('# {0}\n'.format(line))


def read(path):
    """A results document that --json wrote."""
    with open(path) as document:
        try:
            return json.load(document, object_pairs_hook=collections.OrderedDict)
        except ValueError as error:
            raise bench.errors.BenchError('{0} is not what --json writes: {1}'.format(path, error))


def write_reports(options, results, scenarios):
    by_name = collections.OrderedDict((scenario.name, scenario) for scenario in scenarios)
    if options['--from']:
        for name, rounds in results['rounds'].items():
            print(bench.report.scenario_text(by_name[name], rounds) + '\n')
    targets = bench.report.targets_text(results, by_name)
    if targets:
        print('targets\n' + targets)
    say(bench.report.disturbed_text(results) or 'no measurement was disturbed by other processes')
    if options['--json']:
        write(options['--json'], json.dumps(results, indent=1) + '\n')
    if options['--markdown']:
        picture = options['--svg'] and os.path.relpath(
            options['--svg'], os.path.dirname(os.path.abspath(options['--markdown'])))
        write(options['--markdown'], bench.report.markdown(results, by_name, picture))
    if options['--svg']:
        write(options['--svg'], bench.chart.svg(results, by_name))


def write(path, content):
    with open(path, 'w', encoding='utf-8') as out:
        out.write(content)


if __name__ == '__main__':
    sys.exit(main(sys.argv[1:]))
