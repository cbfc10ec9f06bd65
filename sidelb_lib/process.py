"""One process: its services, and what they have in common: signals, log, status socket, HTTP, the service manager."""
from __future__ import absolute_import, division, print_function

import os
import signal
import socket
import sys
import time
from collections import OrderedDict

import gevent
from gevent.event import Event

from . import __version__
from .checks.prober import Places
from .compat import monotonic
from .config.texts import fingerprint
from .hub import never_waits
from .limits import Budget, raise_descriptor_limit
from .net.endpoints import endpoint_text
from .observe import said, snapshot
from .observe.http_listener import bind_http
from .observe.logs import EventLog, LineWriter, ServiceLog
from .observe.places import status_paths
from .observe.commands import COMMANDS, Commands
from .observe.status_place import StatusPlace
from .observe.status_socket import StatusServer
from .observe.systemd import notify, watchdog_seconds
from .reloading import Reloader
from .service.service import Service
from .signals import listen_to_signals


def run(configuration, environ, reread=None):
    """Serve until SIGTERM or SIGINT. Returns the exit code; raises BindError when a listener cannot be bound.

    `reread()` reads the configuration again, or raises SettingsError; None where there is nothing to be read again.
    """
    settings = configuration.process
    writer = LineWriter(sys.stdout.fileno())
    log = EventLog(writer, settings.log_level, settings.log_format)
    try:
        writer.on_loss = lambda count: log.warning(
            'log_lines_dropped', '{count} log line(s) dropped: they could not be written in time', count=count)
        for variable, hint in settings.unknown_variables:
            log.warning('unknown_variable', '{variable} is ignored: no such setting{hint}', variable=variable, hint=hint)
        process = Process(configuration, log, environ, reread)
        listen_to_signals(process)       # first: whoever sees the log say "listening" may stop it at once
        process.start()
        process.wait_for_stop()
        process.drain()
        process.stop()
    finally:
        log.close()
        writer.close()
    return 0


