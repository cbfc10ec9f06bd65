"""Reads one INI file as supervisord's users know it, with the line of everything and every mistake.

Unlike Python's own reader it takes no key and no section twice, and knows on which line a mistake stands. Each piece of a
value is one line of it: a value goes on in the lines below that begin with blanks.
"""
from __future__ import absolute_import, division, print_function

import errno
import os
import re
import stat
from collections import OrderedDict, namedtuple

from ..errors import printable

MAX_BYTES = 1 << 20

#: `where` is FILE:LINE, as mistakes begin; `entries` is {key: Entry}.
Section = namedtuple('Section', 'name where entries')

#: One key of a section; `pieces` is [(where, text), ...], references replaced; text is None where one could not be.
Entry = namedtuple('Entry', 'key where pieces')

_COMMENT = re.compile(r'(^|\s)[;#].*')
_REFERENCE = re.compile(r'%(%|\((\w*)\)s)?')


def read(path, variables, mistakes):
    """The Sections of the file at `path`, in order. `variables`: {name: text} for %(name)s.

    `mistakes` gets what cannot be read, each with its line; such a line is left out.
    """
    sections = []
    section = entry = None
    for where, line in _lines(path, mistakes):
        text = _COMMENT.sub('', line).rstrip()
        if not text:
            continue
        if text[0] in ' \t':
            if entry is None:
                mistakes.append('%s: a line that begins with blanks continues the one above it: there is none' % where)
            else:
                entry.pieces.append((where, _replaced(where, text.strip(), variables, mistakes)))
            continue
        entry = None
        header = re.match(r'\[(.*)\]\Z', text)
        if header:
            section = Section(header.group(1).strip(), where, OrderedDict())
            sections.append(section)
            continue
        key, equals, value = [part.strip() for part in text.partition('=')]
        if not equals or not key:
            mistakes.append('%s: %s: write [section] or key = value' % (where, printable(text)))
        elif section is None:
            mistakes.append('%s: %s = stands before the first [section]' % (where, printable(key)))
        else:
            entry = Entry(key, where, [(where, _replaced(where, value, variables, mistakes))] if value else [])
            if key in section.entries:
                mistakes.append('%s: %s = is given twice: first on line %s' % (
                    where, printable(key), section.entries[key].where.rpartition(':')[2]))
            else:
                section.entries[key] = entry
    return sections


def _lines(path, mistakes):
    """(FILE:LINE, text) of each line that is UTF-8; a byte order mark is passed over."""
    shown = printable(path)
    try:
        data = _contents(path)
    except EnvironmentError as error:
        mistakes.append('%s: %s' % (shown, error.strerror or error))
        return
    if data.startswith(b'\xef\xbb\xbf'):
        data = data[3:]
    for number, line in enumerate(data.split(b'\n'), 1):
        where = '%s:%d' % (shown, number)
        try:
            text = line.decode('utf-8')
        except UnicodeDecodeError:
            mistakes.append('%s: that is not UTF-8' % where)
            continue
        yield where, line if isinstance(line, str) else text


def _contents(path):
    """The bytes of a regular file. A pipe would block the process, and has nothing to say at a reload."""
    descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
    try:
        status = os.fstat(descriptor)
        if not stat.S_ISREG(status.st_mode):
            raise EnvironmentError(errno.EINVAL, 'that is no regular file')
        if status.st_size > MAX_BYTES:
            raise EnvironmentError(errno.EFBIG, 'a configuration has at most %d bytes' % MAX_BYTES)
        return os.read(descriptor, MAX_BYTES)
    finally:
        os.close(descriptor)


def _replaced(where, text, variables, mistakes):
    """`text` with its references replaced: %(NAME)s, and %% for a percent sign. None, and mistakes, where that fails."""
    before = len(mistakes)

    def value_of(reference):
        if reference.group() == '%%':
            return '%'
        name = reference.group(2)
        if name in variables:
            return variables[name]
        if name and name.startswith('ENV_'):
            mistakes.append('%s: %%(%s)s: the variable %s is not set' % (where, name, name[4:]))
        elif name is not None:
            mistakes.append('%s: %%(%s)s: there are %%(ENV_X)s, for the variable X, and %%(host_node_name)s' % (where, name))
        else:
            mistakes.append('%s: %s: write %%%% for a percent sign' % (where, printable(text)))
        return ''
    replaced = _REFERENCE.sub(value_of, text)
    return replaced if len(mistakes) == before else None
