"""Patches the test process as `sidelb.py` patches the program, before anything else is imported, and what tests use."""
from __future__ import absolute_import, division, print_function

from sidelb_lib import patching

patching.patch_all()

from gevent import monkey       # noqa: E402 - the patching comes first

monkey.patch_ssl()
monkey.patch_subprocess()

import os               # noqa: E402
import sys              # noqa: E402

import gevent           # noqa: E402
import pytest           # noqa: E402
from gevent import get_hub      # noqa: E402

from .support.hub_guard import HubGuard, marked_functions     # noqa: E402
from .support.watchdog import Watchdog      # noqa: E402

TEST_SECONDS = 60       # one test with its fixtures; the slowest takes about a tenth of it on an idle machine

# Left out of the fast tests, as is what is marked `slow`: real programs, databases and browsers, and long models.
SLOW = ('tests/program/', 'tests/demo/', 'tests/doctor/', 'tests/support/', 'tests/checks/test_tcp.py',
        'tests/checks/test_mysql.py', 'tests/checks/test_postgres.py', 'tests/checks/test_redis.py',
        'tests/checks/test_neutral.py', 'tests/discovery/test_need.py', 'tests/discovery/test_srv.py',
        'tests/observe/test_http.py', 'tests/observe/test_page.py', 'tests/observe/test_status_place.py',
        'tests/resolver/test_mutations.py', 'tests/tcp/test_ending.py', 'tests/tcp/test_long_sessions.py',
        'tests/tcp/test_queue.py', 'tests/tcp/test_relay_model.py')


def pytest_configure(config):
    if hasattr(config, 'workerinput'):
        keep_hub_waiting()
        poll_for_tests(config)
    # Capturing is suspended at this moment: descriptor 2 is where the user sees it.
    config.sidelb_watchdog = Watchdog(TEST_SECONDS, os.dup(2))
    # Python 3.12 warns of each child that is started beside the watchdog's thread, which only ever sleeps.
    config.addinivalue_line('filterwarnings', 'ignore:.*multi-threaded, use of fork:DeprecationWarning')


def keep_hub_waiting():
    """For the workers of `pytest -n`: their next test comes from a real thread, which no greenlet would expect. While
    a timer runs gevent does not take that for a wait without an end."""
    timer = get_hub().loop.timer(0.05, 0.05)
    timer.start(lambda: None)


def poll_for_tests(config):
    """For the workers of `pytest -n` on Python 2.7 and 3.6: the real thread puts the next test into a queue that is older
    than the patching, and gevent 22.10 loses what wakes the greenlet that waits there. No such greenlet, then: look, and
    take. Later versions of pytest-xdist do not receive in this way."""
    for plugin in config.pluginmanager.get_plugins():
        if type(plugin).__name__ == 'WorkerInteractor':
            plugin.channel = PolledChannel(plugin.channel)


class PolledChannel(object):
    """An execnet channel whose `receive` takes nothing before there is something."""

    def __init__(self, channel):
        self._channel = channel

    def receive(self):
        while not self._channel._items.qsize():
            gevent.sleep(0.01)
        return self._channel.receive()

    def __getattr__(self, name):
        return getattr(self._channel, name)


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(config, items):
    """Marks what is in SLOW. SIDELB_TEST_ONCE and SIDELB_TEST_SLOW name the Pythons that run what is marked so,
    like "2.7 3.13"; without them all do."""
    for item in items:
        if item.nodeid.startswith(SLOW):
            item.add_marker('slow')
    for marker, variable in (('once', 'SIDELB_TEST_ONCE'), ('slow', 'SIDELB_TEST_SLOW')):
        pythons = os.environ.get(variable)
        if pythons and '%d.%d' % sys.version_info[:2] not in pythons.split():
            config.hook.pytest_deselected(items=[item for item in items if item.get_closest_marker(marker)])
            items[:] = [item for item in items if not item.get_closest_marker(marker)]


@pytest.hookimpl(hookwrapper=True, tryfirst=True)
def pytest_runtest_protocol(item):
    """A hung test is ended, with everybody's stack, instead of hanging the run."""
    patience = item.get_closest_marker('patience')
    item.config.sidelb_watchdog.arm(item.nodeid, *(patience.args if patience else ()))
    yield
    item.config.sidelb_watchdog.disarm()


@pytest.fixture(scope='session')
def marked():
    """What is marked as never waiting; to find it takes 13 ms."""
    return marked_functions()


@pytest.fixture
def hub_guard(marked):
    """Fails the test when something that is marked as never waiting has waited."""
    with HubGuard(marked) as guard:
        yield guard
    assert not guard.waited, 'what must not wait has waited: %s' % '; '.join(guard.waited)
