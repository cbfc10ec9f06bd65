"""check=run:PATH[,role]: a program decides.

It is run without a shell, as `PATH ip port member`, with PATH, SIDELB_MEMBER, SIDELB_ADDRESS and SIDELB_PORT in its
environment and nothing else. Exit code 0 passes, 3 means that the server drains; with `,role` 4 means alive and not wanted.
126, 127 and a signal say that the program can't be run. All else is a failure, and the first line that it prints says why.
It has check_timeout and is then killed with its process group. Each start holds the event loop for 2 to 7 ms (Python 3.11,
2026), so at most MAX_AT_ONCE run.
"""
from __future__ import absolute_import, division, print_function

import os
import signal
from collections import namedtuple

import gevent
from gevent import subprocess
from gevent.lock import BoundedSemaphore

from .exchange import PASSED, Misconfigured, ProbeFailed, Result, shown

MAX_AT_ONCE = 2
MAX_LINE_BYTES = 512

DRAINING, STANDBY, NOT_EXECUTABLE, NOT_FOUND = 3, 4, 126, 127

#: `role`: 'wanted' where exit code 4 means standby, else None.
Run = namedtuple('Run', 'path role')


def parse(arguments):
    path, comma, word = (arguments or '').partition(',')
    if not path.startswith('/'):
        raise ValueError('the path of the program begins with /')
    if comma and word != 'role':
        raise ValueError('nothing but role comes after the path')
    return Run(path, 'wanted' if comma else None)


def make(options, context):
    places = BoundedSemaphore(MAX_AT_ONCE)

    def probe(address, deadline):
        with places:
            return judge(options, *run(options.path, address, deadline))
    return probe


def run(path, address, deadline):
    """(exit code, the first line of the output). Raises ProbeFailed at the deadline, Misconfigured."""
    member = str(address.member.name) if address.member else address.host
    environ = {'PATH': os.environ.get('PATH', os.defpath), 'SIDELB_MEMBER': member, 'SIDELB_ADDRESS': address.host,
               'SIDELB_PORT': str(address.port)}
    with open(os.devnull, 'r+b') as nothing:
        try:
            program = subprocess.Popen([path, address.host, str(address.port), member], env=environ, stdin=nothing,
                                       stdout=subprocess.PIPE, stderr=nothing, close_fds=True, preexec_fn=os.setsid)
        except EnvironmentError as error:
            raise Misconfigured('%s: %s' % (path, error.strerror or error))
    output = b''
    try:
        with gevent.Timeout(deadline.left(), False):
            while True:
                data = program.stdout.read(MAX_LINE_BYTES)
                if not data:
                    return program.wait(), output.partition(b'\n')[0]
                output = (output + data)[:MAX_LINE_BYTES]
        raise deadline.passed()
    finally:
        if program.poll() is None:
            os.killpg(program.pid, signal.SIGKILL)
            program.wait()
        program.stdout.close()


def judge(options, code, line):
    if code == 0:
        return Result('up', options.role, None, None) if options.role else PASSED
    if code == DRAINING:
        return Result('draining', None, shown(line) or None, None)
    if code == STANDBY and options.role:
        return Result('standby', None, shown(line) or None, None)
    if code < 0 or code in (NOT_EXECUTABLE, NOT_FOUND):
        raise Misconfigured('%s ended %s' % (options.path, 'by signal %d' % -code if code < 0 else 'with %d' % code))
    raise ProbeFailed(shown(line) or 'exit code %d' % code)
