"""The benchmark's pure parts, and that its command line starts. Nothing here is timed."""
from __future__ import absolute_import, division, print_function

import collections
import json
import os
import random
import sys
import xml.dom.minidom

import pytest

from ..support.processes import run

if sys.version_info[0] == 2:
    pytest.skip('bench/ runs on Python 3 alone; it benchmarks SideLB on any', allow_module_level=True)

import bench.chart              # noqa: E402 - after the skip
import bench.clients            # noqa: E402
import bench.contestants        # noqa: E402
import bench.errors             # noqa: E402
import bench.figures            # noqa: E402
import bench.loads              # noqa: E402
import bench.machine            # noqa: E402
import bench.measurements       # noqa: E402
import bench.report             # noqa: E402
import bench.runner             # noqa: E402
import bench.scenarios          # noqa: E402
import bench.servers            # noqa: E402
import bench.targets            # noqa: E402

pytestmark = pytest.mark.once

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
SCENARIOS = collections.OrderedDict((each.name, each) for each in bench.scenarios.scenarios())


def figures_of(**rates):
    """One round: contestant to its rate, on a proxy that was busy."""
    return dict((name, {'rate': rate, 'busy': 99.0}) for name, rate in rates.items())


def results_of(**rounds_by_scenario):
    """A results document; `_` in a scenario's name stands for `-`."""
    return {
        'machine': {'processor': 'A <fast> one', 'cores': 2, 'memory_bytes': 1, 'kernel': '6.1', 'python': '3.13'},
        'scale': {'rounds': 2, 'seconds': 3.0, 'rest_seconds': 15},
        'contestants': collections.OrderedDict(
            [('sidelb', 'SideLB & co'), ('haproxy', 'HAProxy 2'), ('nginx', 'nginx 1'), ('direct', 'direct')]),
        'missing': {'dnsdist': 'dnsdist is not installed'}, 'failures': [],
        'rounds': collections.OrderedDict(
            (name.replace('_', '-'), rounds) for name, rounds in sorted(rounds_by_scenario.items()))}


# Statistics ------------------------------------------------------------------------------------------------

def test_median_is_the_middle_or_the_mean_of_the_middle_two():
    assert bench.figures.median([9, 1, 5]) == 5
    assert bench.figures.median([1, 9, 5, 6]) == 5.5


def test_summary_passes_over_rounds_that_are_missing():
    assert bench.figures.summary([3, None, 1, 2]) == (2, 1, 3)
    assert bench.figures.summary([None]) is None


def test_ratios_compare_within_a_round_and_not_medians():
    own, other = [10, 40, 30], [10, 10, 60]
    assert bench.figures.ratios(own, other) == [1, 4, 0.5]


def test_a_ratio_is_missing_where_a_figure_is_missing_or_not_positive():
    assert bench.figures.ratios([None, 1, 1, -1, 0], [1, None, 0, 1, 1]) == [None] * 5


def test_best_is_taken_round_by_round_in_the_right_direction():
    several = [[1, 5, None], [2, 4, None]]
    assert bench.figures.best(several, 'higher') == [2, 5, None]
    assert bench.figures.best(several, 'lower') == [1, 4, None]


# Targets ---------------------------------------------------------------------------------------------------

def only_verdict(results, target):
    verdict, = bench.targets.verdicts(results['rounds'], [target])
    return verdict


def test_target_of_several_rivals_is_against_the_best_of_each_round():
    rounds = [figures_of(sidelb=30, haproxy=10, nginx=20), figures_of(sidelb=30, haproxy=15, nginx=10)]
    target = bench.targets.Target('bulk-1-up', 'rate', bench.targets.AT_LEAST, 1.5, ('haproxy', 'nginx'))
    verdict = only_verdict(results_of(bulk_1_up=rounds), target)
    assert verdict.reached == (1.75, 1.5, 2.0)
    assert verdict.met


@pytest.mark.parametrize('bound, limit, met', [
    ('at least', 1.5, True), ('at least', 1.6, False), ('at most', 1.5, True), ('at most', 1.4, False)])
def test_target_is_judged_by_the_median(bound, limit, met):
    rounds = [figures_of(sidelb=rate, haproxy=10) for rate in (5, 15, 90)]
    target = bench.targets.Target('requests-50', 'rate', bench.targets.AT_LEAST, limit, ('haproxy',))
    assert only_verdict(results_of(requests_50=rounds), target._replace(bound=bound)).met is met


