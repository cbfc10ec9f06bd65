# -*- coding: utf-8 -*-
"""How a status looks on a terminal or in a pipe: colours, bars, units, and what is cut where there is no room. Pure."""
from __future__ import absolute_import, division, print_function, unicode_literals

import re

from .timeline import DIGITS

BARS = ' ▁▂▃▄▅▆▇█'
CHART_WIDTH = 15

#: Level -> the codes of ECMA-48: bold red, yellow, green, cyan, dim, bold. Never the only sign: the word is there as well.
COLORS = {'bad': '1;31', 'warn': '33', 'good': '32', 'idle': '36', 'soft': '2', 'head': '1'}

#: Control characters, and those that turn the direction of writing: a PTR record must not steer a terminal.
UNSAFE = re.compile('[\x00-\x1f\x7f-\x9f\u200e\u200f\u202a-\u202e\u2066-\u2069]')
ESCAPE = re.compile('\x1b\\[[0-9;]*m')


class Look(object):
    """`width` in columns, None for as wide as it gets (a pipe: whole texts, every column); `color` and `utf8` as the
    terminal has them."""

    def __init__(self, width=80, color=False, utf8=True):
        self.width = width
        self.color = color
        self.utf8 = utf8
        self.whole = width is None
        self.dots = '…' if utf8 else '>'

    def paint(self, level, text):
        code = COLORS.get(level)
        return '\x1b[%sm%s\x1b[0m' % (code, text) if self.color and code and text.strip() else text

    def cut(self, text, width):
        """`text` in `width` columns. The middle goes: names differ at both ends."""
        if len(text) <= width:
            return text
        dots = '…' if self.utf8 else '..'
        keep = width - len(dots)
        return text[:keep - keep // 3] + dots + text[len(text) - keep // 3:] if keep > 3 else text[:max(width, 0)]

    def cut_end(self, text, width):
        return text if len(text) <= width else text[:max(0, width - 1)] + self.dots

    def fits(self, *parts):
        """Do the parts fit a line, two spaces apart?"""
        return self.whole or sum(len(part) for part in parts) + 2 * (len(parts) - 1) <= self.width

    def pair(self, left, right):
        """`left` and `right` at the two ends of a line; `right` goes when there is no room."""
        if self.whole or not right:
            return (left + '  ' + right).rstrip()
        gap = self.width - len(ESCAPE.sub('', left)) - len(right)
        return left + ' ' * gap + self.paint('soft', right) if gap > 1 else left

    def wrap(self, text, indent=''):
        lines, line = [], ''
        for word in text.split(' '):
            if line and not self.whole and len(indent) + len(line) + 1 + len(word) > self.width:
                lines.append(line)
                line = word
            else:
                line = line + ' ' + word if line else word
        return [indent + part for part in lines + [line]]


def clean(value):
    """A snapshot whose texts are safe to write to a terminal."""
    if isinstance(value, dict):
        return dict((clean(key), clean(part)) for key, part in value.items())
    if isinstance(value, list):
        return [clean(part) for part in value]
    return UNSAFE.sub('?', value) if isinstance(value, type('')) else value


def span(seconds):
    """`41s`, `2m`, `3h`, `3d`."""
    for size, unit in ((86400, 'd'), (3600, 'h'), (60, 'm')):
        if seconds >= 2 * size:
            return '%d%s' % (seconds // size, unit)
    return '%ds' % seconds


def size(count):
    """`62M`, `1.1G`."""
    for unit in ('B', 'K', 'M', 'G', 'T'):
        if count < 1000 or unit == 'T':
            return '%d%s' % (round(count), unit) if count >= 10 or unit == 'B' else '%.1f%s' % (count, unit)
        count /= 1024.0


def rate(number):
    if number is None:
        return '-'
    return '%d' % round(number) if number == 0 or number >= 10 else '%.1f' % number


def bars(history, scale):
    """The load of 15 minutes in CHART_WIDTH characters; `scale` is what a full bar stands for."""
    step = len(history['load']) / CHART_WIDTH
    shown = ''
    for position in range(CHART_WIDTH):
        part = history['load'][int(position * step):int((position + 1) * step)]
        part = [DIGITS.index(one) for one in part if one in DIGITS]
        value = max(part) / 61.0 * history['peak'] / scale if part else 0
        shown += BARS[min(8, int(value * 8 + 0.999))]
    return shown
