"""Requests and frames that the tests of the OpenAI dialect share."""

from typing import Any

import msgspec

from ollama_proxyd.core.requests import Api, Content, Hints, Message, Operation, Request, Text
from ollama_proxyd.dialects.framing.sse import events
from ollama_proxyd.dialects.openai.parse import parse_chat

OPERATIONS = {"chat": Operation.CHAT, "generate": Operation.COMPLETION, "embed": Operation.EMBEDDING}


def encoded(fields: object) -> bytes:
    return msgspec.json.encode(fields)


def body_of(**fields: object) -> bytes:
    return encoded({"model": "tiny", "messages": [{"role": "user", "content": "hi"}], **fields})


def openai_chat(**fields: object) -> Request:
    return parse_chat(body_of(**fields), Hints())


def native(content: Content, endpoint: str = "chat", *, stream: bool = False) -> Request:
    return Request(OPERATIONS[endpoint], Api.OLLAMA, endpoint, "tiny", stream, b"{}", lambda: content)


def said(text: str, role: str = "user") -> Message:
    return Message(role, (Text(text),))


def frames_in(block: bytes) -> list[Any]:
    """The JSON of every event, [DONE] as a string."""
    return [data.decode() if data == b"[DONE]" else msgspec.json.decode(data) for data in events(block)]


def sse(*frames: object) -> bytes:
    return b"".join(
        b"data: " + (frame.encode() if isinstance(frame, str) else encoded(frame)) + b"\n\n" for frame in frames
    )


def chunk(delta: dict[str, object] | None = None, reason: str | None = None, **fields: object) -> dict[str, object]:
    choice = {"index": 0, "delta": delta or {}, "finish_reason": reason}
    return {"id": "c", "object": "completion.chunk", "choices": [choice], **fields}
