"""The status page, in a real browser: what it shows, that it keeps up, and that no text in it can become more."""
from __future__ import absolute_import, division, print_function

import copy
import pkgutil
import re

import pytest

from sidelb_lib.observe import http
from sidelb_lib.observe import page
from sidelb_lib.net.listeners import listen_tcp

from ..support.browser import Browser
from ..support.recording import RecordingLog
from ..support.servers import Server
from ..support.waiting import wait_until
from ..observe.test_http import get, sidelb_with_http

HOSTILE = '<script>alert(1)</script><img src=x onerror=alert(2)>"\'&lt;</textarea>'
NOW = '2026-11-23T12:00:00.000Z'


def address(text, **changes):
    fields = {'address': text, 'state': 'up', 'since': NOW, 'state_seconds': 7400, 'changes': 0, 'last_probe': NOW,
              'probe_seconds': 0.00042, 'last_error': None, 'active': 0, 'total': 0, 'failed': 0, 'failed_probes': 0,
              'bytes_sent': 0, 'bytes_received': 0}
    return dict(fields, **changes)


def member(name, *addresses, **changes):
    fields = {'name': name, 'state': 'up', 'active': 0, 'total': 0, 'failed': 0, 'bytes_sent': 0, 'bytes_received': 0,
              'addresses': list(addresses)}
    return dict(fields, **changes)


SNAPSHOT = {
    'version': '1.0.0', 'pid': 4711, 'host': 'web7', 'uptime': 7400.5, 'state': 'running', 'healthy': True,
    'ready': True, 'readiness': 'ready: 3 of 4 servers up', 'listener': '127.0.0.1:5432', 'mode': 'least-connections',
    'proto': 'tcp', 'connections': {'active': 12, 'most': 4000, 'total': 123456, 'retries': 44,
                                    'refused': {'every server has been tried': 3}},
    'members': [
        member('db1.example.com', address('10.0.0.11:5432'), address('[2001:db8::11]:5432'), active=7, total=12345,
               bytes_sent=1500, bytes_received=3 << 30),
        member('db2.example.com', address('10.0.0.12:5432', changes=1), address(
            '[2001:db8::12]:5432', state='down', state_seconds=95, changes=3, last_error='Connection timed out'),
               failed=8),
        member('db3.example.com', address('10.0.0.13:5432', state='down', last_error='Connection refused'),
               state='down'),
        member('db4.example.com', address('10.0.0.14:5432'), state='departing', active=2)],
    'rings': [
        {'kind': 'ring', 'name': 'db.example.com', 'port': 5432, 'addresses': ['10.0.0.11:5432', '10.0.0.12:5432'],
         'age': 4.2, 'ttl': 30, 'error': None, 'state': 'ok', 'lookups': {'ok': 245}},
        {'kind': 'ring', 'name': 'spare.example.com', 'port': 5432, 'addresses': [], 'age': None, 'ttl': None,
         'error': '127.0.0.53:53 does not answer', 'state': 'failing', 'lookups': {'failing': 7}}],
    'events': [{'time': NOW, 'event': 'down', 'member': 'db3.example.com', 'address': '10.0.0.13:5432',
                'error': 'Connection refused'}],
}


class Served(object):
    """The page of a process that says what the test wants: `snapshot`."""

    def __init__(self):
        self.snapshot = copy.deepcopy(SNAPSHOT)
        self.server = None
        self.port = 0

    def __enter__(self):
        log = RecordingLog()
        application = http.Application(None, None, lambda: self.snapshot, {}, log, lambda: 0.0)
        self.server = http.HttpServer(listen_tcp('127.0.0.1', self.port), application, log)
        self.server.start()
        self.port = self.server.address[1]
        return self

    def __exit__(self, *_):
        self.server.close()

    @property
    def url(self):
        return 'http://127.0.0.1:%d/' % self.port


@pytest.fixture(scope='module')
def browser():
    with Browser() as one:
        yield one


@pytest.fixture
def served(browser):
    """A Served whose page has not made the browser complain, in the end."""
    with Served() as one:
        yield one
        browser.close_pages()
    assert browser.complaints() == []


