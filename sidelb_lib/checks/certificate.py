"""When a server's certificate ends. `ssl` tells that of verified certificates alone, so it is read out of the DER form:
X.509's TBSCertificate, RFC 5280, 4.1."""
from __future__ import absolute_import, division, print_function

import calendar
import re

SEQUENCE, VERSION, UTC_TIME, GENERALIZED_TIME = 0x30, 0xa0, 0x17, 0x18
BEFORE_VALIDITY = 3               # serial number, signature, issuer


def not_after(der):
    """Unix time, or None where `der` (None: there is none) can't be read."""
    try:
        fields = _parts(_content(_content(bytearray(der or b''), SEQUENCE), SEQUENCE))
        kind = next(fields)[0]
        for _ in range(BEFORE_VALIDITY if kind == VERSION else BEFORE_VALIDITY - 1):
            next(fields)
        times = _parts(next(fields)[1])
        next(times)
        return _time(*next(times))
    except (StopIteration, ValueError, IndexError):
        return None


def _content(data, wanted):
    kind, content = next(_parts(data))
    if kind != wanted:
        raise ValueError('another kind')
    return content


def _parts(data):
    """(tag, content) of what stands in `data` one after another."""
    at = 0
    while at < len(data):
        kind, size, at = data[at], data[at + 1], at + 2
        if size & 0x80:               # so many bytes of length follow
            end = at + (size & 0x7f)
            size = int(''.join('%02x' % byte for byte in data[at:end]) or '0', 16)
            at = end
        if at + size > len(data):
            raise ValueError('cut off')
        yield kind, data[at:at + size]
        at += size


def _time(kind, content):
    text = ''.join(map(chr, content))
    if kind == UTC_TIME:              # RFC 5280, 4.1.2.5.1: from 1950 to 2049
        text = ('19' if text[:2] >= '50' else '20') + text
    elif kind != GENERALIZED_TIME:
        raise ValueError('no time')
    if not re.match(r'[0-9]{14}Z\Z', text):
        raise ValueError('no time')
    return calendar.timegm(tuple(int(text[at:end]) for at, end in (
        (0, 4), (4, 6), (6, 8), (8, 10), (10, 12), (12, 14))))
