"""Reads /api/chat requests: at once what routing needs, the whole conversation on demand."""

import msgspec

from ollama_proxyd.core.requests import Chat, Hints, Json, Message, Operation, Part, Request, Text, ToolCall
from ollama_proxyd.dialects.framing.jsonbody import decode_fields
from ollama_proxyd.dialects.framing.limits import check_messages
from ollama_proxyd.dialects.ollama import settings
from ollama_proxyd.dialects.ollama.bodies import decode, refusal
from ollama_proxyd.dialects.ollama.heads import CANONICAL_FIELDS, Head, request_of
from ollama_proxyd.dialects.ollama.media import NO_MEDIA, media_bytes, read_media

_GO_NAME = "ChatRequest"
_ARGUMENTS = "messages.tool_calls.function.arguments"


class _MessageHead(msgspec.Struct):
    images: msgspec.Raw = NO_MEDIA


class _Head(Head):
    messages: list[_MessageHead] | None = None


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
    if not head.model:
        raise refusal("model is required", "model")
    check_messages(head.messages)
    call = (Operation.CHAT, "chat", read_content)
    images_bytes = sum(media_bytes(message.images) for message in head.messages or ())
    return request_of(head, body, hints, call, only_loads=not head.messages, images_bytes=images_bytes)


def read_content(body: bytes) -> Chat:
    """The whole request in the core's words."""
    read = decode(body, _BODY, _GO_NAME)
    settings.check_options(read.options)
    return Chat(
        messages=tuple(_message(message, index) for index, message in enumerate(read.messages or ())),
        tools=tuple(read.tools or ()),
        format=settings.read_format(read.format),
        think=settings.check_think(read.think),
        logprobs=read.logprobs,
        top_logprobs=read.top_logprobs,
        options=settings.read_options(
            read.options, decode_fields(body), canonical=CANONICAL_FIELDS, read=_Body.__struct_fields__
        ),
    )


def _message(read: _Message, index: int) -> Message:
    parts: list[Part] = [Text(read.content)] if read.content is not None else []
    parts += (read_media(data, f"messages[{index}].images[{at}]") for at, data in enumerate(read.images or ()))
    return Message(
        role=(read.role or "").lower(),
        parts=tuple(parts) if parts else None,
        thinking=read.thinking,
        tool_calls=tuple(_tool_call(call) for call in read.tool_calls or ()),
        tool_call_id=read.tool_call_id,
        name=read.tool_name,
    )


def _tool_call(read: _ToolCall) -> ToolCall:
    try:
        text = bytes(read.function.arguments).decode()
    except UnicodeDecodeError as error:
        raise refusal("the arguments of a tool call are not valid UTF-8", _ARGUMENTS) from error
    if text in {"", "null"}:
        text = "{}"
    if not text.startswith("{"):
        raise refusal("the arguments of a tool call must be a JSON object", _ARGUMENTS)
    return ToolCall(name=read.function.name or "", arguments=text, id=read.id)
