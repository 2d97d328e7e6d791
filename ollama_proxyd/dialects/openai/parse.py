"""Reads OpenAI's requests: at once what routing needs, the whole content on demand."""

from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import partial

import msgspec

from ollama_proxyd.core.memo import Once
from ollama_proxyd.core.requests import (
    Api,
    Chat,
    Completion,
    Content,
    Embedding,
    Format,
    Hints,
    Json,
    JsonObject,
    JsonSchema,
    Operation,
    Options,
    Request,
    Think,
    ToolMode,
)
from ollama_proxyd.core.spoken import Resume
from ollama_proxyd.dialects.framing.jsonbody import (
    convert_typed,
    decode_object,
    decode_typed,
    invalid_request,
    model_required,
)
from ollama_proxyd.dialects.framing.keep_alive import as_wished_s
from ollama_proxyd.dialects.framing.limits import check_messages, check_top_logprobs
from ollama_proxyd.dialects.framing.tools import foreign_tools, holds_tools, read_tools
from ollama_proxyd.dialects.openai.options import parse_options, refuse_untranslatable, unsupported
from ollama_proxyd.dialects.openai.parse_messages import NO_MEDIA, Media, find_media, parse_messages
from ollama_proxyd.dialects.openai.request import (
    ChatBody,
    ChatHead,
    CompletionBody,
    CompletionHead,
    EmbeddingBody,
    EmbeddingHead,
    Head,
    ResponseFormat,
)
from ollama_proxyd.dialects.openai.resume import lasting_content, resumed_chat, resumed_completion
from ollama_proxyd.dialects.openai.tool_choice import read_choice

BYTES_PER_TOKEN = 4
IMAGE_TOKENS = 600
"""A middle of what vision models make of one image; base64 says nothing about it."""

STRUCTURAL = frozenset({"model", "stream", "stream_options"})
"""Fields of every call that are no settings of the generation."""


