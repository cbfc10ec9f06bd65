"""The table of settings: one row each. What else is shown or checked about a setting is made out of its row.

To add one: a row here, `settings.KEY` read where it acts, and `python -m sidelb_lib.config.texts > docs/settings.md`.
"""
from __future__ import absolute_import, division, print_function

from collections import namedtuple

from ..checks import registry as checks
from ..net.access import parse_network, parse_trusted
from ..policies import registry as policies
from .servers import parse_backend, parse_ring_domain
from .servers_file import parse_servers_file
from .values import (
    duration, number, one_of, one_of_or_off, one_of_upper, parse_access_log, parse_host_name, parse_http, parse_instance,
    parse_mode, parse_path, parse_resolver, parse_secret, parse_service_listener, parse_socket_path,
    parse_source, parse_spill, parse_state_path, parse_statuses, parse_switch, parse_word)

PREFIX = 'SIDELB_'
DAY = 24 * 3600

#: Defaults that are words for "nothing is set": the value in force is then None, or () for a list.
NOTHING_SET = ('-', 'automatic', 'resolv.conf')

#: Those that may be written, too: as --check-config shows them, and where [defaults] of a file have another value.
WRITTEN_DEFAULTS = ('automatic', 'resolv.conf')


class Setting(namedtuple('Setting', 'key parse default meaning group protocol is_list of_process needs_restart '
                                    'servers')):
    """One row.

    - `parse`: text -> value; raises ValueError with what is wrong and how to write it
    - `default`: the text for people, which `parse` reads unless it is one of NOTHING_SET
    - `group`: the heading that it stands under
    - `protocol`: 'tcp' or 'udp' where it is for one of them alone, else None
    - `is_list`: the text is a list with commas, `parse` reads one item, the value is a tuple; may be given repeatedly
    - `of_process`: it belongs to the process and not to one of its services
    - `needs_restart`: a reload cannot change it
    - `servers`: where it names servers, what it calls one, or where they come from; else None
    """

    __slots__ = ()

    @property
    def variable(self):
        return PREFIX + ('BIND_ADDR' if self.key == 'listener' else self.key.upper())

    @property
    def attribute(self):
        """What it is called in Settings."""
        return 'ring_domains' if self.key == 'ring_domain' else self.key

    @property
    def default_value(self):
        if self.default in NOTHING_SET:
            return () if self.is_list else None
        return self.parse(self.default)


def _row(key, parse, default, meaning, protocol=None, is_list=False, of_process=False, needs_restart=False,
         servers=None):
    return lambda group: Setting(key, parse, default, meaning, group, protocol, is_list, of_process, needs_restart,
                                 servers)


def _table(*groups):
    return tuple(row(group) for group, rows in groups for row in rows)


