"""Text and Markdown out of a results document (what --json writes). All pure.

The document: `machine` and `scale`: dicts; `contestants`: name to title; `missing`: name to reason; `rounds`:
scenario name to a list, with a dict (contestant to figures) for each round; `failures`: lines.
"""
from __future__ import absolute_import, division, print_function

import bench.figures
import bench.targets

BUSY_ENOUGH = 90    # per cent of its core; below it, load or server were the limit, not the proxy
DISTURBING = 5      # per cent of the proxy's core that others may take before we say so

# title, metric, and the steps: their labels and scenarios
GROWTH = (
    ('connections: requests/s', 'rate',
     (('1', 'requests-1'), ('50', 'requests-50'), ('500', 'requests-500'))),
    ('connections: CPU per request, \xb5s', 'cpu',
     (('1', 'requests-1'), ('50', 'requests-50'), ('500', 'requests-500'))),
    ('idle connections: KiB each', 'memory',
     (('1,000', 'idle-1000'), ('4,000', 'idle-4000'), ('8,000', 'idle-8000'))),
    ('members: new connections/s', 'rate',
     (('10', 'members-10'), ('100', 'members-100'), ('1,000', 'members-1000'))),
    ('members: CPU per new connection, \xb5s', 'cpu',
     (('10', 'members-10'), ('100', 'members-100'), ('1,000', 'members-1000'))),
    ('message size: requests/s', 'rate', (('64 B', 'size-64'), ('4 KiB', 'size-4k'), ('64 KiB', 'size-64k'))),
    ('message size: CPU per request, \xb5s', 'cpu',
     (('64 B', 'size-64'), ('4 KiB', 'size-4k'), ('64 KiB', 'size-64k'))),
)


def number(value):
    """Three significant digits or whole thousands: 0.123, 1.23, 12.3, 123, 12,345."""
    size = abs(value)
    if size >= 100 or value == int(value):
        return '{0:,.0f}'.format(value)
    return '{0:.{1}f}'.format(value, 1 if size >= 10 else 2 if size >= 1 else 3)


def spread(summary):
    """A summary as 'median (low to high)'; only the value when all rounds agree."""
    if summary.low == summary.high:
        return number(summary.median)
    return '{0} ({1} to {2})'.format(*(number(value) for value in summary))


def labelled(metric):
    """A metric's label with its unit."""
    return metric.label + (', ' + metric.unit if metric.unit else '')


def between(summary):
    """'low to high' of a summary; '' when all rounds agree."""
    if summary.low == summary.high:
        return ''
    return '{0} to {1}'.format(number(summary.low), number(summary.high))


def of_contestant(rounds, name, metric):
    """Its summary, or None; `rounds` may be empty."""
    return bench.figures.summary(bench.figures.series(rounds, name, metric))


def ratio_to(rounds, name, reference, metric):
    """Summary of the ratios round by round, or None."""
    return bench.figures.summary(bench.figures.ratios(
        bench.figures.series(rounds, name, metric), bench.figures.series(rounds, reference, metric)))


def load_limited(rounds, metric):
    """Whether a rate says little about the proxies, since not even the busiest of them was."""
    if metric != 'rate':
        return False
    shares = [of_contestant(rounds, name, 'busy') for name in set(name for each in rounds for name in each)]
    shares = [share.median for share in shares if share]
    return bool(shares) and max(shares) < BUSY_ENOUGH


def scenario_text(scenario, rounds):
    """The block of lines that a terminal shows for one scenario."""
    lines = ['{0}: {1}'.format(scenario.name, scenario.title)]
    for metric in scenario.metrics:
        mark = '  [no proxy busy: load or server is the limit]' if load_limited(rounds, metric.name) else ''
        rows = []
        for name in everyone_in(scenario, rounds):
            found = of_contestant(rounds, name, metric.name)
            if found:
                row = '    {0:<15} {1:>10}   {2:<26}'.format(
                    name, number(found.median), between(found))
                rows.append((row + ratio_text(scenario, rounds, name, metric)).rstrip())
        if rows:
            lines += ['  ' + labelled(metric) + mark] + rows
    return '\n'.join(lines)


def everyone_in(scenario, rounds):
    """The scenario's contestants, in its order, and after them other checkouts of SideLB that took part."""
    others = sorted(set(name for each in rounds for name in each) - set(scenario.contestants))
    return list(scenario.contestants) + others


def ratio_text(scenario, rounds, name, metric):
    """How a contestant compares with the reference, where that makes sense."""
    ratio = ratio_to(rounds, name, scenario.reference, metric.name)
    if not ratio or name == scenario.reference or not metric.better:
        return ''
    rounded = '{0:.2f} of {1}'.format(ratio.median, scenario.reference)
    if ratio.low == ratio.high:
        return rounded
    return rounded + ' ({0:.2f} to {1:.2f})'.format(ratio.low, ratio.high)


