"""Writes any request for an OpenAI-style engine: the client's own bytes, or a translation by tables."""

import re
from collections import OrderedDict, deque
from collections.abc import Iterable, Mapping
from functools import partial

import msgspec

from ollama_proxyd.core.requests import (
    Api,
    Audio,
    Chat,
    Completion,
    Embedding,
    Format,
    Image,
    Json,
    JsonObject,
    Message,
    Part,
    Request,
    Text,
    Think,
    ToolCall,
)
from ollama_proxyd.core.values import value
from ollama_proxyd.dialects.base import Rendered
from ollama_proxyd.dialects.framing.binary import image_type
from ollama_proxyd.dialects.framing.jsonbody import decode_fields, present, with_model
from ollama_proxyd.dialects.framing.tools import write_choice, write_tools
from ollama_proxyd.dialects.openai.earlier_calls import with_arguments
from ollama_proxyd.dialects.openai.joining import Joiner, answers_to, is_exact
from ollama_proxyd.dialects.openai.options import (
    CHAT,
    COMPLETION,
    EMBEDDING,
    refuse_internal,
    render_options,
    unsupported,
)
from ollama_proxyd.dialects.openai.quirks import GENERIC, Quirks, SchemaField

_ACTION = re.compile(r"(?P<before>\s*\{\{-|\{\{)(?P<action>.*?)(?:-\}\}\s*|\}\})", re.DOTALL)


def fill_template(template: str, variables: Mapping[str, str]) -> str:
    """The template with its variables replaced; raises UNSUPPORTED when it holds conditions, loops or functions."""

    def value(match: re.Match[str]) -> str:
        action = match.group("action").strip()
        name = action.removeprefix(".")
        if name == action or name not in variables:
            raise unsupported(
                "template", f"the chosen backend has its own, and '{{{{ {action} }}}}' cannot be filled in here"
            )
        return variables[name]

    return _ACTION.sub(value, template)


class OpenCalls:
    """The tool calls that no answer has come for yet; calls without an id get one, so that answers can name them."""

    def __init__(self) -> None:
        self._open: OrderedDict[str, str] = OrderedDict()
        self._ids_of: dict[str, deque[str]] = {}
        self._made = 0

    def add(self, call: ToolCall) -> str:
        """The id of a call."""
        self._made += 1
        call_id = call.id or f"call_{self._made}"
        self._open.setdefault(call_id, call.name)
        self._ids_of.setdefault(call.name, deque()).append(call_id)
        return call_id

    def answered(self, message: Message) -> str | None:
        """The id of the call that a tool's message answers: its own, or that of the first open call that fits."""
        call_id = message.tool_call_id or self._first(message.name)
        if call_id is not None:
            self._open.pop(call_id, None)
        return call_id

    def _first(self, name: str | None) -> str | None:
        """The first open call of a tool, of any where no name is given; those that are answered are dropped here."""
        if name is None:
            return next(iter(self._open), None)
        ids = self._ids_of.get(name, deque())
        while ids and ids[0] not in self._open:
            ids.popleft()
        return ids[0] if ids else None


def render_messages(messages: Iterable[Message], with_thinking: bool) -> list[dict[str, Json]]:
    """The messages; earlier thinking goes along only where the engine takes it."""
    calls = OpenCalls()
    return [_message(message, calls, with_thinking) for message in messages]


def _message(message: Message, calls: OpenCalls, with_thinking: bool) -> dict[str, Json]:
    more = present(
        reasoning_content=(message.thinking or None) if with_thinking else None,
        tool_calls=[_call(call, calls) for call in message.tool_calls] or None,
        tool_call_id=calls.answered(message) if message.role == "tool" else None,
        name=message.name,
    )
    return {"role": message.role, "content": _content(message.parts), **more}


def _call(call: ToolCall, calls: OpenCalls) -> dict[str, Json]:
    function = {"name": call.name, "arguments": call.arguments if call.arguments.strip() else "{}"}
    return {"id": calls.add(call), "type": "function", "function": function}


