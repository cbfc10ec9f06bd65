"""The table of metrics for Prometheus. `exposition` walks it.

The names follow what HAProxy's exporter has taught people, and https://prometheus.io/docs/practices/naming/.
`docs/metrics.md` has the same table for people; a test holds the two together.

Counters have the label `address` beside `member`: an address keeps its identity when look-ups regroup servers, so its
counters never go back, as the sum of a member's would whenever one of its addresses leaves.
"""
from __future__ import absolute_import, division, print_function

import collections
import operator

GAUGE, COUNTER, HISTOGRAM = 'gauge', 'counter', 'histogram'

#: `path` leads from a service of the snapshot to the values, over lists (one sample an item) and dicts (`{label}`: one
#: sample a key). `labels` are named in the order in which the path meets them, after `service`, which every family of this
#: table has. `of` makes the value out of what is found, None for no sample. `proto` is that of the services that have it. Of
#: equal labels (a server that has left and is back has two members) numbers `add` up, or the largest is taken.
Metric = collections.namedtuple('Metric', 'name kind meaning path labels of proto add')


def metric(name, kind, meaning, path, labels='', of=None, proto=None, add=operator.add):
    return Metric(name, kind, meaning, path, tuple(labels.split()), of, proto, add)


def tcp(name, kind, meaning, path, labels=''):
    return metric(name, kind, meaning, path, labels, proto='tcp')


def udp(name, kind, meaning, path, labels=''):
    return metric(name, kind, meaning, path, labels, proto='udp')


def _is_up(item):
    return {'up': 1, 'departing': None}.get(item['state'], 0)


def _weight(member):
    return None if member['state'] == 'departing' else member['weight']


def _failed_connects(address):
    return address['failed'] - address['failed_probes']


def _addresses_of(ring):
    return len(ring['addresses'])


