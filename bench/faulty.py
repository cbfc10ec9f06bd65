"""SideLB with faults injected by number: every Nth call of a kind fails. For the soak.

    faulty.py REPORT KIND=N,KIND=N,... SIDELB-ARGUMENTS

What `sidelb_lib.compat` makes is replaced before anything else of the library is imported. On SIGRTMIN the file REPORT gets
a JSON object with the number of greenlets and of injected faults by kind.
"""
from __future__ import absolute_import, division, print_function

import collections
import errno
import gc
import json
import os
import signal
import sys

sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.abspath(__file__))))

import sidelb                                   # noqa: E402 - it patches what it must; the library is imported by its main

import _socket                                  # noqa: E402
import gevent                                   # noqa: E402
import greenlet                                 # noqa: E402

#: What calls of a kind fail with, in turn.
FAULTS = {'accept': [errno.EMFILE, errno.ECONNABORTED, errno.ENOMEM], 'socket': [errno.EMFILE, errno.ENOBUFS],
          'connect': [errno.EADDRNOTAVAIL, errno.ENOBUFS], 'recv': [errno.EAGAIN, errno.ENOMEM],
          'send': [errno.EAGAIN, errno.ENOBUFS], 'splice': [errno.EAGAIN, errno.ENOMEM], 'setsockopt': [errno.ENOBUFS],
          'pipe': [errno.EMFILE]}


class Faults(object):
    """Counts calls by kind and raises at every Nth."""

    def __init__(self, every):
        self.calls = collections.Counter()
        self.injected = collections.Counter()
        self._every = every

    def meet(self, kind):
        self.calls[kind] += 1
        if kind in self._every and self.calls[kind] % self._every[kind] == 0:
            code = FAULTS[kind][self.injected[kind] % len(FAULTS[kind])]
            self.injected[kind] += 1
            raise OSError(code, os.strerror(code))

    def before(self, kind, function):
        def call(*arguments, **options):
            self.meet(kind)
            return function(*arguments, **options)
        return call


def faulty_socket(faults):
    class FaultySocket(_socket.socket):
        def connect_ex(self, address):
            try:
                faults.meet('connect')
            except OSError as error:
                return error.errno
            return _socket.socket.connect_ex(self, address)

        recv = faults.before('recv', _socket.socket.recv)
        recv_into = faults.before('recv', _socket.socket.recv_into)
        send = faults.before('send', _socket.socket.send)
        setsockopt = faults.before('setsockopt', _socket.socket.setsockopt)
    return FaultySocket


def install(compat, faults):
    kind = faulty_socket(faults)
    accept = compat.accept

    def new_socket(family, kind_of):
        faults.meet('socket')
        return kind(family, kind_of | 0o4000 | 0o2000000)        # SOCK_NONBLOCK, SOCK_CLOEXEC

    def faulty_accept(listener):
        faults.meet('accept')
        sock, address = accept(listener)
        return kind(sock.family, sock.type, sock.proto, sock.detach()), address

    splice = compat.find_splice()
    compat.new_socket, compat.accept = new_socket, faulty_accept
    compat.new_pipe = faults.before('pipe', compat.new_pipe)
    compat.find_splice = lambda: splice and faults.before('splice', splice)


def report(path, faults):
    gc.collect()
    alive = sum(1 for each in gc.get_objects() if isinstance(each, greenlet.greenlet) and not each.dead)
    with open(path + '.new', 'w') as out:
        json.dump({'greenlets': alive, 'injected': faults.injected, 'calls': faults.calls}, out)
    os.rename(path + '.new', path)


def main(arguments):
    path, kinds = arguments[:2]
    faults = Faults(dict((kind, int(number)) for kind, number in (each.split('=') for each in kinds.split(',') if each)))
    loaded = [name for name in sys.modules if name.startswith('sidelb_lib.tcp')]
    if loaded:
        sys.exit('faults come too late: %s is loaded' % ', '.join(loaded))
    import sidelb_lib.compat
    install(sidelb_lib.compat, faults)
    gevent.signal_handler(signal.SIGRTMIN, report, path, faults)
    return sidelb.main(arguments[2:])


if __name__ == '__main__':
    sys.exit(main(sys.argv[1:]))