TABLE = _table(
    ('Main', (
        _row('listener', parse_service_listener, '-',
             'where clients connect: ip:port or [ipv6]:port; the first bare argument (with listener= all bare arguments '
             'are servers). [::] is IPv6 only; port 0 picks a free port, the log shows which; or unix:/path, or '
             'unix:@name for a socket without a file, to which everybody on this host may connect (proto=tcp)'),
        _row('ring_domain', parse_ring_domain, '-',
             'host:port, with commas; looked up again and again, every address a server; or an SRV name like '
             '_postgres._tcp.db.example.com, whose records name the servers, ports, tiers and weights. For options of each '
             'see backends', is_list=True, servers='ring'),
        _row('backends', parse_backend, '-',
             'servers, with commas, or as bare arguments after the listener: ip:port, [ipv6]:port or name:port. '
             'A name is one server with all its addresses; 10.0.0.1:5432+[2001:db8::1]:5432 names the addresses of one '
             'server by hand; unix:/path or unix:@name is a server on this host. '
             'Options stand after it: /weight=N (0 to 256, 0 takes no new session), /tier=N (1 to 9, the '
             'lowest that is up is taken), /max=N (limit of its sessions)', is_list=True, servers=''),
        _row('mode', one_of(*policies.NAMES), 'round-robin', policies.MEANING),
        _row('proto', one_of('tcp', 'udp'), 'tcp', 'protocol: tcp or udp', needs_restart=True),
    )),
    ('Health', (
        _row('check', checks.parse, 'tcp',
             'how servers are probed, KIND[:PORT][/WHAT]: tcp (connects; the server does not notice), http[/PATH], https, '
             'postgres[/primary|replica|prefer-replica], mysql[/...], redis[/...], tls, run:PATH[,role] (a program) or '
             'want:TEXT,ask:TEXT,... (a conversation); for proto=udp: udp (the default there: a line break, and a refusal '
             'is a failure; choose off for one-way services like syslog), dns[/NAME] (wants an answer) or '
             'ask:TEXT,want:TEXT (a reply that begins so); off'),
        _row('check_expect', parse_statuses, '200-299', 'statuses that pass check=http, like 200,204 or 200-399', 'tcp'),
        _row('check_standby', parse_statuses, '-',
             'statuses of check=http that say alive, and not wanted; 503 where the path ends in a role like primary', 'tcp'),
        _row('check_drain', parse_statuses, '-', 'statuses of check=http that say that the server drains', 'tcp'),
        _row('check_method', one_of_upper('GET', 'HEAD', 'OPTIONS'), 'GET', 'of check=http: GET, HEAD or OPTIONS', 'tcp'),
        _row('check_host', parse_host_name, '-',
             'host that check=http names; by default the name or address of the server', 'tcp'),
        _row('check_user', parse_word, 'sidelb', 'user of check=postgres, mysql and redis, where they log in', 'tcp'),
        _row('check_password', parse_secret, '-',
             'its password, only as a variable: command lines can be read by every user of the host', 'tcp'),
        _row('check_password_file', parse_path, '-', 'file whose first line is the password; read again when it changes',
             'tcp'),
        _row('check_database', parse_word, 'postgres', 'database of check=postgres', 'tcp'),
        _row('check_ca', parse_path, '-',
             'file of certificates by which check=tls and https verify servers; by default they do not', 'tcp'),
        _row('check_interval', duration(0.1, 3600), '5s',
             'time between two probes of an address; at most 1s while its state is changing'),
        _row('check_timeout', duration(0.01, 300), '2s', 'a probe that takes longer has failed'),
        _row('early_close', one_of('ignore', 'failure'), 'ignore',
             'a server that ends a session within 1s without a byte: ignore, or failure (check_fall of them in a row take '
             'it down; a client that had sent nothing is given another server unseen)', 'tcp'),
        _row('check_fall', number(1, 100), '2', 'failures in a row that take a server down'),
        _row('check_rise', number(1, 100), '2', 'successes in a row that bring a server back up'),
    )),
    ('Discovery', (
        _row('servers_file', parse_servers_file, '-',
             'path of a file that lists servers, one a line as in backends, read again when it changes',
             servers='file'),
        _row('group', one_of_or_off('confirmed', 'ptr'), 'confirmed',
             'how addresses become servers: confirmed (by the PTR name, if it resolves back), ptr (by the PTR name '
             'alone) or off'),
        _row('resolver', parse_resolver, 'resolv.conf', 'name servers to ask instead: ip[:port], with commas',
             is_list=True, needs_restart=True),
        _row('refresh', duration(1, DAY), '60s',
             'longest time between two look-ups; a shorter TTL shortens it, to not less than 1s'),
        _row('dns_hold', duration(0, DAY), '30s',
             'how long an empty DNS answer is distrusted before the servers are let go'),
        _row('dns_obsolete', duration(0, DAY), '0',
             'how long a server is kept that is missing in a DNS answer with others, for name servers that give a part of '
             'them each time; 0 = not at all'),
    )),
    ('Balancing', (
        _row('prefer', one_of('ipv4', 'ipv6', 'any'), 'ipv4',
             'which addresses of a server with both families take its sessions while they are up: ipv4, ipv6 or any'),
        _row('instance', parse_instance, 'automatic',
             'number of this instance in its fleet, or its name (app-17), with reuse_port=on on its host: it decides which '
             'server the first session goes to, so that N instances begin evenly; by default the name is that of the '
             'host; without a number at its end, and with off, chance decides'),
        _row('slow_start', duration(0, DAY), '0',
             'time in which the weight of a server that came up, or is new, rises from a tenth to the whole; 0 = at once'),
        _row('spill', parse_spill, 'off',
             'how early the next tier helps: off = when no server of the better one takes sessions; 1.4 (a factor of 1 to '
             '10) = when fewer than 72 % of them do, and the more, the fewer they are'),
        _row('tier_return', duration(0, DAY), '30s',
             'time over which a tier that is back gets its share of new sessions again, little by little; 0 = at once'),
        _row('on_down', one_of('keep', 'close'), 'keep', 'sessions of a server that goes down: keep or close'),
        _row('on_removed', one_of('keep', 'close'), 'keep', 'sessions of a server that leaves DNS: keep or close'),
        _row('on_demoted', one_of('keep', 'close'), 'automatic',
             'sessions of a server that is alive and lost the role that the check asks for: keep or close; by default close '
             'for the role primary, else keep', 'tcp'),
        _row('max_connections', number(1, 10000000), 'automatic',
             'limit of clients at once, by default what the limit of open files allows; more wait in the kernel', 'tcp'),
        _row('max_sessions', number(1, 10000000), 'automatic',
             'limit of UDP clients at once, by default what the limit of open files allows; the one idle for longest '
             'makes room', 'udp'),
        _row('responses', number(0, 1000000), '0',
             'replies after which a UDP session ends, 1 for services like DNS; 0 = any number', 'udp',
             needs_restart=True),
    )),
    ('Time-outs', (
        _row('server_wait', duration(0, DAY), 'automatic',
             'how long a client waits for a server when none may be taken: 60s where a check asks for a role (longer than a '
             'failover takes), connect_timeout where a server has /max=, else 0', 'tcp'),
        _row('connect_timeout', duration(0.01, 300), '3s',
             'time for one attempt to reach a server, and that a client waits for the first DNS answer'),
        _row('idle_timeout', duration(0, 30 * DAY), '0',
             'close a session after this long without a byte in either direction; 0 = never', 'tcp'),
        _row('max_session_age', duration(0, 30 * DAY), '0',
             'end a session of this age, 10 % more or less, at its first silence of 2s; '
             'silence is no sign that no transaction is open and no statement runs; 0 = never', 'tcp'),
        _row('half_close_timeout', duration(0.01, 30 * DAY), '5m',
             'close a session after this long without a byte once one side has ended', 'tcp'),
        _row('session_timeout', duration(0.01, DAY), '60s',
             'forget a UDP client after this long without a datagram in either direction', 'udp'),
        _row('drain_timeout', duration(0, DAY), '8s', 'time that sessions have to end on SIGTERM', of_process=True),
    )),
    ('Access', (
        _row('allow', parse_network, '-',
             'networks whose clients may connect, with commas, like 10.0.0.0/8,2001:db8::/32; by default all', is_list=True),
        _row('deny', parse_network, '-',
             'networks whose clients may not, also out of allow: a connection is reset at once, a datagram dropped',
             is_list=True),
        _row('listener_mode', parse_mode, '0600',
             'who may connect to a listener unix:/path: the mode of its file, like 0660 for a group', 'tcp',
             needs_restart=True),
        _row('accept_proxy', parse_trusted, '-',
             'networks of the load balancers before this one, with commas: each of their connections begins with a PROXY '
             'header (version 1 or 2), whose client counts from then on, also for allow and deny; others may not connect',
             'tcp', is_list=True),
        _row('proxy_timeout', duration(0.1, 60), '3s', 'time for that header to come', 'tcp'),
        _row('proxy', one_of_or_off('v1', 'v2'), 'off',
             'v1 or v2: tell servers who the client is, by a PROXY header of that version before its first byte; checks '
             'that send something begin with one, too, except on a port of their own', 'tcp'),
        _row('source', parse_source, '-',
             'addresses of this host from which servers are reached, by sessions and checks: an IPv4 one, an IPv6 one or '
             'both, with a comma; by default the kernel chooses', is_list=True),
    )),
    ('Operation', (
        _row('status_socket', parse_socket_path, '/run/sidelb.sock', 'path of the status socket, or off',
             of_process=True, needs_restart=True),
        _row('admin_state', parse_state_path, '-',
             'path of a file that keeps what sidelb drain and sidelb weight have set, so that a restart within an hour '
             'does not undo it', of_process=True, needs_restart=True),
        _row('http', parse_http, 'off', 'ip:port for health, metrics and a status page, or off', of_process=True,
             needs_restart=True),
        _row('http_hosts', parse_host_name, '-',
             'further names under which HTTP may be asked, with commas, like the one that Prometheus scrapes; IP '
             'addresses, names without a dot and the name of this host always may', is_list=True, of_process=True,
             needs_restart=True),
        _row('reuse_port', parse_switch, 'off',
             'on: several instances may have the same listener (SO_REUSEPORT)', needs_restart=True),
        _row('log_level', one_of('debug', 'info', 'warning', 'error'), 'info',
             'lowest level that is logged: debug (each connection), info, warning or error', of_process=True),
        _row('access_log', parse_access_log, 'off',
             'a line for each session that has ended, and why: on (in the log), the path of a file, or off'),
        _row('log_format', one_of('text', 'json'), 'text', 'text or json (one object a line)', of_process=True),
    )),
)

BY_KEY = dict((setting.key, setting) for setting in TABLE)
BY_VARIABLE = dict((setting.variable, setting) for setting in TABLE)
