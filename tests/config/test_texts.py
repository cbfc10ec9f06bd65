"""Settings as people read them: help, what is in force, the page of settings, the README."""
from __future__ import absolute_import, division, print_function

import io
import os
import re

import pytest

from sidelb_lib.config import texts
from sidelb_lib.config.settings import configuration
from sidelb_lib.config.table import NOTHING_SET, TABLE

PROJECT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))


def parse(line, **environ):
    return configuration(line.split() if isinstance(line, str) else line, environ)


def read(*names):
    """The lines of a file of the project."""
    with io.open(os.path.join(PROJECT, *names), encoding='utf-8') as lines:
        return list(lines)


def test_the_defaults_that_are_shown_are_those_in_force():
    for setting in TABLE:
        if setting.default not in NOTHING_SET:
            assert setting.parse(setting.default) == setting.default_value


def test_help_lists_every_setting_with_its_default_within_100_columns():
    table = texts.help_table()
    for setting in TABLE:
        row = '^  %s +%s +[a-z]' % (setting.key, re.escape(setting.default))
        assert re.search(row, table, re.M), setting.key
    assert max(len(line) for line in table.splitlines()) <= 100


def test_each_setting_has_a_variable_of_its_own():
    variables = [setting.variable for setting in TABLE]
    assert 'SIDELB_BIND_ADDR' in variables and 'SIDELB_RING_DOMAIN' in variables
    assert len(set(variables)) == len(TABLE)


def test_the_description_shows_value_and_origin_of_every_setting():
    line = ('0.0.0.0:5432 10.0.0.1:5432+[2001:db8::1]:5432 db:5432 check_timeout=500ms http=[::1]:80 '
            'reuse_port=on status_socket=off resolver=10.0.0.53')
    text = texts.describe(parse(line, SIDELB_MODE='least-connections'))
    rows = dict((row.split()[0], row.split(None, 2)[1:]) for row in text.splitlines())
    assert sorted(rows) == sorted(setting.key for setting in TABLE)
    assert rows['listener'] == ['0.0.0.0:5432', 'argument']
    assert rows['backends'] == ['10.0.0.1:5432+[2001:db8::1]:5432,db:5432', 'argument']
    assert rows['mode'] == ['least-connections', 'environment SIDELB_MODE']
    assert rows['check_timeout'] == ['500ms', 'argument']
    assert rows['http'] == ['[::1]:80', 'argument']
    assert rows['reuse_port'] == ['on', 'argument']
    assert rows['status_socket'] == ['off', 'argument']
    assert rows['resolver'] == ['10.0.0.53:53', 'argument']
    assert rows['refresh'] == ['60s', 'default']
    assert rows['max_connections'] == ['automatic', 'default']


def test_what_is_described_says_which_server_is_first_and_why():
    text = texts.describe(parse('127.0.0.1:1 10.0.0.1:1 instance=17'))
    row, = [row.split(None, 2) for row in text.splitlines() if row.startswith('instance ')]
    assert row == ['instance', '17', 'argument (first server by instance=17)']


def test_what_is_described_can_be_given_again():
    line = ('[::]:53 10.0.0.1:53/weight=3/tier=2/max=7 a.example:53 ring_domain=b.example:53/tier=2,_d._udp.c '
            'proto=udp check=send:00,expect:ff '
            'refresh=90s responses=1 group=off')
    first = parse(line)
    rows = [row.split() for row in texts.describe(first).splitlines()]
    again = ['%s=%s' % (row[0], row[1]) for row in rows if row[2] == 'argument']
    assert parse(again).process._replace(origins=None) == first.process._replace(origins=None)


def test_the_readme_lists_the_main_settings_with_their_defaults():
    rows = [[cell.strip(' `') for cell in line.split('|')[1:3]] for line in read('README.md') if line[:3] == '| `']
    for setting in TABLE:
        row = [setting.key, setting.default]
        assert setting.group != 'Main' or row in rows, 'README.md lacks the line | `%s` | `%s` | ...' % tuple(row)


def test_what_the_readme_says_of_settings_is_true():
    known = dict((setting.key, setting.default) for setting in TABLE)
    section = ''.join(read('README.md')).partition('### Main settings')[2].partition('\n## ')[0]
    rows = re.findall(r'^\| `(\w+)` \| `([^`]*)` \|', section, re.MULTILINE)
    assert len(rows) > 10 and [row for row in rows if known[row[0]] != row[1]] == []


def test_docs_settings_md_is_what_the_table_says():
    assert ''.join(read('docs', 'settings.md')) == texts.page(), (
        'run python -m sidelb_lib.config.texts > docs/settings.md')


def test_the_page_of_settings_names_each_with_its_default_in_lines_below_120_columns():
    page = texts.page()
    for setting in TABLE:
        assert '- **`%s`** (default `%s`' % (setting.key, setting.default) in page
    assert max(len(line) for line in page.splitlines()) < 120


def test_help_shows_each_group_once():
    headings = re.findall('^([A-Z].*):$', texts.help_table(), re.M)
    assert headings == [group for group, _ in texts.grouped()] and len(set(headings)) == len(headings)


# --- a number for a configuration ---------------------------------------------------------------------------------------

def fingerprint(line, **environ):
    return texts.fingerprint(parse(line, **environ))


def test_equal_configurations_have_one_number_wherever_they_come_from():
    one = fingerprint('127.0.0.1:5432 10.0.0.1:5432 mode=least-connections')
    assert one == fingerprint('', SIDELB_BIND_ADDR='127.0.0.1:5432', SIDELB_BACKENDS='10.0.0.1:5432',
                              SIDELB_MODE='Least-Connections')
    assert one == fingerprint('127.0.0.1:5432 10.0.0.1:5432 mode=least-connections instance=7')
    with_password = [fingerprint('127.0.0.1:5432 10.0.0.1:5432', SIDELB_CHECK_PASSWORD=word) for word in ('one', 'other')]
    assert with_password[0] == with_password[1]
    assert 0 <= one < 2 ** 32


@pytest.mark.parametrize('other', [
    '127.0.0.1:5433 10.0.0.1:5432', '127.0.0.1:5432 10.0.0.1:5432 refresh=5s',
    '127.0.0.1:5432 10.0.0.1:5432 log_level=debug', '127.0.0.1:5432 10.0.0.1:5432/weight=2'])
def test_others_have_another_one(other):
    assert fingerprint('127.0.0.1:5432 10.0.0.1:5432') != fingerprint(other)