def _content(parts: tuple[Part, ...] | None) -> Json:
    """Null, a string where there is only text, else a list of parts."""
    if parts is None:
        return None
    texts = [part.text for part in parts if isinstance(part, Text)]
    if len(texts) == len(parts) <= 1:
        return "".join(texts)
    return [_part(part) for part in parts]


def _part(part: Part) -> dict[str, Json]:
    match part:
        case Text(text):
            return {"type": "text", "text": text}
        case Image(data, media_type):
            kind = media_type or image_type(data) or "image/jpeg"
            return {"type": "image_url", "image_url": {"url": f"data:{kind};base64,{data}"}}
        case Audio(data, sound):
            return {"type": "input_audio", "input_audio": {"data": data, "format": sound}}


_NEAREST_EFFORT = {"max": "high"}
"""Efforts that not every engine knows by that name."""


@value
class Translation:
    """The endpoint to call, its fields (all but model and stream), and the client's fields that were dropped."""

    endpoint: str
    fields: dict[str, Json]
    ignored_fields: tuple[str, ...]


def translate_chat(chat: Chat, quirks: Quirks) -> Translation:
    """A chat as a chat completion."""
    fields = present(
        messages=render_messages(chat.messages, quirks.message_thinking),
        tools=write_tools(chat.tools) or None,
        tool_choice=chat.tool_choice and write_choice(chat.tool_choice),
        response_format=chat.format and response_format(chat.format),
        logprobs=chat.logprobs,
        top_logprobs=_top_logprobs(chat),
    )
    if chat.think is not None:
        fields |= _think(chat.think, quirks)
    options, dropped = render_options(chat.options, CHAT, quirks)
    if not quirks.message_thinking and any(message.thinking for message in chat.messages):
        dropped.append("messages.thinking")
    return Translation("chat", {**fields, **options}, tuple(dropped))


def _top_logprobs(content: Chat | Completion) -> int | None:
    """How many alternatives to ask for: engines take 0 for no log probabilities at all."""
    return max(content.top_logprobs or 0, 1) if content.logprobs else None


def translate_completion(completion: Completion, quirks: Quirks) -> Translation:
    """A completion as it is where no chat template applies, else as a chat of one turn."""
    if completion.suffix and not quirks.suffix:
        raise unsupported("suffix", "the chosen backend's API cannot fill in the middle")
    dropped = ("context",) if completion.context else ()
    if completion.raw or completion.template or completion.suffix:
        translation = _plain(completion, quirks)
    else:
        translation = translate_chat(_as_chat(completion), quirks)
    return Translation(translation.endpoint, translation.fields, translation.ignored_fields + dropped)


def _as_chat(completion: Completion) -> Chat:
    messages = []
    if completion.system:
        messages.append(Message("system", (Text(completion.system),)))
    parts: tuple[Part, ...] = (Text(completion.prompt), *completion.images)
    messages.append(Message("user", parts))
    return Chat(
        messages=tuple(messages),
        format=completion.format,
        think=completion.think,
        logprobs=completion.logprobs,
        top_logprobs=completion.top_logprobs,
        options=completion.options,
    )


def _plain(completion: Completion, quirks: Quirks) -> Translation:
    if completion.images:
        raise unsupported("images", "the chosen backend takes images only in a chat")
    prompt = completion.prompt
    if completion.template and not completion.raw:
        prompt = fill_template(
            completion.template, {"Prompt": prompt, "System": completion.system or "", "Response": ""}
        )
    fields = present(prompt=prompt, suffix=completion.suffix or None, logprobs=_top_logprobs(completion))
    if completion.format is not None:
        fields |= _completion_format(completion.format, quirks)
    options, dropped = render_options(completion.options, COMPLETION, quirks)
    if completion.think is not None:
        dropped.append("think")
    return Translation("completions", {**fields, **options}, tuple(dropped))


