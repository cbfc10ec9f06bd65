"""A link between two network namespaces on which every packet takes its time, as on a real network."""
from __future__ import absolute_import, division, print_function

import fcntl
import os
import struct
import subprocess

import gevent
from gevent import get_hub

from .netns import entered
from .requirements import need, need_namespaces

TUN = '/dev/net/tun'
TUNSETIFF = 0x400454ca             # <linux/if_tun.h>
IFF_TUN, IFF_NO_PI = 0x0001, 0x1000
MAX_BYTES = 65536


class SlowLink(object):
    """Gives `namespaces` (two NetworkNamespaces) the addresses `ips` of one IPv4 network, and carries packets between them,
    each `delay` seconds late. A context manager."""

    def __init__(self, namespaces, ips=('10.99.0.1', '10.99.0.2'), delay=0.1):
        need_namespaces()
        need('%s is missing (the kernel module tun)' % TUN, os.path.exists(TUN))
        self._namespaces = namespaces
        self._ips = ips
        self._delay = delay
        self._ends = []
        self._watchers = []

    def __enter__(self):
        try:
            for namespace, ip in zip(self._namespaces, self._ips):
                with entered(namespace):
                    self._ends.append(open_tun('link0'))
                set_up(namespace, 'link0', ip)
        except BaseException:
            self.__exit__()
            raise
        for end, other_end in (self._ends, self._ends[::-1]):
            watcher = get_hub().loop.io(end, 1)
            watcher.start(self._carry, end, other_end)
            self._watchers.append(watcher)
        return self

    def __exit__(self, *_):
        for watcher in self._watchers:
            watcher.stop()
            watcher.close()
        for end in self._ends:
            os.close(end)
        self._ends = []

    def _carry(self, end, other_end):
        packet = os.read(end, MAX_BYTES)
        gevent.spawn_later(self._delay, self._deliver, other_end, packet)

    def _deliver(self, end, packet):
        if end in self._ends:              # not closed meanwhile
            os.write(end, packet)


def open_tun(name):
    """The descriptor of a new tun device in the namespace of this thread."""
    descriptor = os.open(TUN, os.O_RDWR | os.O_NONBLOCK)
    fcntl.ioctl(descriptor, TUNSETIFF, struct.pack('16sH', name.encode('ascii'), IFF_TUN | IFF_NO_PI))
    return descriptor


def set_up(namespace, device, ip):
    for arguments in (['address', 'add', ip + '/24', 'dev', device], ['link', 'set', device, 'up']):
        subprocess.check_call(['ip', '-n', namespace.name] + arguments)
