"""Writes any request for an Ollama engine: the client's own bytes, or a translation field by field."""

from collections.abc import Mapping, Sequence
from typing import Final

import msgspec

from ollama_proxyd.core.errors import ErrorKind, ProxyError
from ollama_proxyd.core.model_names import canonical
from ollama_proxyd.core.requests import (
    Api,
    Chat,
    Completion,
    Content,
    Embedding,
    Format,
    Json,
    JsonSchema,
    Message,
    Request,
    Text,
    Think,
    ToolCall,
    ToolMode,
)
from ollama_proxyd.dialects.base import Rendered
from ollama_proxyd.dialects.framing.arguments import object_of
from ollama_proxyd.dialects.framing.jsonbody import decode_fields, invalid_request, present, with_model
from ollama_proxyd.dialects.framing.tools import write_tools
from ollama_proxyd.dialects.ollama.options import EFFORTS, place, refuse_lookalikes, refuse_option

_ROLES = {"developer": "system"}


def _messages(messages: Sequence[Message]) -> list[dict[str, Json]]:
    """All messages; a tool's answer gets the name of the tool that it answers."""
    names = {call.id: call.name for message in messages for call in message.tool_calls if call.id is not None}
    return [_message(message, index, names) for index, message in enumerate(messages)]


def _tools(chat: Chat) -> list[dict[str, Json]]:
    """The tools that the model may use: none when the client forbids tools, and alone the one that it names."""
    choice = chat.tool_choice
    if choice is None or (choice.mode is not ToolMode.NONE and choice.name is None):
        return write_tools(chat.tools)
    tools = write_tools(tool for tool in chat.tools if tool.name == choice.name)
    if not tools and choice.name is not None:
        raise invalid_request("tool_choice names a function that is not among the tools", "tool_choice")
    return tools


def _unforced_tools(chat: Chat) -> tuple[str, ...]:
    """The field that is lost when a tool must be called: Ollama's models decide for themselves."""
    must = chat.tool_choice is not None and chat.tool_choice.mode is ToolMode.REQUIRED
    return ("tool_choice",) if must else ()


def _format(wanted: Format | None) -> Json:
    """A schema, "json", or None."""
    if wanted is None:
        return None
    return wanted.schema if isinstance(wanted, JsonSchema) else "json"


def _think(think: Think | None) -> Think | None:
    """Whether to think; an effort that Ollama does not know is refused."""
    if isinstance(think, str) and think not in EFFORTS:
        refuse_option("reasoning_effort", think)
    return think


def _unspoken_names(messages: Sequence[Message]) -> tuple[str, ...]:
    """The field that is lost when a person's message carries a name."""
    named = any(message.name is not None and message.role != "tool" for message in messages)
    return ("messages.name",) if named else ()


def _message(message: Message, index: int, names: Mapping[str, str]) -> dict[str, Json]:
    parts = message.parts or ()
    is_answer = message.role == "tool"
    name = message.name or names.get(message.tool_call_id or "")
    return present(
        role=_ROLES.get(message.role, message.role),
        content="\n".join(part.text for part in parts if isinstance(part, Text)),
        thinking=message.thinking,
        images=[part.data for part in parts if not isinstance(part, Text)] or None,
        tool_calls=[_tool_call(call, index) for call in message.tool_calls] or None,
        tool_name=(name or None) if is_answer else None,
        tool_call_id=message.tool_call_id if is_answer else None,
    )


def _tool_call(call: ToolCall, index: int) -> dict[str, Json]:
    arguments = object_of(call.arguments)
    if arguments is None:
        field = f"messages[{index}].tool_calls.function.arguments"
        message = (
            f"{field}: those for '{call.name}' are not the JSON text of an object, which the chosen backend (Ollama's "
            "API) needs; leave that call and its result out of the conversation, or name another backend"
        )
        raise ProxyError(ErrorKind.UNSUPPORTED, message, param=field)
    return present(id=call.id, function={"name": call.name, "arguments": msgspec.Raw(arguments)})


_TEXT_FIELDS: Final = frozenset({"keep_alive", "truncate", "shift"})
_EMBED_FIELDS: Final = frozenset({"keep_alive", "truncate", "dimensions"})


def render(request: Request, model: str) -> Rendered:
    """The request under the backend's own model name.

    Ollama's answers echo the name as asked, so an Ollama client's own spelling is kept where it means the same model.
    """
    if request.api is Api.OLLAMA:
        fields = decode_fields(request.body)
        refuse_lookalikes(fields)
        same = canonical(request.model) == canonical(model)
        body = with_model(request.body, fields, request.model if same else model)
        return Rendered(f"/api/{request.endpoint}", body)
    path, fields, ignored = _translate(request.content())
    stream = None if path == "/api/embed" else request.stream
    body = msgspec.json.encode({"model": model, **fields, **present(stream=stream)})
    return Rendered(path, body, ignored)


def _translate(content: Content) -> tuple[str, dict[str, Json], tuple[str, ...]]:
    if isinstance(content, Chat):
        return _chat(content)
    if isinstance(content, Completion):
        return _completion(content)
    return _embedding(content)


def _chat(chat: Chat) -> tuple[str, dict[str, Json], tuple[str, ...]]:
    placed = place(chat.options, _TEXT_FIELDS)
    fields = present(
        messages=_messages(chat.messages),
        tools=_tools(chat) or None,
        format=_format(chat.format),
        think=_think(chat.think),
        logprobs=chat.logprobs,
        top_logprobs=chat.top_logprobs,
        options=placed.options or None,
    )
    ignored = placed.ignored + _unforced_tools(chat) + _unspoken_names(chat.messages)
    return "/api/chat", {**fields, **placed.fields}, ignored


def _completion(completion: Completion) -> tuple[str, dict[str, Json], tuple[str, ...]]:
    """A suffix is only used through the model's template, so a raw completion with one is not sent as raw."""
    placed = place(completion.options, _TEXT_FIELDS)
    fields = present(
        prompt=completion.prompt,
        raw=(completion.raw and not completion.suffix) or None,
        suffix=completion.suffix,
        system=completion.system,
        template=completion.template,
        context=completion.context,
        images=[image.data for image in completion.images] or None,
        format=_format(completion.format),
        think=_think(completion.think),
        logprobs=completion.logprobs,
        top_logprobs=completion.top_logprobs,
        options=placed.options or None,
    )
    return "/api/generate", {**fields, **placed.fields}, placed.ignored


def _embedding(embedding: Embedding) -> tuple[str, dict[str, Json], tuple[str, ...]]:
    placed = place(embedding.options, _EMBED_FIELDS)
    fields = present(input=list(embedding.inputs), options=placed.options or None)
    return "/api/embed", {**fields, **placed.fields}, placed.ignored