def test_a_limit_of_zero_must_hold_in_every_round():
    rounds = [{'sidelb': {'lost': lost}} for lost in (0, 0, 1)]
    target = bench.targets.Target('udp-half', 'lost', bench.targets.AT_MOST, 0, ())
    assert not only_verdict(results_of(udp_half=rounds), target).met
    assert only_verdict(results_of(udp_half=rounds[:2]), target).met


def test_target_that_no_round_could_measure_is_not_met():
    rounds = [{'sidelb': {'added p99': -5.0}, 'haproxy': {'added p99': 9.0}}]
    target = bench.targets.Target('latency', 'added p99', bench.targets.AT_MOST, 1.2, ('haproxy',))
    verdict = only_verdict(results_of(latency=rounds), target)
    assert verdict.reached is None and not verdict.met
    assert 'no usable round' in bench.report.target_line(verdict, SCENARIOS)


def test_a_rival_that_was_not_there_gives_no_verdict():
    target = bench.targets.Target('requests-50', 'rate', bench.targets.AT_LEAST, 1, ('envoy',))
    assert bench.targets.verdicts(results_of(requests_50=[figures_of(sidelb=1, haproxy=1)])['rounds'], [target]) == []


def test_scenario_without_sidelb_gives_no_verdict():
    assert bench.targets.verdicts(results_of(requests_50=[figures_of(haproxy=1)])['rounds']) == []


# The table of scenarios ------------------------------------------------------------------------------------

def test_what_refers_to_a_scenario_or_metric_names_one_that_exists():
    assert len(SCENARIOS) == len(bench.scenarios.scenarios())
    referred = [(target.scenario, target.metric) for target in bench.targets.TARGETS]
    referred += bench.chart.HEADLINES
    referred += [(name, metric) for _, metric, steps in bench.report.GROWTH for _, name in steps]
    for name, metric in referred:
        assert metric in [each.name for each in SCENARIOS[name].metrics], (name, metric)


def test_every_scenario_names_contestants_that_exist():
    known = [each.name for each in bench.contestants.everyone(sys.executable, 'sidelb.py')]
    for scenario in SCENARIOS.values():
        assert set(scenario.contestants) <= set(known), scenario.name
        assert scenario.reference in scenario.contestants, scenario.name


def test_added_latency_is_what_is_beyond_the_direct_connection():
    results = {'direct': {'p50': 80, 'p99': 200, 'p99.9': 300}, 'sidelb': {'p50': 100, 'p99': 260, 'p99.9': 290}}
    bench.measurements.derive_added(results)
    assert [results['sidelb']['added ' + each] for each in ('p50', 'p99', 'p99.9')] == [20, 60, -10]
    assert 'added p50' not in results['direct']


# Contestants -----------------------------------------------------------------------------------------------

MEMBERS = [('127.1.0.1', 7000), ('127.1.0.2', 7000)]


def test_sidelb_is_started_as_a_user_would():
    wanted = bench.contestants.job(MEMBERS, mode='least-connections')
    command = bench.contestants.Sidelb('python3', '/x/sidelb.py').command(('127.0.0.1', 5), wanted, None)
    assert command[:5] == ['python3', '/x/sidelb.py', '127.0.0.1:5', '127.1.0.1:7000', '127.1.0.2:7000']
    assert set(command[5:]) == {'proto=tcp', 'mode=least-connections', 'check=off', 'status_socket=off',
                                'log_level=warning'}


def test_sidelb_finds_a_ring_by_name_and_probes_it():
    wanted = bench.contestants.job([], check=5, ring=('db.bench.test', 7000), resolver='127.0.0.1:53')
    command = bench.contestants.Sidelb('python3', '/x/sidelb.py').command(('127.0.0.1', 5), wanted, None)
    assert {'ring_domain=db.bench.test:7000', 'resolver=127.0.0.1:53', 'check_interval=5s'} <= set(command)


def test_missing_contestant_says_what_is_not_there(tmpdir):
    absent = str(tmpdir.join('sidelb.py'))
    assert absent in bench.contestants.Sidelb(sys.executable, absent).missing()


def test_envoys_version_is_found_behind_its_path():
    output = '\n/opt/a/bin/envoy  version: 9e5580/1.40.0/Clean/RELEASE/BoringSSL\n'
    assert bench.contestants.parse_envoy_version(output) == '1.40.0'


