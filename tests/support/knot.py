"""A real authoritative name server, knot, that serves one zone."""
from __future__ import absolute_import, division, print_function

import os
import random
import shutil
import socket
import tempfile

from .places import Reservation
from .processes import Process, ProcessEnded, run
from .requirements import need_program
from .waiting import wait_until

ATTEMPTS = 20

CONFIGURATION = '''
server:
    listen: 127.0.0.1@{port}
    rundir: "{directory}"
    automatic-acl: on
log:
  - target: stdout
    any: info
database:
    storage: "{directory}"
zone:
  - domain: {zone}
    storage: "{directory}"
    file: zone
    zonefile-sync: -1
    journal-content: none
'''


class Knot(object):
    """Serves `zone` with these records, lines of a zone file. A context manager. `address` is its (ip, port).

    `set_records` replaces all of them; negative answers may be believed for `negative_ttl` seconds.
    """

    def __init__(self, zone, records=(), negative_ttl=2):
        self._program = need_program('knotd', 'knot')
        self._control_program = need_program('knotc', 'knot')
        self._zone = zone
        self._records = list(records)
        self._negative_ttl = negative_ttl
        self._serial = 0
        self._process = None
        self.address = None

    def __enter__(self):
        self._directory = tempfile.mkdtemp(prefix='sidelb-knot-')
        self._write_zone()
        try:
            for attempts_left in reversed(range(ATTEMPTS)):
                try:
                    self._start(self._free_port())
                    return self
                except ProcessEnded:
                    self._process.close()
                    if not attempts_left:
                        raise
        except BaseException:
            self.__exit__()
            raise

    def __exit__(self, *_):
        if self._process is not None:
            self._process.close()
        shutil.rmtree(self._directory, ignore_errors=True)

    def _start(self, port):
        path = os.path.join(self._directory, 'knot.conf')
        with open(path, 'w') as stream:
            stream.write(CONFIGURATION.format(directory=self._directory, port=port, zone=self._zone))
        self._process = Process([self._program, '-c', path])
        self._process.wait_for_output('loaded, serial', timeout=20)
        self._process.wait_for_output('control, binding', timeout=20)        # some moments before it is there
        wait_until('knotc is not answered', lambda: self._control('zone-status').returncode == 0)
        self.address = '127.0.0.1', port

    def _free_port(self):
        while True:
            port = random.randrange(10000, 30000)
            sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
            try:
                sock.bind(('127.0.0.1', port))
                Reservation(['127.0.0.1'], port).release()
                return port
            except EnvironmentError:
                continue
            finally:
                sock.close()

    def set_records(self, records):
        self._records = list(records)
        self._write_zone()
        finished = self._control('-b', 'zone-reload', self._zone)
        assert finished.returncode == 0, finished

    def _write_zone(self):
        self._serial += 1
        with open(os.path.join(self._directory, 'zone'), 'w') as stream:
            stream.write('$ORIGIN %s.\n$TTL 60\n@ SOA ns x %d 3600 600 86400 %d\n@ NS ns\nns A 127.0.0.1\n' % (
                self._zone, self._serial, self._negative_ttl))
            stream.write(''.join(record + '\n' for record in self._records))

    def _control(self, *arguments):
        return run([self._control_program, '-s', os.path.join(self._directory, 'knot.sock')] + list(arguments))
