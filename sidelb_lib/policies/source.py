"""Each client's IP has its server: weighted rendezvous hashing."""
from __future__ import absolute_import, division, print_function

import math
import socket
from collections import OrderedDict

from ..compat import digest_of

CLIENTS = 4096              # whose order of members is remembered
KEPT = 3                    # members of it
BALANCE = 1.25              # a member takes at most this many times its share of the sessions...
FEW = 10                    # ...but so many in any case: as one client's pool of connections has


class Source(object):
    """The member with the highest score for the client: -weight / ln(hash), of a hash of both (Highest Random Weight,
    Thaler and Ravishankar 1998; the weights by Schindelhauer and Schomaker 2005).

    When a member leaves, its clients alone move, each to the next in its order; weights are met exactly; there is no
    table to build. A client is an IPv4 address, or the /64 of an IPv6 one, whose rest changes from day to day. A member
    that has BALANCE times its share of the sessions, and more than a FEW, is passed over. Scoring costs 10 us with 10
    members and 0.6 ms with 1,000 (Python 3.11, 2026), so the first KEPT of the last CLIENTS clients are remembered until
    anything changes.

    Without a key (nobody knows who the client is) all are one client.
    """

    name = 'source'
    meaning = 'the same server for the same client IP'

    def __init__(self, start):
        self._members = set()
        self._weight = 0            # of all
        self._active = 0            # of all, as far as recounted
        self._counted = {}          # member -> its part of it
        self._orders = OrderedDict()    # key -> its first members, least lately used first

    def add(self, member):
        self._members.add(member)
        self._weight += member.weight or 1
        self._counted[member] = member.active
        self._active += member.active
        self._orders.clear()

    def remove(self, member):
        self._members.remove(member)
        self._weight -= member.weight or 1
        self._active -= self._counted.pop(member)
        self._orders.clear()

    def reweigh(self, member, former):
        """The member's weight was `former`."""
        self._weight += (member.weight or 1) - (former or 1)
        self._orders.clear()

    def recount(self, member):
        if member in self._counted:
            self._active += member.active - self._counted[member]
            self._counted[member] = member.active

    def choose(self, excluded, key=None):
        order = self._orders.pop(key, None)
        if order is None:
            order = self._ranked(key)[:KEPT]
            if len(self._orders) >= CLIENTS:
                self._orders.popitem(last=False)
        self._orders[key] = order
        member = self._first(order, excluded)
        if member is None and len(self._members) > len(order):
            member = self._first(self._ranked(key), excluded)
        return member or self._emptiest(excluded)

    def _first(self, order, excluded):
        """The first that has room and is not excluded."""
        for member in order:
            if member not in excluded and member.active < self._room(member):
                return member
        return None

    def _room(self, member):
        return max(FEW, BALANCE * (self._active + 1) * (member.weight or 1) / self._weight)

    def _emptiest(self, excluded):
        left = [member for member in self._members if member not in excluded]
        return min(left, key=lambda member: ((member.active + 1) / (member.weight or 1), member.order)) if left else None

    def _ranked(self, key):
        client = client_of(key)
        return [member for _, _, member in sorted(
            (-score(client, member.text, member.weight or 1), member.order, member) for member in self._members)]


def client_of(ip):
    """What of a client's IP stands for the client: the /64 of an IPv6 address, which a link-local one has in common with
    all of its link, else all of it."""
    if not ip:
        return ''
    try:
        packed = socket.inet_pton(socket.AF_INET6, ip.partition('%')[0])
    except EnvironmentError:
        return ip
    if packed[:1] == b'\xfe':
        return ip
    return socket.inet_ntop(socket.AF_INET6, packed[:8] + b'\0' * 8)


def score(client, member, weight):
    """How much `member` (name:port) is the one for `client`: higher is better."""
    return -weight / math.log(_spread('%s\n%s' % (client, member)))


def place_of(ip):
    """A number between 0 and 1 that is the client's own, to draw a tier by: one that does not change with each session."""
    return _spread(client_of(ip) + '\n')


def _spread(text):
    """A number between 0 and 1 out of a hash of the text."""
    number = 0
    for byte in bytearray(digest_of(text.encode('utf-8'))[:8]):
        number = number << 8 | byte
    return (number + 0.5) / 2.0 ** 64
