"""SRV records to servers, tiers and weights: RFC 2782. Pure."""
from __future__ import absolute_import, division, print_function

from collections import namedtuple

from ..net.endpoints import canonical_ip
from ..pool.merging import Options
from ..resolver.answers import FOUND, empty

#: One server of an SRV name, as its records say.
Target = namedtuple('Target', 'name port priority weight')

MAX_TARGETS = 256
_MAX_TIER = 9
_NOT_AVAILABLE = 'the name says that this service is not available (target .)'


def targets_of(values, port=None):
    """([Target, ...], [(record that is no use, why), ...]) of the texts of SRV records; `port` stands in for that of the
    records. The root as target is none, and not worth a word.

    They are sorted by priority, then by name. One target and port that stands there twice has the better priority, and
    with equal ones the sum of the weights.
    """
    found, useless = {}, []
    for value in values:
        priority, weight, its_port, name = value.split(' ', 3)
        priority, weight, its_port = int(priority), int(weight), port or int(its_port)
        if name == '.':
            continue
        reason = _why_useless(name, its_port)
        if reason:
            useless.append((value, reason))
            continue
        former = found.get((name, its_port))
        if former and former.priority == priority:
            weight += former.weight
        if not former or priority <= former.priority:
            found[name, its_port] = Target(name, its_port, priority, weight)
    return sorted(found.values(), key=lambda target: (target.priority, target.name, target.port)), useless


def _why_useless(name, port):
    if '\\' in name:
        return 'its target is no host name'
    if canonical_ip(name):
        return 'its target is an address and no name'
    return None if port else 'its port is 0'


def usable(answer, port=None):
    """The answer, or an empty one where no record of it names a server. The root as the only target says so: "decidedly not
    available"."""
    if answer.kind != FOUND or targets_of(answer.values, port)[0]:
        return answer
    not_available = all(value.endswith(' .') for value in answer.values)
    return empty(_NOT_AVAILABLE if not_available else 'no usable record', answer.names, answer.ttl)


def options_of(targets, written=None):
    """{Target: merging.Options}. `written` are those of the name as a whole.

    The lowest priority is the tier of the name (1 if none is written), the next one the tier behind it, and so on. Weights
    count among those of one priority: they are scaled to a mean of 1 there. A weight of 0 beside others is a very small
    chance, as RFC 2782 has it, and no sign of maintenance. What makes no difference, and is not written, is not said: it
    would count where another source names the server, too.
    """
    weight, first, limit, _ = written or Options(None, None, None)
    priorities = sorted(set(target.priority for target in targets))
    says_tier = first is not None or len(priorities) > 1
    options = {}
    for number, priority in enumerate(priorities):
        tier = min((first or 1) + number, _MAX_TIER) if says_tier else None
        of_tier = [target for target in targets if target.priority == priority]
        says_weight = weight is not None or len(set(target.weight for target in of_tier)) > 1
        for target, part in zip(of_tier, scaled([target.weight for target in of_tier])):
            options[target] = Options((1 if weight is None else weight) * part if says_weight else None, tier, limit,
                                      target.weight)
    return options


def scaled(weights):
    """The weights with a mean of 1: all equal when all are 0, else a thousandth of the largest in place of 0, but no more
    than the smallest of the others."""
    if not any(weights):
        return [1.0] * len(weights)
    least = min(max(weights) / 1000, min(weight for weight in weights if weight))
    weights = [weight or least for weight in weights]
    mean = sum(weights) / len(weights)
    return [weight / mean for weight in weights]