def opened(browser, served, **options):
    view = browser.open(served.url, **options)
    wait_until('it shows nothing', lambda: SNAPSHOT['listener'] in view.text('header') and view.text('#members'), 20)
    return view


# --- the file -----------------------------------------------------------------------------------------------

def html():
    return pkgutil.get_data('sidelb_lib.observe', 'page.html').decode('utf-8')


def test_it_asks_nobody_else_for_anything():
    targets = re.findall(r'''(?:src|href|url|fetch|import|action)\s*[=(]\s*["'`]?([^"'`\s>)]+)''', html())
    allowed = ('data:', 'status.json', 'metrics', 'target')
    assert targets and [target for target in targets if not target.startswith(allowed)] == []
    urls = re.findall(r'https?://[^\s\'"`]+', html())
    assert [url for url in urls if not url.startswith('http://www.w3.org/2000/svg')] == []


def test_it_only_ever_writes_texts():
    for way in ('innerHTML', 'outerHTML', 'insertAdjacentHTML', 'document.write', 'eval(', 'new Function',
                'DOMParser', 'createContextualFragment', 'srcdoc', 'onclick=', 'style='):
        assert way not in html(), way


def test_only_its_own_script_may_run():
    text, policy = page.load()
    assert text.decode('utf-8') == html()
    assert re.match(r"default-src 'none'; script-src 'sha256-[\w+/]{43}='; style-src 'sha256-[\w+/]{43}='; ", policy)
    assert 'unsafe' not in policy and '*' not in policy


# --- what it shows ------------------------------------------------------------------------------------------

def test_it_shows_the_service(browser, served):
    view = opened(browser, served)
    assert view.text('h1') == 'SideLB 127.0.0.1:5432'
    assert view.text('#verdict') == 'ready: 3 of 4 servers up'
    facts = view.text('#facts')
    for text in ('least-connections', 'tcp, up 2 h 3 min', '12', 'of 4,000 at most', '123,456 in all',
                 'every server has been tried: 3', '44'):
        assert text in facts, text
    assert 'SideLB 1.0.0, process 4711 on web7' in view.text('footer')
    assert view.evaluate('document.title') == '127.0.0.1:5432 SideLB'


def test_it_shows_each_server_with_its_state_in_words_and_colours(browser, served):
    view = opened(browser, served, width=1600)
    rows = [view.text('#members .row:nth-child(%d)' % (number + 1)) for number in range(4)]
    words = ['up', 'partly up', 'down', 'departing']
    assert [row.split('\n')[0] for row in rows] == words
    colours = view.evaluate(
        '[...document.querySelectorAll("#members .state")].map(node => getComputedStyle(node).color)')
    assert len(set(colours)) == 3 and colours[1] == colours[3]
    assert view.text('#count') == '1 up, 1 partly up, 1 down, 1 departing'
    for text in ('db1.example.com', '10.0.0.11:5432', '[2001:db8::11]:5432', 'up 2 h 3 min', 'check 0.4 ms',
                 'no state change', '12,345', '1.46 KiB', '3.00 GiB'):
        assert text in rows[0], text
    for text in ('down 1 min 35 s', '1 state change', '3 state changes', 'Connection timed out', '8'):
        assert text in rows[1], text
    assert 'Connection refused' in rows[2]
    assert view.text('#events li').split('\n')[1:] == ['down', 'db3.example.com, 10.0.0.13:5432: Connection refused']


def test_it_shows_each_ring_with_its_last_answer(browser, served):
    view = opened(browser, served, width=1600)
    assert view.text('#rings .row:nth-child(1)').split('\n') == [
        'ok', 'db.example.com:5432', '2', '2', '4 s ago', '30 s', '245']
    assert view.text('#rings .row:nth-child(2)').split('\n') == [
        'failing', 'spare.example.com:5432', '0', '0', u'\u2013', u'\u2013', '7', '127.0.0.53:53 does not answer']


