"""The table of servers on a terminal or in a pipe. Pure."""
from __future__ import absolute_import, division, print_function, unicode_literals

import collections

from .folding import folded, names_of
from .look import CHART_WIDTH, bars, rate, size, span
from .said import LEVELS, RANKS, natural, plural, state_of

NOTE_WIDTH = 24                  # the least that a note gets beside the columns; with less it has a line of its own
MIN_NAME_WIDTH = 8
MIN_SCALE = 4                    # sessions that a full bar stands for, at least

#: `rank`: in which order columns are given up where it is narrow, the highest first; 0: never.
Column = collections.namedtuple('Column', 'key title right rank')

COLUMNS = tuple(Column(*row) for row in (
    ('state', 'STATE', False, 0), ('name', 'SERVER', False, 0), ('role', 'ROLE', False, 2), ('tier', 'TIER', True, 5),
    ('weight', 'WEIGHT', True, 6), ('address', 'ADDRESS', False, 7), ('for', 'FOR', True, 0),
    ('chart', '15 MINUTES', False, 8), ('active', 'SESSIONS', True, 0), ('new', 'NEW/S', True, 3),
    ('total', 'TOTAL', True, 9), ('failed', 'FAILED', True, 4), ('sent', 'SENT', True, 10),
    ('received', 'RECEIVED', True, 11)))

ORDERS = collections.OrderedDict([
    ('state', lambda member: (RANKS.get(state_of(member), 1), natural(member['name']))),
    ('sessions', lambda member: (-member['active'], natural(member['name']))),
    ('new', lambda member: (-(member.get('new_per_second') or 0), natural(member['name']))),
    ('name', lambda member: natural(member['name']))])


def table(service, look, order='state', rows=None, skip=0):
    """The lines of the servers of a service, at most `rows` of them; what is left out is summed in the last."""
    members = entries(service, look, order)
    if not members:
        return ['No server is known yet.']
    return _Table(service, members, look).lines(members[skip:], rows)


def entries(service, look, order='state'):
    """The rows: servers, or what stands for many of them."""
    members = sorted(service['members'], key=ORDERS[order])
    return folded(members) if order == 'state' and not look.whole else members


