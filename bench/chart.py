"""The results document as an SVG bar chart: a group of bars for each headline figure. Pure."""
from __future__ import absolute_import, division, print_function

from xml.sax.saxutils import escape

import bench.report

# scenario and metric of each group, in order
HEADLINES = (
    ('requests-50', 'rate'), ('requests-500', 'rate'), ('pipelined', 'rate'), ('bulk-1-up', 'rate'),
    ('bulk-8-down', 'rate'), ('connections', 'rate'), ('pgbench', 'rate'),
    ('udp-20', 'rate'), ('udp-new', 'rate'),
    ('requests-50', 'cpu'), ('bulk-1-up', 'cpu'), ('connections', 'cpu'), ('latency', 'added p99'),
    ('idle-8000', 'memory'), ('start', 'ready'), ('rest-probes', 'busy'))
COLOURS = {'sidelb': '#d1495b', 'haproxy': '#30638e', 'haproxy-splice': '#7fa6c9', 'nginx': '#3c8d5a',
           'envoy': '#8c5ac8', 'dnsdist': '#b08a2e', 'direct': '#b5b5b5'}
WIDTH, LEFT, BARS, ROW, GAP, TOP = 960, 330, 430, 15, 14, 62
STYLE = ('text { font: 12px sans-serif; fill: #222 } .small { font-size: 10.5px; fill: #555 } '
         '.title { font-size: 15px; font-weight: bold } .whisker { stroke: #222; stroke-width: 1 }')


def svg(results, scenarios):
    """The picture as text; the bars of a group are in proportion, each group fills the width."""
    parts, top = [], TOP
    for name, metric_name in HEADLINES:
        rounds = results['rounds'].get(name)
        if not rounds:
            continue
        metric = dict((each.name, each) for each in scenarios[name].metrics)[metric_name]
        found = [(who, bench.report.of_contestant(rounds, who, metric_name))
                 for who in scenarios[name].contestants]
        found = [(who, summary) for who, summary in found if summary]
        if found:
            parts += group(scenarios[name], metric, found, top)
            top += ROW * max(2, len(found)) + GAP
    head = ['<svg xmlns="http://www.w3.org/2000/svg" width="{0}" height="{1}" viewBox="0 0 {0} {1}">'.format(
        WIDTH, top + 8), '<style>{0}</style>'.format(STYLE),
        '<rect width="100%" height="100%" fill="white"/>',
        text(16, 26, 'SideLB beside the others: medians, with the lowest and highest round', 'title')]
    return '\n'.join(head + legend(results) + parts + ['</svg>']) + '\n'


def legend(results):
    """A coloured square and a name for each contestant that has bars."""
    parts, left = [], 16
    for name, title in results['contestants'].items():
        if name not in COLOURS:
            continue
        parts.append('<rect x="{0}" y="36" width="10" height="10" fill="{1}"/>'.format(left, COLOURS[name]))
        parts.append(text(left + 14, 45, title, 'small'))
        left += 30 + 5.5 * len(title)
    return parts


def group(scenario, metric, found, top):
    """Label and bars of one figure."""
    direction = {'higher': 'longer is better', 'lower': 'shorter is better'}[metric.better]
    parts = [text(16, top + 11, scenario.title),
             text(16, top + 25, '{0}: {1}'.format(bench.report.labelled(metric), direction), 'small')]
    scale = BARS / (max(summary.high for _, summary in found) or 1)
    for index, (who, summary) in enumerate(found):
        y = top + index * ROW
        low, middle, high = (LEFT + max(0, value) * scale
                             for value in (summary.low, summary.median, summary.high))
        parts.append('<rect x="{0}" y="{1}" width="{2:.1f}" height="{3}" fill="{4}"/>'.format(
            LEFT, y, middle - LEFT, ROW - 3, COLOURS[who]))
        parts.append('<path class="whisker" d="M{0:.1f} {2}H{1:.1f}"/>'.format(low, high, y + ROW // 2 - 1))
        label = '{0}  {1}'.format(bench.report.number(summary.median), who)
        parts.append(text(high + 6, y + 10, label, 'small'))
    return parts


def text(left, base, words, kind=''):
    return '<text x="{0:.1f}" y="{1}"{2}>{3}</text>'.format(
        left, base, ' class="{0}"'.format(kind) if kind else '', escape(words))
