"""What loops do after a failure: how long they wait, and what they say of an exception."""
from __future__ import absolute_import, division, print_function

import os
import sys
import traceback


def retry_delay(failures, shortest, longest, random):
    """Seconds to wait after `failures` in a row: `shortest`, doubling to `longest`, less up to a quarter."""
    delay = min(longest, shortest * 2 ** min(failures - 1, 30))
    return max(min(shortest, longest), delay * (1 - 0.25 * random()))


def last_error():
    """The exception being handled, in one line: what it is and where it came from."""
    kind, error, trace = sys.exc_info()
    path, line = traceback.extract_tb(trace)[-1][:2]
    return '%s: %s (%s line %d)' % (kind.__name__, error, os.path.basename(path), line)