#: All of them, in the order in which they are shown.
TABLE = (
    metric('sidelb_service_up', GAUGE, 'Whether a new client can be served: a server is up.', 'healthy', of=int),
    metric('sidelb_member_up', GAUGE, 'Whether the server may get new sessions: an address of it is up.',
           'members', 'member', _is_up, add=max),
    metric('sidelb_member_active_connections', GAUGE, 'Sessions of the server now.', 'members/active', 'member'),
    metric('sidelb_member_address_up', GAUGE, 'Whether the address is up.', 'members/addresses', 'member address', _is_up,
           add=max),
    metric('sidelb_member_state', GAUGE, 'Whether the address is in the state: 0 or 1.', 'members/addresses/states/{state}',
           'member address state', add=max),
    metric('sidelb_member_role', GAUGE, 'Always 1, where a check asks for a role: what the server says it is.',
           'members/addresses/roles/{role}', 'member address role', add=max),
    metric('sidelb_member_weight', GAUGE, 'The weight in force, which rises from a tenth with slow_start.',
           'members', 'member', _weight),
    metric('sidelb_tier_active', GAUGE, 'Whether new sessions go to the tier first: 0 or 1.', 'active_tiers/{tier}', 'tier'),
    metric('sidelb_tier_share', GAUGE, 'The part of the new sessions that the tier takes now, 0 to 1.', 'tier_shares/{tier}',
           'tier'),
    metric('sidelb_two_primaries_total', COUNTER, 'How often several servers began to say that they are the primary.',
           'two_primaries'),
    metric('sidelb_member_check_duration_seconds', GAUGE, 'How long the last successful health check took.',
           'members/addresses/probe_seconds', 'member address', add=max),
    metric('sidelb_member_certificate_not_after_seconds', GAUGE,
           'When the certificate of the address ends, in Unix time, where check=tls or https has seen it.',
           'members/addresses/not_after', 'member address', add=max),
    metric('sidelb_member_connections_total', COUNTER, 'Sessions that were given to the address.',
           'members/addresses/total', 'member address'),
    metric('sidelb_member_connect_failures_total', COUNTER, "Failed attempts of clients' sessions on the address.",
           'members/addresses', 'member address', _failed_connects),
    metric('sidelb_member_check_failures_total', COUNTER, 'Failed health checks of the address.',
           'members/addresses/failed_probes', 'member address'),
    metric('sidelb_member_state_changes_total', COUNTER, 'How often the address went up or down.',
           'members/addresses/changes', 'member address'),
    metric('sidelb_member_bytes_total', COUNTER, 'Bytes sent to the address and received from it.',
           'members/addresses/bytes/{direction}', 'member address direction'),
    metric('sidelb_dns_lookups_total', COUNTER, 'Look-ups of ring domains and named servers.',
           'rings/results/{result}', 'ring result'),
    metric('sidelb_dns_last_success_timestamp_seconds', GAUGE, 'When the last good answer came, in Unix time.',
           'rings/last_success', 'ring'),
    metric('sidelb_ring_addresses', GAUGE, 'Addresses of the ring domain.', 'rings', 'ring', _addresses_of),
    metric('sidelb_ring_members', GAUGE, 'Servers that the addresses of the ring domain belong to.',
           'rings/members', 'ring'),
    metric('sidelb_retries_total', COUNTER, 'Failed attempts to reach a server, and moves of UDP sessions, to another one.',
           'connections/retries'),
    tcp('sidelb_connections_active', GAUGE, 'Client connections now.', 'connections/active'),
    tcp('sidelb_connections_limit', GAUGE, 'Client connections that are served at once, at most.', 'connections/most'),
    tcp('sidelb_connections_total', COUNTER, 'Client connections accepted.', 'connections/total'),
    tcp('sidelb_connections_refused_total', COUNTER, 'Client connections reset for want of a server.',
        'refusals/{reason}', 'reason'),
    tcp('sidelb_connections_denied_total', COUNTER, 'Client connections that were not let in.',
        'denials/{reason}', 'reason'),
    tcp('sidelb_connect_duration_seconds', HISTOGRAM, 'How long connecting to a server took, where it succeeded.',
        'connections/connect_seconds'),
    tcp('sidelb_clients_waiting', GAUGE, 'Clients that wait for a server now.', 'connections/waiting'),
    tcp('sidelb_queue_duration_seconds', HISTOGRAM, 'How long clients waited for a server.', 'connections/queue_seconds'),
    tcp('sidelb_first_byte_seconds', HISTOGRAM,
        'From connecting to a server until its first byte, including the time of clients that speak first.',
        'connections/first_byte_seconds'),
    tcp('sidelb_session_duration_seconds', HISTOGRAM, 'How long sessions that have ended lasted.',
        'connections/session_seconds'),
    tcp('sidelb_connections_ended_total', COUNTER, 'Sessions that have ended, by the reason.',
        'connections/ended/{reason}', 'reason'),
    udp('sidelb_sessions_active', GAUGE, 'UDP clients that have a session now.', 'connections/active'),
    udp('sidelb_sessions_limit', GAUGE, 'UDP sessions at once, at most.', 'connections/most'),
    udp('sidelb_sessions_total', COUNTER, 'UDP sessions opened.', 'connections/total'),
    udp('sidelb_datagrams_total', COUNTER, 'Datagrams sent to servers and received from them.',
        'datagrams/{direction}', 'direction'),
    udp('sidelb_datagrams_dropped_total', COUNTER, 'Datagrams dropped, and sessions evicted, by the reason.',
        'connections/drops/{reason}', 'reason'),
)

#: Those of the process, without the label `service`: their paths lead from the snapshot itself.
OF_PROCESS = (
    metric('sidelb_reloads_total', COUNTER, 'Reloads of the configuration, by how they ended.',
           'reloads/{result}', 'result'),
    metric('sidelb_config_hash', GAUGE, 'A hash of the configuration in force: the same for the same one.', 'config_hash'),
)
