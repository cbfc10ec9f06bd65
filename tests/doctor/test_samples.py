"""What a person reads, at 80 columns."""
from __future__ import absolute_import, division, print_function

from .scenes import HOSTS, NAME_SERVER, RING, Scene, masked, three_servers

LISTENER = '127.0.0.1:5432'
ALL_WELL = '''\
SideLB 1.0.0 doctor: 127.0.0.1:5432 tcp -> ring db.example.com:5432

This host
  ok    127.0.0.1:5432 is free
  ok    20000 open files allow 9800 clients at once
  ok    status socket: /run/sidelb.sock
  ok    drain_timeout=8s is below Docker's default grace period (10 s)

DNS
  ok    name server 10.0.0.53 answers
  ok    db.example.com has 3 IPv4 and 3 IPv6 addresses, TTL 30 s

Servers
  ok    db1.example.com: 10.0.0.11 0.1 ms, 2001:db8::11 0.1 ms
  ok    db2.example.com: 10.0.0.12 0.1 ms, 2001:db8::12 0.1 ms
  ok    db3.example.com: 10.0.0.13 0.1 ms, 2001:db8::13 0.1 ms

Your application
  ok    db.example.com leads to SideLB (/etc/hosts)

3 of 3 servers reachable; 0 problems, 0 notes; 0.0 s
'''

MUCH_WRONG = '''\
SideLB 1.0.0 doctor: 127.0.0.1:5432 tcp -> ring db.example.com:5432

This host
  ok    127.0.0.1:5432 is free
  ok    20000 open files allow 9800 clients at once
  ok    status socket: /run/sidelb.sock
  ok    drain_timeout=8s is below Docker's default grace period (10 s)

DNS
  WRONG name server 10.0.0.98 does not answer
        fix: allow UDP and TCP port 53 to it, or remove it from /etc/resolv.conf
  ok    name server 10.0.0.53 answers
  ok    db.example.com has 4 IPv4 and 3 IPv6 addresses, TTL 30 s

Servers
  WRONG 2001:db8::11 has no PTR record, so it counts as a separate server, and
        db1.example.com gets a double share of the load
        fix: add the PTR record below
  WRONG the PTR record of 2001:db8::12 says db2.example.com, but that name does
        not resolve back to it, so it counts as a separate server, and
        db2.example.com gets a double share of the load
        fix: add the AAAA record below (or group=ptr, to trust PTR alone)
  ok    [2001:db8::11]:5432: 2001:db8::11 0.1 ms
  ok    [2001:db8::12]:5432: 2001:db8::12 0.1 ms
  ok    db1.example.com: 10.0.0.11 0.1 ms
  ok    db2.example.com: 10.0.0.12 0.1 ms
  WRONG db3.example.com: connection refused on both addresses
        fix: start the server, or correct the port: nothing listens on 5432
  WRONG db4.example.com: 10.0.0.99 no answer within 2 s
        fix: check the host, firewalls, its accept queue: they look alike from
             here

Your application
  note  db.example.com does not lead to SideLB here; clients that verify the
        name in a certificate (TLS verify-full) need that
        fix: libpq: host=db.example.com hostaddr=127.0.0.1
        fix: others: add to /etc/hosts: 127.0.0.1 db.example.com

Records to add
1.1.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.8.b.d.0.1.0.0.2.ip6.arpa. IN PTR db1.example.com.
db2.example.com. IN AAAA 2001:db8::12

4 of 6 servers reachable; 5 problems, 1 note; 0.0 s
'''

IN_A_POD = '''\
  note  drain_timeout=30s is not below a pod's default
        terminationGracePeriodSeconds (30 s); what is really set cannot be seen
        from inside
        fix: set that to 32 s or more, or lower drain_timeout
  note  2 variables of Kubernetes service links ignored: SIDELB_PORT and 1 more
        fix: enableServiceLinks: false in the pod spec

DNS
  ok    name server 10.0.0.53 answers
  ok    db.example.com has 3 IPv4 and 3 IPv6 addresses, TTL 30 s
  note  3 names are asked before db.example.com at each refresh (search list,
        ndots:5)
        fix: write a final dot: ring_domain=db.example.com.:5432
'''


def test_all_is_well():
    with three_servers() as scene:
        finished = scene.doctor(LISTENER, 'ring_domain=%s:5432' % RING)
    assert masked(finished.stdout) == ALL_WELL
    assert finished.returncode == 0


def test_much_is_wrong():
    answering = ['10.0.0.11', '10.0.0.12', '2001:db8::11', '2001:db8::12']
    closed = ['10.0.0.13', '2001:db8::13']
    with Scene(answering, closed, silent=['10.0.0.99', '10.0.0.98'], hosts=HOSTS,
               resolv_conf='nameserver 10.0.0.98\nnameserver %s\n' % NAME_SERVER) as scene:
        zone = scene.zone
        zone.set_server('db1.example.com', ['10.0.0.11', '2001:db8::11'])
        zone.remove_pointer('2001:db8::11')
        zone.set_server('db2.example.com', ['10.0.0.12'])
        zone.set_pointer('2001:db8::12', ['db2.example.com'])
        zone.set_server('db3.example.com', closed)
        zone.set_server('db4.example.com', ['10.0.0.99'])
        zone.set_addresses(RING, answering + closed + ['10.0.0.99'])
        finished = scene.doctor(LISTENER, 'ring_domain=%s:5432' % RING)
    assert masked(finished.stdout) == MUCH_WRONG
    assert finished.returncode == 1


def test_in_a_pod():
    with three_servers(resolv_conf='nameserver %s\nsearch a.svc.cluster.local svc.cluster.local cluster.local\n'
                       'options ndots:5\n' % NAME_SERVER) as scene:
        finished = scene.doctor(LISTENER, 'ring_domain=%s:5432' % RING, 'drain_timeout=30s',
                                KUBERNETES_SERVICE_HOST='10.96.0.1', SIDELB_PORT='tcp://10.96.0.9:80',
                                SIDELB_PORT_80_TCP='tcp://10.96.0.9:80')
    assert IN_A_POD in masked(finished.stdout)
    assert masked(finished.stdout).endswith('\n3 of 3 servers reachable; 0 problems, 3 notes; 0.0 s\n')
    assert finished.returncode == 0


def test_strict_takes_a_note_for_a_problem():
    with three_servers(hosts=HOSTS) as scene:
        arguments = LISTENER, 'ring_domain=%s:5432' % RING
        assert scene.doctor(*arguments).returncode == 0
        assert scene.doctor('--strict', *arguments).returncode == 1
        assert scene.doctor('--json', '--strict', *arguments).returncode == 1


def test_no_line_but_a_record_is_longer_than_80_columns():
    with three_servers(hosts=HOSTS) as scene:
        finished = scene.doctor(LISTENER, 'ring_domain=%s:5432' % RING, 'http=192.0.2.1:80', 'check_timeout=9s')
    assert all(len(line) <= 80 for line in finished.stdout.splitlines()), finished.stdout
