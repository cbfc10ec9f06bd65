"""A file that lists servers, one a line, as `backends` names them."""
from __future__ import absolute_import, division, print_function

from collections import namedtuple

from .servers import TWO_ENTRIES, parse_backend, refuse_other_spellings

MAX_SERVERS = 4096
BOM = u'\xef\xbb\xbf'             # of UTF-8, as editors on Windows write it
_MAX_PATH = 4096


class ServersFile(namedtuple('ServersFile', 'path')):
    """The file at `path`, which is read by `discovery`; how its text is read is a matter of settings."""

    __slots__ = ()

    def __str__(self):
        return self.path

    def servers_in(self, text):
        """[Backend] of a text in Latin-1. ValueError, with the number of the line, for the first one that is wrong: all or
        nothing. A byte order mark is passed over."""
        backends, seen = [], set()
        for number, line in enumerate((text[len(BOM):] if text.startswith(BOM) else text).split('\n'), 1):
            try:
                server, _, comment = line.partition('#')
                if server.strip() and not server[-1].isspace():          # 10.0.0.1:1#weight=3 has no comment
                    refuse_other_spellings(server.strip() + '#' + comment.strip())
                line = server.strip()
                if not line:
                    continue
                refuse_other_spellings(line)
                if ',' in line or ';' in line or TWO_ENTRIES.search(line):
                    raise ValueError('write one server a line')
                backend = parse_backend(line)
                endpoints = backend.addresses or ((backend.name.rstrip('.'), backend.port),)
                if seen.intersection(endpoints):
                    raise ValueError('%s stands here twice' % str(backend))
                if len(backends) == MAX_SERVERS:
                    raise ValueError('these are more than %d servers' % MAX_SERVERS)
            except ValueError as error:
                raise ValueError('line %d: %s' % (number, error))
            seen.update(endpoints)
            backends.append(backend)
        return backends


def parse_servers_file(text):
    """A ServersFile."""
    if '\0' in text or len(text) > _MAX_PATH:
        raise ValueError('that is no path')
    if not text.startswith('/'):
        raise ValueError('write the whole path, from / on')
    return ServersFile(text)
