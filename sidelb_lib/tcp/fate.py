"""Pure: what becomes of a server's sessions when it goes down, leaves, or loses its role."""
from __future__ import absolute_import, division, print_function

from .ending import DEMOTED
from ..errors import DOWN, REMOVED


def endings(event, address, settings):
    """[(address, reason)] of those whose sessions end, by `on_down`, `on_removed` and `on_demoted`, when the pool tells
    `event` of `address`."""
    if event == 'down' and settings.on_down == 'close' and not address.member.up:
        return [(each, DOWN) for each in address.member.addresses]
    if event == 'removed' and settings.on_removed == 'close':
        return [(address, REMOVED)]
    if event == 'demoted' and (settings.on_demoted or on_demoted_by(settings.check.role)) == 'close':
        return [(address, DEMOTED)]
    return []


def on_demoted_by(role):
    """What `on_demoted` is by default: writes must not go on to a former primary, but a replica that lags can be read."""
    return 'close' if role == 'primary' else 'keep'