class _Table(object):
    def __init__(self, service, members, look):
        self._look = look
        self._suffix = service.get('suffix') or ''
        self._scale = max([MIN_SCALE] + [member['history']['peak'] for member in members
                                         if 'history' in member and 'members' not in member])
        self._cells = dict((id(member), cells(member, service, look)) for member in members)
        notes = [one['note'] for one in self._cells.values() if one['note']]
        self._note_width = min(max(map(len, notes)), NOTE_WIDTH) if notes else 0
        self._widths = dict((column.key, self._width_of(column)) for column in COLUMNS if self._wanted(column, members))
        self._make_room()
        self._columns = [column for column in COLUMNS if column.key in self._widths]
        self._room = None if look.whole else look.width - sum(self._widths.values()) - 2 * len(self._widths)
        self._own_line = bool(notes) and not look.whole and self._room < self._note_width

    def _wanted(self, column, members):
        if column.key == 'chart':
            return self._look.utf8 and not self._look.whole and any('history' in member for member in members)
        if column.key == 'weight':
            return any(member.get('weight', 1) not in (1, None) for member in members)
        if column.key == 'tier':
            return any(member.get('tier', 1) != 1 for member in members)
        return column.key not in ('role', 'address') or any(one[column.key] for one in self._cells.values())

    def _width_of(self, column):
        if column.key == 'chart':
            return CHART_WIDTH
        return max([len(column.title)] + [len(one[column.key]) for one in self._cells.values()])

    def _needed(self):
        note = 2 + self._note_width if self._note_width else 0
        return sum(self._widths.values()) + 2 * (len(self._widths) - 1) + note

    def _make_room(self):
        """Give columns up, then let notes have lines of their own, then cut names."""
        if self._look.whole:
            return
        for column in sorted(COLUMNS, key=lambda column: -column.rank):
            if column.rank and self._needed() > self._look.width:
                self._widths.pop(column.key, None)
        if self._needed() > self._look.width:
            self._note_width = self._note_width and max(1, self._note_width)
            over = sum(self._widths.values()) + 2 * (len(self._widths) - 1) - self._look.width
            if over > 0:
                self._widths['name'] = max(MIN_NAME_WIDTH, self._widths['name'] - over)

    def lines(self, members, rows):
        titles = dict((column.key, column.title) for column in COLUMNS)
        heads_note = self._note_width and not self._own_line
        out = [self._look.paint('head', self._line(titles) + ('  NOTE' if heads_note else ''))]
        shown = 0
        for member in members:
            lines = self._lines_of(member, rows is not None)
            left = len(members) - shown
            if rows is not None and len(out) + len(lines) + (1 if left > 1 else 0) > rows:
                break
            out += lines
            shown += 1
        if shown < len(members):
            out.append(self._look.paint('soft', self._look.cut_end(_rest(members[shown:]), self._look.width or 10000)))
        return out

    def _lines_of(self, member, is_short):
        values, level = self._cells[id(member)], LEVELS.get(state_of(member), 'warn')
        if 'chart' in self._widths:
            values = dict(values, chart=self._bars(member) if 'history' in member else '')
        line, note = self._line(values, level), values['note']
        if 'members' in member:
            return self._lines_of_many(member, is_short, line, note, level)
        if not note:
            return [line.rstrip()]
        if not self._own_line and (self._room is None or len(note) <= self._room):
            return [line + '  ' + self._look.paint(level, note)]
        if is_short and not self._own_line:
            return [line + '  ' + self._look.paint(level, self._look.cut_end(note, self._room))]
        if is_short:
            return [line.rstrip(), '  ' + self._look.paint(level, self._look.cut_end(note, self._look.width - 2))]
        return [line.rstrip()] + [self._look.paint(level, part) for part in self._look.wrap(note, '  ')]

    def _bars(self, member):
        """One scale for all, a larger one for the sum of several."""
        return bars(member['history'], max(self._scale, member['history']['peak'] if 'members' in member else 0))

    def _lines_of_many(self, member, is_short, line, note, level):
        """As many names as there is room for beside the note, else, where a line more does no harm, below it."""
        room = 0 if self._own_line else self._room
        for most in (3, 2, 1):
            names = ' (%s)' % names_of(member, self._suffix, most)
            if len(note) + len(names) <= room:
                return [line + '  ' + self._look.paint(level, note) + self._look.paint('soft', names)]
        below = [] if is_short else self._look.wrap(names_of(member, self._suffix), '  ')
        if self._own_line:
            return [line.rstrip(), '  ' + self._look.paint(level, self._look.cut_end(note, self._look.width - 2))] + below
        return [line + '  ' + self._look.paint(level, self._look.cut_end(note, room))] + [
            self._look.paint('soft', part) for part in below]

    def _line(self, values, level=''):
        parts = []
        for column in self._columns:
            width = self._widths[column.key]
            text = self._look.cut(values[column.key] or ('-' if self._look.whole else ''), width)
            text = text.rjust(width) if column.right else text.ljust(width)
            parts.append(self._look.paint(level, text) if column.key == 'state' else text)
        return '  '.join(parts)


def cells(member, service, look):
    """Column -> text."""
    suffix = '' if look.whole else service.get('suffix') or ''
    name = member['name'][:-len(suffix)] if suffix and member['name'].endswith(suffix) else member['name']
    state = state_of(member)
    if state == 'partly up':
        state = '%d/%d up' % (sum(one['state'] == 'up' for one in member['addresses']), len(member['addresses']))
    addresses = [one['address'] for one in member['addresses']]
    return {
        'state': state, 'name': name, 'role': member.get('role') or '',
        'weight': '' if member.get('weight', 1) is None else '%g' % member.get('weight', 1),
        'tier': '%d' % member.get('tier', 1), 'address': _addresses(addresses, name, service, look),
        'for': span(member['since']) if 'since' in member else '', 'chart': '', 'active': '%d' % member['active'],
        'new': rate(member.get('new_per_second')), 'total': '%d' % member['total'], 'failed': '%d' % member['failed'],
        'sent': size(member['bytes_sent']), 'received': size(member['bytes_received']), 'note': member.get('note') or ''}


def _addresses(addresses, name, service, look):
    if look.whole:
        return ','.join(addresses)
    if not addresses or addresses == [name]:
        return ''
    port = ':%d' % service['port'] if service.get('port') else ''
    first = addresses[0][:-len(port)] if port and addresses[0].endswith(port) else addresses[0]
    return first + (' +%d' % (len(addresses) - 1) if len(addresses) > 1 else '')


def _rest(members):
    members = [one for member in members for one in member.get('members', [member])]
    states = collections.Counter(state_of(member) for member in members)
    told = ', '.join('%d %s' % (states[state], state) for state in sorted(states, key=lambda state: RANKS.get(state, 1)))
    return '%d more: %s; %s' % (len(members), told, plural(sum(member['active'] for member in members), 'session'))
