"""What finished requests teach about a backend's speed: exponentially weighted means, never from failures."""

from dataclasses import dataclass


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