@pytest.mark.parametrize('protocol, kind', [('tcp', 'TcpProxy'), ('udp', 'UdpProxyConfig')])
def test_envoy_listens_and_knows_the_members(protocol, kind):
    config = bench.contestants.envoy_config(('127.0.0.1', 5), bench.contestants.job(MEMBERS, protocol))['static_resources']
    assert config['listeners'][0]['address']['socket_address'] == {
        'protocol': protocol.upper(), 'address': '127.0.0.1', 'port_value': 5}
    assert kind in json.dumps(config['listeners'])
    endpoints = config['clusters'][0]['load_assignment']['endpoints'][0]['lb_endpoints']
    assert [each['endpoint']['address']['socket_address']['address'] for each in endpoints] == ['127.1.0.1', '127.1.0.2']


def test_another_checkout_takes_part_where_ours_does(tmpdir):
    rounds = Rounds(tmpdir, 1)
    rounds.runner._contestants[1].stands_for = 'a'
    rounds.run(rounds.noted, contestants=('a',))
    assert sorted(rounds.runner.rounds['test'][0]) == ['a', 'b']
    assert bench.report.everyone_in(SCENARIOS['requests-50'], [figures_of(sidelb=1, before=2)])[-1] == 'before'


def test_ring_is_served_with_names_that_lead_both_ways():
    config = bench.servers.unbound_config(5300, members=2)
    assert config.count('db.bench.test. 15 IN A ') == 2
    assert 'local-data-ptr: "127.1.0.2 3600 node-1.bench.test."' in config
    assert 'local-data: "node-1.bench.test. 3600 IN A 127.1.0.2"' in config


def test_a_thousand_members_are_a_thousand_valid_addresses():
    addresses = bench.servers.member_addresses(1000, 1)
    assert len(set(addresses)) == 1000
    assert all(0 < int(part) < 256 for ip, _ in addresses for part in ip.split('.')[3:])


# Machine ---------------------------------------------------------------------------------------------------

@pytest.mark.parametrize('available, load, server, proxy', [
    ([3], None, None, None), ([0, 1], 0, 0, 1), ([0, 1, 2, 3], 0, 1, 3)])
def test_the_proxy_gets_a_core_to_itself(available, load, server, proxy):
    assert bench.machine.plan_cores(available) == (load, server, proxy)


@pytest.mark.parametrize('ephemeral, first, last', [
    ((32768, 60999), 10000, 32767), ((10500, 60999), 61000, 65535), ((1024, 65535), 10000, 65535)])
def test_listening_ports_keep_clear_of_ephemeral_ones(ephemeral, first, last):
    ports = bench.machine.listening_ports(ephemeral)
    assert (ports[0], ports[-1]) == (first, last)


# Rounds ----------------------------------------------------------------------------------------------------

class Stub(object):
    """A contestant without a process: the harness treats it as it treats the direct connection."""

    def __init__(self, name):
        self.name = name
        self.title = name


class Rounds(object):
    """A Runner over stubs, and what it told the user."""

    def __init__(self, tmpdir, rounds):
        self.said = []
        self.order = []
        scale = bench.runner.Scale(rounds, 1, 1)
        self.runner = bench.runner.Runner(
            [Stub('a'), Stub('b'), Stub('c')], None, None, scale, bench.machine.Cores(None, None, None), 100,
            str(tmpdir), self.said.append)

    def run(self, measure, contestants=('a', 'b', 'c'), **options):
        self.runner.run(bench.scenarios.scenario(
            'test', 'a test', contestants, self.job, measure, bench.scenarios.REQUESTS, **options))

    def job(self, servers, index):
        return bench.contestants.job([('127.0.0.1', index)])

    def noted(self, loads, trial):
        self.order.append('abc'[trial.address[1]])
        return {'rate': 1}


def test_each_round_begins_with_another_contestant(tmpdir):
    rounds = Rounds(tmpdir, 3)
    rounds.run(rounds.noted, fresh=True)
    assert ''.join(rounds.order) == 'abc' 'bca' 'cab'


def test_the_warm_up_does_not_count(tmpdir):
    rounds = Rounds(tmpdir, 2)
    rounds.run(rounds.noted, warm_up=True)
    assert len(rounds.order) == 9
    assert len(rounds.runner.rounds['test']) == 2


