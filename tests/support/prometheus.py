"""The real Prometheus, which scrapes the programs of a test and is asked about what it has seen."""
from __future__ import absolute_import, division, print_function

import contextlib
import json
import time

from .metrics import fetch
from .places import Reservation
from .processes import Process


class Prometheus(object):
    def __init__(self, address):
        self.address = address

    def value(self, query):
        """The value of the first result, as text; None if there is none."""
        results = self.now(query)
        return str(results[0]['value'][1]) if results else None

    def now(self, query):
        """The results of an expression at this moment."""
        return self._ask('query', query=query)

    def since(self, start, query, step=0.5):
        """{'metric': labels, 'values': [[time, text]]} of each series that an expression gave since `start`."""
        return self._ask('query_range', query=query, start=start, end=time.time(), step=step)

    def _ask(self, what, **parameters):
        text = '&'.join('%s=%s' % (name, ''.join('%%%02x' % ord(character) for character in str(value)))
                        for name, value in sorted(parameters.items()))
        status, _, answer = fetch(self.address, '/api/v1/%s?%s' % (what, text))
        assert status == 200, answer
        return json.loads(answer)['data']['result']


@contextlib.contextmanager
def scraping(program, directory, addresses, interval='500ms'):
    """A Prometheus that scrapes `addresses`, (ip, port) each, as the job sidelb. Its first look comes after 5 s."""
    directory.join('prometheus.yml').write(json.dumps({
        'global': {'scrape_interval': interval, 'scrape_timeout': interval}, 'scrape_configs': [
            {'job_name': 'sidelb', 'static_configs': [{'targets': ['%s:%d' % address for address in addresses]}]}]}))
    with Reservation(['127.0.0.1']) as place:
        with Process([program, '--config.file=%s/prometheus.yml' % directory, '--storage.tsdb.path=%s/data' % directory,
                      '--web.listen-address=127.0.0.1:%d' % place.port]) as process:
            process.wait_for_output('Server is ready to receive web requests', timeout=30)
            yield Prometheus(place.addresses[0])
