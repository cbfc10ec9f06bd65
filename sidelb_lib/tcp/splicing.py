"""What relays share: the read buffer, and pipes for splice(2), by which bulk never enters the process."""
from __future__ import absolute_import, division, print_function

import errno
import fcntl

from ..compat import close_descriptor, new_pipe

BUFFER_BYTES = 256 * 1024
PIPE_BYTES = 512 * 1024            # one of 1 MiB is slower: more bytes under way than the processor's cache holds
MIN_PIPE_BYTES = 64 * 1024         # the kernel's default; with less the buffer is faster

F_SETPIPE_SZ, F_GETPIPE_SZ = 1031, 1032      # fcntl(2); Python names them since 3.10

#: splice(2) is not for such a socket, not in this kernel, or forbidden by a seccomp filter.
NO_SPLICE = frozenset([errno.EINVAL, errno.ENOSYS, errno.EPERM, errno.EOPNOTSUPP])


class RelayResources(object):
    """What the relays of one process share: the read buffer, splice(2), and a number of pipes.

    One buffer serves all, because nothing yields between a read and the write of the same bytes. `splice` is what
    `compat.find_splice` gives, or None. `max_pipes` bounds the descriptors (two a pipe) and the kernel memory that bulk
    transfers may take; a direction that gets none stays with the buffer.
    """

    def __init__(self, splice, max_pipes=64):
        self.buffer = memoryview(bytearray(BUFFER_BYTES))
        self.splice = splice
        self.pipes_left = max_pipes if splice else 0

    def take_pipe(self):
        """A Pipe, or None when there is none to be had now."""
        if self.pipes_left < 1:
            return None
        try:
            pipe = Pipe(new_pipe())
        except (OSError, IOError):        # EMFILE, ENFILE: the buffer serves as well
            return None
        if pipe.size < MIN_PIPE_BYTES:    # past pipe-user-pages-soft, pipe(7): 4 or 8 KiB
            pipe.close()
            return None
        self.pipes_left -= 1
        return pipe

    def give_back(self, pipe):
        """Close a pipe of `take_pipe`. It is never used again: what it still holds is another connection's."""
        pipe.close()
        self.pipes_left += 1

    def give_up_splicing(self):
        """There will be no more pipes."""
        self.pipes_left = 0


class Pipe(object):
    """The kernel buffer of a spliced direction: `filled` bytes of `size` are in it."""

    __slots__ = ('read_end', 'write_end', 'filled', 'size')

    def __init__(self, ends):
        self.read_end, self.write_end = ends
        self.filled = 0
        self.size = MIN_PIPE_BYTES
        try:
            fcntl.fcntl(self.write_end, F_SETPIPE_SZ, PIPE_BYTES)
        except (OSError, IOError):
            pass      # EPERM past pipe-user-pages-soft: what it has must do
        try:
            self.size = fcntl.fcntl(self.write_end, F_GETPIPE_SZ)
        except (OSError, IOError):
            pass

    def close(self):
        close_descriptor(self.read_end)
        close_descriptor(self.write_end)
