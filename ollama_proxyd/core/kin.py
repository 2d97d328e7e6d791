"""What backends of one kind tell each other of a speed, and what of it is a backend's own."""

from collections.abc import Mapping

from ollama_proxyd.core.learning import Part, Speed
from ollama_proxyd.core.values import replace


def moved(speed: Speed, own_id: str, backend_id: str) -> Speed:
    """A speed as if another backend had shown it: what its own batch slows is that one's."""
    own_slows = speed.beside.get(own_id)
    return replace(speed, beside={} if own_slows is None else {backend_id: own_slows})


def as_kin(speed: Speed, own_id: str, backend_id: str) -> Speed:
    """A speed as a guess for another backend of its kind: one answer of that one replaces each part."""
    known: dict[Part, float | None] = {"ttft_s": speed.ttft_s, "decode_tps": speed.decode_tps}
    parts = frozenset(speed.longer.keys() | {part for part, value in known.items() if value is not None})
    guess = moved(speed, own_id, backend_id)
    return replace(
        guess, samples=0, weight=None, output_tokens=None, lengths={}, seen_once=parts, kin=own_id, guessed=parts
    )


def own(speed: Speed) -> Speed:
    """A speed without the parts that only kin has shown."""
    if not (guessed := speed.guessed):
        return speed
    return replace(
        speed,
        ttft_s=None if "ttft_s" in guessed else speed.ttft_s,
        decode_tps=None if "decode_tps" in guessed else speed.decode_tps,
        longer={part: known for part, known in speed.longer.items() if part not in guessed},
        crowds={part: crowd for part, crowd in speed.crowds.items() if part not in guessed},
        seen_once=speed.seen_once - guessed,
        guessed=frozenset(),
    )


def learned(speeds: Mapping[str, Speed]) -> dict[str, Speed]:
    """What a backend's own answers have shown of its models; what its kin showed is a guess."""
    return {model: own(speed) for model, speed in speeds.items() if speed.samples}
