"""What differs between two configurations, and what needs a restart."""
from __future__ import absolute_import, division, print_function

import pytest

from sidelb_lib.config import settings
from sidelb_lib.config.changes import changes, need_restart
from sidelb_lib.config.live import LiveSettings
from sidelb_lib.config.table import TABLE


def configuration(*services, **process):
    return settings.Configuration(settings.defaults(**process), services, True)


def one(**values):
    return 'a', settings.defaults(listener=values.pop('listener', '127.0.0.1:1'), backends='10.0.0.1:1', **values)


def test_services_that_are_added_removed_and_changed():
    old = configuration(one(), ('b', settings.defaults()), ('c', settings.defaults(refresh='5s')), log_level='debug')
    new = configuration(('d', settings.defaults()), one(mode='least-connections', check='off'),
                        ('c', settings.defaults(refresh='5s')))
    found = changes(old, new)
    assert (found.added, found.removed, found.process) == (['d'], ['b'], ['log_level'])
    assert dict(found.changed) == {'a': ['mode', 'check']}
    assert need_restart(old, new) == []


def test_a_service_does_not_change_by_what_belongs_to_the_process():
    assert changes(configuration(one()), configuration(one(log_level='debug', drain_timeout='1s'))).changed == {}


@pytest.mark.parametrize('key, text', [
    ('proto', 'udp'), ('reuse_port', 'on'), ('resolver', '10.0.0.53'), ('responses', '1')])
def test_settings_of_a_service_that_need_a_restart(key, text):
    line, = need_restart(configuration(one()), configuration(one(**{key: text})))
    assert line == '[service:a] %s: a change needs a restart' % key


@pytest.mark.parametrize('key, text', [('status_socket', '/tmp/x'), ('http', '127.0.0.1:8404')])
def test_settings_of_the_process_that_need_a_restart(key, text):
    assert need_restart(configuration(one()), configuration(one(), **{key: text})) == [
        '[sidelb] %s: a change needs a restart' % key]


@pytest.mark.parametrize('proto, old, new, says', [
    ('tcp', '127.0.0.1:1', '127.0.0.2:1', None),
    ('tcp', '127.0.0.1:1', '0.0.0.0:2', None),
    ('tcp', '127.0.0.1:1', '[::]:1', None),
    ('tcp', '127.0.0.1:1', '0.0.0.0:1', 'they overlap'),
    ('tcp', '0.0.0.0:1', '127.0.0.1:1', 'they overlap'),
    ('udp', '127.0.0.1:1', '127.0.0.2:1', 'UDP sessions answer from the address'),
])
def test_listeners_that_move(proto, old, new, says):
    lines = need_restart(configuration(one(listener=old, proto=proto)), configuration(one(listener=new, proto=proto)))
    assert [says in line and '[service:a] listener: from ' in line for line in lines] == ([True] if says else [])


def test_live_settings_have_what_is_in_force():
    live = LiveSettings(settings.defaults())
    for setting in TABLE:
        assert getattr(live, setting.attribute) == setting.default_value
    live.become(settings.defaults(refresh='5s'))
    assert live.refresh == 5.0 and live.mode == 'round-robin'
