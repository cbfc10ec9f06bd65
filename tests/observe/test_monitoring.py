"""packaging/monitoring: the dashboard and the alerts name what /metrics has, and Prometheus takes and plays them."""
from __future__ import absolute_import, division, print_function

import io
import json
import os
import re

import pytest

from sidelb_lib.observe.metrics import HISTOGRAM, OF_PROCESS, TABLE

from ..support.processes import run
from ..support.program import PROJECT
from ..support.requirements import need_program

DIRECTORY = os.path.join(PROJECT, 'packaging', 'monitoring')
OWN = dict([('sidelb_build_info', ('version', 'python', 'gevent'))] + [(row.name, row.labels) for row in OF_PROCESS])
LABELS = ('service', 'instance', 'job', 'le')                     # of every family, or Prometheus's own


def text_of(name):
    with io.open(os.path.join(DIRECTORY, name), encoding='utf-8') as stream:
        return stream.read()


def dashboard():
    return json.loads(text_of('dashboard.json'))


def expressions():
    return [target['expr'] for panel in dashboard()['panels'] for target in panel.get('targets', [])]


def families():
    """{name of a series: its labels}."""
    known = dict((row.name + ending, row.labels) for row in TABLE
                 for ending in (('_bucket', '_count', '_sum') if row.kind == HISTOGRAM else ('',)))
    return dict(known, **OWN)


@pytest.mark.parametrize('name', ['alerts.yaml', 'alerts_test.yaml', 'dashboard.json'])
def test_every_family_and_label_named_exists(name):
    known = families()
    found = re.findall(r'\b(sidelb_[a-z_]+)(?:\{([^}]*)\})?', text_of(name))
    assert len(found) > 8
    for family, labels in found:
        assert family in known, family
        for label in re.findall(r'(\w+) ?!?=', labels.replace('\\"', '"')):
            assert label in known[family] + LABELS, (family, label)


def test_the_dashboard_shows_most_of_what_there_is():
    shown = set(re.findall(r'\bsidelb_[a-z_]+', ' '.join(expressions())))
    assert len(shown) > 20


def test_the_dashboard_is_one_that_grafana_can_import():
    board = dashboard()
    panels = board['panels']
    assert len(set(panel['id'] for panel in panels)) == len(panels)
    places = set()
    for panel in panels:
        place = panel['gridPos']
        cells = set((x, y) for x in range(place['x'], place['x'] + place['w'])
                    for y in range(place['y'], place['y'] + place['h']))
        assert place['x'] + place['w'] <= 24 and not cells & places, panel['title']
        places |= cells
        assert panel['type'] == 'row' or panel['datasource']['uid'] == '${datasource}'
    variables = [one['name'] for one in board['templating']['list']]
    assert set(re.findall(r'\$\{?(\w+)', ' '.join(expressions()))) - set(['__rate_interval']) <= set(variables)


def test_prometheus_understands_every_expression_of_the_dashboard(tmpdir):
    promtool = need_program('promtool', 'prometheus')
    rules = ['  - {record: "panel:%d", expr: %s}\n' % (number, json.dumps(
        expression.replace('$__rate_interval', '5m'))) for number, expression in enumerate(expressions())]
    path = tmpdir.join('rules.yaml')
    path.write('groups:\n- name: dashboard\n  rules:\n' + ''.join(rules))
    finished = run([promtool, 'check', 'rules', str(path)])
    assert finished.returncode == 0 and '%d rules found' % len(rules) in finished.output, finished


@pytest.mark.parametrize('command', [('check', 'rules', 'alerts.yaml'), ('test', 'rules', 'alerts_test.yaml')])
def test_prometheus_takes_the_alerts_and_raises_them_in_an_outage(command):
    promtool = need_program('promtool', 'prometheus')
    finished = run([promtool] + list(command[:2]) + [os.path.join(DIRECTORY, command[2])])
    assert finished.returncode == 0 and 'SUCCESS' in finished.output, finished


def test_every_alert_is_raised_in_the_outage_that_is_played():
    alerts = re.findall(r'alert: (\w+)', text_of('alerts.yaml'))
    raised = re.findall(r'alertname: (\w+)\n +exp_alerts:\n', text_of('alerts_test.yaml'))
    assert sorted(set(raised)) == sorted(alerts)


def test_the_guide_says_what_to_do_at_each_alert():
    with io.open(os.path.join(PROJECT, 'docs', 'metrics.md'), encoding='utf-8') as stream:
        told = re.findall(r'^\| `(Sidelb\w+)`', stream.read(), re.MULTILINE)
    assert told == re.findall(r'alert: (\w+)', text_of('alerts.yaml'))
