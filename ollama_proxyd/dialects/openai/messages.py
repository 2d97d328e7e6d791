"""OpenAI's messages, read into the core's words."""

from collections.abc import Iterable

import msgspec

from ollama_proxyd.core.errors import ErrorKind, ProxyError
from ollama_proxyd.core.requests import Audio, Image, Json, Message, Part, Text, ToolCall
from ollama_proxyd.dialects.framing.binary import checked_base64
from ollama_proxyd.dialects.openai.media import refuse_remote
from ollama_proxyd.dialects.openai.refusals import unsupported

ROLES = {"developer": "system", "function": "tool"}
"""Roles that are another name for one that every dialect has."""


class Url(msgspec.Struct):
    """Where a part's image is."""

    url: str


class Sound(msgspec.Struct):
    """A part's audio."""

    data: str
    format: str


class ContentPart(msgspec.Struct):
    """A part of a message as it comes."""

    type: str
    text: str | None = None
    refusal: str | None = None
    image_url: Url | str | None = None
    input_audio: Sound | None = None


class Function(msgspec.Struct):
    """The function of a tool call; some clients send its arguments as an object."""

    name: str
    arguments: str | dict[str, Json] | None = None


class Call(msgspec.Struct):
    """A tool call as it comes."""

    function: Function
    id: str | None = None


class WireMessage(msgspec.Struct):
    """A message as it comes."""

    role: str
    content: str | list[ContentPart] | None = None
    name: str | None = None
    tool_calls: list[Call] | None = None
    function_call: Function | None = None
    audio: Json = None
    tool_call_id: str | None = None
    reasoning: str | None = None
    reasoning_content: str | None = None


def parse_messages(messages: Iterable[WireMessage]) -> tuple[Message, ...]:
    """The conversation; a tool's answer gets the name of the tool that its call named."""
    tool_names: dict[str, str] = {}
    parsed = []
    for index, message in enumerate(messages):
        if message.audio is not None:
            raise unsupported(f"messages[{index}].audio", "the chosen backend does not keep what was said")
        calls = _calls(message)
        tool_names.update((call.id, call.name) for call in calls if call.id is not None)
        parsed.append(
            Message(
                role=ROLES.get(message.role, message.role),
                parts=_parts(message.content, f"messages[{index}].content"),
                thinking=message.reasoning_content or message.reasoning,
                tool_calls=calls,
                tool_call_id=message.tool_call_id,
                name=message.name or tool_names.get(message.tool_call_id or ""),
            )
        )
    return tuple(parsed)


def _calls(message: WireMessage) -> tuple[ToolCall, ...]:
    """The tools that were called; `function_call` is the older word for a single one."""
    calls = tuple(_call(call.function, call.id) for call in message.tool_calls or ())
    return calls if message.function_call is None else (*calls, _call(message.function_call, None))


def _call(function: Function, call_id: str | None) -> ToolCall:
    arguments = function.arguments
    if not isinstance(arguments, str):
        arguments = msgspec.json.encode(arguments or {}).decode()
    return ToolCall(name=function.name, arguments=arguments, id=call_id)


def _parts(content: str | list[ContentPart] | None, path: str) -> tuple[Part, ...] | None:
    if content is None:
        return None
    if isinstance(content, str):
        return (Text(content),)
    return tuple(_part(part, f"{path}[{index}]") for index, part in enumerate(content))


def _part(part: ContentPart, path: str) -> Part:
    text = part.text if part.type == "text" else part.refusal if part.type == "refusal" else None
    if text is not None:
        return Text(text)
    if part.type == "image_url" and part.image_url is not None:
        url = part.image_url if isinstance(part.image_url, str) else part.image_url.url
        return parse_image(url, f"{path}.image_url")
    if part.type == "input_audio" and part.input_audio is not None:
        return Audio(checked_base64(part.input_audio.data, f"{path}.input_audio.data"), part.input_audio.format)
    if part.type in ("text", "refusal", "image_url", "input_audio"):
        raise ProxyError(ErrorKind.INVALID_REQUEST, f"{path}.{part.type} is required", param=f"{path}.{part.type}")
    raise unsupported(f"{path}.type", f"parts of type '{part.type}' have no translation")


def parse_image(url: str, path: str) -> Image:
    """The image in a data: URI, or in plain base64."""
    refuse_remote(url, path)
    if not url.startswith("data:"):
        return Image(checked_base64(url, path))
    head, comma, data = url[5:].partition(",")
    media_type, _, encoding = head.partition(";")
    if not comma or not encoding.endswith("base64"):
        raise ProxyError(ErrorKind.INVALID_REQUEST, f"{path} is not a base64 data URI", param=path)
    return Image(checked_base64(data, path), media_type or None)