def request_of(
    head: Head,
    body: bytes,
    hints: Hints,
    call: tuple[Operation, str, Callable[[bytes], Content]],
    media: Media = NO_MEDIA,
) -> Request:
    """The request; `call` is its operation, its endpoint and what parses its content when that is asked for."""
    if not head.model:
        raise model_required()
    operation, endpoint, parse_content = call
    limit = head.max_tokens if head.max_completion_tokens is None else head.max_completion_tokens
    options = head.stream_options
    return Request(
        operation=operation,
        api=Api.OPENAI,
        endpoint=endpoint,
        model=head.model,
        stream=bool(head.stream),
        body=body,
        content=Once(lambda: parse_content(body)),
        hints=hints,
        prompt_tokens=max(1, (len(body) - media.size_bytes) // BYTES_PER_TOKEN + media.images * IMAGE_TOKENS),
        max_tokens=None if limit is None or limit < 0 else limit,
        wants_usage=bool(options and options.include_usage),
        needs_vision=media.images > 0,
        has_image_urls=media.addresses > 0,
        needs_tools=isinstance(head, ChatHead) and holds_tools(head.tools),
        keeps_s=as_wished_s(head.keep_alive),
        resume=RESUME.get(operation),
    )


EFFORTS: Mapping[str, Think] = {
    "none": False,
    "minimal": "low",
    "low": "low",
    "medium": "medium",
    "high": "high",
    "xhigh": "max",
    "max": "max",
    "ultra": "max",
}
"""OpenAI's efforts in the core's words."""


def parse_format(wanted: ResponseFormat | None) -> Format | None:
    """The form of the answer, None for plain text."""
    if wanted is None or wanted.type == "text":
        return None
    if wanted.type == "json_object":
        return JsonObject() if wanted.schema is None else JsonSchema(wanted.schema)
    if wanted.type != "json_schema":
        raise invalid_request(
            f"invalid response_format type '{wanted.type}' (must be text, json_object or json_schema)",
            "response_format.type",
        )
    if (named := wanted.json_schema) is not None:
        return JsonSchema(named.schema, named.name, named.strict)
    if wanted.schema is None:
        raise invalid_request("response_format.json_schema is required", "response_format.json_schema")
    return JsonSchema(wanted.schema)


def parse_think(effort: str | None, template: Mapping[str, Json]) -> Think | None:
    """Whether to think, from an effort, or else from what the client set for the chat template."""
    if effort is None:
        effort = template.get("reasoning_effort")
    enabled = template.get("enable_thinking")
    if enabled is not None and not isinstance(enabled, bool):
        raise invalid_request("chat_template_kwargs.enable_thinking must be true or false", "chat_template_kwargs")
    if enabled is False or effort is None:
        return enabled
    if not isinstance(effort, str) or effort not in EFFORTS:
        raise invalid_request(
            f"invalid reasoning value: '{effort}' (must be one of {', '.join(EFFORTS)})", "reasoning_effort"
        )
    return EFFORTS[effort]


_TEMPLATE_THINKING = frozenset({"enable_thinking", "reasoning_effort"})


_CHAT_HEAD = msgspec.json.Decoder(ChatHead)
_CHAT_FIELDS = STRUCTURAL.union(ChatBody.__struct_fields__)


def parse_chat(body: bytes, hints: Hints) -> Request:
    """The request for a chat; its messages are read in full only on demand."""
    head = decode_typed(_CHAT_HEAD, body)
    if not head.messages:
        raise invalid_request("[] is too short - 'messages'")
    check_messages(head.messages)
    images = size_bytes = addresses = 0
    for index, message in enumerate(head.messages):
        media = find_media(message.content, f"messages[{index}].content")
        images += media.images
        size_bytes += media.size_bytes
        addresses += media.addresses
    media = Media(images, size_bytes, addresses)
    return request_of(head, body, hints, (Operation.CHAT, "chat", chat_content), media)


def chat_content(body: bytes) -> Chat:
    """The whole content of a chat."""
    fields = decode_object(body)
    refuse_untranslatable(fields)
    chat = convert_typed(fields, ChatBody)
    template = chat.chat_template_kwargs or {}
    effort = chat.reasoning_effort or (chat.reasoning.effort if chat.reasoning else None)
    tools, choice = read_choice(chat.tool_choice, read_tools(chat.tools or ()))
    foreign = foreign_tools(chat.tools or ())
    if foreign and not tools and choice is not None and choice.mode is ToolMode.REQUIRED:
        raise unsupported("tool_choice", "the chosen backend knows none of the tools, of which one must be called")
    options = _chat_options(fields, template)
    return Chat(
        messages=parse_messages(chat.messages),
        tools=tools,
        tool_choice=choice,
        format=parse_format(chat.response_format),
        think=parse_think(effort, template),
        logprobs=chat.logprobs,
        top_logprobs=check_top_logprobs(chat.top_logprobs),
        options=replace(options, unknown={**options.unknown, **foreign}) if foreign else options,
    )


def _chat_options(fields: dict[str, Json], template: dict[str, Json]) -> Options:
    """The settings; what else the client set for the chat template has no canonical name."""
    options = parse_options(fields, _CHAT_FIELDS)
    rest = {name: value for name, value in template.items() if name not in _TEMPLATE_THINKING}
    if not rest:
        return options
    return replace(options, unknown={**options.unknown, "chat_template_kwargs": rest})


_COMPLETION_HEAD = msgspec.json.Decoder(CompletionHead)
_COMPLETION_FIELDS = STRUCTURAL.union(CompletionBody.__struct_fields__)


def parse_completion(body: bytes, hints: Hints) -> Request:
    """The request for a completion."""
    head = decode_typed(_COMPLETION_HEAD, body)
    return request_of(head, body, hints, (Operation.COMPLETION, "completions", completion_content))


def completion_content(body: bytes) -> Completion:
    """The whole content of a completion; an engine of another dialect reads the prompt through its chat template."""
    fields = decode_object(body)
    refuse_untranslatable(fields)
    completion = convert_typed(fields, CompletionBody)
    asked, top = _logprobs(completion.logprobs)
    return Completion(
        prompt=_one_prompt(completion.prompt),
        raw=False,
        suffix=completion.suffix,
        format=parse_format(completion.response_format),
        logprobs=asked,
        top_logprobs=check_top_logprobs(top),
        options=parse_options(fields, _COMPLETION_FIELDS),
    )


def _one_prompt(prompt: str | list[Json]) -> str:
    if isinstance(prompt, list) and len(prompt) == 1:
        prompt = prompt[0]
    if not isinstance(prompt, str):
        raise unsupported("prompt", "only one prompt of text can be translated for the chosen backend")
    return prompt


def _logprobs(asked: int | bool | None) -> tuple[bool | None, int | None]:
    """Completions say with one number whether log probabilities are wanted and of how many tokens."""
    if asked is None or isinstance(asked, bool):
        return asked, None
    return True, asked


_EMBEDDING_HEAD = msgspec.json.Decoder(EmbeddingHead)
_EMBEDDING_FIELDS = STRUCTURAL.union(EmbeddingBody.__struct_fields__)


def parse_embedding(body: bytes, hints: Hints) -> Request:
    """The request for embeddings."""
    head = decode_typed(_EMBEDDING_HEAD, body)
    if head.input is None or head.input == []:
        raise invalid_request("invalid input")
    head.stream = False
    return request_of(head, body, hints, (Operation.EMBEDDING, "embeddings", embedding_content))


RESUME: Mapping[Operation, Resume] = {
    Operation.CHAT: Resume(
        partial(resumed_chat, parse_content=chat_content), partial(lasting_content, parse_content=chat_content)
    ),
    Operation.COMPLETION: Resume(
        partial(resumed_completion, parse_content=completion_content),
        partial(lasting_content, parse_content=completion_content),
        only_own=True,  # Ollama puts the prompt into the chat template, other engines take it as it is
    ),
}


def embedding_content(body: bytes) -> Embedding:
    """The texts to embed, and how the vectors are wanted."""
    fields = decode_object(body)
    embedding = convert_typed(fields, EmbeddingBody)
    return Embedding(
        inputs=_texts(embedding.input),
        single=isinstance(embedding.input, str),
        base64=embedding.encoding_format == "base64",
        options=parse_options(fields, _EMBEDDING_FIELDS),
    )


def _texts(inputs: str | list[Json] | dict[str, Json]) -> tuple[str, ...]:
    if isinstance(inputs, str):
        return (inputs,)
    if isinstance(inputs, dict) or not all(isinstance(text, str) for text in inputs):
        raise unsupported("input", "tokens and objects cannot be translated for the chosen backend")
    return tuple(inputs)
