"""Reading files that others write: hosts, resolv.conf, a list of servers."""
from __future__ import absolute_import, division, print_function

import errno
import os
import re
import stat

#: What separates words in a line, as isspace(3) of libc has it. Python's own `split` takes 0x85 and 0xa0 as well, which
#: stand inside letters of UTF-8 comments, and makes an entry of what follows.
SPACES = re.compile('[ \t\r\v\f]+')

#: In resolv.conf libc takes blanks alone. The carriage return at the end of a line is our own kindness.
BLANKS = re.compile('\r$|[ \t]+')

_PLAIN = re.compile('[!-~]+\\Z')


def read_small_file(path, limit):
    """At most `limit` + 1 bytes of a file. EnvironmentError when it cannot be read.

    What is no file is refused and not waited for: opening a FIFO that nobody writes to would stop the process.
    """
    descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
    try:
        mode = os.fstat(descriptor).st_mode
        if stat.S_ISDIR(mode):
            raise EnvironmentError(errno.EISDIR, os.strerror(errno.EISDIR), path)
        if not stat.S_ISREG(mode) and not stat.S_ISCHR(mode):        # /dev/null is an empty file
            raise EnvironmentError(errno.EINVAL, 'it is no regular file', path)
        pieces, left = [], limit + 1
        while left:
            piece = os.read(descriptor, left)
            if not piece:
                break
            pieces.append(piece)
            left -= len(piece)
        return b''.join(pieces)
    finally:
        os.close(descriptor)


def lines_of(text):
    """The lines of a text: they end at a line feed and nowhere else, as for libc, which reads none beyond a zero byte."""
    return [line.partition('\0')[0] for line in text.split('\n')]


def words_of(line, separators):
    """The words of a line, as str. One that is not printable ASCII is None: nothing that we look for is written so."""
    return [str(word) if _PLAIN.match(word) else None for word in separators.split(line) if word]
