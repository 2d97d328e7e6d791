"""Reads Ollama's requests: at once what routing needs, the whole content on demand."""

from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import partial

import msgspec

from ollama_proxyd.core.errors import ErrorKind, ProxyError
from ollama_proxyd.core.memo import Once
from ollama_proxyd.core.requests import (
    Api,
    Audio,
    Chat,
    Completion,
    Content,
    Embedding,
    Hints,
    Image,
    Json,
    LoadAction,
    Message,
    Operation,
    Part,
    Request,
    Text,
    ToolCall,
)
from ollama_proxyd.core.spoken import Resume
from ollama_proxyd.dialects.framing.binary import checked_base64, image_type
from ollama_proxyd.dialects.framing.jsonbody import decode_fields, decode_typed, invalid_request
from ollama_proxyd.dialects.framing.keep_alive import keep_alive_s
from ollama_proxyd.dialects.framing.limits import check_messages, check_top_logprobs
from ollama_proxyd.dialects.framing.tools import foreign_tools, holds_tools, read_tools
from ollama_proxyd.dialects.ollama.options import (
    answer_limit,
    check_options,
    check_think,
    read_format,
    read_options,
)
from ollama_proxyd.dialects.ollama.request import (
    ChatRequest,
    EmbeddingsHead,
    EmbeddingsRequest,
    EmbedRequest,
    GenerateRequest,
    NativeChatHead,
    NativeGenerateHead,
    NativeHead,
    NativeMessage,
    NativeToolCall,
)
from ollama_proxyd.dialects.ollama.resume import resumed_chat, resumed_generate


