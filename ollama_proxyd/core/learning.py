"""What finished requests teach about a backend's speed and watts: weighted means, never from failures."""

from dataclasses import dataclass
from math import exp, inf

DECAY = 0.2
"""What a new sample weighs once there are many; the first ones weigh 1, 1/2, 1/3 … until that falls below this."""
FASTEST_TPS = 100_000.0
"""No device writes faster; an engine that says so has a broken clock."""


MOST_W = 2000.0
"""No device of a laptop or a workstation draws more; a sensor that says so is mistaken."""
ENOUGH_S = 2.0
"""Watts that were measured for less time than this stand for nothing yet."""
WATTS_MEMORY_S = 60.0
"""How long work lasts after which watts measured before it weigh a third."""


@dataclass(frozen=True, slots=True)
class Watts:
    """What a backend's device draws while that backend works on it: the mean over the `seconds` of work measured."""

    power_w: float
    seconds: float

    @property
    def is_settled(self) -> bool:
        """Whether it was measured long enough to count."""
        return self.seconds >= ENOUGH_S and is_plausible_w(self.power_w)


@dataclass(frozen=True, slots=True)
class Speed:
    """Measured speed of one model on one backend; None until a request showed it.

    ttft_s: seconds to the first token. decode_tps: tokens per second after it. output_tokens: a typical answer.
    samples: how many requests taught this.
    """

    ttft_s: float | None = None
    decode_tps: float | None = None
    output_tokens: float | None = None
    samples: int = 0


def learn(
    speed: Speed | None,
    *,
    ttft_s: float | None = None,
    decode_tps: float | None = None,
    output_tokens: float | None = None,
) -> Speed:
    """The speed after one more finished request; None and absurd values (not above zero, not finite) teach nothing.

    Only answers that came whole are samples: a failure says nothing about speed, so callers never pass one. Configured
    values take no part here; `blend` weighs them against measurements at each decision, so a changed configuration
    counts at once.
    """
    before = speed or Speed()
    decode_tps = decode_tps if decode_tps is None or decode_tps <= FASTEST_TPS else None
    ttft_s, decode_tps, output_tokens = _sane(ttft_s), _sane(decode_tps), _sane(output_tokens)
    if ttft_s is None and decode_tps is None and output_tokens is None:
        return before
    weight = max(DECAY, 1 / (before.samples + 1))
    return Speed(
        ttft_s=_next(before.ttft_s, ttft_s, weight),
        decode_tps=_next(before.decode_tps, decode_tps, weight),
        output_tokens=_next(before.output_tokens, output_tokens, weight),
        samples=before.samples + 1,
    )


def blend(prior: float, measured: float | None, samples: int) -> float:
    """The value to expect: the prior weighs as much as one sample, so one outlier does not replace it."""
    sample = _sane(measured)
    if sample is None or samples < 1:
        return prior
    return _mean(prior, sample, samples / (samples + 1)) if prior > 0 else sample


def learn_watts(watts: Watts | None, power_w: float, seconds: float) -> Watts | None:
    """The watts after `seconds` more of work at `power_w`; what cannot be teaches nothing.

    Time weighs, not the number of readings. At first all of it weighs alike, later the past fades. Power is averaged
    as it is and not by its logarithm, since watts times seconds are joules.
    """
    if not is_plausible_w(power_w) or _sane(seconds) is None:
        return watts
    if watts is None:
        return Watts(power_w, seconds)
    weight = max(1 - exp(-seconds / WATTS_MEMORY_S), seconds / (watts.seconds + seconds))
    return Watts(watts.power_w + weight * (power_w - watts.power_w), watts.seconds + seconds)


def is_plausible_w(power_w: float) -> bool:
    """Whether a device at work can draw this: nothing draws nothing."""
    return 0 < power_w <= MOST_W


def _next(before: float | None, sample: float | None, weight: float) -> float | None:
    if before is None or sample is None:
        return sample if before is None else before
    return _mean(before, sample, weight)


def _mean(before: float, sample: float, weight: float) -> float:
    """The weighted geometric mean: a value ten times too high moves it no further than one ten times too low."""
    return float(before ** (1 - weight) * sample**weight)


def _sane(value: float | None) -> float | None:
    return value if value is not None and 0 < value < inf else None
