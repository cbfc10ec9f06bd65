"""What is said of a status: a verdict, a note a server. Terminal, page and readiness repeat it. Pure."""
from __future__ import absolute_import, division, print_function

import re

#: The order in which servers are shown: what needs somebody first.
RANKS = {'down': 0, 'partly up': 1, 'unchecked': 2, 'departing': 3, 'draining': 4, 'up': 5, 'standby': 6}
LEVELS = {'down': 'bad', 'partly up': 'warn', 'unchecked': 'warn', 'departing': 'idle', 'draining': 'idle', 'up': 'good',
          'standby': 'idle'}
CERTIFICATE_DAYS = 14            # before the end of a certificate that is told
MOST_NAMED = 3                   # in a note of a name
WORST_FIRST = ('bad', 'warn', 'good')


def state_of(member):
    """The state of a member, which may be `partly up` as well."""
    partly = member['state'] == 'up' and any(address['state'] == 'down' for address in member['addresses'])
    return 'partly up' if partly else member['state']


def is_full(member):
    """Has one that is up as many sessions as it may have?"""
    return member['state'] == 'up' and member.get('max') is not None and member['active'] >= member['max']


def verdict(service):
    """{'level', 'text'} of a service. *bad*: nobody can be served; *warn*: something is wrong; *good*: else. What people
    have done on purpose (draining) and a standby are told, and are no warning."""
    states = {}
    for member in service['members']:
        state = state_of(member) if state_of(member) in RANKS else 'partly up'       # `1/2 up`: of two instances
        states[state] = states.get(state, 0) + 1
    known = sum(states.values()) - states.get('departing', 0)
    up = states.get('up', 0) + states.get('partly up', 0)
    level = 'bad' if not up and not states.get('unchecked') else 'warn' if (
        not up or states.get('down') or states.get('partly up')) else 'good'
    text, tells_all = _head(service, states, known, up)
    parts = [text] + ['%d %s' % (states[state], 'partly' if state == 'partly up' else state)
                      for state in sorted(states, key=RANKS.get) if state != 'up' and not tells_all]
    full = len([member for member in service['members'] if is_full(member)])
    parts += ['%d full' % full] if full else []
    parts += _worse_tiers(service.get('tiers', ())) if up else []
    if wants_primary(service) and up > 1:
        level = 'bad'
    wrong = []
    waiting = service['connections'].get('waiting')
    if waiting:
        wrong.append(plural(waiting, 'client') + ' waiting')
    if service['proto'] == 'tcp' and service['connections'].get('active', 0) >= service['connections'].get('most', 1e9):
        wrong.append('the limit of %s is reached' % plural(service['connections']['active'], 'connection'))
    wrong += ['%s %s' % (place_of(ring), ring['state']) for ring in service['rings']
              if ring['state'] not in ('ok', 'pending')][:1]
    if service['state'] in ('draining', 'stopped'):
        wrong.append('stopping')
    return {'level': 'warn' if wrong and level == 'good' else level, 'text': ', '.join(parts + wrong)}


def _head(service, states, known, up):
    """(how many are up, in words, and whether that tells of all)."""
    if not known:
        return 'no server is known', False
    if wants_primary(service):
        primaries = [short(member['name']) for member in service['members'] if member['state'] == 'up']
        if up > 1:
            return '%d primaries: %s' % (up, ', '.join(primaries)), False
        if up or not states.get('unchecked'):
            return '%s is primary' % primaries[0] if up else 'no primary', False
    if not up and states.get('unchecked'):
        return '%d not checked yet' % states['unchecked'], states['unchecked'] == known
    if not up:
        return 'none of %d is up' % known if known > 1 else 'the only server is not up', states.get('down') == known
    if up < known:
        return '%d of %d up' % (up, known), False
    return 'all %d up' % known if known > 1 else 'the only server is up', False


def _worse_tiers(tiers):
    """That new sessions go to other tiers than the best one, too, or to them alone; [] where they do not."""
    taking = [one for one in tiers if one['part'] > 0]
    if not taking or tiers[0]['part'] == 1:
        return []
    if len(taking) == 1:
        return ['tier %d takes new sessions' % taking[0]['tier']]
    return ['tier %d takes %.0f %% of new sessions' % (tiers[0]['tier'], 100 * tiers[0]['part'])]


def name_of_ring(ring):
    """As it was written, with the port if there was one."""
    return ring['name'] if ring['port'] is None else '%s:%d' % (ring['name'], ring['port'])


