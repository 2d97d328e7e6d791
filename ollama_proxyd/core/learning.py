"""What finished requests teach about a backend's speed: exponentially weighted means, never from failures."""

from dataclasses import dataclass
from math import inf

DECAY = 0.2
"""What a new sample weighs once there are many; the first ones weigh 1, 1/2, 1/3 … until that falls below this."""
FASTEST_TPS = 100_000.0
"""No device writes faster; an engine that says so has a broken clock."""


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

    Only answers that came whole are samples: a failure says nothing about speed, so callers never pass one.
    Configured values take no part here; `blend` weighs them against what was measured when a decision is made,
    so that a changed configuration counts at once.
    """
    before = speed or Speed()
    decode_tps = decode_tps if decode_tps is None or decode_tps <= FASTEST_TPS else None
    samples = tuple(_sane(value) for value in (ttft_s, decode_tps, output_tokens))
    if samples == (None, None, None):
        return before
    weight = max(DECAY, 1 / (before.samples + 1))
    return Speed(
        ttft_s=_next(before.ttft_s, samples[0], weight),
        decode_tps=_next(before.decode_tps, samples[1], weight),
        output_tokens=_next(before.output_tokens, samples[2], weight),
        samples=before.samples + 1,
    )


def blend(prior: float, measured: float | None, samples: int) -> float:
    """The value to expect: the prior weighs as much as one sample, so it is soon left but not at the first outlier."""
    sample = _sane(measured)
    if sample is None or samples < 1:
        return prior
    return _mean(prior, sample, samples / (samples + 1)) if prior > 0 else sample


def _next(before: float | None, sample: float | None, weight: float) -> float | None:
    if before is None or sample is None:
        return sample if before is None else before
    return _mean(before, sample, weight)


def _mean(before: float, sample: float, weight: float) -> float:
    """The weighted geometric mean: a value ten times too high moves it no further than one ten times too low."""
    return float(before ** (1 - weight) * sample**weight)


def _sane(value: float | None) -> float | None:
    return value if value is not None and 0 < value < inf else None