def test_it_shows_udp(browser, served):
    served.snapshot.update(proto='udp', connections={
        'active': 3, 'most': 900, 'total': 50, 'retries': 0, 'datagrams_sent': 1234, 'datagrams_received': 1233,
        'drops': {'no_server': 2, 'too_long': 1}})
    facts = opened(browser, served).text('#facts')
    for text in ('Clients now', '1,234', 'sent, 1,233 received', 'no server: 2, too long: 1'):
        assert text in facts, text


def test_it_says_so_when_there_is_no_server(browser, served):
    served.snapshot.update(members=[], rings=[], events=[])
    view = opened(browser, served)
    assert 'No server is known yet.' in view.text('#members')
    assert view.evaluate('find("rings").hidden && find("changes").hidden')


def test_many_servers_can_be_searched(browser, served):
    served.snapshot['members'] = [member('db%d.example.com' % n, address('10.0.0.%d:5432' % n)) for n in range(200)]
    view = opened(browser, served)
    view.evaluate('find("filter").value = "10.0.0.77"; find("filter").dispatchEvent(new Event("input"))')
    shown = 'document.querySelectorAll("#members .row:not([hidden])").length'
    assert view.evaluate(shown) == 1 and 'db77.example.com' in view.text('#members .rows')
    view.evaluate('find("filter").value = ""; find("filter").dispatchEvent(new Event("input"))')
    assert view.evaluate(shown) == 200


# --- what it withstands -------------------------------------------------------------------------------------

def test_every_text_of_somebody_else_stays_a_text(browser, served):
    def spoil(value):
        if isinstance(value, dict):
            return dict((HOSTILE if key in ('every server has been tried', 'ok') else key, spoil(part))
                        for key, part in value.items())
        if isinstance(value, list):
            return [spoil(part) for part in value]
        return HOSTILE if isinstance(value, str) and value not in ('up', 'down', 'departing', 'tcp', NOW) else value
    listener = served.snapshot['listener']
    served.snapshot = spoil(served.snapshot)
    served.snapshot['listener'] = HOSTILE + listener
    view = opened(browser, served)
    for selector in 'h1', '#verdict', '#facts', '#members', '#rings', '#events', 'footer':
        assert HOSTILE in view.text(selector).replace('\n', ''), selector
    assert view.evaluate('["script", "img"].map(tag => document.querySelectorAll(tag).length)') == [1, 0]


def test_the_policy_would_stop_a_script_that_got_in(browser):
    with Served() as served:
        view = opened(browser, served)
        view.evaluate('document.body.insertAdjacentHTML("beforeend", "<img src=x onerror=\\"window.broken = 1\\">")')
        view.evaluate('(() => { const script = document.createElement("script");'
                      ' script.textContent = "window.broken = 1"; document.body.append(script); })()')
        wait_until('nobody complains', lambda: len([1 for method, parameters in browser.complaints()
                                                    if 'Content Security Policy' in str(parameters)]) >= 2)
        assert view.evaluate('window.broken') is None
        browser.close_pages()
        browser.forget_complaints()


# --- how it keeps up ----------------------------------------------------------------------------------------

def test_it_follows_the_process_and_keeps_its_elements(browser, served):
    view = opened(browser, served)
    view.evaluate('window.kept = document.querySelector("#members .row")')
    served.snapshot = copy.deepcopy(SNAPSHOT)
    served.snapshot.update(uptime=7410.5, state='draining', ready=False, readiness='not ready: draining')
    served.snapshot['members'][0].update(active=99, total=12445)
    del served.snapshot['members'][2]
    served.snapshot['members'].append(member('db9.example.com', address('10.0.0.19:5432')))
    wait_until('it does not follow', lambda: view.text('#verdict') == 'not ready: draining', 10)
    assert view.evaluate('kept === document.querySelector("#members .row")')
    numbers = view.evaluate('[...document.querySelectorAll("#members .row:first-child .number")].map(n => n.textContent)')
    assert numbers[:3] == ['99', '10', '12,445']              # active, new per second, total: 100 more in 10 seconds
    names = view.evaluate('[...document.querySelectorAll("#members .cell-name")].map(cell => cell.textContent)')
    assert names == ['db1.example.com', 'db2.example.com', 'db4.example.com', 'db9.example.com']
    assert view.evaluate('document.querySelector("#members .row svg .line").getAttribute("d")').count('L') >= 1


