"""`sidelb doctor`: examines, tells each group as soon as it is complete, and ends in time."""
from __future__ import absolute_import, division, print_function

import os
import sys
import traceback
from collections import namedtuple

import gevent
from gevent.event import Event

from .. import __version__
from ..compat import monotonic
from ..config.given import of_service_links
from ..config.table import TABLE
from ..errors import SidelbError
from ..net.endpoints import endpoint_text
from ..observe.places import first_that_listens, socket_paths, status_paths
from . import application, host, names, report, reverse, servers
from .examination import Examination
from .finding import APPLICATION, DNS, GROUPS, HOST, SERVERS, unknown

#: What the look at this host needs to know. `process` are the settings of the process as a whole, `running` is the
#: snapshot of the SideLB that runs here, with its `socket`, or None; `status_paths` are the places for a status socket;
#: `ignored_variables` those of Kubernetes' service links.
Patient = namedtuple('Patient', 'settings process environ running status_paths ignored_variables')

MAX_SOURCES = 3                  # that the title names


def run(configuration, environ, stdout, as_json=False, strict=False, within=20.0, hosts='/etc/hosts',
        resolv_conf='/etc/resolv.conf', clock=monotonic):
    """Examine what a config.settings.Configuration would serve, print, and return the exit code. `within` bounds it, in
    seconds."""
    began = clock()
    running, paths = find_running(environ), status_paths(configuration.process, environ)
    ignored = of_service_links(environ)
    doctors = [(name, Doctor(Patient(settings, configuration.process, environ, running, paths, ignored), hosts, resolv_conf,
                             clock, began)) for name, settings in configuration.services]
    for _, doctor in doctors:
        doctor.begin(within)
    findings = []
    for number, (name, doctor) in enumerate(doctors):
        if as_json:
            found = doctor.all_findings()
            stdout.write(report.to_json(name, found, doctor, __version__) + '\n')
        else:
            heading = 'Service %s: ' % name if configuration.of_file else ''
            stdout.write('\n' if number else '')
            found = print_report(doctor, heading, stdout, stdout.isatty() and not environ.get('NO_COLOR'))
        findings += found
        stdout.flush()
    return report.exit_code(findings, strict)


def print_report(doctor, heading, stdout, coloured):
    """Print each group as soon as it is complete. Returns all findings."""
    findings = []
    stdout.write(heading + title(doctor.settings) + '\n')
    for group in GROUPS:
        found = doctor.findings(group)
        findings += found
        text = report.group_text(group, found, coloured)
        stdout.write('\n' + text if text else '')
        stdout.flush()
    records = report.records_text(findings)
    stdout.write('\n' + records if records else '')
    stdout.write('\n' + report.summary(findings, doctor.reachable, doctor.known, doctor.seconds()) + '\n')
    return findings


def title(settings):
    sources = []
    for setting in TABLE:
        if setting.servers is not None:
            value = getattr(settings, setting.attribute)
            named = value if setting.is_list else [value] if value else []
            sources += [('%s %s' % (setting.servers, one)).lstrip() for one in named]
    if len(sources) > MAX_SOURCES:
        sources = sources[:MAX_SOURCES - 1] + ['%d more' % (len(sources) - MAX_SOURCES + 1)]
    return 'SideLB %s doctor: %s %s -> %s' % (
        __version__, endpoint_text(*settings.listener), settings.proto, ', '.join(sources))


class Doctor(object):
    """Looks at everything, in parallel; `findings(group)` waits until that group is complete."""

    def __init__(self, patient, hosts, resolv_conf, clock, began):
        self.settings = patient.settings
        self.reachable = self.known = 0
        self._clock = clock
        self._began = began
        self._examination = Examination(patient.settings, hosts, resolv_conf, clock)
        self._patient = patient
        self._looked_up, self._grouped = Event(), Event()
        self._jobs = {}
        self._deadline = None

    def begin(self, within):
        self._deadline = self._began + within
        self._jobs = dict((group, gevent.spawn(self._contained, group, look)) for group, look in (
            (HOST, self._look_at_host), (DNS, self._look_at_names), (SERVERS, self._look_at_servers),
            (APPLICATION, self._look_at_application)))

    def findings(self, group):
        job = self._jobs[group]
        job.join(max(0, self._deadline - self._clock()))
        if not job.ready():
            job.kill(block=False)
            return [unknown('time', group, group, 'not finished within %g s' % (self._deadline - self._began))]
        return job.value

    def all_findings(self):
        return [finding for group in GROUPS for finding in self.findings(group)]

    def seconds(self):
        return self._clock() - self._began

    def servers(self):
        """What JSON says of each server."""
        outcomes = self._examination.outcomes
        return [{'name': member.name, 'addresses': [
            {'address': str(address), 'result': result_of(outcomes.get(address))} for address in member.addresses]}
            for member in self._examination.pool.members]

    def _contained(self, group, look):
        """A part that fails is one line; the others go on."""
        try:
            return look()
        except Exception:
            kind, error, trace = sys.exc_info()
            path, line = traceback.extract_tb(trace)[-1][:2]
            return [unknown(group.lower(), group, group, '%s: unexpected %s: %s (%s line %d): please report this' % (
                group, kind.__name__, error, os.path.basename(path), line))]
        finally:
            if group == DNS:
                self._looked_up.set()
            if group == SERVERS:
                self._grouped.set()

    def _look_at_host(self):
        found = host.look(self._patient)
        self._grouped.wait()
        return found + servers.look_at_routes(self._examination)

    def _look_at_names(self):
        self._examination.look_up()
        self._looked_up.set()
        return names.look(self._examination)

    def _look_at_servers(self):
        self._looked_up.wait()
        checking = gevent.spawn(self._examination.check)
        self._examination.learn_names()
        self._grouped.set()
        found = reverse.look(self._examination)
        checking.join()
        told, self.reachable, self.known = servers.look(self._examination)
        return found + told + servers.compare(self._examination, self._running_here())

    def _look_at_application(self):
        self._looked_up.wait()
        return application.look(self._examination)

    def _running_here(self):
        running = self._patient.running
        return running if running and running.get('listener') == endpoint_text(*self.settings.listener) else None


def result_of(outcome):
    if outcome is None:
        return 'not asked'
    return 'local' if outcome.is_local else 'down' if outcome.error else 'ok'


def find_running(environ):
    """The snapshot of the SideLB that answers where one is asked by default, with `socket`; None where there is none."""
    from ..observe.status_client import fetch_snapshot
    path = environ.get('SIDELB_STATUS_SOCKET') or first_that_listens(socket_paths(environ, os.getuid()))
    if not path:
        return None
    try:
        return dict(fetch_snapshot(path), socket=path)
    except SidelbError:
        return None
