"""The addresses of a name in the hosts file, hosts(5)."""
from __future__ import absolute_import, division, print_function

from collections import OrderedDict

from ..net.endpoints import canonical_ip
from ..net.small_file import SPACES, lines_of, read_small_file, words_of

MAX_BYTES = 1 << 20


def read_hosts(path):
    """(the text of the hosts file, was all of it read?). EnvironmentError when it cannot be read."""
    data = read_small_file(path, MAX_BYTES)
    whole = len(data) <= MAX_BYTES
    if not whole:
        data = data[:data.rfind(b'\n', 0, MAX_BYTES) + 1]
    return data.decode('latin-1'), whole


def addresses_in_hosts(text, name):
    """All IPs that the text of a hosts file gives `name`, in canonical text, in order."""
    name = name.rstrip('.').lower()
    if name not in text.lower():              # the file may be long and is read at each refresh
        return []
    ips = OrderedDict()
    for line in lines_of(text):
        words = words_of(line.split('#')[0], SPACES)
        if name in (word.rstrip('.').lower() for word in words[1:] if word):
            ip = canonical_ip(words[0] or '')
            if ip:
                ips[ip] = True
    return list(ips)
