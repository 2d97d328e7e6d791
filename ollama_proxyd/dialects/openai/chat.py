"""OpenAI's chat completions as they come from a client."""

from dataclasses import replace

import msgspec

from ollama_proxyd.core.errors import ErrorKind, ProxyError
from ollama_proxyd.core.requests import Chat, Hints, Json, Operation, Options, Request
from ollama_proxyd.dialects.framing.jsonbody import convert_typed, decode_object, decode_typed
from ollama_proxyd.dialects.framing.limits import check_messages
from ollama_proxyd.dialects.openai.formats import (
    Reasoning,
    ResponseFormat,
    check_top_logprobs,
    parse_format,
    parse_think,
)
from ollama_proxyd.dialects.openai.media import Media, find_media
from ollama_proxyd.dialects.openai.messages import WireMessage, parse_messages
from ollama_proxyd.dialects.openai.options import parse_options
from ollama_proxyd.dialects.openai.refusals import refuse_untranslatable
from ollama_proxyd.dialects.openai.requests import STRUCTURAL, Head, request_of

_TEMPLATE_THINKING = frozenset({"enable_thinking", "reasoning_effort"})


class MessageHead(msgspec.Struct):
    """A message as far as routing looks: its content stays the client's bytes."""

    role: str
    content: msgspec.Raw = msgspec.Raw(b"null")


class ChatHead(Head):
    """What a chat tells routing."""

    messages: list[MessageHead] | None = None


class ChatBody(msgspec.Struct):
    """The structure of a chat; everything else in it is a setting."""

    messages: list[WireMessage]
    tools: list[dict[str, Json]] | None = None
    response_format: ResponseFormat | None = None
    reasoning_effort: str | None = None
    reasoning: Reasoning | None = None
    chat_template_kwargs: dict[str, Json] | None = None
    logprobs: bool | None = None
    top_logprobs: int | None = None


_HEAD = msgspec.json.Decoder(ChatHead)
_STRUCTURE = STRUCTURAL.union(ChatBody.__struct_fields__)


def parse(body: bytes, hints: Hints) -> Request:
    """The request for a chat; its messages are read in full only on demand."""
    head = decode_typed(_HEAD, body)
    if not head.messages:
        raise ProxyError(ErrorKind.INVALID_REQUEST, "[] is too short - 'messages'")
    check_messages(head.messages)
    images = size_bytes = 0
    for index, message in enumerate(head.messages):
        media = find_media(message.content, f"messages[{index}].content")
        images += media.images
        size_bytes += media.size_bytes
    return request_of(head, body, hints, (Operation.CHAT, "chat", parse_content), Media(images, size_bytes))


def parse_content(body: bytes) -> Chat:
    """The whole content of a chat."""
    fields = decode_object(body)
    refuse_untranslatable(fields)
    chat = convert_typed(fields, ChatBody)
    template = chat.chat_template_kwargs or {}
    effort = chat.reasoning_effort or (chat.reasoning.effort if chat.reasoning else None)
    return Chat(
        messages=parse_messages(chat.messages),
        tools=tuple(chat.tools or ()),
        format=parse_format(chat.response_format),
        think=parse_think(effort, template),
        logprobs=chat.logprobs,
        top_logprobs=check_top_logprobs(chat.top_logprobs),
        options=_options(fields, template),
    )


def _options(fields: dict[str, Json], template: dict[str, Json]) -> Options:
    """The settings; what else the client set for the chat template has no canonical name."""
    options = parse_options(fields, _STRUCTURE)
    rest = {name: value for name, value in template.items() if name not in _TEMPLATE_THINKING}
    if not rest:
        return options
    return replace(options, unknown={**options.unknown, "chat_template_kwargs": rest})
