"""Several instances with one listener (SO_REUSEPORT), and how one of them leaves without losing a client.

The kernel gives each listening TCP socket of such a group a queue of its own and spreads new clients over them. Closing
a socket resets whoever waits in its queue or is in the middle of the handshake, although the others could serve them
(unless net.ipv4.tcp_migrate_req is 1, which came with Linux 5.14). So an instance leaves in steps:

1. `send_clients_to_others`: a program attached to the group hands new clients to another socket of it.
2. For a moment it goes on accepting: handshakes that had begun end.
3. `drop_new_handshakes`: a filter on its own socket drops whatever handshake still begins here. The client's kernel
   repeats it a second later (RFC 6298), and then another socket of the group takes it: nothing is refused or reset.
4. It accepts until its queue is empty, and closes (`close_and_rebalance`).

Steps 3 and 4 alone lose no client; 1 and 2 keep all but a few microseconds' clients from waiting that second.

The programs are classic BPF: socket(7), and the kernel's Documentation/networking/filter.rst.
"""
from __future__ import absolute_import, division, print_function

import ctypes
import socket
import struct

from ..compat import WRITE, bare_socket, new_socket
from .connect import wait_for
from .resets import abort

SO_ATTACH_FILTER = 26
SO_ATTACH_REUSEPORT_CBPF = 51        # Linux 4.6 for TCP

HANDSHAKE_SECONDS = 0.5              # a round trip to the farthest client
OWN_HANDSHAKE_SECONDS = 0.02

LISTENING, UNCONNECTED = '0A', '07'  # states in /proc/net/tcp and udp: include/net/tcp_states.h


def share(sock):
    """Let other sockets of this user have the same address. Before the bind. Raises SocketError."""
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)


def is_shared(sock):
    return bool(sock.getsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT))


def has_siblings(sock):
    """Does another socket, shared like `sock`, take clients of the same address? False where /proc does not tell."""
    if not is_shared(sock):
        return False
    kind, state = ('tcp', LISTENING) if sock.type & socket.SOCK_STREAM else ('udp', UNCONNECTED)
    table = '/proc/self/net/' + kind + ('6' if sock.family == socket.AF_INET6 else '')
    try:
        with open(table) as rows:
            return count_sockets(rows, proc_address(sock.family, *sock.getsockname()[:2]), state) > 1
    except EnvironmentError:
        return False


