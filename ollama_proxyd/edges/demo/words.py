"""What a simulated device says: who it is, and that nothing here was thought."""

import hashlib
import math
from collections.abc import Iterator
from itertools import cycle

from ollama_proxyd.edges.demo.devices import Device

TYPICAL_TOKENS = 200
"""How long an answer is when the request does not limit it."""

_VECTOR_LENGTH = 64


def tokens(device: Device) -> Iterator[str]:
    """Words without end; each token is one word with the space before it."""
    timing = f"begin after {device.ttft_s:g} seconds, say {device.decode_tps:g} words a second"
    sentences = (
        f"I am the simulated {device.label} of ollama-proxyd's demo fleet.",
        "No model is loaded and nothing was computed: these words are fixed.",
        f"This is what I pretend to do: draw {device.power_w:g} watts, {timing}.",
        "The way here was real: ollama-proxyd compared every device's energy and speed for your request.",
        "Switch the efficiency mode and ask again, and another device may answer.",
        "Configure an engine of your own, and I will keep silent.",
    )
    words = cycle(" ".join(sentences).split())
    yield next(words)
    for word in words:
        yield f" {word}"


def vector(text: str) -> tuple[float, ...]:
    """A vector of unit length that is the same for the same text, and means nothing."""
    digest = hashlib.shake_128(text.encode()).digest(2 * _VECTOR_LENGTH)
    numbers = [int.from_bytes(digest[at : at + 2], "little") / 32767.5 - 1 for at in range(0, len(digest), 2)]
    length = math.hypot(*numbers)
    return tuple(number / length for number in numbers)
