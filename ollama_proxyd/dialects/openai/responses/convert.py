"""Writes a call of the Responses API as a chat, which every engine can be asked for."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import NamedTuple

import msgspec

from ollama_proxyd.core.requests import Json
from ollama_proxyd.dialects.framing.jsonbody import invalid_request, present
from ollama_proxyd.dialects.openai.options import unsupported
from ollama_proxyd.dialects.openai.responses.request import Body, Choice, Item, Part, TextFormat, WireTool
from ollama_proxyd.dialects.openai.responses.sealing import opened

_HANDLED = frozenset(
    {
        *("input", "instructions", "tools", "tool_choice", "text", "reasoning", "include", "store", "metadata"),
        *("previous_response_id", "background", "max_output_tokens", "truncation", "stream_options"),
        *("prompt_cache_key", "prompt_cache_retention", "safety_identifier", "service_tier", "client_metadata"),
    }
)
"""Fields that become others, or that concern OpenAI's service alone."""

_CHANGES_THE_ANSWER = ("conversation", "prompt")
"""Fields that name what only OpenAI's servers hold."""

_LOGPROBS = "message.output_text.logprobs"


class Converted(NamedTuple):
    """A chat's fields, and for each of its messages the place in the input that it came from, None for instructions."""

    fields: dict[str, Json]
    origins: tuple[int | None, ...]


def kept_items(items: Iterable[Json]) -> list[Item]:
    """What was kept of earlier turns, without what only the engine that wrote it can read."""
    found = []
    for item in items:
        try:
            read = msgspec.convert(item, Item)
        except msgspec.ValidationError:
            continue
        if (read.type or "message") in _KINDS:
            found.append(read)
    return found


def chat_of(fields: Mapping[str, Json], asked: Body, before: Sequence[Item], items: Sequence[Item]) -> Converted:
    """The chat that a call asks for; ProxyError names what cannot be asked for.

    Of what went before, the messages have places below 0.
    """
    for name in _CHANGES_THE_ANSWER:
        if fields.get(name) is not None:
            raise unsupported(name, "it names what is kept at OpenAI; send the input itself")
    if asked.background:
        raise unsupported("background", "answers are given at once; ask with stream instead")
    messages, origins = _messages(asked.instructions, [*before, *items], -len(before))
    chat = {name: value for name, value in fields.items() if name not in _HANDLED}
    tools, hosted = _tools(asked.tools or ())
    chat |= present(
        messages=messages,
        tools=tools or None,
        tool_choice=_choice(asked.tool_choice) if tools else None,
        response_format=_format(asked.text.format if asked.text else None),
        reasoning_effort=asked.reasoning.effort if asked.reasoning else None,
        max_completion_tokens=asked.max_output_tokens,
        verbosity=asked.text.verbosity if asked.text else None,
        logprobs=True if _LOGPROBS in (asked.include or ()) else None,
        truncation="auto" if asked.truncation == "auto" else None,
    )
    left_out = [*hosted, *(f"input[{index}]" for index, item in enumerate(items) if item.type in HOSTED)]
    return Converted(chat | dict.fromkeys(left_out, True), origins)


def _tools(tools: Iterable[WireTool]) -> tuple[list[Json], list[str]]:
    """The functions, and names for the tools that only OpenAI runs, which are left out and told."""
    functions, hosted = [], []
    for index, tool in enumerate(tools):
        if tool.type != "function":
            hosted.append(f"tools[{index}]")
            continue
        if not tool.name:
            raise invalid_request(f"tools[{index}].name is required", f"tools[{index}].name")
        function = present(name=tool.name, description=tool.description, parameters=tool.parameters, strict=tool.strict)
        functions.append({"type": "function", "function": function})
    return functions, hosted


def _choice(choice: str | Choice | None) -> Json:
    if choice is None or isinstance(choice, str):
        return choice
    if choice.type == "allowed_tools":
        tools = [{"type": "function", "function": {"name": tool.name or ""}} for tool in choice.tools or ()]
        return {"type": "allowed_tools", "allowed_tools": {"mode": choice.mode or "auto", "tools": tools}}
    if choice.type != "function" or not choice.name:
        raise unsupported("tool_choice", "only functions can be chosen, by their name")
    return {"type": "function", "function": {"name": choice.name}}


def _format(wanted: TextFormat | None) -> Json:
    if wanted is None or wanted.type != "json_schema":
        return None if wanted is None else {"type": wanted.type}
    if wanted.schema is None:
        raise invalid_request("text.format.schema is required", "text.format.schema")
    return {"type": "json_schema", "json_schema": present(name=wanted.name, schema=wanted.schema, strict=wanted.strict)}


