r"""check=want:TEXT,ask:TEXT,...: what is to be said, and what the server must say, step by step.

`want` waits until what the server says begins with TEXT; the next one begins behind the end of that line. A reply of
several lines, as SMTP and FTP have them (`220-`, `220-`, `220 `: RFC 5321, 4.2.1), counts by its last line. In TEXT stand
\r \n \t \\ \, and \xHH. `send:HEX` and `expect:HEX` are the same in hexadecimal digits. Over UDP it is one question and
one answer.
"""
from __future__ import absolute_import, division, print_function

import binascii
import re
from collections import namedtuple

from .exchange import PASSED, Conversation, ProbeFailed, exchange_datagram, shown

MAX_STEPS = 32
MAX_STEP_BYTES = 1232             # goes through any network in one datagram: DNS flag day 2020
MAX_ANSWER_BYTES = 4096           # in which the wanted text must come up

_STEP = re.compile(r'(want|ask|send|expect):((?:[^\\,]|\\.)*)(?:,|\Z)', re.IGNORECASE | re.DOTALL)
_ESCAPE = re.compile(r'\\(x[0-9a-fA-F]{2}|.)', re.DOTALL)
_ESCAPED = {'r': '\r', 'n': '\n', 't': '\t', '\\': '\\', ',': ','}
_CONTINUED = re.compile(br'[0-9]{3}-')

#: `steps`: (asks?, bytes) each; `protocols`: for whose servers it can be.
Script = namedtuple('Script', 'steps protocols')


def parse(arguments):
    """A Script."""
    steps, position = [], 0
    while position < len(arguments) or not steps:
        step = _STEP.match(arguments, position)
        if not step:
            raise ValueError(_no_such_step(len(steps) + 1, arguments[position:]))
        steps.append(_step(step.group(1).lower(), step.group(2)))
        position = step.end()
    if arguments.endswith(',') and not arguments.endswith('\\,'):
        raise ValueError('nothing is here after the last comma')
    if len(steps) > MAX_STEPS:
        raise ValueError('a script has at most %d steps' % MAX_STEPS)
    if not any(not asks for asks, _ in steps):
        raise ValueError('nothing is wanted of the server')
    is_datagram = [asks for asks, _ in steps] == [True, False]
    return Script(tuple(steps), ('tcp', 'udp') if is_datagram else ('tcp',))


def make(options, context):
    if context.settings.proto == 'udp':
        return lambda address, deadline: _by_datagram(options.steps, address, deadline)
    return lambda address, deadline: _by_connection(options.steps, address, deadline)


def _no_such_step(number, text):
    import difflib
    word = text.partition(',')[0].partition(':')[0]
    near = difflib.get_close_matches(word.lower(), ('want', 'ask', 'send', 'expect'), 1)
    return 'step %d is none%s' % (number, ' (did you mean %s:?)' % near[0] if near else '')


def _step(word, text):
    data = _from_hexadecimal(text) if word in ('send', 'expect') else _unescaped(text)
    if not data:
        raise ValueError('%s: says nothing' % word)
    if len(data) > MAX_STEP_BYTES:
        raise ValueError('a step has at most %d bytes' % MAX_STEP_BYTES)
    return word in ('ask', 'send'), data


def _from_hexadecimal(text):
    digits = text.replace(' ', '')
    if not re.match(r'([0-9a-fA-F]{2})*\Z', digits):
        raise ValueError('send: and expect: take two hexadecimal digits for each byte')
    return binascii.unhexlify(digits)


def _unescaped(text):
    def character(match):
        code = match.group(1)
        if code not in _ESCAPED and len(code) != 3:
            raise ValueError('\\%s means nothing: there are \\r \\n \\t \\\\ \\, and \\xHH' % code)
        return _ESCAPED.get(code) or chr(int(code[1:], 16))
    if any(ord(each) > 126 for each in text):
        raise ValueError('write what is not ASCII as \\xHH')
    return bytes(bytearray(ord(each) for each in _ESCAPE.sub(character, text)))


def _by_datagram(steps, address, deadline):
    (_, question), (_, wanted) = steps
    reply = exchange_datagram(address, question, deadline)
    if reply is None:
        raise deadline.passed()
    if not reply.startswith(wanted):
        raise _unwanted(wanted, reply)
    return PASSED


def _by_connection(steps, address, deadline):
    with Conversation(address, deadline) as conversation:
        answered = None                   # what was wanted last; the rest of that answer may still be to be read
        for number, (asks, data) in enumerate(steps, 1):
            try:
                if asks:
                    conversation.send(data)
                else:
                    if answered:
                        _skip_answer(conversation, answered)
                    _want(conversation, data)
                    answered = data
            except ProbeFailed as error:
                said = str(error)
                raise ProbeFailed(said if said.startswith('wanted ') else 'step %d (%s %s): %s' % (
                    number, 'ask' if asks else 'want', shown(data), said))
        conversation.end()
    return PASSED


def _want(conversation, wanted):
    while True:
        while len(conversation.received) < len(wanted) and wanted.startswith(conversation.received):
            if not conversation.receive():
                break
        if conversation.received.startswith(wanted):
            return
        if not (_CONTINUED.match(conversation.received) and conversation.received[:3] == wanted[:3]):
            raise _unwanted(wanted, conversation.received)
        _skip_line(conversation)


def _skip_answer(conversation, wanted):
    """Read to the end of the answer that began with `wanted`: a line, or all lines of one reply."""
    while _CONTINUED.match(_skip_line(conversation)) and wanted[3:4] != b'-':
        pass


def _skip_line(conversation):
    while b'\n' not in conversation.received:
        if len(conversation.received) > MAX_ANSWER_BYTES:
            raise ProbeFailed('a line has more than %d bytes' % MAX_ANSWER_BYTES)
        if not conversation.receive():
            raise ProbeFailed('ends the connection early')
    line, _, conversation.received = conversation.received.partition(b'\n')
    return line


def _unwanted(wanted, got):
    if not got:
        return ProbeFailed('ends the connection early')
    return ProbeFailed('wanted %s, got %s' % (shown(wanted), shown(got.partition(b'\r')[0].partition(b'\n')[0] or got)))
