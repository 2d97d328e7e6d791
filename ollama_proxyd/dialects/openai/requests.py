"""What the OpenAI calls have in common: the fields that routing needs, and the request made of them."""

from collections.abc import Callable
from functools import cache

import msgspec

from ollama_proxyd.core.errors import ErrorKind, ProxyError
from ollama_proxyd.core.requests import Api, Content, Hints, Operation, Request
from ollama_proxyd.dialects.openai.media import NO_MEDIA, Media

BYTES_PER_TOKEN = 4
IMAGE_TOKENS = 600
"""A middle of what vision models make of one image; base64 says nothing about it."""

STRUCTURAL = frozenset({"model", "stream", "stream_options"})
"""Fields of every call that are no settings of the generation."""


class StreamOptions(msgspec.Struct):
    """OpenAI's stream_options, as far as they matter here."""

    include_usage: bool | None = None


class Head(msgspec.Struct):
    """What every call tells routing."""

    model: str | None = None
    stream: bool | None = None
    stream_options: StreamOptions | None = None
    max_tokens: int | None = None
    max_completion_tokens: int | None = None


def request_of(
    head: Head,
    body: bytes,
    hints: Hints,
    call: tuple[Operation, str, Callable[[bytes], Content]],
    media: Media = NO_MEDIA,
) -> Request:
    """The request; `call` is its operation, its endpoint and what parses its content when that is asked for."""
    if not head.model:
        raise ProxyError(ErrorKind.INVALID_REQUEST, "model is required", param="model")
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
        content=cache(lambda: parse_content(body)),
        hints=hints,
        prompt_tokens=max(1, (len(body) - media.size_bytes) // BYTES_PER_TOKEN + media.images * IMAGE_TOKENS),
        max_tokens=None if limit is None or limit < 0 else limit,
        wants_usage=bool(options and options.include_usage),
        needs_vision=media.images > 0,
    )
