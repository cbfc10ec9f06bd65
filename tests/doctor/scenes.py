"""A host of the doctor's own: name servers, servers that answer, refuse or are silent, in a network namespace."""
from __future__ import absolute_import, division, print_function

import contextlib
import json
import re

from sidelb_lib.demo.zone import Zone

from ..support.nameserver import TestNameServer
from ..support.netns import NetworkNamespace, entered
from ..support.processes import run
from ..support.program import COMMAND, clean_environ
from ..support.requirements import need_namespaces
from ..support.servers import Server

NAME_SERVER = '10.0.0.53'
RING = 'db.example.com'
HOSTS = '127.0.0.1 localhost\n'
LEADS_HERE = HOSTS + '127.0.0.1 %s\n' % RING


class Scene(object):
    """A context manager. `zone` is what the name server says, `name_server` misbehaves on demand.

    `servers` are addresses of servers that answer on `port`, `closed` such that refuse, `silent` such that drop all.
    """

    def __init__(self, servers=(), closed=(), silent=(), hosts=LEADS_HERE, resolv_conf=None, port=5432):
        need_namespaces()
        self.zone = Zone(ttl=30)
        self.name_server = TestNameServer(self.zone, NAME_SERVER, 53)
        self.namespace = NetworkNamespace([NAME_SERVER] + list(servers) + list(closed))
        self._servers = [(ip, port) for ip in servers]
        self._silent = list(silent)
        self._hosts = hosts
        self._resolv_conf = resolv_conf or 'nameserver %s\n' % NAME_SERVER
        self._running = []

    def __enter__(self):
        self.namespace.__enter__()
        try:
            self.namespace.write_hosts(self._hosts)
            self.namespace.write_resolv_conf(self._resolv_conf)
            for ip in self._silent:
                self.run_inside('ip', 'route', 'add', ip, 'dev', 'lo')
            with entered(self.namespace):
                self.name_server.start()
            for ip, port in self._servers:
                server = Server('x', ip, port, namespace=self.namespace)
                server.__enter__()
                self._running.append(server)
        except BaseException:
            self.__exit__(None, None, None)
            raise
        return self

    def __exit__(self, *exception):
        for server in self._running:
            server.__exit__(*exception)
        self.name_server.stop()
        self.namespace.__exit__(*exception)

    def run_inside(self, *command):
        finished = run(list(command), namespace=self.namespace)
        assert finished.returncode == 0, finished

    def doctor(self, *arguments, **environ):
        """What `sidelb doctor` prints, as processes.Finished. `environ` are more variables."""
        environ.setdefault('SIDELB_STATUS_SOCKET', None)
        command = ['sh', '-c', 'ulimit -n 20000 && exec "$0" "$@"'] + COMMAND + ['doctor'] + list(arguments)
        finished = run(command, namespace=self.namespace, environ=clean_environ(environ), timeout=40)
        assert 'Traceback' not in finished.output and not finished.stderr, finished
        return finished

    def findings(self, *arguments, **environ):
        """{id: (level, text) of the last such finding}, out of the JSON."""
        found = json.loads(self.doctor('--json', *arguments, **environ).stdout)
        return dict((str(one['id']), (str(one['level']), str(one['text']))) for one in found['checks'])


def masked(text):
    """What the doctor printed, without what differs from run to run."""
    text = re.sub(r'SideLB [0-9.]+(\S*) doctor', 'SideLB 1.0.0 doctor', text)
    text = re.sub(r'[0-9]+\.[0-9] ms', '0.1 ms', text)
    return re.sub(r'[0-9]+\.[0-9] s$', '0.0 s', text, flags=re.MULTILINE)


@contextlib.contextmanager
def three_servers(**options):
    """Three servers with an IPv4 and an IPv6 address each, all as it should be."""
    ips = ['10.0.0.1%d' % number for number in (1, 2, 3)] + ['2001:db8::1%d' % number for number in (1, 2, 3)]
    with Scene(ips, **options) as scene:
        for number in (1, 2, 3):
            scene.zone.set_server('db%d.example.com' % number, ['10.0.0.1%d' % number, '2001:db8::1%d' % number])
        scene.zone.set_addresses(RING, ips)
        yield scene