def test_contestant_that_fails_is_named_and_left_out_while_the_others_go_on(tmpdir):
    rounds = Rounds(tmpdir, 2)

    def measure(loads, trial):
        if trial.address[1] == 1:
            raise bench.errors.BenchError('it broke')
        return rounds.noted(loads, trial)

    rounds.run(measure, fresh=True)
    assert [sorted(each) for each in rounds.runner.rounds['test']] == [['a', 'c'], ['a', 'c']]
    assert rounds.runner.failures == ['test: b left out after it failed: it broke']
    assert rounds.said[-1] == rounds.runner.failures[0]


def test_scenario_whose_server_is_missing_is_named_and_left_out(tmpdir):
    rounds = Rounds(tmpdir, 1)

    def job(servers, index):
        raise bench.errors.Missing('unbound is not installed')

    rounds.job = job
    rounds.run(rounds.noted)
    assert rounds.runner.failures == ['test: left out: unbound is not installed']
    assert 'test' not in rounds.runner.rounds


# Loads -----------------------------------------------------------------------------------------------------

def test_redis_benchmark_is_read_whatever_its_title_holds():
    head = '"test","rps","avg_latency_ms","min_latency_ms","p50","p95","p99","max"\n'
    output = head + '"ECHO "1.5"","55710.30","0.617","0.088","0.583","1.055","1.191","3.343"\n'
    assert bench.loads.parse_redis(output) == 55710.30


def test_iperf3_counts_what_was_received():
    output = json.dumps({'end': {'sum_sent': {'bytes': 9}, 'sum_received': {'bytes': 8, 'seconds': 2.0}}})
    assert bench.loads.parse_iperf3(output)[:2] == (8, 2.0)


def test_pgbench_time_follows_from_its_rate():
    load = bench.loads.parse_pgbench(
        'number of transactions actually processed: 3000\nlatency average = 0.2 ms\n'
        'tps = 1500.0 (without initial connection time)\n')
    assert load[:2] == (3000, 2.0)


def test_dnsperf_counts_what_was_lost():
    load = bench.loads.parse_dnsperf(
        '  Queries sent:         1003\n  Queries completed:    1000 (99.70%)\n  Queries lost:         3 (0.30%)\n'
        '  Run time (s):         2.5\n')
    assert load == (1000, 2.5, {'lost': 3})


@pytest.mark.parametrize('parse, output', [
    (bench.loads.parse_redis, ''), (bench.loads.parse_redis, 'Could not connect\n'),
    (bench.loads.parse_iperf3, '{"error": "unable to connect"}'), (bench.loads.parse_pgbench, 'nothing'),
    (bench.loads.parse_dnsperf, 'nothing')])
def test_output_without_a_result_is_an_error_of_one_line(parse, output):
    with pytest.raises(bench.errors.BenchError) as caught:
        parse(output)
    assert '\n' not in str(caught.value)


def test_arrivals_are_random_at_the_rate_and_the_same_in_every_run():
    first, again = (list(bench.clients.arrivals(1000, 5, random.Random(1))) for _ in range(2))
    assert first == again == sorted(first)
    assert 4700 < len(first) < 5300
    assert 0 < first[0] and first[-1] < 5


def test_percentiles_are_in_microseconds():
    found = bench.clients.percentiles([number / 1e6 for number in range(1000, 0, -1)])
    assert found == {'p50': pytest.approx(501), 'p99': pytest.approx(991), 'p99.9': pytest.approx(1000)}


def test_dns_query_is_as_rfc_1035_says():
    assert bench.clients.dns_query('a.bc') == (
        b'\0\x01\x01\0\0\x01\0\0\0\0\0\0' b'\x01a\x02bc\0' b'\0\x01\0\x01')


# Reports ---------------------------------------------------------------------------------------------------

@pytest.mark.parametrize('value, text', [
    (0, '0'), (0.1234, '0.123'), (1.234, '1.23'), (12.34, '12.3'), (123.4, '123'), (54321.9, '54,322'), (-0.5, '-0.500')])
def test_numbers_have_three_digits_or_whole_units(value, text):
    assert bench.report.number(value) == text


def test_text_shows_median_spread_and_ratio():
    rounds = [figures_of(sidelb=200, haproxy=100), figures_of(sidelb=300, haproxy=100),
              figures_of(sidelb=500, haproxy=100)]
    lines = bench.report.scenario_text(SCENARIOS['requests-50'], rounds).splitlines()
    assert lines[2].split() == 'sidelb 300 200 to 500 3.00 of haproxy (2.00 to 5.00)'.split()
    assert lines[3].split() == ['haproxy', '100']


