"""The access log of a service, as its settings say; what writes it is loaded where it is wanted."""
from __future__ import absolute_import, division, print_function

from ..errors import BindError


def opened(settings, log):
    """None where it is off. Raises BindError."""
    if settings.access_log is None:
        return None
    from ..observe import access_log
    try:
        return access_log.opened(settings.access_log, log)
    except EnvironmentError as error:
        raise BindError('cannot write access_log=%s: %s' % (settings.access_log, error.strerror or error))


def try_out(settings, log):
    """Can it be opened? Raises BindError."""
    tried = opened(settings, log)
    if tried is not None:
        tried.close()


def opened_again(settings, log):
    """It could be opened a moment ago: None, and an event, where it can't be any more."""
    try:
        return opened(settings, log)
    except BindError as error:
        log.error('access_log_failed', '{error}; there is none now', error=str(error))
        return None
