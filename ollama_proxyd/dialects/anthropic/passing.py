"""What clients of Anthropic's API read of an answer, as strictly as the strictest of them."""

from typing import ClassVar

from ollama_proxyd.core.requests import Json
from ollama_proxyd.dialects.framing.passing import Count, Form, Passed


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
    stop_reason: str | None = None
    stop_sequence: str | None = None


class _Message(Passed):
    content: list[_Said]
    error: None = None
    id: str = ""
    type: str = "message"
    role: str = "assistant"
    model: str = ""
    stop_reason: str | None = None
    stop_sequence: str | None = None
    usage: _Usage | None = None
    stand_ins: ClassVar = {"type": "message", "role": "assistant", "model": "", "id": ""}


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
MESSAGE = Form(_Message, ("content", "stop_reason"))
