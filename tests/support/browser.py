"""A headless Chromium, driven over its DevTools protocol through two pipes: no driver and no library needed.

https://chromedevtools.github.io/devtools-protocol/; messages are JSON, each ended by a NUL byte.
"""
from __future__ import absolute_import, division, print_function

import base64
import json
import os
import shutil
import tempfile

import gevent
from gevent.os import nb_read, nb_write

from .processes import Process
from .requirements import find_program, need

PROGRAMS = ('chromium-headless-shell', 'chromium', 'chromium-browser', 'google-chrome', 'chrome')
ANSWER_SECONDS = 30.0

OPTIONS = ['--no-sandbox',               # which can't be made by root, nor in most containers
           '--disable-dev-shm-usage',    # /dev/shm is small in containers
           '--disable-gpu', '--no-first-run', '--disable-background-networking', '--hide-scrollbars']


class Browser(object):
    """A context manager. `open(url)` gives a Page; more than one may be open. `events` are (method, parameters) of
    all that the browser says without being asked."""

    def __init__(self):
        programs = [path for path in map(find_program, PROGRAMS) if path]
        need('chromium is not installed (Debian: apt install chromium-headless-shell)', programs)
        self._program = programs[0]
        self._answers = {}
        self._last = 0
        self._received = b''
        self._directory = None
        self.events = []
        self._targets = []

    def __enter__(self):
        self._directory = tempfile.mkdtemp(prefix='sidelb-browser-')
        paths = [os.path.join(self._directory, name) for name in ('in', 'out')]
        for path in paths:
            os.mkfifo(path)
        # The browser reads commands from descriptor 3 and writes to 4. A FIFO that is open both ways blocks nobody.
        self._in, self._out = [os.open(path, os.O_RDWR | os.O_NONBLOCK) for path in paths]
        command = ['sh', '-c', 'in=$1 out=$2; shift 2; exec "$@" 3<"$in" 4>"$out"', 'sh'] + paths + [
            self._program, '--headless', '--remote-debugging-pipe', '--user-data-dir=' + self._directory] + OPTIONS
        self._process = Process(command)
        return self

    def __exit__(self, *_):
        self._process.close()
        os.close(self._in)
        os.close(self._out)
        shutil.rmtree(self._directory, ignore_errors=True)

    def open(self, url, width=1280, height=800, dark=False):
        target = self.call('Target.createTarget', url='about:blank')['targetId']
        self._targets.append(target)
        session = self.call('Target.attachToTarget', targetId=target, flatten=True)['sessionId']
        return Page(self, session, url, width, height, dark)

    def close_pages(self):
        for target in self._targets:
            self.call('Target.closeTarget', targetId=target)
        self._targets = []

    def complaints(self):
        """Everything that it had to say of its pages: errors, violations of their policy, messages."""
        return [(method, parameters) for method, parameters in self.events
                if method in ('Log.entryAdded', 'Runtime.exceptionThrown', 'Runtime.consoleAPICalled')]

    def forget_complaints(self):
        self.call('Browser.getVersion')      # whatever it has said before its answer is here with it
        self.events = []

    def call(self, method, session=None, **parameters):
        """Send one command and return its result, a dict."""
        self._last += 1
        message = {'id': self._last, 'method': method, 'params': parameters}
        if session:
            message['sessionId'] = session
        data = json.dumps(message).encode('utf-8') + b'\0'
        while data:
            data = data[nb_write(self._in, data):]
        number = self._last
        with gevent.Timeout(ANSWER_SECONDS, AssertionError('the browser did not answer %s' % method)):
            while number not in self._answers:
                self._receive()
        answer = self._answers.pop(number)
        assert 'error' not in answer, '%s: %s' % (method, answer['error'])
        return answer['result']

    def _receive(self):
        self._received += nb_read(self._out, 1 << 20)
        messages = self._received.split(b'\0')
        self._received = messages.pop()
        for message in messages:
            message = json.loads(message.decode('utf-8'))
            if 'id' in message:
                self._answers[message['id']] = message
            else:
                self.events.append((message['method'], message['params']))


class Page(object):
    """One page of the browser."""

    def __init__(self, browser, session, url, width, height, dark):
        self._browser = browser
        self._session = session
        self.call('Page.enable')
        self.call('Runtime.enable')
        self.call('Log.enable')
        self.resize(width, height)
        self.call('Emulation.setEmulatedMedia', features=[
            {'name': 'prefers-color-scheme', 'value': 'dark' if dark else 'light'}])
        self.call('Page.navigate', url=url)

    def call(self, method, **parameters):
        return self._browser.call(method, self._session, **parameters)

    def resize(self, width, height):
        self.call('Emulation.setDeviceMetricsOverride', width=width, height=height, deviceScaleFactor=1, mobile=False)

    def evaluate(self, expression):
        """The value of a JavaScript expression, waited for if it is a promise."""
        answer = self.call('Runtime.evaluate', expression=expression, awaitPromise=True, returnByValue=True)
        assert 'exceptionDetails' not in answer, answer['exceptionDetails']
        return answer['result'].get('value')

    def text(self, selector='body'):
        """The visible text of the first element that fits, '' if there is none or it is hidden."""
        text = self.evaluate('(node => node && node.getClientRects().length ? node.innerText : "")'
                             '(document.querySelector(%s))' % json.dumps(selector))
        return text.replace(u'\xa0', u' ')

    def picture(self, path, whole=True):
        """Save what it looks like as a PNG file."""
        data = self.call('Page.captureScreenshot', format='png', captureBeyondViewport=whole)['data']
        with open(path, 'wb') as stream:
            stream.write(base64.b64decode(data))