def _messages(
    instructions: str | None, items: Sequence[Item], first: int
) -> tuple[list[dict[str, Json]], tuple[int | None, ...]]:
    """The conversation: what the model thought, said and called in one turn is one message."""
    messages: list[dict[str, Json]] = []
    origins: list[int | None] = []
    if instructions:
        messages.append({"role": "system", "content": instructions})
        origins.append(None)
    for index, item in enumerate(items, first):
        if item.type in HOSTED:
            continue
        message = _message(item, f"input[{index}]")
        if not _joined(messages, message):
            messages.append(message)
            origins.append(index)
    return messages, tuple(origins)


def _joined(messages: list[dict[str, Json]], message: dict[str, Json]) -> bool:
    """Whether a message was added to the turn of the model before it."""
    if message["role"] != "assistant" or not messages or messages[-1]["role"] != "assistant":
        return False
    last = messages[-1]
    if "content" in message and "content" in last:
        return False
    calls = [*last.get("tool_calls", ()), *message.get("tool_calls", ())]
    last |= message
    if calls:
        last["tool_calls"] = calls
    return True


def _message(item: Item, field: str) -> dict[str, Json]:
    kind = item.type or "message"
    write = _KINDS.get(kind)
    if write is None:
        raise unsupported(field, f"items of type '{kind[:40]}' have no translation")
    return write(item, field)


def _said(item: Item, field: str) -> dict[str, Json]:
    if item.role is None or item.content is None:
        missing = "role" if item.role is None else "content"
        raise invalid_request(f"{field}.{missing} is required", f"{field}.{missing}")
    return {"role": item.role, "content": _content(item.content, f"{field}.content")}


def _thought(item: Item, _field: str) -> dict[str, Json]:
    parts = item.content if isinstance(item.content, list) and item.content else item.summary or ()
    return {"role": "assistant", "reasoning_content": "".join(part.text or "" for part in parts)}


def _called(item: Item, field: str) -> dict[str, Json]:
    if not item.name or not item.call_id:
        raise invalid_request(f"{field} needs a name and a call_id", field)
    function = {"name": item.name, "arguments": item.arguments or "{}"}
    call = {"type": "function", "id": item.call_id, "function": function}
    return {"role": "assistant", "tool_calls": [call]}


def _called_freely(item: Item, field: str) -> dict[str, Json]:
    """A call whose tool takes a text; as a function it takes that as its only argument."""
    arguments = msgspec.json.encode({"input": item.input or ""}).decode()
    return _called(msgspec.structs.replace(item, arguments=arguments), field)


def _returned(item: Item, field: str) -> dict[str, Json]:
    if item.output is None or not item.call_id:
        raise invalid_request(f"{field} needs an output and a call_id", field)
    return {"role": "tool", "tool_call_id": item.call_id, "content": _content(item.output, f"{field}.output")}


def _summed_up(item: Item, field: str) -> dict[str, Json]:
    return {"role": "assistant", "content": opened(item.encrypted_content, f"{field}.encrypted_content")}


HOSTED = frozenset(
    {
        *("web_search_call", "file_search_call", "code_interpreter_call", "image_generation_call"),
        *("mcp_list_tools", "mcp_call", "mcp_approval_request", "mcp_approval_response"),
        *("tool_search_call", "tool_search_output"),
    }
)
"""What tools did that OpenAI runs; what the model said of it stands in its messages."""
_KINDS: Mapping[str, Callable[[Item, str], dict[str, Json]]] = {
    "message": _said,
    "reasoning": _thought,
    "function_call": _called,
    "function_call_output": _returned,
    "custom_tool_call": _called_freely,
    "custom_tool_call_output": _returned,
    "compaction": _summed_up,
}


def _content(content: str | list[Part], field: str) -> Json:
    if isinstance(content, str):
        return content
    return [_part(part, f"{field}[{index}]") for index, part in enumerate(content)]


def _part(part: Part, field: str) -> dict[str, Json]:
    if part.type in {"input_text", "output_text", "text"} and part.text is not None:
        return {"type": "text", "text": part.text}
    if part.type == "refusal" and part.refusal is not None:
        return {"type": "refusal", "refusal": part.refusal}
    if part.type == "input_image" and part.image_url is not None:
        return {"type": "image_url", "image_url": {"url": part.image_url}}
    if part.type == "input_audio" and part.input_audio is not None:
        return {"type": "input_audio", "input_audio": part.input_audio}
    raise unsupported(field, f"a part of type '{part.type[:40]}' without its text or image here has no translation")
