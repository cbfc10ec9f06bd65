"""When a certificate ends, read out of its DER form."""
from __future__ import absolute_import, division, print_function

import base64
import os
import random
import subprocess
import time

import pytest

from sidelb_lib.checks.certificate import not_after

from ..support.requirements import need_program

DAY = 86400


def certificate(tmpdir, days):
    """The DER form of one that ends so many days from now, by openssl."""
    path = str(tmpdir.join('certificate'))
    subprocess.check_output(
        [need_program('openssl', 'openssl'), 'req', '-x509', '-subj', '/CN=db.example.com', '-days', str(days), '-nodes',
         '-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:prime256v1', '-keyout', os.devnull, '-out', path],
        stderr=subprocess.STDOUT)
    with open(path) as stream:
        return base64.b64decode(''.join(line for line in stream.read().splitlines() if not line.startswith('-')))


@pytest.mark.parametrize('days', [2, 20000])         # from 2050 on the year has four digits in it
def test_the_end_of_a_certificate(tmpdir, days):
    assert abs(not_after(certificate(tmpdir, days)) - (time.time() + days * DAY)) < 60


def test_what_is_none_has_no_end(tmpdir):
    assert not_after(None) is None and not_after(b'') is None and not_after(b'\x30\x84\xff\xff\xff\xff') is None
    der, chance = certificate(tmpdir, 2), random.Random(1)
    for size in range(len(der)):
        assert not_after(der[:size]) is None
    for _ in range(2000):                             # and nothing is raised for what is broken
        broken = bytearray(der)
        broken[chance.randrange(200)] = chance.randrange(256)
        not_after(bytes(broken))
