"""Writes any request for an Ollama backend: the client's own bytes where it speaks Ollama, else field by field."""

from typing import Final

import msgspec

from ollama_proxyd.core.model_names import canonical
from ollama_proxyd.core.requests import Api, Chat, Completion, Content, Embedding, Json, Request
from ollama_proxyd.dialects.base import Rendered
from ollama_proxyd.dialects.framing.jsonbody import decode_fields, with_model
from ollama_proxyd.dialects.ollama import conversation
from ollama_proxyd.dialects.ollama.keys import refuse_lookalikes
from ollama_proxyd.dialects.ollama.options import place

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
    body = msgspec.json.encode({"model": model, **fields, **_streaming(request, path)})
    return Rendered(path, body, ignored)


def _translate(content: Content) -> tuple[str, dict[str, Json], tuple[str, ...]]:
    if isinstance(content, Chat):
        return _chat(content)
    if isinstance(content, Completion):
        return _completion(content)
    return _embedding(content)


def _chat(chat: Chat) -> tuple[str, dict[str, Json], tuple[str, ...]]:
    placed = place(chat.options, _TEXT_FIELDS)
    fields = _present(
        messages=conversation.write_messages(chat.messages),
        tools=conversation.write_tools(chat) or None,
        format=conversation.write_format(chat.format),
        think=conversation.write_think(chat.think),
        logprobs=chat.logprobs,
        top_logprobs=chat.top_logprobs,
        options=placed.options or None,
    )
    ignored = placed.ignored + conversation.unspoken_names(chat.messages)
    return "/api/chat", {**fields, **placed.fields}, ignored


def _completion(completion: Completion) -> tuple[str, dict[str, Json], tuple[str, ...]]:
    """A suffix is only used through the model's template, so a raw completion with one is not sent as raw."""
    placed = place(completion.options, _TEXT_FIELDS)
    fields = _present(
        prompt=completion.prompt,
        raw=(completion.raw and not completion.suffix) or None,
        suffix=completion.suffix,
        system=completion.system,
        template=completion.template,
        context=completion.context,
        images=[image.data for image in completion.images] or None,
        format=conversation.write_format(completion.format),
        think=conversation.write_think(completion.think),
        logprobs=completion.logprobs,
        top_logprobs=completion.top_logprobs,
        options=placed.options or None,
    )
    return "/api/generate", {**fields, **placed.fields}, placed.ignored


def _embedding(embedding: Embedding) -> tuple[str, dict[str, Json], tuple[str, ...]]:
    placed = place(embedding.options, _EMBED_FIELDS)
    fields = _present(input=list(embedding.inputs), options=placed.options or None)
    return "/api/embed", {**fields, **placed.fields}, placed.ignored


def _streaming(request: Request, path: str) -> dict[str, Json]:
    return {} if path == "/api/embed" else {"stream": request.stream}


def _present(**fields: Json) -> dict[str, Json]:
    return {name: value for name, value in fields.items() if value is not None}
