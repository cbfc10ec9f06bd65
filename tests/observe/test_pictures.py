"""The pictures of the guides are what the program shows, and their samples have the keys of a real status."""
from __future__ import absolute_import, division, print_function

import os

import pytest

from sidelb_lib.observe import status_client

from ..pictures import __main__ as pictures
from ..support.program import Sidelb
from ..support.servers import Server


def test_the_pictures_are_what_the_program_shows():
    assert pictures.outdated() == [], 'python -m tests.pictures makes them anew'


def test_the_picture_of_the_page_is_small():
    assert 10000 < os.path.getsize(os.path.join(pictures.DIRECTORY, 'page.png')) < 150 * 1024


@pytest.mark.slow
def test_a_real_status_has_every_key_that_the_samples_show():
    with Server('A') as server, Sidelb(server) as sidelb:
        real = status_client.fetch_snapshot(sidelb.status_path, True)
    sample = pictures.load('10-outage')
    assert set(sample) - set(real) == set()
    one, other = real['services']['default'], sample['services']['default']
    assert set(other) - set(one) == set()
    for part in 'connections', 'history', 'verdict':
        assert set(other[part]) - set(one[part]) == set(), part
    # What a person has done (`by`) and zones are of samples alone.
    assert set(other['members'][0]) - set(one['members'][0]) <= set(['zone', 'by'])
    assert set(other['members'][0]['addresses'][0]) - set(one['members'][0]['addresses'][0]) == set()
