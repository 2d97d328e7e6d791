"""Reads Anthropic's requests: at once what routing needs, the whole content on demand."""

from collections.abc import Iterable, Mapping
from functools import partial

import msgspec

from ollama_proxyd.core.memo import Once
from ollama_proxyd.core.requests import (
    Api,
    Chat,
    Content,
    Format,
    Hints,
    Json,
    JsonSchema,
    Operation,
    Options,
    Request,
    Think,
    Tool,
    ToolChoice,
    ToolMode,
)
from ollama_proxyd.core.spoken import Resume
from ollama_proxyd.dialects.anthropic.blocks import (
    find_media,
    lost_in,
    parse_messages,
    parse_system,
    total,
    unsupported,
)
from ollama_proxyd.dialects.anthropic.request import (
    Body,
    Head,
    OutputFormat,
    Thinking,
    WireChoice,
    WireTool,
)
from ollama_proxyd.dialects.anthropic.resume import resumed
from ollama_proxyd.dialects.framing.jsonbody import (
    convert_typed,
    decode_object,
    decode_typed,
    invalid_request,
    model_required,
)
from ollama_proxyd.dialects.framing.limits import check_messages
from ollama_proxyd.dialects.framing.tools import holds_tools

_BYTES_PER_TOKEN = 4
_IMAGE_TOKENS = 600
"""A middle of what vision models make of one image."""

_HEAD = msgspec.json.Decoder(Head)


def parse_message(body: bytes, hints: Hints) -> Request:
    """The request for an answer."""
    request = parse_count(body, hints)
    if request.max_tokens is None:
        raise invalid_request("max_tokens is required", "max_tokens")
    if request.max_tokens < 1:
        raise invalid_request("max_tokens must be at least 1", "max_tokens")
    return request


def parse_count(body: bytes, hints: Hints) -> Request:
    """The request whose tokens are counted: the same without a limit on its answer."""
    head = decode_typed(_HEAD, body)
    if not head.model:
        raise model_required()
    if not head.messages:
        raise invalid_request("messages: at least one message is required", "messages")
    check_messages(head.messages)
    contents = (find_media(each.content, f"messages[{at}].content") for at, each in enumerate(head.messages))
    media = total((find_media(head.system, "system"), *contents))
    return Request(
        operation=Operation.CHAT,
        api=Api.ANTHROPIC,
        endpoint="messages",
        model=head.model,
        stream=bool(head.stream),
        body=body,
        content=Once(lambda: chat_content(body)),
        hints=hints,
        prompt_tokens=max(1, (len(body) - media.size_bytes) // _BYTES_PER_TOKEN + media.images * _IMAGE_TOKENS),
        max_tokens=head.max_tokens,
        needs_vision=media.images > 0,
        has_image_urls=media.addresses > 0,
        needs_tools=holds_tools(head.tools),
        resume=RESUME,
    )


_CHANGES_THE_ANSWER: Mapping[str, tuple[Json, ...]] = {"mcp_servers": (None, []), "container": (None,)}
"""Fields without which the answer would be wrong, with the values that ask for nothing."""

_CHANGES_NOTHING = frozenset({"cache_control"})
_SPELLINGS = {"stop": "stop_sequences", "user": "metadata.user_id"}


def chat_content(body: bytes) -> Chat:
    """The whole content of a call."""
    fields = decode_object(body)
    for name, nothing in _CHANGES_THE_ANSWER.items():
        if name in fields and fields[name] not in nothing:
            raise unsupported(name, "the chosen backend's API cannot express it")
    asked = convert_typed(fields, Body)
    tools, choice = _tools(asked.tools or ()), _choice(asked.tool_choice)
    if asked.tools and not tools and choice is not None and choice.mode is ToolMode.REQUIRED:
        raise unsupported("tool_choice", "the chosen backend knows none of the tools, of which one must be called")
    config = asked.output_config
    return Chat(
        messages=(*parse_system(asked.system), *parse_messages(asked.messages)),
        tools=tools,
        tool_choice=choice,
        format=_format((config.format if config else None) or asked.output_format),
        think=_think(asked.thinking, config.effort if config else None),
        options=_options(asked, fields),
    )


def _tools(tools: Iterable[WireTool]) -> tuple[Tool, ...]:
    """The tools that the client describes; those of Anthropic's own are left out and told."""
    return tuple(
        Tool(tool.name, tool.description, tool.input_schema, tool.strict) for tool in tools if not _is_own(tool)
    )


def _is_own(tool: WireTool) -> bool:
    return tool.type not in {None, "custom"}


_MODES = {
    "auto": ToolMode.AUTO,
    "any": ToolMode.REQUIRED,
    "tool": ToolMode.REQUIRED,
    "none": ToolMode.NONE,
}


def _choice(choice: WireChoice | None) -> ToolChoice | None:
    if choice is None:
        return None
    if choice.type not in _MODES:
        raise invalid_request(f"tool_choice.type must be one of {', '.join(_MODES)}", "tool_choice.type")
    if choice.type == "tool" and not choice.name:
        raise invalid_request("tool_choice.name is required", "tool_choice.name")
    return ToolChoice(_MODES[choice.type], choice.name if choice.type == "tool" else None)


def _format(wanted: OutputFormat | None) -> Format | None:
    if wanted is None:
        return None
    if wanted.type != "json_schema" or wanted.schema is None:
        raise invalid_request("the output's format must be json_schema with a schema", "output_config.format")
    return JsonSchema(wanted.schema)


_EFFORTS: Mapping[str, Think] = {"low": "low", "medium": "medium", "high": "high", "xhigh": "max", "max": "max"}


def _think(thinking: Thinking | None, effort: str | None) -> Think | None:
    """Whether to think: an effort says how much, where thinking is not off."""
    if effort is not None and effort not in _EFFORTS:
        raise invalid_request(f"output_config.effort must be one of {', '.join(_EFFORTS)}", "output_config.effort")
    if thinking is None:
        return None if effort is None else _EFFORTS[effort]
    if thinking.type not in {"enabled", "adaptive", "disabled"}:
        raise invalid_request("thinking.type must be enabled, adaptive or disabled", "thinking.type")
    if thinking.type == "disabled":
        return False
    return True if effort is None else _EFFORTS[effort]


def _options(asked: Body, fields: Mapping[str, Json]) -> Options:
    """The settings by canonical names, and what has none."""
    choice, thinking = asked.tool_choice, asked.thinking
    told: dict[str, Json] = {
        "max_tokens": asked.max_tokens,
        "temperature": asked.temperature,
        "top_p": asked.top_p,
        "top_k": asked.top_k,
        "stop": asked.stop_sequences,
        "user": asked.metadata.user_id if asked.metadata else None,
        "parallel_tool_calls": False if choice and choice.disable_parallel_tool_use else None,
    }
    unknown = {name: fields[name] for name in _nameless(fields)}
    if thinking is not None and thinking.budget_tokens is not None:
        unknown["thinking.budget_tokens"] = thinking.budget_tokens
    unknown |= dict.fromkeys(sorted(lost_in(asked.messages)), True)
    unknown |= {f"tools[{index}]": True for index, tool in enumerate(asked.tools or ()) if _is_own(tool)}
    return Options({name: value for name, value in told.items() if value is not None}, unknown, _SPELLINGS)


def _nameless(fields: Iterable[str]) -> list[str]:
    known = {*Body.__struct_fields__, *_CHANGES_THE_ANSWER, *_CHANGES_NOTHING}
    return [name for name in fields if name not in known]


def _lasting(request: Request) -> Content:
    return request.content()


RESUME = Resume(partial(resumed, parse_content=chat_content), _lasting)
