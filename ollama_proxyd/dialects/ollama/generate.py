"""Reads /api/generate requests: at once what routing needs, the whole prompt on demand."""

import msgspec

from ollama_proxyd.core.errors import ErrorKind, ProxyError
from ollama_proxyd.core.requests import Completion, Hints, Image, Json, Operation, Request
from ollama_proxyd.dialects.framing.jsonbody import decode_fields
from ollama_proxyd.dialects.ollama import settings
from ollama_proxyd.dialects.ollama.bodies import decode, refusal
from ollama_proxyd.dialects.ollama.heads import CANONICAL_FIELDS, Head, request_of
from ollama_proxyd.dialects.ollama.media import NO_MEDIA, media_bytes, read_media

_GO_NAME = "GenerateRequest"


class _Head(Head):
    prompt: str | None = None
    system: str | None = None
    template: str | None = None
    context: list[int] | None = None
    images: msgspec.Raw = NO_MEDIA
    raw: bool | None = None


class _Body(msgspec.Struct):
    model: str | None = None
    prompt: str | None = None
    suffix: str | None = None
    system: str | None = None
    template: str | None = None
    context: tuple[int, ...] | None = None
    stream: bool | None = None
    raw: bool | None = None
    format: Json = None
    keep_alive: Json = None
    images: list[str] | None = None
    options: dict[str, Json] | None = None
    think: Json = None
    truncate: bool | None = None
    shift: bool | None = None
    logprobs: bool | None = None
    top_logprobs: int | None = None


_HEAD = msgspec.json.Decoder(_Head)
_BODY = msgspec.json.Decoder(_Body)


def parse(body: bytes, hints: Hints) -> Request:
    """The request as far as routing needs it; ProxyError in Ollama's words."""
    head = decode(body, _HEAD, _GO_NAME)
    if not head.model:
        raise ProxyError(ErrorKind.MODEL_NOT_FOUND, "model '' not found", param="model")
    if head.raw and (head.template or head.system or head.context):
        raise refusal("raw mode does not support template, system, or context", "raw")
    call = (Operation.COMPLETION, "generate", read_content)
    return request_of(head, body, hints, call, only_loads=not head.prompt, images_bytes=media_bytes(head.images))


def read_content(body: bytes) -> Completion:
    """The whole request in the core's words."""
    read = decode(body, _BODY, _GO_NAME)
    return Completion(
        prompt=read.prompt or "",
        raw=read.raw is True,
        suffix=read.suffix,
        system=read.system,
        template=read.template,
        context=read.context,
        images=tuple(_image(data, f"images[{at}]") for at, data in enumerate(read.images or ())),
        format=settings.read_format(read.format),
        think=settings.check_think(read.think),
        logprobs=read.logprobs,
        top_logprobs=read.top_logprobs,
        options=settings.read_options(
            read.options, decode_fields(body), canonical=CANONICAL_FIELDS, read=_Body.__struct_fields__
        ),
    )


def _image(data: str, field: str) -> Image:
    read = read_media(data, field)
    return read if isinstance(read, Image) else Image(read.data, f"audio/{read.format}")