def test_a_rate_is_marked_when_no_proxy_used_its_core_up():
    busy, idle = {'rate': 1, 'busy': 95}, {'rate': 1, 'busy': 60}
    assert bench.report.load_limited([{'sidelb': idle, 'haproxy': idle, 'direct': {'rate': 1}}], 'rate')
    assert not bench.report.load_limited([{'sidelb': idle, 'haproxy': busy}], 'rate')
    assert not bench.report.load_limited([{'sidelb': idle}], 'cpu')


def test_markdown_has_a_cell_for_each_contestant_in_every_row():
    results = results_of(requests_50=[figures_of(sidelb=200, haproxy=100, direct=400)])
    text = bench.report.markdown(results, SCENARIOS, 'bench.svg')
    rows = [line for line in text.splitlines() if line.startswith('| small request/reply, 50 clients |')]
    assert rows[0] == '| small request/reply, 50 clients | requests, /s | 200 | 100 | 400 | 2.00 of haproxy |'
    assert '| small request/reply, 50 clients: requests | at least 0.97 of haproxy | 2 | met |' in text
    assert '(bench.svg)' in text
    assert 'dnsdist was left out: dnsdist is not installed' in text


def test_markdown_shows_growth_only_where_there_are_steps():
    one = results_of(requests_50=[figures_of(sidelb=2)])
    two = results_of(requests_50=[figures_of(sidelb=2)], requests_500=[figures_of(sidelb=1)])
    assert 'Growth' not in bench.report.markdown(one, SCENARIOS)
    assert '| connections: requests/s | 50 | 500 |' in bench.report.markdown(two, SCENARIOS)


def test_report_warns_of_measurements_that_others_disturbed():
    calm, disturbed = {'rate': 1, 'foreign': 0.5}, {'rate': 1, 'foreign': 30.0}
    results = results_of(requests_50=[{'sidelb': calm, 'haproxy': disturbed, 'direct': {'rate': 1}}])
    assert bench.report.disturbed(results) == (1, 2)
    assert bench.report.disturbed_text(results).startswith('1 of 2 measurements')
    assert bench.report.disturbed_text(results_of(requests_50=[{'sidelb': calm}])) == ''


def test_chart_is_xml_with_a_bar_for_each_contestant():
    results = results_of(requests_50=[figures_of(sidelb=200, haproxy=100, direct=400)])
    document = xml.dom.minidom.parseString(bench.chart.svg(results, SCENARIOS).encode('utf-8'))
    widths = [float(rect.getAttribute('width')) for rect in document.getElementsByTagName('rect')
              if rect.getAttribute('x') == str(bench.chart.LEFT)]
    assert widths == [bench.chart.BARS / 2, bench.chart.BARS / 4, bench.chart.BARS]


# Command line ----------------------------------------------------------------------------------------------

def command_line(*arguments):
    return run([sys.executable, '-m', 'bench'] + list(arguments), cwd=ROOT)


def test_list_names_scenarios_and_contestants():
    finished = command_line('--list')
    assert finished.returncode == 0, finished
    words = finished.stdout.split()
    assert set(SCENARIOS) | {'sidelb', 'haproxy', 'nginx', 'dnsdist', 'direct'} <= set(words)


@pytest.mark.parametrize('arguments, reason', [
    (('--only=nix',), "there is no scenario 'nix'"), (('--contestants=nix',), "there is no contestant 'nix'"),
    (('--also=old',), '--also wants NAME=PATH'),
    (('--rounds=0',), '--rounds wants a positive number'), (('--seconds=x',), '--seconds wants a positive number')])
def test_wrong_argument_is_one_line_and_exit_code_2(arguments, reason):
    finished = command_line(*arguments)
    assert finished.returncode == 2, finished
    assert reason in finished.stderr
    assert len(finished.stderr.splitlines()) == 1


def test_reports_are_made_again_from_a_results_file(tmpdir):
    document, table, picture = (tmpdir.join(name) for name in ('r.json', 'r.md', 'r.svg'))
    document.write(json.dumps(results_of(requests_50=[figures_of(sidelb=200, haproxy=100)])))
    finished = command_line('--from={0}'.format(document), '--markdown={0}'.format(table), '--svg={0}'.format(picture))
    assert finished.returncode == 0, finished
    assert '2.00 of haproxy' in finished.stdout
    assert '(r.svg)' in table.read_text('utf-8')
    assert picture.read_text('utf-8').startswith('<svg')
