"""The beginnings of prompts, as blocks that are equal where two prompts are equal from their start."""

from collections.abc import Hashable

BLOCK_BYTES = 512
TOKENS_PER_BLOCK = 128.0
"""By four bytes a token, as prompts are estimated."""
MOST_BLOCKS = 256
"""What lies beyond these is not compared: 32,768 tokens."""


def blocks_of(start: Hashable, text: bytes) -> tuple[int, ...]:
    """A number for each whole block; it stands for all text before its end, and for `start`."""
    number, found = hash(start), []
    for at in range(0, min(len(text), MOST_BLOCKS * BLOCK_BYTES) - BLOCK_BYTES + 1, BLOCK_BYTES):
        number = hash((number, text[at : at + BLOCK_BYTES]))
        found.append(number)
    return tuple(found)
