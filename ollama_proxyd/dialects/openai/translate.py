"""Content in the core's words, translated into the fields of an OpenAI-style call."""

from dataclasses import dataclass

from ollama_proxyd.core.requests import (
    Chat,
    Completion,
    Embedding,
    Format,
    Json,
    JsonObject,
    Message,
    Part,
    Text,
    Think,
)
from ollama_proxyd.dialects.openai.quirks import Quirks, SchemaField
from ollama_proxyd.dialects.openai.refusals import unsupported
from ollama_proxyd.dialects.openai.settings import CHAT, COMPLETION, EMBEDDING, render_options
from ollama_proxyd.dialects.openai.templates import fill
from ollama_proxyd.dialects.openai.turns import render_messages

_NEAREST_EFFORT = {"max": "high"}
"""Efforts that not every engine knows by that name."""


@dataclass(frozen=True, slots=True)
class Translation:
    """The endpoint to call, its fields (all but model and stream), and the client's fields that were dropped."""

    endpoint: str
    fields: dict[str, Json]
    ignored_fields: tuple[str, ...]


def translate_chat(chat: Chat, quirks: Quirks) -> Translation:
    """A chat as a chat completion."""
    fields: dict[str, Json] = {"messages": render_messages(chat.messages, quirks.message_thinking)}
    if chat.tools:
        fields["tools"] = list(chat.tools)
    if chat.format is not None:
        fields["response_format"] = response_format(chat.format)
    if chat.think is not None:
        fields.update(_think(chat.think, quirks))
    if chat.logprobs is not None:
        fields["logprobs"] = chat.logprobs
    if chat.logprobs:
        fields["top_logprobs"] = max(chat.top_logprobs or 0, 1)  # engines take 0 for none at all
    options, dropped = render_options(chat.options, CHAT, quirks)
    if not quirks.message_thinking and any(message.thinking for message in chat.messages):
        dropped.append("messages.thinking")
    return Translation("chat", {**fields, **options}, tuple(dropped))


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
        prompt = fill(completion.template, {"Prompt": prompt, "System": completion.system or "", "Response": ""})
    fields: dict[str, Json] = {"prompt": prompt}
    if completion.suffix:
        fields["suffix"] = completion.suffix
    if completion.format is not None:
        fields.update(_completion_format(completion.format, quirks))
    if completion.logprobs:
        fields["logprobs"] = max(completion.top_logprobs or 0, 1)
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
    schema: dict[str, Json] = {"name": wanted.name or "schema", "schema": wanted.schema}
    if wanted.strict is not None:
        schema["strict"] = wanted.strict
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