def request_of(
    head: NativeHead,
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
    check_think(head.think)
    stays_s = keep_alive_s(head.keep_alive)
    check_top_logprobs(head.top_logprobs)
    check_options(head.options)
    operation, endpoint, read_content = call
    return Request(
        operation=operation,
        api=Api.OLLAMA,
        endpoint=endpoint,
        model=head.model or "",
        stream=head.stream is not False and not only_loads,
        body=body,
        content=Once(partial(read_content, body)),
        hints=hints,
        prompt_tokens=(len(body) - images_bytes) // 4,
        max_tokens=answer_limit(head.options),
        needs_vision=images_bytes > 0,
        needs_tools=isinstance(head, NativeChatHead) and holds_tools(head.tools),
        load_action=load_action_of(stays_s) if only_loads else None,
        keeps_s=stays_s,
        calls_come_whole=True,
        resume=RESUME[endpoint],
    )


def load_action_of(stays_s: float | None) -> LoadAction:
    """What a request without anything to answer asks for."""
    return LoadAction.UNLOAD if stays_s == 0 else LoadAction.LOAD


_SOUNDS = {"SUQz": "mp3", "//s": "mp3", "//u": "mp3", "ZkxhQ": "flac", "T2dnUw": "ogg"}
_WAVE_IN_RIFF = "XQVZF"
"""Where a RIFF file says WAVE (bytes 8 to 11), as base64 writes it from character 11 on; WebP says otherwise."""


def media_bytes(images: msgspec.Raw) -> int:
    """The size of an `images` field that holds something; 0 when it is absent, null or an empty list."""
    if len(images) > 64:
        return len(images)
    text = bytes(images).strip()
    return 0 if text == b"null" or not text[1:-1].strip() else len(images)


def read_media(given: str, field: str) -> Image | Audio:
    """The picture or the sound that a field holds in base64; an unknown one counts as a picture without a type."""
    data = checked_base64(given, field)
    if data.startswith("UklGR") and data[11:16] == _WAVE_IN_RIFF:
        return Audio(data, "wav")
    for prefix, sound in _SOUNDS.items():
        if data.startswith(prefix):
            return Audio(data, sound)
    return Image(data, image_type(data))


_ARGUMENTS = "messages.tool_calls.function.arguments"


_CHAT_HEAD = msgspec.json.Decoder(NativeChatHead)
_CHAT = msgspec.json.Decoder(ChatRequest)


def parse_chat(body: bytes, hints: Hints) -> Request:
    """The request as far as routing needs it; ProxyError(INVALID_REQUEST) in Ollama's words."""
    head = decode_typed(_CHAT_HEAD, body)
    if not head.model:
        raise invalid_request("model is required", "model")
    check_messages(head.messages)
    call = (Operation.CHAT, "chat", chat_content)
    images_bytes = sum(media_bytes(message.images) for message in head.messages or ())
    return request_of(head, body, hints, call, only_loads=not head.messages, images_bytes=images_bytes)


def chat_content(body: bytes) -> Chat:
    """The whole request in the core's words."""
    read = decode_typed(_CHAT, body)
    check_options(read.options)
    options = read_options(read.options, decode_fields(body), read.__struct_fields__)
    return Chat(
        messages=tuple(_message(message, index) for index, message in enumerate(read.messages or ())),
        tools=read_tools(read.tools or ()),
        format=read_format(read.format),
        think=check_think(read.think),
        logprobs=read.logprobs,
        top_logprobs=read.top_logprobs,
        options=replace(options, unknown={**options.unknown, **foreign_tools(read.tools or ())}),
    )


def _message(read: NativeMessage, index: int) -> Message:
    parts: list[Part] = [Text(read.content)] if read.content is not None else []
    parts += (read_media(data, f"messages[{index}].images[{at}]") for at, data in enumerate(read.images or ()))
    return Message(
        role=(read.role or "").lower(),
        parts=tuple(parts) if parts else None,
        thinking=read.thinking,
        tool_calls=tuple(_tool_call(call) for call in read.tool_calls or ()),
        tool_call_id=read.tool_call_id,
        name=read.tool_name,
    )


def _tool_call(read: NativeToolCall) -> ToolCall:
    try:
        text = bytes(read.function.arguments).decode()
    except UnicodeDecodeError as error:
        raise invalid_request("the arguments of a tool call are not valid UTF-8", _ARGUMENTS) from error
    if text in {"", "null"}:
        text = "{}"
    if not text.startswith("{"):
        raise invalid_request("the arguments of a tool call must be a JSON object", _ARGUMENTS)
    return ToolCall(name=read.function.name or "", arguments=text, id=read.id)


_GENERATE_HEAD = msgspec.json.Decoder(NativeGenerateHead)
_GENERATE = msgspec.json.Decoder(GenerateRequest)


def parse_generate(body: bytes, hints: Hints) -> Request:
    """The request as far as routing needs it; ProxyError in Ollama's words."""
    head = decode_typed(_GENERATE_HEAD, body)
    if not head.model:
        raise ProxyError(ErrorKind.MODEL_NOT_FOUND, "model '' not found", param="model")
    if head.raw and (head.template or head.system or head.context):
        raise invalid_request("raw mode does not support template, system, or context", "raw")
    call = (Operation.COMPLETION, "generate", generate_content)
    return request_of(head, body, hints, call, only_loads=not head.prompt, images_bytes=media_bytes(head.images))


def generate_content(body: bytes) -> Completion:
    """The whole request in the core's words."""
    read = decode_typed(_GENERATE, body)
    return Completion(
        prompt=read.prompt or "",
        raw=read.raw is True,
        suffix=read.suffix,
        system=read.system,
        template=read.template,
        context=read.context,
        images=tuple(_image(data, f"images[{at}]") for at, data in enumerate(read.images or ())),
        format=read_format(read.format),
        think=check_think(read.think),
        logprobs=read.logprobs,
        top_logprobs=read.top_logprobs,
        options=read_options(read.options, decode_fields(body), read.__struct_fields__),
    )


def _content(request: Request) -> Content:
    """Ollama ignores what it does not know, so the whole content holds for a rest."""
    return request.content()


RESUME: Mapping[str, Resume] = {
    "chat": Resume(partial(resumed_chat, parse_content=chat_content), _content),
    "generate": Resume(partial(resumed_generate, parse=(generate_content, chat_content)), _content),
}


def _image(data: str, field: str) -> Image:
    read = read_media(data, field)
    return read if isinstance(read, Image) else Image(read.data, f"audio/{read.format}")


_EMBED = msgspec.json.Decoder(EmbedRequest)
_EMBEDDINGS = msgspec.json.Decoder(EmbeddingsRequest)


def parse_embed(body: bytes, hints: Hints) -> Request:
    """A request of /api/embed: one text or several, vectors of unit length."""
    read = decode_typed(_EMBED, body)
    if not read.model:
        raise ProxyError(ErrorKind.MODEL_NOT_FOUND, "model '' not found", param="model")
    return _embedding_request("embed", read, body, hints, read.input)


def parse_embeddings(body: bytes, hints: Hints) -> Request:
    """A request of /api/embeddings: one prompt, a vector as the model gives it."""
    read = decode_typed(_EMBEDDINGS, body)
    if not read.model:
        raise invalid_request("model is required", "model")
    return _embedding_request("embeddings", read, body, hints, read.prompt or "")


def _embedding_request(endpoint: str, read: EmbeddingsHead, body: bytes, hints: Hints, given: Json) -> Request:
    inputs = _inputs(given)
    check_options(read.options)
    stays_s = keep_alive_s(read.keep_alive)

    def content() -> Embedding:
        options = read_options(read.options, decode_fields(body), read.__struct_fields__)
        return Embedding(inputs, single=isinstance(given, str), normalized=endpoint == "embed", options=options)

    return Request(
        operation=Operation.EMBEDDING,
        api=Api.OLLAMA,
        endpoint=endpoint,
        model=read.model or "",
        stream=False,
        body=body,
        content=content,
        hints=hints,
        prompt_tokens=len(body) // 4,
        load_action=None if inputs else load_action_of(stays_s),
        keeps_s=stays_s,
    )


def _inputs(given: Json) -> tuple[str, ...]:
    if given is None or given == "":
        return ()
    if isinstance(given, str):
        return (given,)
    if isinstance(given, list) and all(isinstance(text, str) for text in given):
        return tuple(given)
    raise invalid_request("invalid input type", "input")
