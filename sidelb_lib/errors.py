"""The errors that a user of SideLB can meet; the text of each is one clear line with the way out."""
from __future__ import absolute_import, division, print_function


class SidelbError(Exception):
    """Anything that SideLB itself reports; `str()` of it is meant for a person."""


class SettingsError(SidelbError):
    """The configuration is wrong. `mistakes` lists every mistake found, one line each."""

    def __init__(self, mistakes):
        SidelbError.__init__(self, '\n'.join(mistakes))
        self.mistakes = list(mistakes)


class BindError(SidelbError):
    """A listener could not be bound."""


class NobodyReachable(SidelbError):
    """No member could be reached for a session."""
