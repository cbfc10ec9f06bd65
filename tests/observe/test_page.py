"""The status page, in a real browser: what it shows, that it keeps up, and that no text in it can become more."""
from __future__ import absolute_import, division, print_function

import copy
import pkgutil
import re

import pytest

from sidelb_lib.observe.http_answers import Application
from sidelb_lib.observe.http_server import HttpServer
from sidelb_lib.observe import page
from sidelb_lib.observe import said
from sidelb_lib.net.listeners import listen_tcp

from ..support.browser import Browser
from ..support.recording import RecordingLog
from ..support.servers import Server
from ..support.waiting import wait_until
from ..observe.test_http import get, sidelb_with_http

pytestmark = pytest.mark.once

HOSTILE = '<script>alert(1)</script><img src=x onerror=alert(2)>"\'&lt;</textarea>'
NOW = '2026-11-23T12:00:00.000Z'


def address(text, **changes):
    fields = {'address': text, 'state': 'up', 'since': NOW, 'state_seconds': 7400, 'changes': 0, 'last_probe': NOW,
              'probe_seconds': 0.00042, 'last_error': None, 'last_error_seconds': None, 'active': 0, 'total': 0,
              'failed': 0, 'failed_probes': 0, 'bytes_sent': 0, 'bytes_received': 0}
    return dict(fields, **changes)


def down(text, **changes):
    return address(text, **dict({'state': 'down', 'state_seconds': 95, 'last_error': 'Connection refused',
                                 'last_error_seconds': 12, 'probe_seconds': None}, **changes))


def member(name, *addresses, **changes):
    fields = {'name': name, 'state': 'up', 'active': 0, 'total': 0, 'failed': 0, 'bytes_sent': 0, 'bytes_received': 0,
              'since': 7400, 'role': None, 'weight': 1, 'tier': 1, 'new_per_second': 0.5, 'addresses': list(addresses),
              'history': {'peak': 4, 'load': '.' * 30 + '0Fz' * 20, 'states': '.30u60'}}
    return dict(fields, **changes)


def ring(name, **changes):
    return dict({'kind': 'ring', 'name': name, 'port': 5432, 'addresses': [], 'count': 2, 'age': 4.2, 'ttl': 30,
                 'error': None, 'state': 'ok', 'lookups': {'ok': 245}}, **changes)


def service(members, rings=(), **changes):
    """A service of a snapshot, with what is said of it."""
    one = dict({
        'state': 'running', 'healthy': True, 'ready': True, 'readiness': 'ready', 'listener': '127.0.0.1:5432',
        'mode': 'least-connections', 'proto': 'tcp', 'check': 'tcp', 'members': members, 'rings': list(rings), 'events': [],
        'history': {'peak': 12, 'load': '0' * 60 + 'z' * 30, 'states': 'u90'},
        'connections': {'active': 12, 'most': 4000, 'total': 123456, 'retries': 44, 'new_per_second': 3.4,
                        'refused': {'every_server_has_been_tried': 3}, 'waiting': 0}}, **changes)
    for server in members:
        server['note'] = said.note(server)
    one['suffix'] = said.common_suffix([server['name'] for server in members])
    one['port'] = said.common_port(members)
    one['verdict'] = said.verdict(one)
    return one


def snapshot(changes=(), **services):
    services = services or {'default': service(servers(), rings_of_two())}
    return {'version': '1.0.0', 'pid': 4711, 'host': 'web7', 'uptime': 7400.5, 'state': 'running', 'time': NOW,
            'healthy': True, 'ready': True, 'readiness': 'ready', 'services': services, 'changes': list(changes),
            'verdict': said.overall(services), 'history': {'points': 90, 'step': 10}}


def servers():
    return [
        member('db1.example.com', address('10.0.0.11:5432'), address('[2001:db8::11]:5432'), active=7, total=12345,
               bytes_sent=1500, bytes_received=3 << 30),
        member('db2.example.com', address('10.0.0.12:5432', changes=1), down(
            '[2001:db8::12]:5432', changes=3, last_error='Connection timed out'), failed=8),
        member('db3.example.com', down('10.0.0.13:5432'), state='down', since=95),
        member('db4.example.com', address('10.0.0.14:5432'), state='departing', active=2)]


def rings_of_two():
    return [ring('db.example.com'), ring('spare.example.com', count=0, age=None, ttl=None, state='failing',
                                         error='127.0.0.53:53 does not answer'),
            ring('_pg._tcp.example.com', kind='srv', port=None, targets=[{}, {}],
                 note='1 of 2 targets without an address: x')]


