"""Several sources that name one server, and many that name thousands."""
from __future__ import absolute_import, division, print_function

from sidelb_lib.pool.merging import SLICE, Group, Options, merge_groups


def merged(*options):
    group, = merge_groups([Group(None, [('10.0.0.1', 1)], one) for one in options])
    return group.options


def test_the_largest_weight_the_lowest_tier_and_the_smallest_limit_of_those_that_are_written_count():
    assert merged(Options(1, 2, 10), Options(3, 1, None), Options(2, 3, 5)) == Options(3, 1, 5)
    assert merged(Options(0, None, None), None, Options(None, 2, None)) == Options(0, 2, None)
    assert merged(Options(1, 1, 1, 50), Options(1, 1, 1, 70), Options(1, 1, 1, 60)).record == 70
    assert merged(None, None) is None


def test_traffic_passes_between_slices_of_the_work():
    pauses = []
    groups = [Group(None, [('10.0.%d.%d' % divmod(number, 250), 1)]) for number in range(3 * SLICE + 10)]
    assert len(merge_groups(groups, lambda: pauses.append(1))) == len(groups)
    assert len(pauses) == 2 * 3                      # who belongs together, and what comes of it
