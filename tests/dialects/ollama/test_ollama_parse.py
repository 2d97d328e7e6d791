"""Routing learns at once what it needs of a request; the rest is read when it is asked for."""

from collections.abc import Callable

import msgspec
import pytest

from ollama_proxyd.core.errors import ErrorKind, ProxyError
from ollama_proxyd.core.requests import (
    Chat,
    Completion,
    Embedding,
    Hints,
    Image,
    Json,
    Request,
)
from ollama_proxyd.dialects.ollama.parse import parse_chat, parse_embed, parse_embeddings, parse_generate

Parse = Callable[[bytes, Hints], Request]
PNG = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR4nGNgYGBgAAAABQABpfZFQAAAAABJRU5ErkJggg=="
WAV = "UklGRgAAAABXQVZFZm10IA=="
WEBP = "UklGRgAAAABXRUJQVlA4IA=="
HELLO = {"role": "user", "content": "hello"}

each_call = pytest.mark.parametrize("parse", [parse_chat, parse_generate, parse_embed, parse_embeddings])


def parsed(parse: Parse, **fields: Json) -> Request:
    return parse(msgspec.json.encode({"model": "tiny", **fields}), Hints())


def refused(parse: Parse, body: bytes) -> str:
    with pytest.raises(ProxyError) as caught:
        parse(body, Hints())
    assert caught.value.kind is ErrorKind.INVALID_REQUEST
    return caught.value.message


def chat_content(**fields: Json) -> Chat:
    content = parsed(parse_chat, **fields).content()
    assert isinstance(content, Chat)
    return content


def completion_content(**fields: Json) -> Completion:
    content = parsed(parse_generate, **fields).content()
    assert isinstance(content, Completion)
    return content


def embedding_content(parse: Parse, **fields: Json) -> Embedding:
    content = parsed(parse, **fields).content()
    assert isinstance(content, Embedding)
    return content


@each_call
@pytest.mark.parametrize("body", [b"", b" \r\n"])
def test_a_missing_body_is_called_missing(parse: Parse, body: bytes) -> None:
    assert refused(parse, body) == "missing request body"


@each_call
def test_a_body_of_the_wrong_types_is_refused_with_the_field_at_fault(parse: Parse) -> None:
    assert refused(parse, b"5") == "invalid value for 'the request body': expected an object, got an integer"
    assert refused(parse, b'{"model":5}') == "invalid value for 'model': expected a string or null, got an integer"


@each_call
def test_hostile_bodies_are_refused_like_any_other(parse: Parse) -> None:
    assert refused(parse, b'{"model":"m","options":' + b"[" * 100_000)
    assert refused(parse, b'{"model":"\xff"}').startswith("the body is not valid JSON: ")
    assert refused(parse, b'{"model":"m","options":{"a":1e999}}')


def test_content_of_the_wrong_type_is_refused_when_it_is_read() -> None:
    request = parsed(parse_chat, messages=[{"role": "user", "content": ["hello"]}])
    with pytest.raises(ProxyError, match=r"messages\[0\]\.content"):
        request.content()


def test_base64_in_lines_is_read_as_one() -> None:
    asked = parse_generate(msgspec.json.encode({"model": "m", "prompt": "a", "images": ["aGk\r\n=\n"]}), Hints())
    content = asked.content()
    assert isinstance(content, Completion)
    assert content.images == (Image("aGk="),)


def test_a_body_that_is_not_json_is_refused_with_the_place() -> None:
    with pytest.raises(ProxyError, match=r"^the body is not valid JSON: .* \(byte 23\)$"):
        parse_chat(b'{"model":"tiny","x":[0 1', Hints())
