"""Who has more sessions than its share."""
from __future__ import absolute_import, division, print_function

import pytest

from sidelb_lib.pool.shares import excesses


class Server(object):
    def __init__(self, active, weight=1, limit=None, takes=True):
        self.active, self.weight, self.limit, self.takes = active, weight, limit, takes


@pytest.mark.parametrize('servers, excess', [
    ([Server(12), Server(0)], [6, 0]),
    ([Server(7), Server(6)], [0, 0]),                                  # rounded up
    ([Server(8), Server(6), Server(7)], [1, 0, 0]),
    ([Server(4), Server(3), Server(1), Server(1)], [1, 0, 0, 0]),      # 9 / 4, up to 3
    ([Server(30), Server(0, weight=2)], [20, 0]),
    ([Server(10, weight=0.1), Server(1)], [9, 0]),                     # 11 / 11, no hair more
    ([Server(10, takes=False), Server(0)], [10, 0]),
    ([Server(12), Server(0, limit=2)], [2, 0]),                        # the other one takes but two
    ([Server(12, takes=False), Server(0, limit=2)], [2, 0]),           # so it is for those that are to have none
    ([Server(12, takes=False), Server(2, limit=2)], [0, 0]),
    ([Server(4, takes=False), Server(4, takes=False), Server(1, limit=6)], [4, 1, 0]),
    ([Server(12, limit=4), Server(12, limit=4)], [0, 0]),              # nobody takes what is closed
    ([Server(12, takes=False), Server(5, takes=False)], [0, 0]),
    ([Server(12), Server(0, weight=0)], [0, 0]),
    ([Server(12, limit=100), Server(0, limit=100)], [6, 0]),           # far away
    ([], []),
])
def test_what_is_above_the_share_by_weight(servers, excess):
    found = excesses(servers, lambda server: server.takes)
    assert [found.get(server, 0) for server in servers] == excess and all(found.values())
