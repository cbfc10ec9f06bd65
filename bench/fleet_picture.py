"""Draws what `bench.fleet` has measured. Pure."""
from __future__ import absolute_import, division, print_function

COLOURS = ('#8a8f98', '#c2662d', '#2f6db5', '#3d8f5f')


def drawn(fleets, peaks, moments, returns):
    """SVG text. `peaks`: {start: the peak for each of `fleets`}; `returns`: {mode: its Return, with shares at `moments`}."""
    lines = ['<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 900 380" font-family="sans-serif" font-size="13" '
             'role="img"><title>How even a fleet is, and how soon a server that returns has its share</title>',
             '<style>text{fill:#333}.axis{stroke:#999}@media(prefers-color-scheme:dark){text{fill:#ccc}}</style>']
    lines += _bars(fleets, peaks) + _curves(moments, returns)
    return '\n'.join(lines + ['</svg>', ''])


def _bars(fleets, peaks):
    lines = [_text(20, 24, 'The busiest of 10 servers, in parts of the mean', 'bold'),
             _text(20, 42, '5 long sessions an instance, round-robin; dashed: even')]
    for group, instances in enumerate(fleets):
        lines.append(_text(75 + 130 * group, 352, '{0:,} instances'.format(instances)))
        for number, start in enumerate(peaks):
            value = peaks[start][group]
            height = 110 * value
            x = 60 + 130 * group + 36 * number
            lines.append('<rect x="%d" y="%.1f" width="30" height="%.1f" fill="%s"/>' % (
                x, 330 - height, height, COLOURS[number]))
            lines.append(_text(x, 324 - height, '%.2f' % value))
    lines.append('<path d="M50 220H440" class="axis" stroke-dasharray="4"/><path d="M50 330H440" class="axis"/>')
    for number, start in enumerate(peaks):
        lines.append('<rect x="%d" y="362" width="12" height="12" fill="%s"/>' % (60 + 130 * number, COLOURS[number]))
        lines.append(_text(78 + 130 * number, 373, start))
    return lines


def _curves(moments, returns):
    lines = [_text(480, 24, 'A server returns after a minute: its part of its share', 'bold'),
             _text(480, 42, '1,000 instances, 10 servers, 10 sessions of 10 minutes each')]
    left, bottom, width, height = 510, 280, 370, 200
    lines.append('<path d="M%d %dv-%dM%d %dh%d" fill="none" class="axis"/>' % (left, bottom, height, left, bottom, width))
    lines.append('<path d="M%d %dh%d" class="axis" stroke-dasharray="4"/>' % (left, bottom - height * 0.8, width))
    lines.append(_text(left - 30, bottom - height * 0.8 + 4, '1.0'))
    for minute in range(0, 16, 5):
        lines.append(_text(left + width * minute / 15.0 - 4, bottom + 18, '%d' % minute))
    lines.append(_text(left + width - 50, bottom + 34, 'minutes'))
    for number, name in enumerate(returns):
        points = ' '.join('%.1f,%.1f' % (left + width * moment / moments[-1], bottom - height * 0.8 * min(share, 1.25))
                          for moment, share in zip(moments, returns[name].shares))
        lines.append('<polyline points="%s" fill="none" stroke="%s" stroke-width="2"/>' % (points, COLOURS[number]))
        lines.append('<rect x="510" y="%d" width="12" height="4" fill="%s"/>' % (307 + 20 * number, COLOURS[number]))
        lines.append(_text(528, 313 + 20 * number, name))
    return lines


def _text(x, y, text, weight='normal'):
    return '<text x="%.1f" y="%.1f" font-weight="%s">%s</text>' % (x, y, weight, text)
