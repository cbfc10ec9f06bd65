"""How many sessions a service may have."""
from __future__ import absolute_import, division, print_function

import collections

import pytest

from sidelb_lib.config.settings import defaults
from sidelb_lib.service.session_limit import session_limit

from .support.recording import RecordingLog

Budget = collections.namedtuple('Budget', 'connections sessions')
Share = collections.namedtuple('Share', 'most')


@pytest.mark.parametrize('settings, share, limit, told', [
    (dict(proto='tcp'), None, 500, []), (dict(proto='udp'), None, 900, []),
    (dict(proto='tcp', max_connections='40'), None, 40, []), (dict(proto='udp', max_sessions='40'), None, 40, []),
    (dict(proto='tcp', max_connections='500'), None, 500, []),
    (dict(proto='tcp', max_connections='501'), None, 500,
     ['max_connections=501 needs more open files than the limit allows: it is 500']),
    (dict(proto='udp', max_sessions='901'), None, 900,
     ['max_sessions=901 needs more open files than the limit allows: it is 900']),
    (dict(proto='tcp'), Share(100), 100, []),
    (dict(proto='tcp', max_connections='200'), Share(100), 100,
     ['max_connections=200 needs more open files than the limit allows: it is 100'])])
def test_it_is_what_the_settings_say_and_descriptors_allow(settings, share, limit, told):
    log = RecordingLog()
    assert session_limit(defaults(**settings), Budget(500, 900), share, log) == limit
    assert log.events('few_descriptors') == told
