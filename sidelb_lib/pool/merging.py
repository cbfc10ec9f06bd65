"""What the sources say of their servers, as records."""
from __future__ import absolute_import, division, print_function

from collections import namedtuple

#: What is asked of a server beside its addresses. Each is None where it was not written: only what was written merges.
#: `weight` is a number of at least 0, `tier` 1 to 9 with the lower ones preferred, `max` the limit of its sessions.
Options = namedtuple('Options', 'weight tier max')
