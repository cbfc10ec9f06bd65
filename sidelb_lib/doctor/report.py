"""The doctor's findings as text of 80 columns, as JSON, and as an exit code. Pure."""
from __future__ import absolute_import, division, print_function

import json
import textwrap

from ..net.endpoints import endpoint_text
from .finding import GROUPS, NOTE, OK, UNKNOWN, WRONG

WIDTH = 80

#: Words and no symbols: they survive LANG=C, a log and grep.
_WORDS = {OK: 'ok', NOTE: 'note', WRONG: 'WRONG', UNKNOWN: '?'}
_COLOURS = {WRONG: '\x1b[1;31m', NOTE: '\x1b[33m', UNKNOWN: '\x1b[33m', OK: '\x1b[32m'}
_PLAIN = '\x1b[0m'
_INDENT = ' ' * 8


def group_text(group, findings, coloured=False):
    """One group under its heading; '' where it has nothing to say."""
    lines = [line for finding in findings if finding.group == group for line in finding_lines(finding, coloured)]
    return '\n'.join([group] + lines) + '\n' if lines else ''


def finding_lines(finding, coloured=False):
    word = _WORDS[finding.level]
    lines = _wrapped(finding.text, '  %-5s ' % word, _INDENT)
    if coloured:
        lines[0] = lines[0].replace(word, _COLOURS[finding.level] + word + _PLAIN, 1)
    for fix in finding.fixes:
        lines += _wrapped(fix, _INDENT + 'fix: ', _INDENT + ' ' * 5)
    return lines


def _wrapped(text, first, others):
    return textwrap.wrap(text, WIDTH, initial_indent=first, subsequent_indent=others, break_long_words=False,
                         break_on_hyphens=False)


def records_text(findings):
    """The lines for a zone file, which are never wrapped: they are there to be copied."""
    records = records_of(findings)
    return '\n'.join(['Records to add'] + records) + '\n' if records else ''


def records_of(findings):
    records = []
    for finding in findings:
        records += [record for record in finding.records if record not in records]
    return records


def summary(findings, reachable, known, seconds):
    counts = dict((level, sum(finding.level == level for finding in findings)) for level in _WORDS)
    parts = ['%s, %s' % (_counted(counts[WRONG], 'problem'), _counted(counts[NOTE], 'note'))]
    if known:
        parts.insert(0, '%d of %s reachable' % (reachable, _counted(known, 'server')))
    if counts[UNKNOWN]:
        parts.append('%d not finished' % counts[UNKNOWN])
    return '; '.join(parts + ['%.1f s' % seconds])


def _counted(count, word):
    return '%d %s%s' % (count, word, '' if count == 1 else 's')


def to_json(service, findings, doctor, version):
    """One object, on one line."""
    return json.dumps({
        'version': version,
        'service': service,
        'ok': exit_code(findings, strict=False) == 0,
        'wrong': sum(finding.level == WRONG for finding in findings),
        'notes': sum(finding.level == NOTE for finding in findings),
        'seconds': round(doctor.seconds(), 3),
        'listener': endpoint_text(*doctor.settings.listener),
        'checks': [{'id': one.id, 'group': one.group, 'level': one.level, 'subject': one.subject, 'text': one.text,
                    'fixes': list(one.fixes)} for one in in_order(findings)],
        'records': records_of(findings),
        'servers': doctor.servers(),
    }, sort_keys=True)


def in_order(findings):
    return sorted(findings, key=lambda finding: GROUPS.index(finding.group))


def exit_code(findings, strict):
    """0: nothing is wrong. 1: something is, or is not known; with `strict` a note suffices."""
    bad = (WRONG, UNKNOWN, NOTE) if strict else (WRONG, UNKNOWN)
    return int(any(finding.level in bad for finding in findings))
