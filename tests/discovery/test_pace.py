from __future__ import absolute_import, division, print_function

from sidelb_lib.discovery.pace import retry_delay


def test_the_retry_delay_doubles_up_to_its_limit_with_jitter():
    assert [retry_delay(n, 1.0, 60.0, lambda: 0.0) for n in range(1, 9)] == [1, 2, 4, 8, 16, 32, 60, 60]
    assert retry_delay(3, 1.0, 60.0, lambda: 1.0) == 3
    assert retry_delay(1, 1.0, 60.0, lambda: 1.0) == 1
    assert retry_delay(10 ** 6, 1.0, 60.0, lambda: 0.0) == 60
    assert retry_delay(1, 1.0, 0.2, lambda: 0.0) == 0.2
