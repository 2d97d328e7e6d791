"""Reads /api/chat requests: at once what routing needs, the whole conversation on demand."""

from functools import partial

import msgspec

from ollama_proxyd.core.requests import (
    Chat,
    Dialect,
    Hints,
    Json,
    LoadAction,
    Message,
    Operation,
    Part,
    Request,
    Text,
    ToolCall,
)
from ollama_proxyd.dialects.framing.jsonbody import decode_fields
from ollama_proxyd.dialects.ollama import settings
from ollama_proxyd.dialects.ollama.bodies import decode, refusal
from ollama_proxyd.dialects.ollama.media import NO_MEDIA, media_bytes, read_media

_GO_NAME = "ChatRequest"
_CANONICAL_FIELDS = ("keep_alive", "truncate", "shift")


class _MessageHead(msgspec.Struct):
    images: msgspec.Raw = NO_MEDIA


class _Head(msgspec.Struct):
    model: str | None = None
    messages: list[_MessageHead] | None = None
    stream: bool | None = None
    keep_alive: Json = None
    think: Json = None
    options: dict[str, Json] | None = None
    top_logprobs: int | None = None


class _Function(msgspec.Struct):
    name: str | None = None
    arguments: msgspec.Raw = msgspec.Raw(b"")


class _ToolCall(msgspec.Struct):
    function: _Function
    id: str | None = None


class _Message(msgspec.Struct):
    role: str | None = None
    content: str | None = None
    thinking: str | None = None
    images: list[str] | None = None
    tool_calls: list[_ToolCall] | None = None
    tool_name: str | None = None
    tool_call_id: str | None = None


class _Body(msgspec.Struct):
    model: str | None = None
    messages: list[_Message] | None = None
    stream: bool | None = None
    tools: list[dict[str, Json]] | None = None
    format: Json = None
    keep_alive: Json = None
    think: Json = None
    truncate: bool | None = None
    shift: bool | None = None
    options: dict[str, Json] | None = None
    logprobs: bool | None = None
    top_logprobs: int | None = None


_HEAD = msgspec.json.Decoder(_Head)
_BODY = msgspec.json.Decoder(_Body)


def parse(body: bytes, hints: Hints) -> Request:
    """The request as far as routing needs it; ProxyError(INVALID_REQUEST) in Ollama's words."""
    head = decode(body, _HEAD, _GO_NAME)
    settings.check_think(head.think)
    keep_alive_s = settings.keep_alive_s(head.keep_alive)
    settings.check_top_logprobs(head.top_logprobs)
    if not head.model:
        raise refusal("model is required", "model")
    settings.check_options(head.options)
    load_action = None
    if not head.messages:
        load_action = LoadAction.UNLOAD if keep_alive_s == 0 else LoadAction.LOAD
    images_bytes = sum(media_bytes(message.images) for message in head.messages or ())
    return Request(
        operation=Operation.CHAT,
        dialect=Dialect.OLLAMA,
        endpoint="chat",
        model=head.model,
        stream=head.stream is not False and load_action is None,
        body=body,
        content=partial(read_content, body),
        hints=hints,
        prompt_tokens=(len(body) - images_bytes) // 4,
        max_tokens=settings.answer_limit(head.options),
        needs_vision=images_bytes > 0,
        load_action=load_action,
    )


def read_content(body: bytes) -> Chat:
    """The whole request in the core's words."""
    read = decode(body, _BODY, _GO_NAME)
    settings.check_options(read.options)
    return Chat(
        messages=tuple(_message(message) for message in read.messages or ()),
        tools=tuple(read.tools or ()),
        format=settings.read_format(read.format),
        think=settings.check_think(read.think),
        logprobs=read.logprobs,
        top_logprobs=read.top_logprobs,
        options=settings.read_options(
            read.options, decode_fields(body), canonical=_CANONICAL_FIELDS, read=_Body.__struct_fields__
        ),
    )


def _message(read: _Message) -> Message:
    parts: list[Part] = [Text(read.content)] if read.content is not None else []
    parts.extend(read_media(data) for data in read.images or ())
    return Message(
        role=(read.role or "").lower(),
        parts=tuple(parts) if parts else None,
        thinking=read.thinking,
        tool_calls=tuple(_tool_call(call) for call in read.tool_calls or ()),
        tool_call_id=read.tool_call_id,
        name=read.tool_name,
    )


def _tool_call(read: _ToolCall) -> ToolCall:
    text = bytes(read.function.arguments).decode()
    if text in {"", "null"}:
        text = "{}"
    if not text.startswith("{"):
        raise refusal("the arguments of a tool call must be a JSON object", "messages.tool_calls.function.arguments")
    return ToolCall(name=read.function.name or "", arguments=text, id=read.id)
