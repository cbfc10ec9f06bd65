"""Clients that write again and again, a session for each, and tell what became of each."""
from __future__ import absolute_import, division, print_function

import collections
import os

from .processes import Process

#: Each number is tried once, and what became of it and when is told in a line.
SCRIPT = '''
write() {
    number=$1
    while [ ! -e stop ]; do
        began=$(date +%s.%N)
        if said=$({command} 2>&1); then word=written; else word=failed; fi
        echo $word $number $began $(date +%s.%N) $(echo "$said" | grep -i error | tr '\\n' ' ')
        number=$((number + {writers}))
    done
}
for first in $(seq {writers}); do write $first & done
wait
'''

#: What it tells of one session: its number, when it was, and why it failed.
Attempt = collections.namedtuple('Attempt', 'is_written number began ended error')


class Writer(object):
    """`command` is for a shell, and writes `$number`. So many `writers` do so side by side, each with numbers of its own.
    A context manager; after it `attempts` has all."""

    def __init__(self, command, environ, directory, writers=1):
        self._stop = os.path.join(directory, 'stop')
        self._writers = writers
        script = SCRIPT.replace('{writers}', str(writers)).replace('{command}', command)
        self._process = Process(['sh', '-c', script], environ=environ, cwd=directory)
        self.attempts = None

    def __enter__(self):
        try:
            self._process.wait_for_output('^written', times=5)
        except BaseException:
            self._process.close()
            raise
        return self

    def __exit__(self, kind, *_):
        try:
            open(self._stop, 'w').close()
            assert self._process.wait() == 0 or kind
            self.attempts = list(self._read())
            print('%d written, the slowest session took %.1f s; failed: %s' % (
                len(self.written), max(each.ended - each.began for each in self.attempts),
                [each.error for each in self.failed]))
        finally:
            self._process.close()
            os.remove(self._stop)

    def write_on(self, timeout=20):
        """Wait until ten more were written by each, or as many by some."""
        self._process.wait_for_output('^written', times=self._process.stdout.count('written') + 10 * self._writers,
                                      timeout=timeout)

    @property
    def written(self):
        return [each for each in self.attempts if each.is_written]

    @property
    def failed(self):
        return [each for each in self.attempts if not each.is_written]

    def _read(self):
        for line in self._process.stdout.splitlines():
            word, number, began, ended = line.split()[:4]
            yield Attempt(word == 'written', number, float(began), float(ended), ' '.join(line.split()[4:]))
