"""Reads OpenAI's messages; media in them are found cheaply, and never fetched here."""

from collections.abc import Iterable

import msgspec

from ollama_proxyd.core.requests import Audio, Image, Message, Part, Text, ToolCall
from ollama_proxyd.core.values import value
from ollama_proxyd.dialects.framing.binary import checked_base64
from ollama_proxyd.dialects.framing.jsonbody import UNREADABLE, invalid, invalid_request
from ollama_proxyd.dialects.openai.options import unsupported
from ollama_proxyd.dialects.openai.request import ContentPart, RequestCall, RequestFunction, WireMessage

_PARTS = msgspec.json.Decoder(list[dict[str, msgspec.Raw]])


@value
class Media:
    """How many images a message holds, how many by address, and how many bytes all its media take in the body."""

    images: int = 0
    size_bytes: int = 0
    addresses: int = 0


NO_MEDIA = Media()

_MEDIA_KEYS = ("_url", "_audio", "file")
"""How the keys of a part end under which media stand."""

_WEB = "https://"
"""How the address of an image begins that a backend elsewhere may be asked to fetch."""

_JPEG = "/9j/"
"""The base64 of a picture that looks like a path."""


def find_media(content: msgspec.Raw, field: str) -> Media:
    """The media in a message's content; raises INVALID_REQUEST for an address that is no image's on the web."""
    first = bytes(memoryview(content)[:1])
    if first in (b'"', b"n"):
        return NO_MEDIA
    if first != b"[":
        kind = "object" if first == b"{" else "boolean" if first in (b"t", b"f") else "number"
        raise invalid_request(f"invalid message content type: {kind} ({field})")
    try:
        parts = _PARTS.decode(content)
        return _sum_of(parts, field)
    except UNREADABLE as error:
        raise invalid(error) from error


def _sum_of(parts: list[dict[str, msgspec.Raw]], field: str) -> Media:
    images = size_bytes = addresses = 0
    for index, part in enumerate(parts):
        for key, raw in part.items():
            if not key.endswith(_MEDIA_KEYS):
                continue
            value = msgspec.json.decode(raw)
            address = value.get("url") if isinstance(value, dict) else value
            if isinstance(address, str):
                is_on_the_web = key == "image_url" and address[: len(_WEB)].lower() == _WEB
                addresses += is_on_the_web
                if not is_on_the_web:
                    refuse_remote(address, f"{field}[{index}].{key}")
            images += key == "image_url"
            size_bytes += len(memoryview(raw))
    return Media(images, size_bytes, addresses)


def refuse_remote(url: str, field: str) -> None:
    """Raise INVALID_REQUEST unless the URL is data: or plain base64; some servers would open a path."""
    if url.startswith("data:"):
        return
    if ":" in url[:64]:
        what = field.rpartition(".")[2].removesuffix("_url")
        why = "are not currently supported, please use base64 encoded data instead"
        raise invalid_request(f"{what} URLs {why} ({field})")
    if url.startswith("/") and not url.startswith(_JPEG):
        raise invalid_request(f"{field} is a path, and no file is opened", param=field)
    checked_base64(url, field)


ROLES = {"developer": "system", "function": "tool"}
"""Roles that are another name for one that every dialect has."""


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
    calls = tuple(_call(_function(call), call.id) for call in message.tool_calls or ())
    return calls if message.function_call is None else (*calls, _call(message.function_call, None))


def _function(call: RequestCall) -> RequestFunction:
    """What was called; the text that a custom tool was given is told as its only argument."""
    if call.function is not None:
        return call.function
    if call.custom is None:
        raise invalid_request("a tool call lacks its function", "messages.tool_calls.function")
    return RequestFunction(call.custom.name, {"input": call.custom.input})


def _call(function: RequestFunction, call_id: str | None) -> ToolCall:
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


_TEXTS = frozenset({"text", "input_text", "output_text"})
"""The word of chats, and those of the Responses API, which some clients and servers take for the same."""


def _part(part: ContentPart, path: str) -> Part:
    text = part.text if part.type in _TEXTS else part.refusal if part.type == "refusal" else None
    if text is not None:
        return Text(text)
    if part.type == "image_url" and part.image_url is not None:
        url = part.image_url if isinstance(part.image_url, str) else part.image_url.url
        return parse_image(url, f"{path}.image_url")
    if part.type == "input_audio" and part.input_audio is not None:
        return Audio(checked_base64(part.input_audio.data, f"{path}.input_audio.data"), part.input_audio.format)
    if part.type in ("text", "refusal", "image_url", "input_audio"):
        raise invalid_request(f"{path}.{part.type} is required", param=f"{path}.{part.type}")
    raise unsupported(f"{path}.type", f"parts of type '{part.type}' have no translation")


def parse_image(url: str, path: str) -> Image:
    """The image in a data: URI, or in plain base64."""
    refuse_remote(url, path)
    if not url.startswith("data:"):
        return Image(checked_base64(url, path))
    head, comma, data = url[5:].partition(",")
    media_type, _, encoding = head.partition(";")
    if not comma or not encoding.endswith("base64"):
        raise invalid_request(f"{path} is not a base64 data URI", param=path)
    return Image(checked_base64(data, path), media_type or None)
