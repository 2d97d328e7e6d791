"""The commonest frame of a stream, read in one step: one piece of text, and nothing else that tells anything."""

from collections.abc import Sequence
from typing import Annotated, Literal

import msgspec

from ollama_proxyd.core.requests import Json
from ollama_proxyd.dialects.framing.jsonbody import readable

_START, _END = b"data: {", b"}\n\n"


class _Said(msgspec.Struct, forbid_unknown_fields=True):
    content: str
    role: str | None = None
    reasoning_content: None = None
    reasoning: None = None
    refusal: None = None
    tool_calls: None = None
    function_call: None = None


class _Choice(msgspec.Struct, forbid_unknown_fields=True):
    delta: _Said
    index: int = 0
    finish_reason: None = None
    logprobs: None = None
    stop_reason: None = None
    matched_stop: None = None


class _Frame(msgspec.Struct, forbid_unknown_fields=True):
    choices: Annotated[list[_Choice], msgspec.Meta(min_length=1, max_length=1)]
    object: Literal["chat.completion.chunk"] | None = None
    id: Json = None
    created: Json = None
    model: Json = None
    system_fingerprint: Json = None
    usage: None = None
    timings: None = None


_FRAME = msgspec.json.Decoder(_Frame)


def plainly_split(block: bytes) -> Sequence[bytes]:
    """The frames of a block where their ends are the commonest; else the block as one."""
    if block.find(b"\n\n", 0, len(block) - 2) < 0 or b"\r" in block or not block.endswith(b"\n\n"):
        return (block,)
    return [frame + b"\n\n" for frame in block[:-2].split(b"\n\n")]


def plain_text(block: bytes) -> tuple[int, str] | None:
    """The answer's number and its words where a block is one such frame; None where it is anything else."""
    if not (block.startswith(_START) and block.endswith(_END)):
        return None
    if block.find(b"\n", 0, len(block) - 2) >= 0 or block.find(b"\r") >= 0:
        return None
    frame = readable(_FRAME, block[len(_START) - 1 :])
    if frame is None:
        return None
    choice = frame.choices[0]
    return (choice.index, choice.delta.content) if choice.delta.content else None
