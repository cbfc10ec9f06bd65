"""What is marked as never waiting does not wait; the folders whose code runs in the hub are tested under a guard."""
from __future__ import absolute_import, division, print_function

import gevent

from sidelb_lib.hub import never_waits
from .support.hub_guard import HubGuard


class Part(object):
    @never_waits
    def reads(self):
        return 'read'

    @never_waits
    def waits(self):
        gevent.sleep(0)
        return 'waited'


def guarded_part():
    return HubGuard([(Part, name, vars(Part)[name]) for name in ('reads', 'waits')])


def test_a_marked_function_that_waits_is_found():
    with guarded_part() as guard:
        assert Part().waits() == 'waited'
    assert len(guard.waited) == 1 and guard.waited[0].startswith('waits, called by')


def test_a_marked_function_that_does_not_wait_is_left_alone():
    with guarded_part() as guard:
        assert Part().reads() == 'read'
        gevent.sleep(0)
    assert not guard.waited and guard.called == {'reads'}


def test_other_greenlets_may_wait_meanwhile():
    with guarded_part() as guard:
        sleeper = gevent.spawn(gevent.sleep, 0.001)
        Part().reads()
        sleeper.join()
    assert not guard.waited


def test_in_the_hub_itself_gevent_refuses_to_wait():
    hub, errors = gevent.get_hub(), []

    def in_the_hub():
        try:
            Part().waits()
        except BaseException as error:
            errors.append(type(error).__name__)
    hub.loop.run_callback(in_the_hub)
    gevent.sleep(0.001)
    assert errors == ['BlockingSwitchOutError']
