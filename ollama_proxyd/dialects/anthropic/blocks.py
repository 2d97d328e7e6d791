"""Reads the blocks of Anthropic's messages; images in them are found cheaply, and never fetched here."""

from collections.abc import Iterable, Iterator
from typing import NamedTuple

import msgspec

from ollama_proxyd.core.errors import ErrorKind, ProxyError
from ollama_proxyd.core.requests import Image, Json, Message, Part, Text, ToolCall
from ollama_proxyd.core.text import cut
from ollama_proxyd.dialects.anthropic.request import Block, Source, WireMessage
from ollama_proxyd.dialects.framing.binary import checked_base64
from ollama_proxyd.dialects.framing.jsonbody import UNREADABLE, invalid, invalid_request

_BLOCKS = msgspec.json.Decoder(list[dict[str, msgspec.Raw]])
_SOURCE = msgspec.json.Decoder(Source)
_MOST_TOLD = 40
_MOST_LEVELS = 2
"""A content holds answers of tools, and these hold blocks."""
_WEB = "https://"
ROLES = frozenset({"user", "assistant", "system"})


class Media(NamedTuple):
    """How many images there are, how many by address, and how many bytes all take in the body."""

    images: int = 0
    size_bytes: int = 0
    addresses: int = 0


def find_media(content: msgspec.Raw, field: str, levels: int = _MOST_LEVELS) -> Media:
    """The images of a content, those of a tool's answer among them; ProxyError for what an engine might fetch else."""
    if bytes(memoryview(content)[:1]) != b"[":
        return Media()
    try:
        blocks = _BLOCKS.decode(content)
        found = [_media_of(block, f"{field}[{index}]", levels - 1) for index, block in enumerate(blocks)]
    except UNREADABLE as error:
        raise invalid(error) from error
    return total(found)


def total(found: Iterable[Media]) -> Media:
    """All media together."""
    return Media(*map(sum, zip(Media(), *found, strict=True)))


def _media_of(block: dict[str, msgspec.Raw], field: str, levels: int) -> Media:
    if "content" in block and not levels:
        raise invalid_request(f"{field}.content is nested too deeply", f"{field}.content")
    nested = find_media(block["content"], f"{field}.content", levels) if "content" in block else Media()
    if "source" not in block:
        return nested
    raw, is_image = block["source"], bytes(block.get("type", b"")) == b'"image"'
    if bytes(memoryview(raw)[:1]) == b'"':
        raise unsupported(field, "a block whose source is a text, such as a search_result, has no translation")
    source = _SOURCE.decode(raw)
    if source.type not in {"base64", "text"} and not (is_image and source.type == "url"):
        raise unsupported(f"{field}.source", f"a source of type '{source.type[:40]}' is Anthropic's own")
    address = source.url
    if address is not None and (not is_image or address[: len(_WEB)].lower() != _WEB):
        raise invalid_request(f"{field}.source.url must be the https address of an image", f"{field}.source.url")
    own = Media(int(is_image), len(memoryview(raw)), int(address is not None))
    return total((own, nested))


def unsupported(name: str, why: str) -> ProxyError:
    """The refusal of one field."""
    return ProxyError(ErrorKind.UNSUPPORTED, f"'{name}' is not supported here: {why}", param=name)


def parse_system(system: str | list[Block] | None) -> tuple[Message, ...]:
    """The system prompt as a message, none where it is empty."""
    parts = _parts(system or "", "system")
    return (Message("system", parts),) if parts else ()


def parse_messages(messages: Iterable[WireMessage]) -> tuple[Message, ...]:
    """The conversation; each answer of a tool is a message of its own, and gets the name of the tool."""
    names: dict[str, str] = {}
    found: list[Message] = []
    for index, message in enumerate(messages):
        field = f"messages[{index}]"
        if message.role not in ROLES:
            raise invalid_request(f"{field}.role must be user or assistant", f"{field}.role")
        if message.role == "assistant":
            found.append(_spoken(message.content, f"{field}.content"))
            names.update((call.id, call.name) for call in found[-1].tool_calls if call.id is not None)
        else:
            found += _asked(message, f"{field}.content", names)
    return tuple(found)


