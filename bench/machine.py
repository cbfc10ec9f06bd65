"""The machine below the benchmark: its cores, its ports, and what a process has used of it.

Linux only: everything is read from /proc.
"""
from __future__ import absolute_import, division, print_function

import collections
import ctypes
import os
import platform
import random
import resource
import signal
import socket

import bench.errors

PR_SET_PDEATHSIG = 1    # prctl(2)

Cores = collections.namedtuple('Cores', 'load server proxy')


def plan_cores(available):
    """Where load, servers and the proxy under test run: `Cores` of core numbers, or of None (not pinned).

    The proxy always has a core to itself: it is what is measured. With two cores load and servers share the
    other one, which may then be the limit: that is why every figure stands beside how busy the proxy was.
    """
    cores = sorted(available)
    if len(cores) == 1:
        return Cores(None, None, None)
    return Cores(cores[0], cores[1] if len(cores) > 2 else cores[0], cores[-1])


def free_port():
    """A port that nobody holds now, neither for TCP nor for UDP, on any address of IPv4.

    It is no ephemeral one, where the kernel picks source ports: the load uses those by the ten thousand, and
    one of them in TIME_WAIT would keep a server from binding.
    """
    for port in random.sample(listening_ports(ephemeral_range()), 1000):
        try:
            with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as stream, \
                    socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as datagram:
                stream.bind(('', port))
                datagram.bind(('', port))
            return port
        except (IOError, OSError):
            pass
    raise bench.errors.BenchError('no free port was found outside of the ephemeral ones')


def ephemeral_range():
    """The first and the last port that the kernel picks as source ports."""
    with open('/proc/sys/net/ipv4/ip_local_port_range') as ports:
        return tuple(int(port) for port in ports.read().split())


def listening_ports(ephemeral):
    """The larger range of ports beside the ephemeral ones, above the system's; all of them if it is small."""
    below, above = range(10000, ephemeral[0]), range(ephemeral[1] + 1, 65536)
    return max(below, above, range(10000, 65536) if max(len(below), len(above)) < 1000 else (), key=len)


def raise_descriptor_limit():
    """Raise the soft limit to the hard one, for this process and its children; returns the limit."""
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    return hard


def child_setup(core, user=None):
    """For a child to run before exec: pins it to a core or a set, becomes `user` (a pwd entry), ties its life to ours."""
    libc = ctypes.CDLL(None)

    def setup():
        if core is not None:
            os.sched_setaffinity(0, core if isinstance(core, frozenset) else [core])
        if user is not None:
            os.setgroups([])
            os.setgid(user.pw_gid)
            os.setuid(user.pw_uid)
        libc.prctl(PR_SET_PDEATHSIG, signal.SIGKILL)    # after setuid, which clears it
    return setup


def process_tree(pid):
    """`pid` and all its living descendants."""
    found = [pid]
    for parent in found:
        try:
            with open('/proc/{0}/task/{0}/children'.format(parent)) as children:
                found.extend(int(child) for child in children.read().split())
        except (IOError, OSError):
            pass    # it has ended meanwhile
    return found


def cpu_seconds(pid):
    """User and system time of `pid` and its living descendants, in seconds; the resolution is 10 ms."""
    ticks = 0
    for each in process_tree(pid):
        with open('/proc/{0}/stat'.format(each)) as stat:
            fields = stat.read().rpartition(')')[2].split()
        ticks += int(fields[11]) + int(fields[12])    # utime and stime, proc(5)
    return ticks / os.sysconf('SC_CLK_TCK')


def core_seconds(core):
    """How long `core` (None: all of them together) has worked since boot, in seconds: all but idle."""
    name = 'cpu' if core is None else 'cpu{0}'.format(core)
    with open('/proc/stat') as stat:
        for line in stat:
            fields = line.split()
            if fields[0] == name:
                # user nice system idle iowait irq softirq steal: proc(5)
                ticks = [int(field) for field in fields[1:9]]
                return (sum(ticks) - ticks[3] - ticks[4]) / os.sysconf('SC_CLK_TCK')
    raise bench.errors.BenchError('/proc/stat does not list {0}'.format(name))


def resident_bytes(pid):
    """Resident memory (VmRSS) of `pid` and its living descendants."""
    return sum(_resident(each) for each in process_tree(pid))


def _resident(pid):
    with open('/proc/{0}/status'.format(pid)) as status:
        for line in status:
            if line.startswith('VmRSS:'):
                return int(line.split()[1]) * 1024
    return 0    # a zombie has none


def describe():
    """What the figures depend on, as a dict: processor, cores, kernel."""
    return {'processor': _processor(), 'cores': len(os.sched_getaffinity(0)), 'memory_bytes': _memory(),
            'kernel': platform.release(), 'python': platform.python_version()}


def _processor():
    with open('/proc/cpuinfo') as cpuinfo:
        for line in cpuinfo:
            if line.startswith('model name'):
                return line.partition(':')[2].strip()
    return platform.machine()


def _memory():
    return os.sysconf('SC_PAGE_SIZE') * os.sysconf('SC_PHYS_PAGES')


def check_platform():
    """Raises `BenchError` where this harness cannot work."""
    if not platform.system() == 'Linux':
        raise bench.errors.BenchError('the benchmark reads /proc and pins processes: it needs Linux')