def change(text, event='down', word='down', level='bad', service='default'):
    return {'time': NOW, 'service': service, 'event': event, 'word': word, 'level': level, 'text': text}


SNAPSHOT = snapshot([change('db3: Connection refused')])


def many(number, is_down=lambda n: False, prefix='cache-'):
    return [member('%s%03d.redis.example.com' % (prefix, n), down('10.0.%d.%d:6379' % (n // 250, n % 250), state_seconds=77),
                   state='down', since=77) if is_down(n) else
            member('%s%03d.redis.example.com' % (prefix, n), address('10.0.%d.%d:6379' % (n // 250, n % 250)), active=n % 7)
            for n in range(number)]


class Served(object):
    """The page of a process that says what the test wants: `snapshot`."""

    def __init__(self):
        self.snapshot = copy.deepcopy(SNAPSHOT)
        self.server = None
        self.port = 0

    def __enter__(self):
        log = RecordingLog()
        application = Application(None, None, lambda with_history: self.snapshot, {}, log, lambda: 0.0)
        self.server = HttpServer(listen_tcp('127.0.0.1', self.port), application, log)
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
    wait_until('it shows nothing', lambda: view.text('#verdict') not in ('', 'asking') and view.text('main'), 20)
    return view


# --- the file -----------------------------------------------------------------------------------------------

def html():
    return pkgutil.get_data('sidelb_lib.observe', 'page.html').decode('utf-8')


def test_it_asks_nobody_else_for_anything():
    targets = re.findall(r'''(?:src|href|url|fetch|import|action)\s*[=(]\s*["'`]?([^"'`\s>)]+)''', html())
    allowed = ('data:', 'status.json', 'metrics', 'target', '#')
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

ROWS = '#services tbody tr'


def row(view, number):
    return view.text('%s:nth-child(%d)' % (ROWS, number)).replace('\t', '\n').split('\n')


def names(view):
    return view.evaluate('[...document.querySelectorAll("#services td.name button")].map(node => node.textContent)')


def test_it_shows_what_is_wrong_first(browser, served):
    view = opened(browser, served, width=1600)
    assert view.text('h1') == 'SideLB 127.0.0.1:5432'
    assert view.text('#verdict') == '2 of 3 up, 1 down, 1 partly, 1 departing, DNS failing'
    assert view.evaluate('find("verdict").className') == 'pill warn'
    assert view.evaluate('document.title').startswith('! 2 of 3 up')
    assert view.text('#changes li').split('\n')[2:] == ['down', 'db3: Connection refused']
    facts = view.text('#facts')
    for text in ('12 connections', '3.4 new/s', '3 refused (every server has been tried)', '44 retried', 'DNS ok',
                 'db.example.com:5432', 'TTL 30 s', 'DNS failing', '127.0.0.53:53 does not answer',
                 '2 targets, 2 addresses', '1 of 2 targets without an address: x'):
        assert text in facts.replace('\n', ' '), text
    assert view.text('#about') == u'tcp \u00b7 least-connections \u00b7 check tcp'
    assert 'SideLB 1.0.0' in view.text('footer') and 'web7, pid 4711, up 2 h' in view.text('footer')


def test_each_server_is_a_row_with_its_state_in_a_word_a_mark_and_a_colour(browser, served):
    view = opened(browser, served, width=1600)
    assert names(view) == ['db3', 'db2', 'db4', 'db1']
    states = view.evaluate('[...document.querySelectorAll("#services td.state")].map(node => node.textContent)')
    assert states == ['down', '1/2 up', 'departing', 'up']
    marks = view.evaluate('[...document.querySelectorAll("#services td.state")].map(node => node.dataset.mark)')
    assert len(set(marks)) == 4
    colours = view.evaluate(
        '[...document.querySelectorAll("#services td.state")].map(node => getComputedStyle(node).color)')
    assert len(set(colours)) == 4
    assert 'Connection refused' in row(view, 1)
    assert [text for text in ('10.0.0.11 +1', '7', '12,345', '1.5 KiB', '3.0 GiB') if text not in row(view, 4)] == []


def test_a_row_opens_and_tells_of_each_address_with_the_age_of_its_error(browser, served):
    view = opened(browser, served, width=1600)
    view.evaluate('document.querySelector("%s:nth-child(2) button").click()' % ROWS)
    more = view.text('tr.more').replace('\n', ' ')
    for text in ('10.0.0.12:5432 up for 2 h', 'check took 0.4 ms', '[2001:db8::12]:5432 down for 95 s',
                 'Connection timed out, 12 s ago', '3 state changes', '1 state change'):
        assert text in more, text
    served.snapshot['uptime'] += 10
    view.evaluate('poll()')
    assert view.text('tr.more')                       # it stays open


def test_it_is_red_when_nobody_can_be_served_and_green_when_all_is_well(browser, served):
    served.snapshot = snapshot(default=service(many(3, lambda n: True)))
    view = opened(browser, served)
    assert (view.text('#verdict'), view.evaluate('find("verdict").className')) == ('none of 3 is up', 'pill bad')
    served.snapshot = snapshot(default=service(many(3)))
    wait_until('it is not green', lambda: view.evaluate('find("verdict").className') == 'pill good', 10)
    assert view.text('#verdict') == 'all 3 up'


def test_it_shows_udp(browser, served):
    served.snapshot = snapshot(default=service(servers(), proto='udp', check='udp', connections={
        'active': 3, 'most': 900, 'total': 50, 'retries': 0, 'new_per_second': None, 'datagrams_sent': 1234,
        'datagrams_received': 1233, 'drops': {'no_server': 2}}))
    facts = opened(browser, served).text('#facts').replace('\n', ' ')
    assert '3 sessions' in facts and '2 dropped (no server)' in facts


def test_it_says_so_when_there_is_no_server(browser, served):
    served.snapshot = snapshot(default=service([]))
    view = opened(browser, served)
    assert view.text('#verdict') == 'no server is known' and 'No server is known yet.' in view.text('#services')


def test_several_services_are_a_table_the_worst_first(browser, served):
    served.snapshot = snapshot(db=service(servers()), cache=service(many(10, lambda n: True)), dns=service(many(2)))
    view = opened(browser, served, width=1600)
    assert view.text('#verdict') == 'cache: none of 10 is up; db: 2 of 3 up, 1 down, 1 partly, 1 departing'
    assert view.evaluate('[...document.querySelectorAll("#overview a")].map(node => node.textContent)') == [
        'cache', 'db', 'dns']
    assert view.evaluate('[...document.querySelectorAll("#services h2")].map(node => node.textContent)') == [
        'cache', 'db', 'dns']


def test_servers_are_searched_and_the_search_is_in_the_address(browser, served):
    served.snapshot = snapshot(default=service(many(50, lambda n: n in (7, 24))))
    view = opened(browser, served)
    view.evaluate('find("filter").value = "10.0.0.31"; find("filter").dispatchEvent(new Event("input"))')
    assert names(view) == ['cache-031'] and view.evaluate('location.search') == '?q=10.0.0.31'
    view.evaluate('document.dispatchEvent(new KeyboardEvent("keydown", {key: "Escape"}))')
    view.evaluate('document.body.dispatchEvent(new KeyboardEvent("keydown", {key: "n", bubbles: true}))')
    assert names(view) == ['cache-007', 'cache-024'] and view.evaluate('location.search') == '?trouble=1'
    again = browser.open(served.url + '?trouble=1')
    wait_until('the address is not heeded', lambda: names(again) == ['cache-007', 'cache-024'], 10)


# --- how much it shows --------------------------------------------------------------------------------------

def test_fifty_servers_are_two_screens_and_the_ones_that_are_down_the_first(browser, served):
    served.snapshot = snapshot([change('cache-007, cache-024 and 1 more: no answer within 2 s')],
                               default=service(many(50, lambda n: n in (7, 24, 42))))
    view = opened(browser, served, width=1280, height=800)
    assert names(view)[:4] == ['cache-007', 'cache-024', 'cache-042', 'cache-000']
    assert view.evaluate('document.documentElement.scrollHeight') < 2 * 800
    bottom = view.evaluate('document.querySelector("%s:nth-child(3)").getBoundingClientRect().bottom' % ROWS)
    assert bottom < 400


def test_three_hundred_servers_are_drawn_in_no_time_and_asked_for_less_often(browser, served):
    served.snapshot = snapshot(default=service(many(300, lambda n: n % 3 == 1)))
    view = opened(browser, served)
    assert view.text('#verdict') == '200 of 300 up, 100 down'
    assert len(names(view)) == 201 and names(view)[0] == '100 servers: cache-001, cache-004, cache-007 and 97 more'
    seconds = view.evaluate('(() => { const began = performance.now(); show(latest); return performance.now() - began; })()')
    assert seconds < 500
    assert view.evaluate('show(latest)') == 4


def test_an_outage_of_fifty_servers_is_a_row_that_keyboard_and_mouse_open(browser, served):
    everybody = many(50, lambda n: True)
    for server in everybody:
        server.update(history={'peak': 4, 'load': 'z' * 80 + '0' * 10, 'states': 'u80d10'})
    served.snapshot = snapshot(default=service(everybody))
    view = opened(browser, served, width=1280, height=800)
    assert names(view) == ['all 50: cache-000, cache-001, cache-002 and 47 more']
    assert [text for text in ('down', 'Connection refused', '77 s') if text not in row(view, 1)] == []
    assert view.evaluate('document.querySelector("td.chart svg").getAttribute("aria-label")').startswith('at most 200 ')
    assert view.evaluate('document.querySelectorAll("td.chart .span.bad").length') == 1
    button = 'document.querySelector("td.name button")'
    view.evaluate('%s.focus()' % button)
    for kind in 'keyDown', 'keyUp':
        view.call('Input.dispatchKeyEvent', type=kind, key='Enter', code='Enter', windowsVirtualKeyCode=13, text='\r')
    assert view.evaluate('%s.getAttribute("aria-expanded")' % button) == 'true'
    assert view.evaluate('document.activeElement === %s' % button)
    assert names(view)[1:3] == ['cache-000', 'cache-001'] and len(names(view)) == 51
    assert view.evaluate('document.documentElement.scrollHeight') < 3 * 800
    view.evaluate('poll()')
    assert len(names(view)) == 51                     # it stays open
    view.evaluate('%s.click()' % button)
    assert len(names(view)) == 1 and view.evaluate('%s.getAttribute("aria-expanded")' % button) == 'false'
    view.evaluate('find("filter").value = "cache-01"; find("filter").dispatchEvent(new Event("input"))')
    assert len(names(view)) == 10                     # who looks for some wants to see them


def test_a_screen_reader_hears_words_and_no_marks(browser, served):
    served.snapshot = snapshot(default=service(many(50, lambda n: n < 48)))
    view = opened(browser, served, width=1280, height=800)
    view.call('Accessibility.enable')
    heard = {}
    for node in view.call('Accessibility.getFullAXTree')['nodes']:
        if not node.get('ignored'):
            heard.setdefault(node['role']['value'], []).append((node.get('name', {}).get('value'), dict(
                (one['name'], one['value'].get('value')) for one in node.get('properties', []))))
    told = '48 servers: cache-000, cache-001, cache-002 and 45 more'
    assert [properties['expanded'] for name, properties in heard['button'] if name == told] == [False]
    assert [name for name, _ in heard['cell'][:2]] == ['down', told]
    assert ('Servers of default', 'State') == (heard['table'][0][0], heard['columnheader'][0][0])


def test_an_outage_of_a_tier_and_each_reason_are_rows_and_those_who_serve_are_never_one(browser, served):
    everybody = many(60, lambda n: n % 2 == 0 or n < 30)
    for n, server in enumerate(everybody):
        server['tier'] = 1 + n % 2
        if n in (1, 3):
            server['addresses'][0]['last_error'] = 'Connection timed out'
    served.snapshot = snapshot(default=service(everybody))
    view = opened(browser, served, width=1600, height=800)
    assert names(view)[:5] == ['all 30 of tier 1: cache-000, cache-002, cache-004 and 27 more',
                               'cache-001', 'cache-003', '13 servers: cache-005, cache-007, cache-009 and 10 more',
                               'cache-031']
    assert len(names(view)) == 4 + 15
    view.evaluate('document.querySelectorAll("#services th button")[1].click()')
    assert names(view)[:2] == ['cache-000', 'cache-001']     # in another order each has its place


def test_a_weight_of_nothing_is_one_of_0(browser, served):
    rested = [dict(one, state='draining', weight=0) for one in many(10)]
    served.snapshot = snapshot(default=service(rested + many(1, prefix='other-')))
    view = opened(browser, served, width=1600)
    assert names(view) == ['10 servers: cache-000, cache-001, cache-002 and 7 more', 'other-000']
    assert [row(view, number)[4] for number in (1, 2)] == ['0', '1']


# --- what it withstands -------------------------------------------------------------------------------------

def test_every_text_of_somebody_else_stays_a_text(browser, served):
    one = service([member(HOSTILE + str(n), down('10.0.0.%d:1' % n, last_error=HOSTILE), state='down', role=HOSTILE)
                   for n in range(3)], [ring(HOSTILE, state='failing', error=HOSTILE)], listener=HOSTILE, mode=HOSTILE)
    one['verdict'] = {'level': 'bad', 'text': HOSTILE}
    served.snapshot = dict(snapshot([change(HOSTILE, word=HOSTILE)], default=one), host=HOSTILE, version=HOSTILE)
    served.snapshot['verdict'] = one['verdict']
    view = opened(browser, served, width=1600)
    for selector in 'h1', '#verdict', '#facts', '#services', '#changes', 'footer':
        assert HOSTILE in view.text(selector).replace('\n', ''), selector
    assert view.evaluate('["script", "img"].map(tag => document.querySelectorAll(tag).length)') == [1, 0]


def test_a_name_neither_turns_the_line_around_nor_hides_a_part_of_it(browser, served):
    name = u'db1\u202e.moc\u200b\u2066'
    served.snapshot = snapshot([change(name)], default=service([member(name, down('10.0.0.1:1'), state='down')]))
    view = opened(browser, served)
    for selector in '#changes', '#services':
        assert 'db1?.moc??' in view.text(selector), selector


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

def test_it_follows_the_process_and_keeps_its_elements_and_the_focus(browser, served):
    view = opened(browser, served)
    view.evaluate('window.kept = document.querySelector("%s:nth-child(4)"); kept.querySelector("button").focus()' % ROWS)
    all_of_them = servers()
    all_of_them[0].update(active=99, total=12445)
    del all_of_them[2]
    all_of_them.append(member('db9.example.com', address('10.0.0.19:5432')))
    served.snapshot = snapshot(default=service(all_of_them, state='draining'))
    wait_until('it does not follow', lambda: 'stopping' in view.text('#verdict'), 10)
    assert names(view) == ['db2', 'db4', 'db1', 'db9']
    assert view.evaluate('kept === document.querySelector("%s:nth-child(3)")' % ROWS)
    assert view.evaluate('document.activeElement === kept.querySelector("button")')
    assert '99' in row(view, 3)
    assert 'stopping' in view.evaluate('find("live").textContent')


def test_it_says_so_when_the_process_is_gone_and_when_it_is_back(browser, served):
    view = opened(browser, served)
    served.server.close()
    wait_until('it says nothing', lambda: view.text('#notice').startswith(
        'SideLB does not answer. Below is what it said'), 10)
    assert view.text('#verdict') == 'no answer'
    assert view.evaluate('document.title').startswith('! no answer')
    assert 'db1' in names(view)
    served.snapshot.update(pid=4712, uptime=1.0)
    with served:
        wait_until('it does not come back', lambda: view.text('#notice') == '', 10)
        assert view.text('#verdict').startswith('2 of 3 up') and 'pid 4712, up 1 s' in view.text('footer')
    browser.forget_complaints()                                   # of the connections that were refused


# --- how it looks -------------------------------------------------------------------------------------------

@pytest.mark.parametrize('width', [320, 400, 720, 800, 960, 1152, 1180, 1600, 2560])
def test_it_fits_the_width(browser, served, width):
    all_of_them = servers()
    all_of_them[0].update(name='a-very-long-name-of-a-server-' * 8 + '.example.com', active=12345, total=1234567890,
                          failed=123456, bytes_sent=1015 << 30, bytes_received=999 << 40)
    served.snapshot = snapshot([change('x' * 200)], default=service(all_of_them, rings_of_two()))
    view = opened(browser, served, width=width)
    assert view.evaluate('document.documentElement.scrollWidth') <= width


def test_it_is_light_or_dark_as_the_reader_likes_and_readable(browser, served):
    for dark in False, True:
        view = opened(browser, served, dark=dark, width=1600)
        texts = 'h1, .soft, .good, .warn, .bad, .idle, th, td, a'
        colours = view.evaluate('''[...document.querySelectorAll("%s")].filter(node => node.textContent).map(node => {
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
        wait_until('the server is not shown', lambda: str(server) in view.text('#services'), 20)
        assert view.text('h1') == 'SideLB %s' % sidelb.listener
        wait_until('the ring is not shown', lambda: 'db.example.com:5432' in view.text('#facts'), 20)
        assert 'new' in view.text('#changes')
        browser.close_pages()
    assert browser.complaints() == []
