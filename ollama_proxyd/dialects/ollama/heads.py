"""What /api/chat and /api/generate tell routing, and the request made of it."""

from collections.abc import Callable
from functools import partial

import msgspec

from ollama_proxyd.core.requests import Api, Content, Hints, Json, LoadAction, Operation, Request
from ollama_proxyd.dialects.ollama import settings

CANONICAL_FIELDS = ("keep_alive", "truncate", "shift")
"""Fields beside the model that are settings of the generation."""


class Head(msgspec.Struct):
    """The fields that routing needs of both calls."""

    model: str | None = None
    stream: bool | None = None
    keep_alive: Json = None
    think: Json = None
    options: dict[str, Json] | None = None
    top_logprobs: int | None = None


def request_of(
    head: Head,
    body: bytes,
    hints: Hints,
    call: tuple[Operation, str, Callable[[bytes], Content]],
    *,
    only_loads: bool,
    images_bytes: int,
) -> Request:
    """The request, its settings checked; `call` is its operation, its endpoint and what reads its whole content.

    `only_loads`: it holds nothing to answer, and so loads or unloads its model. Raises ProxyError in Ollama's words.
    """
    settings.check_think(head.think)
    keep_alive_s = settings.keep_alive_s(head.keep_alive)
    settings.check_top_logprobs(head.top_logprobs)
    settings.check_options(head.options)
    load_action = None
    if only_loads:
        load_action = LoadAction.UNLOAD if keep_alive_s == 0 else LoadAction.LOAD
    operation, endpoint, read_content = call
    return Request(
        operation=operation,
        api=Api.OLLAMA,
        endpoint=endpoint,
        model=head.model or "",
        stream=head.stream is not False and not only_loads,
        body=body,
        content=partial(read_content, body),
        hints=hints,
        prompt_tokens=(len(body) - images_bytes) // 4,
        max_tokens=settings.answer_limit(head.options),
        needs_vision=images_bytes > 0,
        load_action=load_action,
    )
