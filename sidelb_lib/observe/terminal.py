"""A status for people: `sidelb status` and the screen of `--watch`, as lines. Pure."""
from __future__ import absolute_import, division, print_function, unicode_literals

from .look import rate, span
from .said import RANKS, WORST_FIRST, name_of_ring, place_of, plural, state_of
from .table import entries, table

TALL = 40                        # lines: more changes and whole heads
MONTHS = 'Jan Feb Mar Apr May Jun Jul Aug Sep Oct Nov Dec'.split()


def status(snapshot, look):
    """All of it, as long as it gets."""
    services = ordered(snapshot)
    lines = [] if len(services) == 1 else overview(snapshot, look) + ['']
    for name, service in services:
        lines += head(snapshot, name, service, look, len(services) == 1) + rings(service, look) + ['']
        lines += table(service, look) + ['']
    return [line.rstrip() for line in lines[:-1]]


def watch(snapshot, look, height, order='state', clock='', skip=0, only=None):
    """Exactly `height` lines: heads, what is wrong, the latest changes, then as many of the rest as fit. `only` is the
    position of one service by name, None for all."""
    services, several = ordered(snapshot), len(snapshot['services']) > 1
    if only is not None:
        services = [sorted(snapshot['services'].items())[only]]
    top = overview(snapshot, look, True) if len(services) > 1 else []
    bottom = changes(snapshot, look, 3 if height < TALL else 8)
    keys = 'q quit  s sort: %s  arrows scroll%s' % (order, '  0-%d service' % len(snapshot['services']) if several else '')
    bottom = ([''] + bottom if bottom else []) + [look.pair(look.paint('soft', keys), clock)]
    room = height - len(top) - len(bottom)
    heads, rows = _shares(snapshot, services, look, order, room, height)
    lines = list(top)
    for name, service in services:
        if name in rows:
            lines += heads[name] + table(service, look, order, max(2, rows[name]), skip)
    lines = lines[:height - len(bottom)]
    return [line.rstrip() for line in lines + [''] * (height - len(bottom) - len(lines)) + bottom][-height:]


def _shares(snapshot, services, look, order, room, height):
    """({service: its head}, {service: how many lines its table gets}): what is wrong first, the worst service first."""
    heads, rows = {}, {}
    alone = len(services) == 1
    for name, service in services:
        if alone:
            heads[name] = head(snapshot, name, service, look, len(snapshot['services']) == 1)
            heads[name] += rings(service, look, height < TALL) + ['']
        else:
            heads[name] = [''] + _short_head(name, service, look) + rings(service, look, True)
    for urgent in (True, False):
        for position, (name, service) in enumerate(services):
            members = entries(service, look, order)
            full = len(members) + 1
            wrong = sum(RANKS.get(state_of(member), 1) < RANKS['up'] for member in members)
            if name not in rows:
                wanted = min(full, wrong + 2) if urgent else full
                if urgent and not wrong or room - len(heads[name]) < min(3, full) and not alone:
                    continue
                later = sum(len(heads[other]) + 3 for other, one in services[position + 1:]
                            if urgent and one['verdict']['level'] != 'good')
                rows[name] = max(0, min(max(3, room - later - len(heads[name])), room - len(heads[name]), wanted))
                room -= rows[name] + len(heads[name])
            else:
                more = max(0, min(room, full - rows[name]))
                rows[name] += more
                room -= more
    return heads, rows


def ordered(snapshot):
    """(name, service), the worst first."""
    return sorted(snapshot['services'].items(),
                  key=lambda item: (WORST_FIRST.index(item[1]['verdict']['level']), item[0]))


def overview(snapshot, look, numbered=False):
    """A line for each service."""
    numbers = dict((name, '%d ' % (position + 1)) for position, name in enumerate(sorted(snapshot['services'])))
    rows = [('# SERVICE' if numbered else 'SERVICE', 'LISTENER', 'SESSIONS', 'NEW/S', 'STATE', 'head')]
    for name, service in ordered(snapshot):
        counts, verdict = service['connections'], service['verdict']
        rows.append(((numbers[name] if numbered else '') + name, '%s/%s' % (service['listener'], service['proto']),
                     '%d' % counts['active'], rate(counts.get('new_per_second')), verdict['text'], verdict['level']))
    widths = [max(len(row[column]) for row in rows) for column in range(4)]
    up, verdict = 'up ' + span(snapshot['uptime']), snapshot['verdict']
    title = 'SideLB ' + snapshot['version']
    if look.fits(title, verdict['text'], up) or look.fits(title, verdict['text']):
        lines = [look.pair(look.paint('head', title) + '  ' + look.paint(verdict['level'], verdict['text']), up), '']
    else:
        lines = [look.pair(look.paint('head', title), up)]
        lines += [look.paint(verdict['level'], part) for part in look.wrap(verdict['text'])] + ['']
    for name, listener, active, new, text, level in rows:
        line = '  '.join((name.ljust(widths[0]), listener.ljust(widths[1]), active.rjust(widths[2]), new.rjust(widths[3])))
        text = text if look.whole else look.cut_end(text, look.width - len(line) - 2)
        lines.append((look.paint('head', line) if level == 'head' else line) + '  ' + look.paint(level, text))
    return lines


