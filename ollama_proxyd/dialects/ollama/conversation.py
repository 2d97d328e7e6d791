"""Writes messages, tools and formats the way Ollama's API takes them."""

from collections.abc import Mapping, Sequence

import msgspec

from ollama_proxyd.core.errors import ErrorKind, ProxyError
from ollama_proxyd.core.requests import Chat, Format, Json, JsonSchema, Message, Text, Think, ToolCall
from ollama_proxyd.dialects.ollama.options import refuse
from ollama_proxyd.dialects.ollama.settings import EFFORTS

_ROLES = {"developer": "system"}
_OBJECT = msgspec.json.Decoder(dict[str, Json])


def write_messages(messages: Sequence[Message]) -> list[dict[str, Json]]:
    """All messages; a tool's answer gets the name of the tool that it answers."""
    names = {call.id: call.name for message in messages for call in message.tool_calls if call.id is not None}
    return [_message(message, index, names) for index, message in enumerate(messages)]


def write_tools(chat: Chat) -> list[Mapping[str, Json]]:
    """The tools that the model may use; none when the client forbids tools."""
    choice = chat.options.known.get("tool_choice")
    if choice == "none":
        return []
    if choice is not None and choice != "auto":
        refuse("tool_choice", choice)
    if chat.tools and chat.options.known.get("parallel_tool_calls") is False:
        refuse("parallel_tool_calls", False)
    for tool in chat.tools:
        if tool.get("type", "function") != "function":
            refuse("tools", tool)
    return list(chat.tools)


def write_format(wanted: Format | None) -> Json:
    """A schema, "json", or None."""
    if wanted is None:
        return None
    return wanted.schema if isinstance(wanted, JsonSchema) else "json"


def write_think(think: Think | None) -> Think | None:
    """Whether to think; an effort that Ollama does not know is refused."""
    if isinstance(think, str) and think not in EFFORTS:
        refuse("reasoning_effort", think)
    return think


def unspoken_names(messages: Sequence[Message]) -> tuple[str, ...]:
    """The field that is lost when a person's message carries a name."""
    named = any(message.name is not None and message.role != "tool" for message in messages)
    return ("messages.name",) if named else ()


def _message(message: Message, index: int, names: Mapping[str, str]) -> dict[str, Json]:
    parts = message.parts or ()
    written: dict[str, Json] = {
        "role": _ROLES.get(message.role, message.role),
        "content": "\n".join(part.text for part in parts if isinstance(part, Text)),
    }
    if message.thinking is not None:
        written["thinking"] = message.thinking
    if images := [part.data for part in parts if not isinstance(part, Text)]:
        written["images"] = images
    if message.tool_calls:
        written["tool_calls"] = [_tool_call(call, index) for call in message.tool_calls]
    if message.role == "tool":
        written.update(_answered(message, names))
    return written


def _answered(message: Message, names: Mapping[str, str]) -> dict[str, Json]:
    answered: dict[str, Json] = {}
    name = message.name or names.get(message.tool_call_id or "")
    if name:
        answered["tool_name"] = name
    if message.tool_call_id is not None:
        answered["tool_call_id"] = message.tool_call_id
    return answered


def _tool_call(call: ToolCall, index: int) -> dict[str, Json]:
    arguments = call.arguments.encode() or b"{}"
    try:
        _OBJECT.decode(arguments)
    except (msgspec.DecodeError, RecursionError) as error:
        field = f"messages[{index}].tool_calls.function.arguments"
        message = f"{field} for '{call.name}' must be the JSON text of an object"
        raise ProxyError(ErrorKind.INVALID_REQUEST, message, param=field) from error
    written: dict[str, Json] = {"function": {"name": call.name, "arguments": msgspec.Raw(arguments)}}
    return written if call.id is None else {"id": call.id, **written}