class Process(object):
    """Runs the services of `configuration`. `start()`, then `wait_for_stop()`, `drain()`, `stop()`; `request_stop()`,
    `refresh()` and `reload()` from outside.

    `services` is a dict name -> Service. For `reread` see `run`.
    """

    def __init__(self, configuration, log, environ, reread=None, clock=monotonic):
        self.log = log
        self.state = 'starting'
        self._settings = configuration.process
        self._of_file = configuration.of_file
        self._fingerprint = fingerprint(configuration)
        self._budget = Budget(raise_descriptor_limit(), len(configuration.services) if configuration.of_file else None)
        self._probe_places = Places()
        self.services = OrderedDict((name, self.new_service(name, settings))
                                    for name, settings in configuration.services)
        self._reloader = reread and Reloader(self, configuration, reread, log)
        self._leaving = []               # greenlets that drain services which a reload has removed
        self._environ = environ
        self._clock = clock
        self._started = clock()
        self._stop = Event()
        self._stop_now = Event()
        self._status_place = StatusPlace(status_paths(self._settings, environ), self._new_status_server, log)
        self._admin_state = None
        self._watchdog = None
        self._http_server = None

    # --- life -------------------------------------------------------------------------------------------------------

    def start(self):
        """Bind all, then serve. Raises BindError when something cannot be bound."""
        for service in self.services.values():
            service.bind()
        http_listener = bind_http(self._settings)
        self._status_place.start()
        if self._settings.admin_state:
            self._restore()
        for service in self.services.values():
            service.start()
        self.state = 'running'
        if http_listener:
            gevent.spawn(self._start_http, http_listener)
        self._notify_ready()
        seconds = watchdog_seconds(self._environ, os.getpid())
        if seconds:
            self._watchdog = gevent.spawn(self._feed_watchdog, seconds)

    @never_waits
    def request_stop(self):
        """The first call begins the drain, the second ends it."""
        (self._stop_now if self._stop.is_set() else self._stop).set()

    @never_waits
    def hang_up(self):
        """SIGHUP: read the configuration again, where there is a file; look up and probe now."""
        gevent.spawn(self.reload)

    def reload(self):
        """Take the changed configuration over, all or nothing; look up and probe now. Returns the mistakes.

        Without a file nothing can have changed.
        """
        if self.state != 'running':
            return ['nothing has changed: the process is %s' % self.state]
        self._notify('RELOADING=1\nMONOTONIC_USEC=%d' % (monotonic() * 1e6))
        mistakes = self._reloader.reload()[0] if self._reloader else []
        self.refresh()
        self._notify_ready()
        return mistakes

    @never_waits
    def reopen_access_logs(self):
        """SIGUSR1: whoever rotates them has moved the files."""
        reopened = [name for name, service in self.services.items() if service.reopen_access_log()]
        if not reopened:
            self.ignore_signal(int(signal.SIGUSR1))

    @never_waits
    def ignore_signal(self, number):
        self.log.info('signal_ignored', 'signal {number} means nothing here', number=number)

    def refresh(self):
        """Look up and probe now."""
        self.log.info('refreshing', 'looking up and probing now')
        for service in self.services.values():
            service.refresh()

    def wait_for_stop(self):
        self._stop.wait()

    def drain(self):
        """No new sessions; existing ones run to their end, or to `drain_timeout`, or to the second signal."""
        self._notify('STOPPING=1\nSTATUS=draining')
        self.state = 'draining'
        if self._http_server:
            gevent.spawn(self._http_server.hand_over)
        gevent.joinall([gevent.spawn(service.drain, self._stop_now) for service in self.services.values()] + self._leaving)

    def stop(self):
        """End everything at once."""
        self.state = 'stopped'
        self._keep_admin_state(again=True)
        self._status_place.stop()
        if self._watchdog:
            self._watchdog.kill(block=False)
        if self._http_server:
            self._http_server.close()
        gevent.joinall([gevent.spawn(service.stop) for service in self.services.values()])

    # --- reload ---------------------------------------------------------------------------------------------------

    def new_service(self, name, settings):
        log = ServiceLog(self.log, name) if self._of_file else self.log
        return Service(settings, log, self._budget, probe_places=self._probe_places)

    def take_over(self, configuration, changes, services, listeners):
        """Serve another configuration. What had to be bound is: `services` that are added, `listeners` that move."""
        self._settings = configuration.process
        self._fingerprint = fingerprint(configuration)
        self.log.change(self._settings.log_level, self._settings.log_format)
        for name in changes.removed:
            self._leaving = [one for one in self._leaving if not one.dead]
            self._leaving.append(gevent.spawn(self._end, self.services.pop(name)))
        if self._of_file:
            self._budget.services = len(configuration.services)
        for name, settings in configuration.services:
            if name in services:
                self.services[name] = services[name]
                services[name].start()
            else:
                self.services[name].change(settings, listeners.get(name))

    def drained(self):
        """The names of members that a person has drained."""
        return sorted(set(member.name for service in self.services.values() for member in service.pool.members
                          if any(address.is_drained for address in member.addresses)))

    def _end(self, service):
        service.drain(self._stop_now)
        service.stop()

    # --- parts ------------------------------------------------------------------------------------------------------

    def _command(self, line, who, has_left):
        """What a line on the status socket is answered, see `observe.commands`."""
        commands = Commands(self.services, self.log, self._clock, self.reload, self._keep_admin_state, has_left)
        return commands.answer(line, who)

    def _restore(self):
        from .admin_state import AdminState
        self._admin_state = AdminState(self._settings.admin_state, self.log)
        self._admin_state.restore(self.services)

    def _keep_admin_state(self, again=False):
        if self._admin_state:
            self._admin_state.keep(self.services, again)

    def _notify(self, state):
        notify(state, self._environ)

    def _notify_ready(self):
        self._notify('READY=1\nSTATUS=listening on %s' % ', '.join(one.listener for one in self.services.values()))

    def _feed_watchdog(self, seconds):
        """As long as the event loop turns, the service manager hears of it."""
        while True:
            self._notify('WATCHDOG=1')
            gevent.sleep(seconds)

    def _new_status_server(self):
        return StatusServer(self.healthy, self.snapshot, self._command, COMMANDS, self._gives_way)

    def _gives_way(self):
        """May another instance have the path of the status socket?"""
        return self.state in ('draining', 'stopped')

    def _start_http(self, listener):
        """Its modules are only loaded for those who want it, and after the balancer accepts."""
        from .observe.exposition import INSTALL
        from .observe.http_answers import Application
        from .observe.http_server import HttpServer
        versions = {'version': __version__, 'python': sys.version.split()[0], 'gevent': gevent.__version__}
        application = Application(self.startup, self.readiness, self.snapshot, versions, self.log, time.time,
                                  (socket.gethostname(),) + self._settings.http_hosts)
        self._http_server = HttpServer(listener, application, self.log)
        self._http_server.start()
        address = endpoint_text(*self._http_server.address[:2])
        if application.has_metrics:
            self.log.info('http', 'health, metrics and status page at http://{address}/', address=address)
        else:
            self.log.info('http', 'health and status page at http://{address}/ (no metrics: {way_out})', address=address,
                          way_out=INSTALL)

    # --- what it looks like -----------------------------------------------------------------------------------------

    def healthy(self):
        """Can a new client of each service be served?"""
        return all(service.healthy() for service in self.services.values())

    def startup(self):
        """(has the first discovery of all services ended?, a sentence that says why)."""
        answers = [(name, service.startup()) for name, service in self.services.items()]
        if len(answers) == 1:
            return answers[0][1]
        for name, (ok, text) in answers:
            if not ok:
                return False, '%s: %s' % (name, text)
        return True, '; '.join('%s: %s' % (name, text) for name, (_, text) in answers)

    def readiness(self):
        """(should new clients be sent here?, the verdict, which says why)."""
        verdicts = dict((name, {'verdict': snapshot.verdict_of(service)}) for name, service in self.services.items())
        return self._ready(), said.overall(verdicts)['text']

    def _ready(self):
        return all(service.ready() for service in self.services.values())

    def snapshot(self, with_history=False):
        """All that can be seen from outside, see `observe.snapshot`."""
        now = self._clock()
        services = OrderedDict((name, service.snapshot(with_history)) for name, service in self.services.items())
        changes = [change for name in services for change in snapshot.of_changes(
            now, name, self.services[name], services[name]['suffix'])]
        return snapshot.of_process({
            'version': __version__,
            'pid': os.getpid(),
            'host': socket.gethostname(),
            'uptime': round(now - self._started, 3),
            'reloads': dict(self._reloader.results) if self._reloader else {'ok': 0, 'failed': 0},
            'config_hash': self._fingerprint,
            'state': self.state,
            'healthy': self.healthy(),
            'ready': self._ready(),
        }, services, changes)
