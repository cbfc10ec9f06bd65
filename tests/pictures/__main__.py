# -*- coding: utf-8 -*-
"""The pictures of docs/pictures, out of the samples beside this: `python -m tests.pictures`; with `--check` the exit code
says whether they are what the program shows now.

A terminal's text becomes an SVG with light and dark colours: no browser, no font file, the same bytes each time.
"""
from __future__ import absolute_import, division, print_function, unicode_literals

import io
import json
import os
import re
import sys
from xml.sax.saxutils import escape

from sidelb_lib.observe import terminal
from sidelb_lib.observe.look import Look, clean

HERE = os.path.dirname(os.path.abspath(__file__))
DIRECTORY = os.path.join(os.path.dirname(os.path.dirname(HERE)), 'docs', 'pictures')

#: name of the picture -> (sample, columns, lines or None for as long as it is)
PICTURES = {'status': ('10-outage', 100, None), 'watch': ('four-10-outage', 100, 30), 'failover': ('3-failover', 100, None)}

CHARACTER, LINE, PADDING = 7.8, 17, 14
CLASSES = {'1': 'b', '2': 's', '31': 'r', '32': 'g', '33': 'y', '36': 'c'}
STYLE = (
    'text{font:13px ui-monospace,SFMono-Regular,Menlo,Consolas,"DejaVu Sans Mono",monospace;white-space:pre;fill:#1f2328}'
    'rect{fill:#f6f8fa;stroke:#d0d7de}.b{font-weight:700}.s{fill:#59636e}.r{fill:#b3211b}.g{fill:#11703f}.y{fill:#875200}'
    '.c{fill:#2c5aa0}@media(prefers-color-scheme:dark){text{fill:#e2e7ed}rect{fill:#0d1117;stroke:#30363d}'
    '.s{fill:#98a4b1}.r{fill:#ff8f86}.g{fill:#56cf8e}.y{fill:#e9b44c}.c{fill:#a9c6ff}}')


def load(name):
    """A sample, as if the local time were UTC."""
    with io.open(os.path.join(HERE, name + '.json'), encoding='utf-8') as stream:
        snapshot = clean(json.load(stream))
    for change in snapshot['changes']:
        change['clock'] = change['time'][11:19]
    return snapshot


def picture(name):
    sample, columns, rows = PICTURES[name]
    look = Look(columns, color=True)
    snapshot = load(sample)
    lines = terminal.status(snapshot, look) if rows is None else terminal.watch(snapshot, look, rows, clock='14:32:10')
    return svg(lines, columns)


def svg(lines, columns):
    width, height = columns * CHARACTER + 2 * PADDING, len(lines) * LINE + 2 * PADDING
    out = ['<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 %d %d" role="img"><title>sidelb status</title>'
           '<style>%s</style><rect x=".5" y=".5" width="%d" height="%d" rx="6"/>' % (
               width, height, STYLE, width - 1, height - 1)]
    for row, line in enumerate(lines):
        column, look = 0, ''
        for codes, text in re.findall('\x1b\\[([0-9;]*)m|([^\x1b]+)', line):
            if not text:
                look = ' '.join(CLASSES[code] for code in codes.split(';') if code in CLASSES)
                continue
            for run in re.finditer(r'\S+(?: \S+)*', text):       # a run a column: it stays aligned in any font
                out.append('<text x="%.1f" y="%d" textLength="%.1f"%s>%s</text>' % (
                    PADDING + (column + run.start()) * CHARACTER, PADDING + row * LINE + 13,
                    len(run.group()) * CHARACTER, ' class="%s"' % look if look else '', escape(run.group())))
            column += len(text)
    return '\n'.join(out + ['</svg>\n'])


def outdated():
    """The names of pictures that are not what the program shows."""
    found = []
    for name in sorted(PICTURES):
        path = os.path.join(DIRECTORY, name + '.svg')
        if not os.path.exists(path) or io.open(path, encoding='utf-8').read() != picture(name):
            found.append(name)
    return found


def main(arguments):
    if arguments == ['--check']:
        names = outdated()
        for name in names:
            print('docs/pictures/%s.svg is not what is shown now: python -m tests.pictures' % name)
        return 1 if names else 0
    if not os.path.isdir(DIRECTORY):
        os.makedirs(DIRECTORY)
    for name in sorted(PICTURES):
        with io.open(os.path.join(DIRECTORY, name + '.svg'), 'w', encoding='utf-8') as stream:
            stream.write(picture(name))
    return 0


if __name__ == '__main__':
    sys.exit(main(sys.argv[1:]))