def target_line(verdict, scenarios):
    """What was asked for, what came out, and whether it is met: four cells."""
    target = verdict.target
    scenario = scenarios[target.scenario]
    metric = dict((each.name, each) for each in scenario.metrics)[target.metric]
    asked = '{0} {1:g}'.format(target.bound, target.limit)
    if target.rivals:
        several = 'the best of ' if len(target.rivals) > 1 else ''
        asked += ' of ' + several + ', '.join(target.rivals)
    else:
        asked += ' ' + metric.unit
    reached = spread(verdict.reached) if verdict.reached else 'no usable round'
    return ('{0}: {1}'.format(scenario.title, metric.label), asked.strip(), reached,
            'met' if verdict.met else 'MISSED')


def targets_text(results, scenarios):
    """The targets for a terminal; '' when none was measured."""
    rows = [target_line(verdict, scenarios) for verdict in bench.targets.verdicts(results['rounds'])]
    return '\n'.join('  {3:<7} {0}: {1}, reached {2}'.format(*row) for row in rows)


def markdown(results, scenarios, picture=None):
    """The whole report. `scenarios`: by name; `picture`: a path to link, or None."""
    parts = [part for part in (heading(results), disturbed_text(results)) if part]
    if picture:
        parts.append('![the figures as bars]({0})'.format(picture))
    rows = [target_line(verdict, scenarios) for verdict in bench.targets.verdicts(results['rounds'])]
    if rows:
        parts.append('### Targets\n\n' + table(('scenario', 'target', 'reached', ''), rows))
    parts.append('### All figures\n\n' + figures_table(results, scenarios))
    growth = growth_tables(results)
    if growth:
        parts.append('### Growth\n\n' + '\n\n'.join(growth))
    if results['missing'] or results['failures']:
        lines = ['- {0} was left out: {1}'.format(*item) for item in sorted(results['missing'].items())]
        parts.append('### Left out\n\n' + '\n'.join(lines + ['- ' + line for line in results['failures']]))
    return '\n\n'.join(parts) + '\n'


def disturbed(results):
    """How many measurements there are in which others took part of the proxy's core, and how many in all."""
    shares = [figures['foreign'] for rounds in results['rounds'].values() for each in rounds
              for figures in each.values() if 'foreign' in figures]
    return sum(share > DISTURBING for share in shares), len(shares)


def disturbed_text(results):
    """A warning, or ''."""
    some, of_all = disturbed(results)
    if not some:
        return ''
    return ('{0} of {1} measurements were disturbed: other processes took more than {2} % of the core that '
            'the proxy had for itself.').format(some, of_all, DISTURBING)


def heading(results):
    machine, scale = results['machine'], results['scale']
    return ('{processor}, {cores} cores, Linux {kernel}. Rounds: {rounds}, of {seconds:g} s for each load; '
            'contestants taken in turn, one thread each, the proxy alone on its core. Figures are medians '
            '(lowest to highest). Contestants: {who}.').format(
                who=', '.join(results['contestants'].values()),
                rounds=scale['rounds'], seconds=scale['seconds'],
                **machine)


def figures_table(results, scenarios):
    """A row for each scenario and metric, a column for each contestant, and our ratio to the reference."""
    names = [name for name in results['contestants']
             if any(name in each for rounds in results['rounds'].values() for each in rounds)]
    rows, marked = [], False
    for name, rounds in results['rounds'].items():
        scenario = scenarios[name]
        for metric in scenario.metrics:
            found = [of_contestant(rounds, each, metric.name) for each in names]
            if not any(found):
                continue
            limited = load_limited(rounds, metric.name)
            marked = marked or limited
            label = labelled(metric) + (' *' if limited else '')
            cells = [spread(each) if each else '' for each in found]
            rows.append([scenario.title, label] + cells + [ratio_cell(scenario, rounds, metric)])
    text = table(['scenario', 'figure'] + names + ['SideLB by reference'], rows)
    if marked:
        text += '\n\n\\* No proxy used its core up: load or server were the limit, so this ratio says little.'
    return text


def ratio_cell(scenario, rounds, metric):
    ratio = ratio_to(rounds, bench.targets.OURS, scenario.reference, metric.name)
    if not ratio or scenario.reference == bench.targets.OURS or not metric.better:
        return ''
    return '{0:.2f} of {1}'.format(ratio.median, scenario.reference)


def growth_tables(results):
    """A small table for each kind of growth of which at least two steps were measured."""
    found = []
    for title, metric, steps in GROWTH:
        steps = [(label, results['rounds'][name]) for label, name in steps if results['rounds'].get(name)]
        rows = []
        for name in results['contestants']:
            cells = [of_contestant(rounds, name, metric) for _, rounds in steps]
            if any(cells):
                rows.append([name] + [number(cell.median) if cell else '' for cell in cells])
        if len(steps) > 1 and rows:
            found.append(table([title] + [label for label, _ in steps], rows))
    return found


def table(head, rows):
    """A Markdown table."""
    lines = [head, ['---'] * len(head)] + list(rows)
    return '\n'.join('| ' + ' | '.join(line) + ' |' for line in lines)
