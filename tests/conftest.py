"""Patches the test process as `sidelb.py` patches the program, before anything else is imported."""
from __future__ import absolute_import, division, print_function

from gevent import monkey

monkey.patch_all()

import os               # noqa: E402 - the patching comes first

import pytest           # noqa: E402
from gevent import get_hub      # noqa: E402

from .support.hub_guard import HubGuard     # noqa: E402
from .support.watchdog import Watchdog      # noqa: E402

TEST_SECONDS = 60       # one test with its fixtures; the slowest takes about a tenth of it on an idle machine


def pytest_configure(config):
    if hasattr(config, 'workerinput'):
        keep_hub_waiting()
    # Capturing is suspended at this moment: descriptor 2 is where the user sees it.
    config.sidelb_watchdog = Watchdog(TEST_SECONDS, os.dup(2))
    # Python 3.12 warns of each child that is started beside the watchdog's thread, which only ever sleeps.
    config.addinivalue_line('filterwarnings', 'ignore:.*multi-threaded, use of fork:DeprecationWarning')


def keep_hub_waiting():
    """For the workers of `pytest -n`: their next test comes from a real thread, which no greenlet would expect. While
    a timer runs gevent does not take that for a wait without an end."""
    timer = get_hub().loop.timer(0.05, 0.05)
    timer.start(lambda: None)


@pytest.hookimpl(hookwrapper=True, tryfirst=True)
def pytest_runtest_protocol(item):
    """A hung test is ended, with everybody's stack, instead of hanging the run."""
    item.config.sidelb_watchdog.arm(item.nodeid)
    yield
    item.config.sidelb_watchdog.disarm()


@pytest.fixture
def hub_guard():
    """Fails the test when something that is marked as never waiting has waited."""
    with HubGuard() as guard:
        yield guard
    assert not guard.waited, 'what must not wait has waited: %s' % '; '.join(guard.waited)
