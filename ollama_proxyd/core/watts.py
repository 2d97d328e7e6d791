"""The watts that a device was measured to draw at work: means over time, as they are and not by their logarithms."""

from math import exp, inf

from ollama_proxyd.core.values import replace, value

MORE_POWER = 0.1
"""How much more of its watts a device draws for each further request of a batch, until that is measured."""
MOST_W = 2000.0
"""No device of a laptop or a workstation draws more; a sensor that says so is mistaken."""
ENOUGH_S = 2.0
"""Watts that were measured for less time than this stand for nothing yet."""
WATTS_MEMORY_S = 60.0
"""How long work lasts after which watts measured before it weigh a third."""


@value
class Watts:
    """What a backend's device draws while that backend works on it: the mean over the `seconds` of work measured."""

    power_w: float
    seconds: float
    more: float | None = None
    """How much more of them each further request of a batch makes it draw; None until that was measured."""

    def first_guess(self) -> "Watts":
        """The same for other conditions: what is measured there soon counts more."""
        return replace(self, seconds=min(self.seconds, ENOUGH_S))

    @property
    def is_settled(self) -> bool:
        """Whether it was measured long enough to count."""
        return self.seconds >= ENOUGH_S and is_plausible_w(self.power_w)


def learn_watts(watts: Watts | None, power_w: float, seconds: float, under_way: float = 1.0) -> Watts | None:
    """The watts after `seconds` more of work at `power_w`, with so many requests; what cannot be teaches nothing.

    Time weighs, not the number of readings. At first all of it weighs alike, later the past fades. Power is averaged
    as it is and not by its logarithm, since watts times seconds are joules.
    """
    if not is_plausible_w(power_w) or not 0 < seconds < inf:
        return watts
    others, recent = max(under_way - 1, 0.0), 1 - exp(-seconds / WATTS_MEMORY_S)
    if watts is not None and watts.is_settled and others > _ALONE:
        more = min(max((power_w / watts.power_w - 1) / others, 0.0), 1.0)
        known = MORE_POWER if watts.more is None else watts.more
        return replace(watts, more=known + recent * (more - known))
    power_w /= 1 + MORE_POWER * others
    if watts is None:
        return Watts(power_w, seconds)
    weight = max(recent, seconds / (watts.seconds + seconds))
    return Watts(watts.power_w + weight * (power_w - watts.power_w), watts.seconds + seconds, watts.more)


_ALONE = 0.1
"""So many others on the mean count as none."""


def is_plausible_w(power_w: float) -> bool:
    """Whether a device at work can draw this: nothing draws nothing."""
    return 0 < power_w <= MOST_W
