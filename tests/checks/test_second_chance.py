"""check=off: what follows when clients find a server dead."""
from __future__ import absolute_import, division, print_function

import random

from sidelb_lib.checks.second_chance import SecondChance
from sidelb_lib.compat import monotonic
from sidelb_lib.config.settings import defaults
from sidelb_lib.policies.round_robin import RoundRobin
from sidelb_lib.pool.pool import Pool

from ..support.recording import RecordingLog
from ..support.waiting import wait_until


def test_without_checks_a_dead_address_gets_another_chance():
    pool = Pool(RoundRobin(random.random), RecordingLog(), monotonic, defaults(check='off'))
    pool.update('test', [(None, [('127.0.0.1', 1)])])
    SecondChance(pool, 0.02)
    address, = pool.addresses()
    for _ in range(2):
        pool.report_failure(address, 'refused')
    assert not address.up
    wait_until('it got none', lambda: address.up)
