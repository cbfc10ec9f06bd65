"""Which tier new sessions go to: what the log says when that changes."""
from __future__ import absolute_import, division, print_function

from .members import UNCHECKED, UP
from .merging import tier_of

RETURNING = 0.01             # a tier that has just come back takes less than this part


class TierNews(object):
    """Tells `log` of each change once. What is so from the start, and as it should be, is no news."""

    def __init__(self, log):
        self._log = log
        self._told = None            # the tier that people know of
        self.best_named = 1          # tier, by the settings
        self._return = 0

    def read(self, settings):
        named = [tier_of(one.options) for one in settings.backends + settings.ring_domains]
        self.best_named = min(named) if named and not settings.servers_file else 1
        self._return = settings.tier_return

    def tell(self, pool):
        """Returns whether there was something to tell."""
        tier, former = pool.tier, self._told
        if tier is None or tier == former:
            return False
        self._told = tier
        best = min([self.best_named] + [member.tier for member in pool.members])
        if former is None and tier == best:
            return False
        of_tier = [member for member in pool.members if member.tier == tier]
        told = dict(tier=tier, up=sum(member.state in (UP, UNCHECKED) for member in of_tier), known=len(of_tier))
        text = 'new sessions go to tier {tier}: {up} of {known} servers up'
        if best < tier:
            better = sorted(set([best] + [member.tier for member in pool.members if member.tier < tier]))
            text += '; tier {better} takes none' if len(better) == 1 else '; tiers {better} take none'
            self._log.warning('tier_changed', text, better=' and '.join(map(str, better)), **told)
        elif pool.tier_parts()[tier] < RETURNING:
            self._log.info('tier_changed', text + '; its share grows for {seconds:.0f} s', seconds=self._return, **told)
        else:
            self._log.info('tier_changed', text, **told)
        return True
