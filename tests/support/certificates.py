"""A certificate authority of the tests' own, and server certificates from it, made by openssl(1)."""
from __future__ import absolute_import, division, print_function

import os

from .processes import run
from .requirements import need_program

KEY = ['-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:prime256v1', '-nodes']      # quick to make
DAYS = '2'


class Authority(object):
    """Keeps its files in `directory`, which exists. `certificate` is the path that clients trust."""

    def __init__(self, directory):
        self._openssl = need_program('openssl', 'openssl')
        self._directory = directory
        self.certificate = os.path.join(directory, 'authority.crt')
        self._key = os.path.join(directory, 'authority.key')
        self._call('req', '-x509', '-subj', '/CN=SideLB test authority', '-days', DAYS,
                   '-keyout', self._key, '-out', self.certificate, *KEY)

    def issue(self, host):
        """Make a certificate for a host name. Returns the paths (certificate, key)."""
        paths = dict((kind, os.path.join(self._directory, '%s.%s' % (host, kind)))
                     for kind in ('crt', 'key', 'csr', 'ext'))
        with open(paths['ext'], 'w') as stream:
            stream.write('subjectAltName=DNS:%s\n' % host)
        self._call('req', '-new', '-subj', '/CN=' + host, '-keyout', paths['key'], '-out', paths['csr'], *KEY)
        self._call('x509', '-req', '-in', paths['csr'], '-CA', self.certificate, '-CAkey', self._key,
                   '-CAcreateserial', '-days', DAYS, '-extfile', paths['ext'], '-out', paths['crt'])
        return paths['crt'], paths['key']

    def _call(self, *arguments):
        finished = run([self._openssl] + list(arguments))
        assert finished.returncode == 0, finished
