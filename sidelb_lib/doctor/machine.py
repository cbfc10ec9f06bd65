"""What the doctor reads of this machine: /proc, limits, capabilities. Nothing is changed, nobody's environment is read."""
from __future__ import absolute_import, division, print_function

import glob
import os
import socket
import struct
from collections import namedtuple

from ..compat import text_of
from ..net.endpoints import family_of, is_wildcard

LISTENING, UNCONNECTED = '0A', '07'        # states in /proc/net/tcp and udp: include/net/tcp_states.h
CAP_NET_BIND_SERVICE, CAP_NET_ADMIN = 10, 12
ST_RDONLY = 1                              # statvfs(3); Python 2 does not name it
MAX_PROCESSES = 4096                       # that are looked at for the owner of a socket

#: The program that holds a socket: `pid` and `command` are None where only the user, `uid`, can be seen.
Holder = namedtuple('Holder', 'pid command uid')


def holder_of(listener, protocol):
    """The Holder of a bound socket that would get in the way of `listener`, (ip, port); None where nobody has it.

    The kernel's tables tell the inode of the socket; whose descriptor that is, /proc/PID/fd. See proc(5).
    """
    for name in ('tcp', 'tcp6') if protocol == 'tcp' else ('udp', 'udp6'):
        family = socket.AF_INET6 if name.endswith('6') else socket.AF_INET
        if family != family_of(listener[0]):
            continue
        for ip, port, state, uid, inode in _sockets('/proc/net/' + name, family):
            meets = ip == listener[0] or is_wildcard(ip) or is_wildcard(listener[0])
            if port == listener[1] and meets and state in (LISTENING, UNCONNECTED):
                pid = _process_with(inode)
                return Holder(pid, command_of(pid), uid)
    return None


def _sockets(path, family):
    """(ip, port, state, uid, inode) of each row of /proc/net/tcp and its like."""
    rows = []
    for row in read_text(path).splitlines()[1:]:
        fields = row.split()
        if len(fields) > 9:
            address, port = fields[1].split(':')
            words = [int(address[start:start + 8], 16) for start in range(0, len(address), 8)]
            ip = socket.inet_ntop(family, struct.pack('=%dI' % len(words), *words))
            rows.append((ip, int(port, 16), fields[3], int(fields[7]), fields[9]))
    return rows


def _process_with(inode):
    """The id of a process that has the socket; None where it can't be seen."""
    wanted = 'socket:[%s]' % inode
    for directory in glob.glob('/proc/[0-9]*/fd')[:MAX_PROCESSES]:
        try:
            if any(os.readlink(os.path.join(directory, name)) == wanted for name in os.listdir(directory)):
                return int(directory.split('/')[2])
        except EnvironmentError:               # another user's, or gone
            pass
    return None


def command_of(pid):
    """The name of a process's program; None where it is not known."""
    return read_text('/proc/%d/comm' % pid).strip() or None if pid else None


def parent_of(pid):
    fields = read_text('/proc/%d/stat' % pid).rpartition(')')[2].split()
    return int(fields[1]) if len(fields) > 1 else None


def read_text(path):
    """What is in a file of /proc or /sys, as text; '' where it can't be read."""
    try:
        with open(path, 'rb') as stream:
            return text_of(stream.read())
    except EnvironmentError:
        return ''


def kernel_setting(name):
    """The text of a sysctl, by its name with dots; '' where this kernel or namespace has none."""
    return read_text('/proc/sys/' + name.replace('.', '/')).strip()


def has_capability(number):
    """Is a capability in force for this process? See capabilities(7)."""
    for line in read_text('/proc/self/status').splitlines():
        if line.startswith('CapEff:'):
            return bool(int(line.split()[1], 16) >> number & 1)
    return os.geteuid() == 0


def may_bind(port):
    first = kernel_setting('net.ipv4.ip_unprivileged_port_start') or '1024'
    return port == 0 or port >= int(first) or has_capability(CAP_NET_BIND_SERVICE)


def local_ports():
    """(first, last) of the ports that the kernel hands out for outgoing connections."""
    words = kernel_setting('net.ipv4.ip_local_port_range').split()
    return (int(words[0]), int(words[1])) if len(words) == 2 else (32768, 60999)


def is_reserved(port):
    """Does net.ipv4.ip_local_reserved_ports keep the port for who asks for it?"""
    for part in kernel_setting('net.ipv4.ip_local_reserved_ports').split(','):
        first, _, last = part.partition('-')
        if first and int(first) <= port <= int(last or first):
            return True
    return False


def why_no_socket_in(directory):
    """Why no socket can be made in a directory, in a few words; None where it can. Nothing is written to find out."""
    if not os.path.isdir(directory):
        return '%s does not exist' % directory
    if os.statvfs(directory).f_flag & ST_RDONLY:
        return '%s is read-only' % directory
    if not os.access(directory, os.W_OK | os.X_OK):
        return 'uid %d may not write in %s' % (os.geteuid(), directory)
    return None