def _spoken(content: str | list[Block], field: str) -> Message:
    """What the model said; thinking that only Anthropic can read is left out."""
    if isinstance(content, str):
        return Message("assistant", (Text(content),))
    said: list[Part] = []
    thinking: list[str] = []
    calls: list[ToolCall] = []
    for index, block in enumerate(content):
        if block.type == "thinking":
            thinking.append(block.thinking or "")
        elif block.type == "tool_use":
            calls.append(_call(block, f"{field}[{index}]"))
        elif not _is_lost(block):
            said.append(_part(block, f"{field}[{index}]"))
    return Message("assistant", tuple(said), thinking="".join(thinking) or None, tool_calls=tuple(calls))


def _call(block: Block, field: str) -> ToolCall:
    if block.name is None or block.id is None:
        raise invalid_request(f"{field} needs an id and a name", field)
    return ToolCall(block.name, msgspec.json.encode(block.input or {}).decode(), block.id)


def _asked(message: WireMessage, field: str, names: dict[str, str]) -> Iterator[Message]:
    """A person's words, with answers of tools before them; other APIs let no tool answer with an image."""
    parts: list[Part] = []
    content = message.content
    for index, block in enumerate(content if isinstance(content, list) else ()):
        if block.type != "tool_result":
            parts.append(_part(block, f"{field}[{index}]"))
            continue
        if block.tool_use_id is None:
            raise invalid_request(f"{field}[{index}].tool_use_id is required", f"{field}[{index}].tool_use_id")
        if parts:
            yield Message(message.role, tuple(parts))
        answer = _parts(block.content or "", f"{field}[{index}].content")
        parts = [part for part in answer if not isinstance(part, Text)]
        words = Text("\n".join(part.text for part in answer if isinstance(part, Text)))
        yield Message("tool", (words,), tool_call_id=block.tool_use_id, name=names.get(block.tool_use_id))
    if isinstance(content, str):
        yield Message(message.role, (Text(content),))
    elif parts:
        yield Message(message.role, tuple(parts))


def _parts(content: str | list[Block] | dict[str, Json], field: str) -> tuple[Part, ...]:
    if isinstance(content, str):
        return (Text(content),) if content else ()
    if isinstance(content, dict):  # only what is left out has an object there
        raise invalid_request(f"{field} must be a string or an array", field)
    return tuple(_part(block, f"{field}[{index}]") for index, block in enumerate(content))


def _part(block: Block, field: str) -> Part:
    source = block.source
    if block.type == "text" and block.text is not None:
        return Text(block.text)
    if block.type == "tool_reference" and block.tool_name is not None:
        return Text(block.tool_name)
    if block.type == "document" and source is not None and source.type == "text" and source.data is not None:
        return Text(source.data)
    if block.type == "image" and source is not None:
        if source.type == "base64" and source.data is not None:
            return Image(checked_base64(source.data, f"{field}.source.data"), source.media_type)
        raise unsupported(f"{field}.source", "the chosen backend takes images only in base64")
    if block.type in {"text", "image"}:
        needed = "text" if block.type == "text" else "source"
        raise invalid_request(f"{field}.{needed} is required", f"{field}.{needed}")
    raise unsupported(f"{field}.type", f"blocks of type '{block.type[:40]}' have no translation")


_OF_ANTHROPIC = ("redacted_thinking", "server_tool_use", "mcp_tool_use")


def _is_lost(block: Block) -> bool:
    """Whether only Anthropic can read it: sealed thinking, and what its own tools did before the model spoke on."""
    return block.type in _OF_ANTHROPIC or block.type.endswith("_tool_result")


def lost_in(messages: Iterable[WireMessage]) -> set[str]:
    """What of the blocks no other API has a word for, and that does not change what was asked."""
    blocks = [block for each in messages if isinstance(each.content, list) for block in each.content]
    lost = {f"messages.content.{cut(block.type, _MOST_TOLD)}" for block in blocks if _is_lost(block)}
    return lost | {"messages.content.is_error" for block in blocks if block.is_error}
