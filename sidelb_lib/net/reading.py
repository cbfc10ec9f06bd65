"""Reading a message whose length is known."""
from __future__ import absolute_import, division, print_function


def read_exactly(sock, size, before_each=lambda: None):
    """Exactly `size` bytes from a socket, which stays the caller's; EOFError when it ends before that.

    `before_each` is called before each read: there a caller with a deadline sets the socket's time-out.
    """
    pieces = []
    while size:
        before_each()
        piece = sock.recv(size)
        if not piece:
            raise EOFError('ends the connection early')
        pieces.append(piece)
        size -= len(piece)
    return b''.join(pieces)
