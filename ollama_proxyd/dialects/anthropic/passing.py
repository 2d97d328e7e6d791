"""What clients of Anthropic's API read of an answer, as strictly as the strictest of them."""

from collections.abc import Mapping
from typing import Annotated, ClassVar

import msgspec

from ollama_proxyd.core.events import FinishReason
from ollama_proxyd.core.requests import Json
from ollama_proxyd.dialects.anthropic.answer import REASONS, finish_reason
from ollama_proxyd.dialects.framing.jsonbody import object_in
from ollama_proxyd.dialects.framing.passing import Count, Form, Passed

Reason = Annotated[str, msgspec.Meta(pattern=rf"^({'|'.join(REASONS)})$")]
"""Strict clients have a list of them."""
_WORDS = {FinishReason.STOP: "end_turn", FinishReason.LENGTH: "max_tokens", FinishReason.TOOL_CALLS: "tool_use"}


def _with_known_reason(told: dict[str, Json]) -> dict[str, Json]:
    word = told.get("stop_reason")
    if not isinstance(word, str) or word in REASONS:
        return told
    return {**told, "stop_reason": _WORDS.get(finish_reason(word), "refusal")}


class _Usage(Passed):
    input_tokens: Count | None = None
    output_tokens: Count | None = None


class _Said(Passed):
    type: str | None = None
    text: str | None = None
    thinking: str | None = None
    partial_json: str | None = None
    signature: str | None = None
    id: str | None = None
    name: str | None = None
    stop_reason: Reason | None = None
    stop_sequence: str | None = None

    @classmethod
    def prepared(cls, told: dict[str, Json]) -> dict[str, Json]:
        """The reason in Anthropic's words."""
        return _with_known_reason(told)


class _Message(Passed):
    content: list[_Said]
    error: None = None
    id: str = ""
    type: str = "message"
    role: str = "assistant"
    model: str = ""
    stop_reason: Reason | None = None
    stop_sequence: str | None = None
    usage: _Usage | None = None
    stand_ins: ClassVar = {"type": "message", "role": "assistant", "model": "", "id": ""}


class _Whole(_Message, kw_only=True):
    stop_reason: Reason

    @classmethod
    def prepared(cls, told: dict[str, Json]) -> dict[str, Json]:
        """A whole answer that does not say why it ended has stopped, and one may be its text alone."""
        content, told = told.get("content"), _with_known_reason(told)
        words = {"content": [{"type": "text", "text": content}]} if isinstance(content, str) else {}
        return {**told, **words, "stop_reason": told.get("stop_reason") or "end_turn"}


class _Event(Passed):
    type: str
    error: None = None
    index: Count | None = None
    message: _Message | None = None
    content_block: _Said | None = None
    delta: _Said | None = None
    usage: _Usage | None = None

    @classmethod
    def prepared(cls, told: dict[str, Json]) -> dict[str, Json]:
        """A message that starts holds nothing yet."""
        message = told.get("message")
        return {**told, "message": {"content": [], **message}} if isinstance(message, dict) else told


EVENTS = Form(_Event, ("type",), (b"event: content_block_delta\ndata: ", b"\n\n"))
MESSAGE = Form(_Whole, ("content", "stop_reason"))


def with_stop(told: Mapping[str, Json]) -> dict[str, Json]:
    """What ended a message: llama-server names the client's own sequence, and calls it the end of a turn."""
    is_stopped = bool(told.get("stop_sequence")) and told.get("stop_reason") == "end_turn"
    return {**told, "stop_reason": "stop_sequence"} if is_stopped else dict(told)


class StopReasons:
    """The reason in a stream that passes on, where it is another than the engine says."""

    def concern(self, block: bytes) -> bool:
        """Whether a block may have to be written anew."""
        return b'"stop_sequence"' in block

    def mended(self, payload: bytes) -> bytes:
        """The event as clients need it; the same object where it is so already."""
        told = object_in(payload) or {}
        delta = told.get("delta")
        if not isinstance(delta, dict) or (mended := with_stop(delta)) == delta:
            return payload
        return msgspec.json.encode({**told, "delta": mended})
