"""A server that goes up and down again and again has to show more each time before it gets clients. Pure."""
from __future__ import absolute_import, division, print_function

FLAP_SECONDS = 600.0          # one that goes down within this time after it came up...
MAX_RISE = 32                 # ...needs twice as many successes in a row as before, up to so many


def note_turn(address, now):
    """`address.up` has changed."""
    if address.up:
        address.came_up = now
    elif address.came_up is not None and now - address.came_up <= FLAP_SECONDS:
        address.damping = min(2 * address.damping, MAX_RISE)
    else:
        address.damping = 1


def damped(rise, address):
    """How many successes in a row bring this address up, where `rise` do otherwise."""
    return rise if address.damping == 1 else max(rise, min(MAX_RISE, rise * address.damping))
