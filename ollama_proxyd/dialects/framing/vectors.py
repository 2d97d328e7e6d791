"""Vectors in JSON, each read by itself: one step over a thousand of them would keep other requests waiting."""

from collections.abc import Sequence

import msgspec

from ollama_proxyd.dialects.framing.jsonbody import readable

NO_VECTOR = "the backend sent a vector that is no list of numbers"

_NUMBERS = msgspec.json.Decoder(tuple[float, ...])
_LOOSE_NUMBERS = msgspec.json.Decoder(tuple[float, ...], strict=False)
_LISTS = msgspec.json.Decoder(list[msgspec.Raw])


def is_vector(raw: msgspec.Raw) -> bool:
    """Whether it is a list of numbers, and holds one at least."""
    numbers = readable(_NUMBERS, raw)
    return bool(numbers)


def vector_in(raw: msgspec.Raw) -> Sequence[float] | None:
    """The numbers of a vector, perhaps written as text or within another list; None where there are none."""
    found = readable(_NUMBERS, raw) or readable(_LOOSE_NUMBERS, raw)
    if found:
        return found
    inner = readable(_LISTS, raw)
    return readable(_NUMBERS, inner[0]) or None if inner is not None and len(inner) == 1 else None