def head(snapshot, name, service, look, alone):
    """What a service is and how it does, in two lines or three."""
    title = ('SideLB %s' % snapshot['version'] if alone else name) + ' on %s' % service['listener']
    verdict, about = service['verdict'], '%s, %s, check %s' % (service['proto'], service['mode'], service['check'])
    suffix = '' if look.whole else service.get('suffix') or ''
    names = ' '.join((['*' + suffix] if suffix else []) + (
        [':%d' % service['port']] if service.get('port') and not look.whole else []))
    numbers = facts(service)
    if look.fits(title, verdict['text']):
        names_below = look.fits(numbers, names)
        lines = [look.pair(look.paint('head', title) + '  ' + look.paint(verdict['level'], verdict['text']),
                           about if names_below or not names else names)]
    else:
        names_below = look.fits(numbers, names)
        lines = [look.paint('head', title)] + [look.paint(verdict['level'], part) for part in look.wrap(verdict['text'])]
    lines += look.wrap(numbers) if not look.fits(numbers) else [look.pair(numbers, names if names_below else '')]
    if not names_below and suffix and not look.fits(title, verdict['text'], names):
        lines.append(look.paint('soft', look.cut('names end in ' + suffix, look.width)))
    return lines


def _short_head(name, service, look):
    verdict = service['verdict']
    text = verdict['text'] if look.whole else look.cut_end(verdict['text'], look.width - len(name) - 2)
    return [look.paint('head', name) + '  ' + look.paint(verdict['level'], text)]


def facts(service):
    counts = service['connections']
    lost = counts.get('refused', counts.get('drops')) or {}
    parts = [plural(counts['active'], 'session'), '%s new/s' % rate(counts.get('new_per_second'))]
    if counts.get('waiting'):
        parts.append('%d waiting' % counts['waiting'])
    reasons = ', '.join(sorted(reason.replace('_', ' ') for reason in lost if lost[reason]))
    parts.append('%d %s%s' % (sum(lost.values()), 'dropped' if service['proto'] == 'udp' else 'refused',
                              ' (%s)' % reasons if reasons else ''))
    if counts.get('denied'):
        parts.append('%d denied' % sum(counts['denied'].values()))
    if counts['retries']:
        parts.append('%d retried' % counts['retries'])
    return ', '.join(parts)


def rings(service, look, only_wrong=False):
    """A line for each, and its error and its note below, whole."""
    lines = []
    for ring in service['rings']:
        is_wrong, note = ring['state'] not in ('ok', 'pending'), ring.get('note')
        if only_wrong and not (is_wrong or note):
            continue
        count = ring['count']
        targets = plural(len(ring['targets']), 'target') + ', ' if ring.get('targets') else ''
        text = ': %s%s, %s%s' % (
            targets, plural(count, 'address'),
            'no answer yet' if ring['age'] is None else 'answered %s ago' % span(ring['age']),
            '' if ring['ttl'] is None else ', TTL %s' % span(ring['ttl']))
        word = '%s %s' % (place_of(ring), ring['state'])
        name = name_of_ring(ring)
        if not look.whole:
            name = look.cut(name, max(12, look.width - len(text) - len(word) - 2))
            text = look.cut_end(text, look.width - len(word) - 2 - len(name))
        lines.append(look.paint('warn' if is_wrong else 'good', word) + '  ' + name + text)
        if is_wrong and ring['error']:
            error = ring['error'] + ('; the servers stay' if count else '')
            lines += [look.paint('warn', part) for part in look.wrap(error, '  ')]
        if note:
            lines += [look.paint('warn', part) for part in look.wrap(note, '  ')]
    return lines


def changes(snapshot, look, limit):
    """The latest, newest first, in local time."""
    lines = []
    for change in snapshot['changes'][:limit]:
        name = change['service'] + ': ' if len(snapshot['services']) > 1 else ''
        line = look.cut_end('%s  %s %s%s' % (change['clock'].ljust(8), change['word'].ljust(7), name, change['text']),
                            look.width)
        lines.append(line[:10] + look.paint(change['level'], line[10:17]) + line[17:])
    return lines


def local_clocks(snapshot, now, local_time, parse):
    """Gives each change its `clock`: `14:32:10`, or `23 Nov` if it is not of today. `parse` makes seconds of RFC 3339."""
    today = local_time(now)[:3]
    for change in snapshot['changes']:
        then = local_time(parse(change['time']))
        change['clock'] = '%02d:%02d:%02d' % tuple(then[3:6]) if then[:3] == today else '%d %s' % (
            then[2], MONTHS[then[1] - 1])
