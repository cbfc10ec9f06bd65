"""What each signal does to a running process."""
from __future__ import absolute_import, division, print_function

import os
import signal

import gevent

from .compat import unblock_signals

#: Signals that ask for the end: of supervisors and people, of images whose STOPSIGNAL is SIGQUIT, of LXC (SIGPWR).
STOP_SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGQUIT, signal.SIGPWR)

#: Signals that would end the program at once, without a drain, and mean nothing to it.
IDLE_SIGNALS = (signal.SIGUSR2, signal.SIGALRM, signal.SIGVTALRM, signal.SIGPROF, signal.SIGIO, signal.SIGXCPU)


def listen_to_signals(process):
    """SIGTERM and its like drain, a second one ends at once, SIGHUP reads the file of services again, looks up and probes,
    SIGUSR1 opens the files of access logs again.

    gevent runs each handler in a greenlet of its own, where an exception would end the program: none of them waits or
    fails.
    """
    for number in STOP_SIGNALS:
        gevent.signal_handler(number, process.request_stop)
    gevent.signal_handler(signal.SIGHUP, process.hang_up)
    gevent.signal_handler(signal.SIGUSR1, process.reopen_access_logs)
    for number in IDLE_SIGNALS:
        gevent.signal_handler(number, process.ignore_signal, number)
    unblock_signals()
    if os.getpid() == 1:
        gevent.get_hub().loop.install_sigchld()        # PID 1 of a container collects every child that ends
