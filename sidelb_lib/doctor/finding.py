"""What the doctor has found: one fact each, with the line, the record or the setting that mends it."""
from __future__ import absolute_import, division, print_function

from collections import namedtuple

OK = 'ok'
NOTE = 'note'              # worth knowing
WRONG = 'wrong'            # clients get errors, or servers an uneven load
UNKNOWN = 'unknown'        # not finished in time, or the doctor's own failure

HOST = 'This host'
DNS = 'DNS'
SERVERS = 'Servers'
APPLICATION = 'Your application'
GROUPS = (HOST, DNS, SERVERS, APPLICATION)


class Finding(namedtuple('Finding', 'id group level subject text fixes records')):
    """`id` is stable, like `host.listener`; `subject` is what it is about: an address, a name, a setting. `fixes` are
    sentences, each a way to mend it; `records` are lines for a zone file."""

    __slots__ = ()


def ok(identity, group, subject, text):
    return Finding(identity, group, OK, subject, text, (), ())


def note(identity, group, subject, text, *fixes):
    return Finding(identity, group, NOTE, subject, text, fixes, ())


def wrong(identity, group, subject, text, *fixes, **more):
    """`records=[...]` are lines to add to a zone."""
    return Finding(identity, group, WRONG, subject, text, fixes, tuple(more.get('records', ())))


def unknown(identity, group, subject, text):
    return Finding(identity, group, UNKNOWN, subject, text, (), ())
