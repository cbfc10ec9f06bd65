"""Settings that a reload may replace while they are in use."""
from __future__ import absolute_import, division, print_function


class LiveSettings(object):
    """Has the attributes of the Settings that are in force. For those who read them it is as immutable as Settings, but an
    attribute read later may differ: who has to act on a change is told (`Service.change`), all others read where they act.
    """

    def __init__(self, settings):
        self.become(settings)

    def become(self, settings):
        """From now on these are in force."""
        self.__dict__.update(settings._asdict())
