"""Tells systemd how far the service is: sd_notify(3) without its library."""
from __future__ import absolute_import, division, print_function

import socket


def notify(state, environ):
    """Send `state`, lines like READY=1, to the service manager that started us; without one do nothing.

    An address that begins with @ is an abstract one, unix(7). A manager that does not read is no reason to wait or to
    fail.
    """
    address = environ.get('NOTIFY_SOCKET', '')
    if address[:1] not in ('/', '@'):
        return
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    try:
        sock.setblocking(False)
        sock.sendto(state.encode('utf-8'), address.replace('@', '\0', 1) if address[0] == '@' else address)
    except EnvironmentError:
        pass
    finally:
        sock.close()


def watchdog_seconds(environ, pid):
    """How often the service manager wants to hear from us: half of what it allows, sd_watchdog_enabled(3). None: never."""
    microseconds, its_pid = environ.get('WATCHDOG_USEC', ''), environ.get('WATCHDOG_PID', '')
    if not microseconds.isdigit() or not int(microseconds) or its_pid not in ('', str(pid)):
        return None
    return int(microseconds) / 2e6