def place_of(ring):
    """Where its servers are looked up: DNS, or the file of `servers_file`; names that it lists are of DNS as well."""
    return 'file' if ring.get('kind') == 'file' and ring['port'] is None else 'DNS'


def wants_primary(service):
    return service['check'].endswith('/primary')


def overall(services):
    """The verdict of a process: the worst services are named."""
    said = sorted((WORST_FIRST.index(one['verdict']['level']), name, one['verdict']['text'])
                  for name, one in services.items())
    if len(said) == 1:
        return {'level': WORST_FIRST[said[0][0]], 'text': said[0][2]}
    wrong = ['%s: %s' % (name, text) for level, name, text in said if WORST_FIRST[level] != 'good']
    text = '; '.join(wrong[:2]) or 'all %d services are fine' % len(said)
    if len(wrong) > 2:
        text += ' and %d more' % (len(wrong) - 2)
    return {'level': WORST_FIRST[said[0][0]] if said else 'bad', 'text': text}


def note(member):
    """Why a server is not simply up, in a few words; '' where it is."""
    state = state_of(member)
    if is_full(member) and state == 'up':
        return 'full: takes %s' % plural(member['max'], 'session')
    if state in ('up', 'standby'):
        return certificate_note(member)
    if state == 'departing':
        return 'left DNS, sessions go on'
    if state == 'unchecked':
        return 'first check is under way'
    if state == 'draining':
        return 'drained by %s' % member['by'] if member.get('by') else 'takes no new sessions'
    bad = [address for address in member['addresses'] if address['state'] == 'down' and address['last_error']]
    if not bad:
        return ''
    error = bad[0]['last_error']
    return error if len(bad) == len(member['addresses']) else '%s %s' % (host_and_port(bad[0]['address'])[0], error)


def ring_note(ring):
    """Which targets of an SRV name are no servers because they have no address; '' where all have one."""
    lost = [target['name'] for target in ring.get('targets', ()) if not target['addresses']]
    if not lost or ring['state'] == 'pending':
        return ''
    return '%d of %s without an address: %s%s' % (
        len(lost), plural(len(ring['targets']), 'target'), ', '.join(lost[:MOST_NAMED]),
        ' and %d more' % (len(lost) - MOST_NAMED) if len(lost) > MOST_NAMED else '')


def certificate_note(member):
    """That a certificate of the server has ended, or soon will; '' else."""
    left = [address['certificate_seconds'] for address in member['addresses'] if
            address.get('certificate_seconds') is not None]
    return certificate_words(min(left)) if left else ''


def certificate_words(seconds):
    """Of a certificate that has so many left; '' for CERTIFICATE_DAYS and more."""
    days = seconds / 86400.0
    if days >= CERTIFICATE_DAYS:
        return ''
    return 'certificate %s' % ('has ended' if days < 0 else 'ends within a day' if days < 1 else
                               'ends in %s' % plural(int(days), 'day'))


def common_suffix(names):
    """What all names end in, from a dot on: `.db.example.com`. '' for one name, and for addresses."""
    if len(names) < 2 or '.' not in names[0] or ':' in names[0]:
        return ''
    end = names[0][names[0].index('.'):]
    for name in names:
        while end and (not name.endswith(end) or name == end):
            end = end[end.index('.', 1):] if '.' in end[1:] else ''
    return end if re.search('[a-z]', end) and ':' not in end else ''


def common_port(members):
    """The port of all addresses, None where they differ."""
    ports = set(host_and_port(address['address'])[1] for member in members for address in member['addresses'])
    return ports.pop() if len(ports) == 1 else None


def host_and_port(address):
    """Of the text of an address; a unix-domain socket has no port, None."""
    if address.startswith('unix:'):
        return address, None
    host, _, port = address.rpartition(':')
    return host, int(port)


def rounded(weight):
    """A weight to be shown. What is not 0 does not look like it: SRV records may have 65535 and 1."""
    return round(weight, 3) or weight and float('%.1g' % weight)


def plural(number, word):
    return '%d %s%s' % (number, word, '' if number == 1 else 'es' if word.endswith('s') else 's')


def natural(text):
    """A key to sort by in which numbers are numbers: node-2 before node-10."""
    return [(1, int(part), '') if part.isdigit() else (0, 0, part) for part in re.split(r'(\d+)', text)]


def short(name):
    return name if re.match(r'[\d\[]', name) else name.partition('.')[0]