def proc_address(family, ip, port):
    """An address as /proc/net/tcp writes it: words of 32 bits in the machine's byte order, proc(5)."""
    packed = socket.inet_pton(family, ip)
    words = struct.unpack('=%dI' % (len(packed) // 4), packed)
    return '%s:%04X' % (''.join('%08X' % word for word in words), port)


def count_sockets(rows, address, state):
    """How many rows of /proc/net/tcp or udp have this local address and state.

    Of TCP the listeners come first: the rest, the connections, can be very many and is not read.
    """
    count = 0
    for row in rows:
        fields = row.split()
        if fields[0] == 'sl':                # the heading
            continue
        if state == LISTENING and fields[3] != LISTENING:
            break
        count += fields[1] == address and fields[3] == state
    return count


# --- leaving, TCP ------------------------------------------------------------------------------------------------

def send_clients_to_others(listener):
    """Have the kernel hand new clients to another listener of the group. Where it can not, they go on coming."""
    try:
        other = 1 if _is_number_0(listener) else 0
        _attach(listener, SO_ATTACH_REUSEPORT_CBPF, [answer(other)])
    except EnvironmentError:
        pass


def drop_new_handshakes(listener):
    """Drop every handshake that begins at this listener. Where the system has no such filters, do nothing."""
    try:
        _attach(listener, SO_ATTACH_FILTER, handshake_filter())
    except EnvironmentError:
        pass


def close_and_rebalance(listener):
    """Close it, and have the kernel choose by itself again, for the numbers of the others change. At once: gevent would
    close only after all else that is to be done now."""
    spread_evenly(listener)
    bare_socket(listener).close()


def spread_evenly(listener):
    """Let the kernel choose again, whichever process attached the program, even one that has been killed since."""
    try:
        _attach(listener, SO_ATTACH_REUSEPORT_CBPF, [answer(NO_ANSWER)])
    except EnvironmentError:             # before Linux 4.6: nor can there be anything to undo
        pass


def _is_number_0(listener):
    """Is `listener` the first socket of its group? The programs name sockets by number, and nothing tells the number.

    So a connection of our own is handed to number 0, and dropped if that is us: it comes up only at another instance,
    which sees a client that is gone again. In a group of one instance that is replaced, the old one is number 0.
    """
    local = listener.getsockname()
    host = {'0.0.0.0': '127.0.0.1', '::': '::1'}.get(local[0], local[0])
    source_port = 40 if listener.family == socket.AF_INET6 else 20         # past an IP header without options
    probe = new_socket(listener.family, socket.SOCK_STREAM)
    try:
        probe.bind((host, 0) + local[2:])
        own_port = probe.getsockname()[1]
        _attach(listener, SO_ATTACH_FILTER, handshake_filter(own_port))
        _attach(listener, SO_ATTACH_REUSEPORT_CBPF, answer_for_port(own_port, 0, source_port))
        probe.connect_ex((host,) + local[1:])
        return not wait_for(probe, WRITE, OWN_HANDSHAKE_SECONDS)
    finally:
        abort(probe)
        probe.close()


# --- leaving, UDP ------------------------------------------------------------------------------------------------

def stop_receiving(sock):
    """Have a UDP socket receive nothing any more; what has come can still be read, and anything be sent from it.

    A connected socket receives from its peer alone, and its group gives it nothing. The peer is itself: nobody.
    """
    sock.connect(sock.getsockname())


# --- classic BPF -------------------------------------------------------------------------------------------------

LOAD_HALF, LOAD_BYTE, JUMP_EQUAL, JUMP_BITS, RETURN = 0x28, 0x30, 0x15, 0x45, 0x06
NETWORK_HEADER = 0xfff00000          # SKF_NET_OFF: offsets from here count from the IP header
NO_ANSWER = 0xffffffff               # of a group's program: no socket has this number, so the kernel chooses by itself
DROP, KEEP = 0, 0xffffffff           # of a socket's filter: how many bytes it keeps
FLAGS, SYN = 13, 2                   # of TCP, RFC 9293, 3.1


def answer(number):
    """The instruction that ends a program."""
    return RETURN, 0, 0, number


def answer_for_port(port, number, offset):
    """A group's program: socket `number` for clients with this source port, found at `offset` of the IP packet."""
    return [(LOAD_HALF, 0, 0, NETWORK_HEADER + offset), (JUMP_EQUAL, 0, 1, port), answer(number), answer(NO_ANSWER)]


def handshake_filter(port=None):
    """A socket's filter, which sees the TCP header: drop what begins a handshake (from source `port` alone)."""
    if port is None:
        return [(LOAD_BYTE, 0, 0, FLAGS), (JUMP_BITS, 0, 1, SYN), answer(DROP), answer(KEEP)]
    return [(LOAD_BYTE, 0, 0, FLAGS), (JUMP_BITS, 0, 3, SYN), (LOAD_HALF, 0, 0, 0), (JUMP_EQUAL, 0, 1, port),
            answer(DROP), answer(KEEP)]


def _attach(sock, option, program):
    """Attach a program, a list of (code, jump if true, jump if false, constant). Raises SocketError."""
    code = ctypes.create_string_buffer(b''.join(struct.pack('=HBBI', *instruction) for instruction in program))
    sock.setsockopt(socket.SOL_SOCKET, option, struct.pack('@HP', len(program), ctypes.addressof(code)))
