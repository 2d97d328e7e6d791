"""The beginnings of prompts, as blocks that are equal where two prompts are equal from their start."""

from collections.abc import Hashable
from typing import TypeAlias

from ollama_proxyd.core.fleet import BATCHING, BackendView
from ollama_proxyd.core.learning import CONTEXTS
from ollama_proxyd.core.requests import Operation, Request

BLOCK_BYTES = 512
TOKENS_PER_BLOCK = 128.0
"""By four bytes a token, as prompts are estimated."""
MOST_BLOCKS = 256
"""What lies beyond these is not compared: 32,768 tokens."""
MANY_PROMPTS = 64
"""So many prompts an engine is taken to keep whose cache has pages; others keep one for each slot."""

Blocks: TypeAlias = tuple[int, ...]
READ = frozenset({Operation.CHAT, Operation.COMPLETION})
"""What is read into such a cache."""


def blocks_of(start: Hashable, text: bytes) -> Blocks:
    """A number for each whole block; it stands for all text before its end, and for `start`."""
    number, found = hash(start), []
    for at in range(0, min(len(text), MOST_BLOCKS * BLOCK_BYTES) - BLOCK_BYTES + 1, BLOCK_BYTES):
        number = hash((number, text[at : at + BLOCK_BYTES]))
        found.append(number)
    return tuple(found)


def prompt_blocks(request: Request) -> Blocks:
    """The blocks of a request whose prompt takes time to read; none of a short one."""
    if request.operation not in READ or request.prompt_tokens <= CONTEXTS[0]:
        return ()
    return blocks_of((request.model, request.endpoint), request.body)


def shared_blocks(one: Blocks, other: Blocks) -> int:
    """How many blocks two prompts begin with alike: since each stands for all before it, one equal one tells enough."""
    low, high = 0, min(len(one), len(other))
    while low < high:
        middle = (low + high + 1) // 2
        low, high = (middle, high) if one[middle - 1] == other[middle - 1] else (low, middle - 1)
    return low


def kept_prompts(view: BackendView) -> int:
    """How many prompts an engine has in its cache."""
    return MANY_PROMPTS if view.spec.flavor in BATCHING else max(view.slots, 1)
