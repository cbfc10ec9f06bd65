"""The errors that a user of SideLB can meet; the text of each is one clear line with the way out."""
from __future__ import absolute_import, division, print_function

MAX_SHOWN = 120         # characters of what somebody else wrote
MAX_MISTAKE = 800       # characters of a mistake in a configuration


class SidelbError(Exception):
    """Anything that SideLB itself reports; `str()` of it is meant for a person."""


class SettingsError(SidelbError):
    """The configuration is wrong. `mistakes` lists every mistake found, one printable line each."""

    def __init__(self, mistakes):
        self.mistakes = [printable(mistake, MAX_MISTAKE) for mistake in mistakes]
        SidelbError.__init__(self, '\n'.join(self.mistakes))


class BindError(SidelbError):
    """A listener could not be bound."""


#: Why a client was refused: the kinds of NobodyReachable, which are labels of metrics as well.
NOBODY_KNOWN = 'no_server_is_known'
ALL_TRIED = 'every_server_has_been_tried'
TOO_LATE = 'no_server_could_be_reached_in_time'
HOST_IS_SHORT = 'this_host_is_short_of_resources'
ALL_FULL = 'every_server_is_full'
NOBODY_ELIGIBLE = 'no_server_may_be_taken'
REFUSALS = (NOBODY_KNOWN, ALL_TRIED, TOO_LATE, HOST_IS_SHORT, ALL_FULL, NOBODY_ELIGIBLE)

#: Why a client was not let in: labels of metrics, too.
NOT_ALLOWED = 'address_is_not_allowed'
NOT_TRUSTED = 'peer_is_not_trusted'
BAD_HEADER = 'bad_proxy_header'
NO_HEADER = 'no_proxy_header_in_time'
DENIALS = (NOT_ALLOWED, NOT_TRUSTED, BAD_HEADER, NO_HEADER)

#: Why a session has ended, of TCP and UDP alike, in logs and metrics. ADMIN: a person wanted it; REBALANCE: its server had
#: more than its share.
IDLE, FAILED = 'idle', 'failed'
DOWN, REMOVED, DRAIN, ADMIN, REBALANCE = 'down', 'removed', 'drain', 'admin', 'rebalance'


class NobodyReachable(SidelbError):
    """No server could be reached for a session. `kind` is one of the words above, the text is for people: without one
    the kind says it."""

    def __init__(self, kind, text=None):
        SidelbError.__init__(self, text or kind.replace('_', ' '))
        self.kind = kind


def printable(text, limit=MAX_SHOWN):
    """`text` from outside, for a terminal or a log: all but printable ASCII is escaped, and it is cut."""
    shown = ''.join(one if ' ' <= one <= '~' else _escaped(ord(one)) for one in text[:limit])
    return shown + ('...' if len(text) > limit else '')


def _escaped(code):
    if 0xdc80 <= code <= 0xdcff:         # a byte that Python 3 could not decode: PEP 383
        code -= 0xdc00
    return '\\x%02x' % code if code < 256 else '\\u%04x' % code