def test_it_says_so_when_the_process_is_gone_and_when_it_is_back(browser, served):
    view = opened(browser, served)
    served.server.close()
    notice = 'SideLB does not answer. This is what it said at '
    wait_until('it says nothing', lambda: view.text('#notice').startswith(notice), 10)
    assert view.text('#verdict') == 'no answer'
    assert view.evaluate('document.title').startswith('! no answer')
    assert 'db1.example.com' in view.text('#members')
    served.snapshot.update(pid=4712, uptime=1.0)
    with served:
        wait_until('it does not come back', lambda: view.text('#notice') == '', 10)
        assert view.text('#verdict') == 'ready: 3 of 4 servers up'
        assert 'up 1 s' in view.text('#facts')
        assert view.evaluate('facts.seen.length') <= 2            # a new process has a new history
    browser.forget_complaints()                                   # of the connections that were refused


# --- how it looks -------------------------------------------------------------------------------------------

@pytest.mark.parametrize('width', [320, 400, 800, 1152, 1343, 1344, 1600, 2560])
def test_it_fits_the_width(browser, served, width):
    served.snapshot['members'][0].update(
        name='a-very-long-name-of-a-server-' * 8 + '.example.com', active=12345, total=1234567890, failed=123456,
        bytes_sent=1015 << 30, bytes_received=999 << 40)
    view = opened(browser, served, width=width)
    assert view.evaluate('document.documentElement.scrollWidth') <= width
    outside = view.evaluate(
        '[...document.querySelectorAll("body *")].filter(node => node.offsetParent && ('
        'node.getBoundingClientRect().right > innerWidth + 1 || '
        'node.scrollWidth > node.clientWidth + 1 && node.clientWidth))'
        '.map(node => node.className + ": " + node.textContent.slice(0, 40))')
    assert outside == []


def test_it_is_light_or_dark_as_the_reader_likes_and_readable(browser, served):
    for dark in False, True:
        view = opened(browser, served, dark=dark, width=1600)
        texts = 'h1, .soft, #facts dt, .good, .warn, .bad, .number, a'
        colours = view.evaluate('''[...document.querySelectorAll("%s")].map(node => {
            let back = node;
            while (getComputedStyle(back).backgroundColor === "rgba(0, 0, 0, 0)") back = back.parentElement;
            return [node.className, getComputedStyle(node).color, getComputedStyle(back).backgroundColor];
        })''' % texts)
        assert len(colours) > 20
        for name, text, back in colours:
            assert contrast(text, back) >= 4.5, (name, text, back, dark)       # WCAG 2, AA
        assert (luminance(view.evaluate('getComputedStyle(document.body).backgroundColor')) < 0.1) is dark


def luminance(colour):
    """WCAG 2's relative luminance of `rgb(1, 2, 3)`."""
    parts = [int(part) / 255 for part in re.findall(r'\d+', colour)[:3]]
    parts = [part / 12.92 if part <= 0.03928 else ((part + 0.055) / 1.055) ** 2.4 for part in parts]
    return 0.2126 * parts[0] + 0.7152 * parts[1] + 0.0722 * parts[2]


def contrast(one, other):
    darker, lighter = sorted([luminance(one), luminance(other)])
    return (lighter + 0.05) / (darker + 0.05)


# --- of a real balancer -------------------------------------------------------------------------------------

def test_it_shows_a_real_balancer(browser):
    with Server('A') as server, sidelb_with_http(server, 'ring_domain=db.example.com:5432') as sidelb:
        assert get(sidelb.http, '/').status == 200
        assert sidelb.who() == 'A'
        view = browser.open('http://127.0.0.1:%d/' % sidelb.http[1], width=1600)
        wait_until('the server is not shown', lambda: str(server) in view.text('#members'), 20)
        assert view.text('h1') == 'SideLB %s' % sidelb.listener
        wait_until('the ring is not shown', lambda: 'db.example.com:5432' in view.text('#rings'), 20)
        assert 'new' in view.text('#events')
        browser.close_pages()
    assert browser.complaints() == []
