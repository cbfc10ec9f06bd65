"""SideLB beside what a user would pick instead: run it with `python -m bench --help`."""
from __future__ import absolute_import, division, print_function
