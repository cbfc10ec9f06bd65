"""Metrics of the program: asked for, parsed, and shown to Prometheus' own linter."""
from __future__ import absolute_import, division, print_function

import contextlib
import re
import subprocess
import tempfile

from .clients import connect, read_all
from .program import Sidelb
from .requirements import need_program


class Metrics(object):
    """Parsed text: `get('sidelb_x', member='db1')` is the value of a sample, None if there is none. The label `service` is
    `default` unless the test says otherwise."""

    def __init__(self, text):
        from prometheus_client.parser import text_string_to_metric_families
        self.text = text
        self.samples = {}
        for family in text_string_to_metric_families(text):
            for sample in family.samples:
                key = sample[0], tuple(sorted(sample[1].items()))
                assert key not in self.samples, '%s is there twice' % (key,)
                self.samples[key] = sample[2]

    def get(self, name, **labels):
        if name.startswith('sidelb_') and name != 'sidelb_build_info':
            labels.setdefault('service', 'default')
        return self.samples.get((name, tuple(sorted(labels.items()))))

    def values(self, name, label):
        """{value of the label: value of the sample} of all samples with this name."""
        return dict((dict(labels)[label], value) for (its_name, labels), value in self.samples.items()
                    if its_name == name)

    def names(self):
        return set(re.findall(r'^# TYPE (\S+)', self.text, re.M))


def fetch(address, path='/metrics'):
    """(status, content type, text) of what is served there."""
    with contextlib.closing(connect(address)) as client:
        client.sendall(('GET %s HTTP/1.0\r\nHost: localhost\r\n\r\n' % path).encode('ascii'))
        head, _, body = read_all(client).decode('utf-8').partition('\r\n\r\n')
    return int(head.split()[1]), re.search('Content-Type: (.*)', head).group(1).strip(), body


@contextlib.contextmanager
def sidelb_with_metrics(*arguments, **options):
    """A running Sidelb; `metrics()` reads and checks them."""
    with Sidelb('http=127.0.0.1:0', *arguments, **options) as sidelb:
        sidelb.http = '127.0.0.1', int(sidelb.wait_for_log(r'at http://127\.0\.0\.1:(\d+)/').group(1))

        def read():
            status, kind, text = fetch(sidelb.http)
            assert (status, kind) == (200, 'text/plain; version=0.0.4; charset=utf-8')
            return Metrics(text)
        sidelb.metrics = read
        yield sidelb


def check_with_promtool(text):
    """Have Prometheus' own linter look at it."""
    promtool = need_program('promtool', 'prometheus')
    with tempfile.TemporaryFile() as stream:
        stream.write(text.encode('utf-8'))
        stream.seek(0)
        process = subprocess.Popen([promtool, 'check', 'metrics'], stdin=stream, stdout=subprocess.PIPE,
                                   stderr=subprocess.STDOUT)
        output = process.communicate()[0].decode('utf-8')
    assert (process.returncode, output) == (0, '')