def translate_embedding(embedding: Embedding, quirks: Quirks) -> Translation:
    """Texts to embed; the vectors' size and length are ours to shape."""
    inputs: Json = embedding.inputs[0] if embedding.single and embedding.inputs else list(embedding.inputs)
    fields: dict[str, Json] = {"input": inputs, "encoding_format": "float"}
    if not embedding.normalized:
        fields.update(quirks.raw_vectors)
    options, dropped = render_options(embedding.options, EMBEDDING, quirks)
    return Translation("embeddings", {**fields, **options}, tuple(dropped))


def response_format(wanted: Format) -> dict[str, Json]:
    """The form of the answer in OpenAI's words."""
    if isinstance(wanted, JsonObject):
        return {"type": "json_object"}
    schema = present(name=wanted.name or "schema", schema=wanted.schema, strict=wanted.strict)
    return {"type": "json_schema", "json_schema": schema}


def _completion_format(wanted: Format, quirks: Quirks) -> dict[str, Json]:
    if quirks.completion_schema is None:
        raise unsupported("format", "the chosen backend forces a format only in a chat")
    if quirks.completion_schema is SchemaField.RESPONSE_FORMAT:
        return {"response_format": response_format(wanted)}
    return {"json_schema": {"type": "object"} if isinstance(wanted, JsonObject) else wanted.schema}


def _think(think: Think, quirks: Quirks) -> dict[str, Json]:
    fields: dict[str, Json] = {}
    if quirks.template_kwargs:
        template: dict[str, Json] = {"enable_thinking": bool(think)}
        if isinstance(think, str):
            template["reasoning_effort"] = think
        fields["chat_template_kwargs"] = template
    if quirks.effort and think is not True:
        fields["reasoning_effort"] = _NEAREST_EFFORT.get(think, think) if isinstance(think, str) else "none"
    return fields


_STREAM: Mapping[str, Json] = {"stream": True, "stream_options": {"include_usage": True}}
_ADDED = "stream_options"
PATHS = {"chat": "/chat/completions", "completions": "/completions", "embeddings": "/embeddings"}
"""Where each endpoint is, under the engine's own prefix (/v1, /v3 …)."""


def render(request: Request, model: str, base: str = "/v1", quirks: Quirks = GENERIC) -> Rendered:
    """The request under the engine's own name of the model; raises INVALID_REQUEST or UNSUPPORTED."""
    if request.api is Api.OPENAI:
        fields, body = decode_fields(request.body), request.body
        refuse_internal(fields)
        if (told := with_arguments(body, fields)) is not fields:
            fields, body = told, msgspec.json.encode(told)
        path = base + PATHS[request.endpoint]
        if quirks.joins and not request.stream and request.spoken is None and is_exact(request.endpoint, fields):
            is_chat = request.endpoint == "chat"
            joiner = partial(Joiner, asked=request.model, answers=answers_to(fields), is_chat=is_chat)
            return Rendered(path, _streamed(fields, model), joiner=joiner, added=_ADDED)
        return Rendered(path, with_model(body, fields, model))
    translation = _translate(request, quirks)
    fields_out: dict[str, Json] = {"model": model, **translation.fields}
    streams = translation.endpoint != "embeddings"
    if streams:
        # Streamed even where the client wants one piece: engines notice that a client left only while they stream.
        fields_out |= _STREAM
    path, body = base + PATHS[translation.endpoint], msgspec.json.encode(fields_out)
    return Rendered(path, body, translation.ignored_fields, added=_ADDED if streams else None)


def _streamed(fields: Mapping[str, msgspec.Raw], model: str) -> bytes:
    """The client's own request, but for a stream."""
    return msgspec.json.encode({**fields, "model": model, **_STREAM})


def _translate(request: Request, quirks: Quirks) -> Translation:
    content = request.content()
    if isinstance(content, Chat):
        return translate_chat(content, quirks)
    if isinstance(content, Completion):
        return translate_completion(content, quirks)
    return translate_embedding(content, quirks)
